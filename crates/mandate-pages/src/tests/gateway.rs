//! The sign-in by a gateway in front.

use serde_json::json;

use super::house::{Browser, House, URL};
use super::open_id::PRINCIPALS;
use super::provider::{CLIENT_ID, SigningKey};
use crate::SignIn;

const ISSUER: &str = "https://login.example/{tenantid}/v2.0";

fn house(folder: &std::path::Path, key: &SigningKey) -> House {
    std::fs::write(folder.join("keys.json"), key.set().to_string()).unwrap();
    let file = folder.join("sign-in.toml");
    let text = format!(
        "issuer = \"{ISSUER}\"\nheader = \"X-Id-Token\"\naudience = \"{CLIENT_ID}\"\njwks_file = \"keys.json\"\n{PRINCIPALS}"
    );
    std::fs::write(&file, text).unwrap();
    House::with(SignIn::open(&file).unwrap(), URL)
}

fn token(key: &SigningKey, user: &str, tenant: &str, lifetime: i64) -> String {
    let now = mandate_pdp::wall_clock::now().unix_seconds();
    key.sign(&json!({
        "iss": format!("https://login.example/{tenant}/v2.0"), "aud": CLIENT_ID, "sub": user, "oid": user,
        "tid": tenant, "wids": ["62e90394-69f5-4237-9190-012177145e10"], "exp": now + lifetime, "iat": now,
        "jti": crate::secret::unguessable(),
    }))
}

#[tokio::test]
async fn the_token_of_each_request_says_who_it_is() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SigningKey::new("one"));
    let house = house(folder.path(), &key);
    let link = house.ask("DirectBillPartner::fabrikam", Some("northwind"), false).link;
    let path = format!("/links/{link}");
    let mut browser = Browser::with(vec![("x-id-token", token(&key, "admin", "northwind", 300))]);
    let page = browser.get(&house, &path).await;
    page.expect(200, &["Your decision"]);
    assert!(!page.body.contains("/sign-out"), "the gateway signs out");
    assert!(browser.cookies.is_empty());
    let answer = browser.get(&house, "/sign-in?next=%2Fconsents").await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, "/consents"));
    // The form of another user.
    let mut other = Browser::with(vec![("x-id-token", token(&key, "other", "northwind", 300))]);
    let accept = [("do", "accept"), ("yes", "on")];
    other.submit(&house, &page, &path, &accept).await.expect(409, &["Please look again"]);
    // The gateway has renewed the token meanwhile.
    browser.headers = vec![("x-id-token", token(&key, "admin", "northwind", 300))];
    let answer = browser.submit(&house, &page, &path, &accept).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert!(house.may_register("DirectBillPartner::fabrikam", "northwind"));
}

#[tokio::test]
async fn without_a_valid_token_there_is_no_page() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SigningKey::new("one"));
    let house = house(folder.path(), &key);
    let good = token(&key, "admin", "northwind", 300);
    let cases = [
        vec![],
        vec![("x-id-token", "x".to_owned())],
        vec![("x-id-token", good.clone()), ("x-id-token", good.clone())],
        vec![("x-id-token", token(&key, "admin", "northwind", -61))],
        vec![("x-id-token", token(&SigningKey::new("one"), "admin", "northwind", 300))],
        vec![("x-id-token", token(&SigningKey::new("two"), "admin", "northwind", 300))],
        vec![("x-id-token", good.rsplit_once('.').unwrap().0.to_owned() + ".")],
    ];
    for headers in cases {
        let mut browser = Browser::with(headers);
        browser.get(&house, "/consents").await.expect(403, &["You could not be signed in"]);
    }
    let mut unknown = Browser::with(vec![("x-id-token", token(&key, "admin", "unknown", 300))]);
    unknown.get(&house, "/consents").await.expect(403, &["Your organization is not known here"]);
}
