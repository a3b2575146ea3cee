//! A link from the first click to what it changes, and every reason why it changes nothing.

use mandate_pdp::access_request::RequestStatus;
use mandate_pdp::review_operation::ReviewOperation;

use super::house::{Browser, House, name};

const FABRIKAM: &str = "DirectBillPartner::fabrikam";

fn path(link: &str) -> String {
    format!("/links/{link}")
}

#[tokio::test]
async fn a_global_administrator_accepts() {
    let house = House::demo();
    let asked = house.ask(FABRIKAM, Some("northwind"), false);
    let path = path(&asked.link);
    let mut browser = Browser::default();
    let answer = browser.get(&house, &path).await;
    let sign_in = format!("/sign-in?next=%2Flinks%2F{}", asked.link);
    assert_eq!((answer.status.as_u16(), answer.location()), (303, sign_in.as_str()));
    let page = browser.get(&house, answer.location()).await;
    page.expect(200, &["Demo: everybody", "Act as"]);
    let answer = browser.submit(&house, &page, "/sign-in", &[("as", "TenantUser::admin@northwind")]).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, path.as_str()));

    let page = browser.get(&house, &path).await;
    page.expect(
        200,
        &[
            "asks to become a reseller of",
            "direct-bill partner",
            "fabrikam",
            "northwind",
            "With delegated administration",
            "gets no administrator role in your organization.",
            "How it ends",
            "Valid until",
            "Signed in as TenantUser: admin@northwind",
            "Accept",
            "Decline",
        ],
    );
    let answer = browser.submit(&house, &page, &path, &[("do", "accept")]).await;
    answer.expect(422, &["Tick this box"]);
    assert!(
        answer.body.contains("aria-invalid=\"true\"")
            && answer.body.contains("aria-describedby=\"yes-error\"")
    );
    assert!(!house.may_register(FABRIKAM, "northwind"));

    let answer = browser.submit(&house, &page, &path, &[("do", "accept"), ("yes", "on")]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert!(house.may_register(FABRIKAM, "northwind"));
    browser.get(&house, answer.location()).await.expect(200, &["You have accepted. It is in effect now."]);

    // The second click of a double click does the same, and changes nothing.
    let position = house.position();
    let again = browser.submit(&house, &page, &path, &[("do", "accept"), ("yes", "on")]).await;
    assert_eq!((again.status.as_u16(), again.location()), (303, answer.location()));
    assert_eq!(house.position(), position);
    browser.get(&house, &path).await.expect(409, &["This request was accepted", "admin@northwind"]);
}

