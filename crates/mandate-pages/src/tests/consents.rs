//! What an organization has accepted.

use super::house::{Browser, House};

#[tokio::test]
async fn an_administrator_sees_what_was_accepted_and_removes_delegated_administration() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "TenantUser::admin@contoso").await;
    let page = browser.get(&house, "/consents").await;
    page.expect(
        200,
        &[
            "fabrikam",
            "trey",
            "Accepted by",
            "admin@contoso",
            "With delegated administration",
            "Only Microsoft can remove",
        ],
    );
    let path = "/consents/CspConsent/contoso%2D%2Dfabrikam";
    let wanted = format!("{path}?do=remove%2Dadministration");
    assert!(page.body.contains(&wanted), "{}", page.body);
    assert!(!page.body.contains("OemConsent"), "no button for an OEM");
    let position = house.position();
    let sure = browser.get(&house, &wanted).await;
    sure.expect(200, &["Remove delegated administration?", "The change takes effect immediately."]);
    assert_eq!(house.position(), position);
    let fields = [("do", "remove-administration")];
    let answer = browser.submit(&house, &sure, path, &fields).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let page = browser.get(&house, answer.location()).await;
    page.expect(200, &["Done. The change is in effect.", "gets no administrator role"]);
    assert!(!page.body.contains(&wanted));
    assert!(house.may_register("DirectBillPartner::fabrikam", "contoso"));
    // The second click finds that it was done.
    let position = house.position();
    browser.submit(&house, &sure, path, &fields).await.expect(409, &["Please look again"]);
    assert_eq!(house.position(), position);
}

#[tokio::test]
async fn who_may_not_sees_no_button_and_changes_nothing() {
    let house = House::demo();
    let path = "/consents/CspConsent/contoso%2D%2Dfabrikam";
    let verb = [("do", "remove-administration")];
    for (user, status) in [
        ("TenantUser::user@contoso", 200),
        ("TenantUser::admin@northwind", 200),
        ("DirectBillPartner::fabrikam", 403),
    ] {
        let mut browser = Browser::of(&house, user).await;
        let page = browser.get(&house, "/consents").await;
        page.expect(status, &[]);
        assert!(!page.body.contains(&format!("{path}?do=")), "{user}");
        browser.get(&house, &format!("{path}?do=remove-administration")).await.expect(404, &[]);
        let position = house.position();
        let answer = browser.post(&house, path, &verb).await;
        assert!(answer.status.is_client_error(), "{user}");
        assert_eq!(house.position(), position, "{user}");
    }
}

#[tokio::test]
async fn a_consent_under_a_partnership_names_both_sides() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "TenantUser::admin@northwind").await;
    let page = browser.get(&house, "/consents").await;
    page.expect(
        200,
        &["indirect provider", "indirect reseller", "wingtip", "tailspin", "both sides of the partnership"],
    );
}
