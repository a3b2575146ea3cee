//! What a partner sees and does.

use super::house::{Answer, Browser, House};

fn link_of(page: &Answer) -> String {
    let (_, rest) = page.body.split_once("http://localhost:8080/links/").expect("a link");
    rest.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[tokio::test]
async fn a_partner_makes_a_link_and_withdraws_it() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "DirectBillPartner::fabrikam").await;
    let page = browser.get(&house, "/partner").await;
    page.expect(200, &["You act for", "Ask a customer", "contoso", "You have asked for nothing so far."]);
    let wrong = browser
        .submit(&house, &page, "/partner", &[("do", "ask"), ("customer", "northwind"), ("days", "91")])
        .await;
    wrong.expect(422, &["Write a number of days from 1 to 90."]);
    assert!(wrong.body.contains("value=\"northwind\""));
    let fields = [
        ("do", "ask"),
        ("customer", "northwind"),
        ("choice.delegatedAdministration", "on"),
        ("days", "7"),
        ("language", "de"),
    ];
    let answer = browser.submit(&house, &page, "/partner", &fields).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let position = house.position();
    let again = browser.submit(&house, &page, "/partner", &fields).await;
    assert_eq!((again.status.as_u16(), house.position()), (303, position), "a double click asks once");
    let page = browser.get(&house, answer.location()).await;
    page.expect(
        200,
        &["The link is ready.", "waiting", "Guten Tag,", "Bitte bestätigen Sie unsere Resellerbeziehung"],
    );
    let link = link_of(&page);
    let asked = house.request(&link);
    assert_eq!(asked.expires_at.unwrap() - asked.asked_at, 7 * 24 * 60 * 60);
    assert_eq!(asked.context["delegatedAdministration"], true);

    // The form that withdraws is the last one.
    let (_, form) = page.body.rsplit_once("name=\"link\"").unwrap();
    assert!(form.contains("Withdraw"));
    let token =
        page.body.rsplit("name=\"token\" value=\"").next().unwrap().split('"').next().unwrap().to_owned();
    let acting = "Autopilot::DirectBillPartner::fabrikam";
    let fields = [("do", "withdraw"), ("as", acting), ("link", &*link), ("token", &*token)];
    let answer = browser.post(&house, "/partner", &fields).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    browser.get(&house, answer.location()).await.expect(200, &["The request is withdrawn.", "withdrawn"]);
}

#[tokio::test]
async fn a_provider_asks_under_a_partnership() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "IndirectProvider::wingtip").await;
    let page = browser.get(&house, "/partner").await;
    page.expect(200, &["Under the partnership", "wingtip--tailspin"]);
    assert!(!page.body.contains("proseware--litware"));
    let ask = |partnership| [("do", "ask"), ("customer", "contoso"), ("choice.partnership", partnership)];
    browser.submit(&house, &page, "/partner", &ask("proseware--litware")).await.expect(422, &[]);
    let answer = browser.submit(&house, &page, "/partner", &ask("wingtip--tailspin")).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let page = browser.get(&house, answer.location()).await;
    let mut admin = Browser::of(&house, "TenantUser::admin@contoso").await;
    let link = format!("/links/{}", link_of(&page));
    admin.get(&house, &link).await.expect(200, &["both sides of the partnership"]);
}

#[tokio::test]
async fn an_oem_has_one_standing_link() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "Oem::trey").await;
    let page = browser.get(&house, "/partner").await;
    page.expect(200, &["Your standing link", "Show my link"]);
    assert!(!page.body.contains("choice."), "an OEM never gets delegated administration");
    let answer = browser.submit(&house, &page, "/partner", &[("do", "ask")]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let page = browser.get(&house, answer.location()).await;
    page.expect(200, &["Please authorize us to register your devices"]);
    assert!(house.request(&link_of(&page)).standing);
}

#[tokio::test]
async fn customers_come_in_pages_and_cursors_tell_nothing() {
    let house = House::demo();
    let entities = (0..120).flat_map(|number| {
        let customer = format!(r#"{{"type":"Autopilot::Customer","id":"customer{number}"}}"#);
        let consent = format!(r#"{{"type":"Autopilot::CspConsent","id":"k{number}"}}"#);
        [
            format!(r#"{{"uid":{customer},"attrs":{{}},"parents":[{consent}]}}"#),
            format!(
                r#"{{"uid":{consent},"attrs":{{"customer":{customer},"delegatedAdministration":false,"acceptedBy":{{"type":"Autopilot::TenantUser","id":"admin@contoso"}}}},"parents":[{{"type":"Autopilot::DirectBillPartner","id":"fabrikam"}}]}}"#
            ),
        ]
    });
    house.write_all(&entities.collect::<Vec<_>>());
    let mut browser = Browser::of(&house, "DirectBillPartner::fabrikam").await;
    let (mut path, mut seen) = ("/partner".to_owned(), std::collections::BTreeSet::new());
    for _ in 0..4 {
        let page = browser.get(&house, &path).await;
        page.expect(200, &[]);
        for (_, rest) in page.body.match_indices("<bdi>customer").map(|(at, _)| page.body.split_at(at + 5)) {
            seen.insert(rest.split('<').next().unwrap().to_owned());
        }
        let Some((before, _)) = page.body.split_once("#customers\">More") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&");
        assert!(!path.contains("customer"), "{path}");
    }
    assert_eq!(seen.len(), 120);
    let page = browser.get(&house, "/partner?after=AAAA").await;
    page.expect(200, &["More customers"]);
}

#[tokio::test]
async fn nobody_acts_for_another_partner() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "DirectBillPartner::fabrikam").await;
    let other = "Autopilot::DirectBillPartner::adventure-works";
    browser
        .get(&house, "/partner?as=Autopilot%3A%3ADirectBillPartner%3A%3Aadventure-works")
        .await
        .expect(404, &[]);
    let page = browser.get(&house, "/partner").await;
    let fields = [("do", "ask"), ("as", other), ("customer", "northwind")];
    browser.submit(&house, &page, "/partner", &fields).await.expect(400, &[]);
    let theirs = house.ask("DirectBillPartner::adventure-works", Some("northwind"), false).link;
    let fields = [("do", "withdraw"), ("link", &*theirs)];
    browser.submit(&house, &page, "/partner", &fields).await.expect(400, &[]);
    assert_eq!(house.request(&theirs).status.as_str(), "pending");
}