#[tokio::test]
async fn declining_needs_no_tick_and_leaves_nothing() {
    let house = House::demo();
    let asked = house.ask(FABRIKAM, Some("northwind"), true);
    let mut browser = Browser::of(&house, "TenantUser::admin@northwind").await;
    let page = browser.get(&house, &path(&asked.link)).await;
    page.expect(200, &["Global Administrator, Helpdesk Administrator"]);
    let answer = browser.submit(&house, &page, &path(&asked.link), &[("do", "decline")]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    browser.get(&house, answer.location()).await.expect(200, &["You have declined."]);
    assert_eq!(house.request(&asked.link).status, RequestStatus::Denied);
    browser.get(&house, &path(&asked.link)).await.expect(409, &["This was declined"]);
    assert!(!house.may_register(FABRIKAM, "northwind"));
}

#[tokio::test]
async fn every_reason_has_its_message_and_status() {
    let house = House::demo();
    let of = |customer: &str| house.ask(FABRIKAM, Some(customer), false).link;
    let (named, declined, withdrawn, accepted) =
        (of("northwind"), of("northwind"), of("northwind"), of("northwind"));
    let review = |operation| house.review(operation).unwrap();
    let admin = name("TenantUser::admin@northwind");
    review(ReviewOperation::Decline { link: declined.clone(), reviewer: admin.clone() });
    review(ReviewOperation::Withdraw { link: withdrawn.clone(), by: name(FABRIKAM) });
    review(ReviewOperation::Accept { link: accepted.clone(), reviewer: admin.clone() });
    let suspended = house.ask("DirectBillPartner::adventure-works", Some("northwind"), false).link;
    house.write(
        r#"{"uid":{"type":"Autopilot::DirectBillPartner","id":"adventure-works"},"attrs":{"active":false},"parents":[]}"#,
    );
    let unknown = "a".repeat(52);
    let expired = house.ask_for(FABRIKAM, Some("northwind"), false, Some(0)).link;
    let cases: [(&str, &str, u16, &str); 14] = [
        ("TenantUser::admin@northwind", &expired, 410, "This link has expired"),
        ("TenantUser::admin@northwind", &named, 200, "Your decision"),
        ("TenantUser::intune@northwind", &named, 403, "Only a Global Administrator of your organization"),
        ("TenantUser::admin@contoso", &named, 403, "This link is for another organization"),
        ("DirectBillPartner::adventure-works", &named, 403, "This link is for administrators of a customer"),
        (FABRIKAM, &named, 403, "This is your own link"),
        ("TenantUser::admin@northwind", &unknown, 404, "This link is not known"),
        ("TenantUser::admin@northwind", "x", 404, "This link is not known"),
        ("TenantUser::admin@northwind", "%00%FF", 404, "This link is not known"),
        ("TenantUser::admin@northwind", &declined, 409, "This was declined"),
        ("TenantUser::admin@northwind", &withdrawn, 409, "This request was withdrawn"),
        ("TenantUser::admin@northwind", &accepted, 409, "This request was accepted"),
        ("TenantUser::admin@contoso", &accepted, 403, "This link is for another organization"),
        ("TenantUser::admin@northwind", &suspended, 403, "The partner may not ask for this any more"),
    ];
    for (user, link, status, text) in cases {
        let mut browser = Browser::of(&house, user).await;
        let position = house.position();
        let page = browser.get(&house, &path(link)).await;
        // A link whose bytes are no text is refused before there is a page.
        if link.starts_with('%') && page.status.as_u16() == 400 {
            continue;
        }
        page.expect(status, &[text]);
        assert_eq!(page.body.contains("value=\"accept\""), status == 200, "{user} {link}");
        if text.contains("another organization") {
            for hidden in ["northwind", "Northwind", "fabrikam", "Fabrikam"] {
                assert!(!page.body.contains(hidden), "{hidden}");
            }
        }
        assert_eq!(house.position(), position);
    }
}

#[tokio::test]
async fn before_the_sign_in_all_links_look_the_same() {
    let house = House::demo();
    let known = house.ask(FABRIKAM, Some("northwind"), false).link;
    let unknown = "b".repeat(known.len());
    let mut browser = Browser::default();
    let mut answers = Vec::new();
    for link in [&known, &unknown] {
        let answer = browser.get(&house, &path(link)).await;
        let location = answer.location().replace(link.as_str(), "LINK");
        answers.push((answer.status, answer.body, location));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn an_open_link_is_for_whoever_accepts_it_first() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, None, false).link;
    let mut northwind = Browser::of(&house, "TenantUser::admin@northwind").await;
    let mut relecloud = Browser::of(&house, "TenantUser::admin@relecloud").await;
    let mut user = Browser::of(&house, "TenantUser::intune@northwind").await;
    let accept = [("do", "accept"), ("yes", "on")];
    let page = northwind.get(&house, &path(&link)).await;
    page.expect(200, &["close this page"]);
    assert!(!page.body.contains("value=\"decline\""));
    let others = relecloud.get(&house, &path(&link)).await;
    // The role is only known when somebody accepts.
    let page_of_user = user.get(&house, &path(&link)).await;
    let answer = user.submit(&house, &page_of_user, &path(&link), &accept).await;
    answer.expect(403, &["Only a Global Administrator of your organization"]);
    assert!(!house.may_register(FABRIKAM, "northwind"));

    let answer = northwind.submit(&house, &page, &path(&link), &accept).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert!(house.may_register(FABRIKAM, "northwind"));
    let late = relecloud.submit(&house, &others, &path(&link), &accept).await;
    late.expect(403, &["another organization"]);
    assert!(!house.may_register(FABRIKAM, "relecloud"));
}

#[tokio::test]
async fn the_standing_link_of_an_oem_stays() {
    let house = House::demo();
    let link = house.ask("Oem::trey", None, false).link;
    for customer in ["northwind", "relecloud"] {
        let mut browser = Browser::of(&house, &format!("TenantUser::admin@{customer}")).await;
        let page = browser.get(&house, &path(&link)).await;
        page.expect(200, &["device manufacturer", "Only Microsoft can remove", "no end"]);
        let answer = browser.submit(&house, &page, &path(&link), &[("do", "accept"), ("yes", "on")]).await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
        assert!(house.may_register("Oem::trey", customer));
        browser.get(&house, &path(&link)).await.expect(409, &["has accepted this already"]);
    }
}

#[tokio::test]
async fn two_administrators_at_once() {
    let house = House::demo();
    house.write(
        r#"{"uid":{"type":"Autopilot::TenantUser","id":"second@northwind"},"attrs":{"customer":{"type":"Autopilot::Customer","id":"northwind"},"roles":[{"type":"Autopilot::Role","id":"global-administrator"}]},"parents":[]}"#,
    );
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let mut one = Browser::of(&house, "TenantUser::admin@northwind").await;
    let mut other = Browser::of(&house, "TenantUser::second@northwind").await;
    let (page, others) = (one.get(&house, &path(&link)).await, other.get(&house, &path(&link)).await);
    let (at, accept, decline) = (path(&link), [("do", "accept"), ("yes", "on")], [("do", "decline")]);
    let (accepted, declined) =
        tokio::join!(one.submit(&house, &page, &at, &accept), other.submit(&house, &others, &at, &decline));
    let statuses = [accepted.status.as_u16(), declined.status.as_u16()];
    assert!(matches!(statuses, [303, 409] | [409, 303]), "{statuses:?}");
    assert_eq!(house.may_register(FABRIKAM, "northwind"), statuses[0] == 303);
}

#[tokio::test]
async fn a_role_that_is_taken_away_between_page_and_click() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let mut browser = Browser::of(&house, "TenantUser::admin@northwind").await;
    let page = browser.get(&house, &path(&link)).await;
    house.write(
        r#"{"uid":{"type":"Autopilot::TenantUser","id":"admin@northwind"},"attrs":{"customer":{"type":"Autopilot::Customer","id":"northwind"},"roles":[{"type":"Autopilot::Role","id":"user"}]},"parents":[]}"#,
    );
    let answer = browser.submit(&house, &page, &path(&link), &[("do", "accept"), ("yes", "on")]).await;
    answer.expect(403, &["Only a Global Administrator"]);
    assert!(!house.may_register(FABRIKAM, "northwind"));
}

#[tokio::test]
async fn what_the_page_showed_is_what_is_accepted() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let mut browser = Browser::of(&house, "TenantUser::admin@northwind").await;
    let page = browser.get(&house, &path(&link)).await;
    house.write(
        r#"{"uid":{"type":"Autopilot::DirectBillPartner","id":"fabrikam"},"attrs":{"active":true,"displayName":"Another Name"},"parents":[]}"#,
    );
    let answer = browser.submit(&house, &page, &path(&link), &[("do", "accept"), ("yes", "on")]).await;
    answer.expect(409, &["Please look again", "Another Name"]);
    assert!(!house.may_register(FABRIKAM, "northwind"));
}
