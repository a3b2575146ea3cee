//! The pages in both languages.

use super::house::{Browser, House};

#[tokio::test]
async fn a_reader_gets_the_language_of_the_browser_or_of_the_switch() {
    let house = House::demo();
    let link = house.ask("DirectBillPartner::fabrikam", Some("northwind"), true).link;
    let path = format!("/links/{link}");
    let mut browser = Browser::of(&house, "TenantUser::intune@northwind").await;
    browser.headers = vec![("accept-language", "de-DE,de;q=0.9,en;q=0.8".into())];
    let page = browser.get(&house, &path).await;
    page.expect(
        403,
        &[
            "möchte Reseller von",
            "Direktpartner",
            "Nur ein globaler Administrator",
            "Gültig bis",
            "Angemeldet als",
            "Was die Annahme bedeutet",
        ],
    );
    assert!(page.body.contains("<html lang=\"de\">"));
    browser.get(&house, &format!("{path}?lang=en")).await.expect(403, &["asks to become a reseller of"]);
    // The switch is remembered.
    let page = browser.get(&house, &path).await;
    page.expect(403, &["asks to become a reseller of"]);
    assert!(page.body.contains("<html lang=\"en\">"));
    browser.get(&house, &format!("{path}?lang=xx")).await.expect(403, &["asks to become"]);
}

#[tokio::test]
async fn reasons_of_denials_are_in_the_language_of_the_reader() {
    let house = House::demo();
    let link = house.ask("DirectBillPartner::fabrikam", Some("northwind"), false).link;
    house.write(
        r#"{"uid":{"type":"Autopilot::DirectBillPartner","id":"fabrikam"},"attrs":{"active":false},"parents":[]}"#,
    );
    let mut browser = Browser::of(&house, "TenantUser::admin@northwind").await;
    browser
        .get(&house, &format!("/links/{link}?lang=de"))
        .await
        .expect(403, &["Der Partner darf diese Anfrage nicht mehr stellen"]);
    browser.get(&house, &format!("/links/{link}?lang=en")).await.expect(403, &["is suspended"]);
}
