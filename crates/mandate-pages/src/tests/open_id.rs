//! The sign-in by OpenID Connect, from the first redirect to the session, and what is refused on the way.

use std::path::Path;

use serde_json::{Value, json};

use super::house::{Answer, Browser, House, URL, name};
use super::provider::{CLIENT_ID, CLIENT_SECRET, CODE, Provider, SigningKey};
use crate::SignIn;
use crate::text::query_value;

const GLOBAL: &str = "62e90394-69f5-4237-9190-012177145e10";
const INTUNE: &str = "3a2c62db-5318-420d-8d74-23affee5d9d5";

/// The rules of the documented example.
pub const PRINCIPALS: &str = r#"
[[principal]]
type = "TenantUser"
id = "{oid}@{tid}"
[principal.attributes]
customer = { entity = "Customer", id = "{tid}" }
roles = { claim = "wids", entity = "Role", map = { "62e90394-69f5-4237-9190-012177145e10" = "global-administrator", "3a2c62db-5318-420d-8d74-23affee5d9d5" = "intune-administrator" } }

[[principal]]
type = "DirectBillPartner"
id = "{tid}"
"#;

fn open(folder: &Path, issuer: &str) -> SignIn {
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    let file = folder.join("sign-in.toml");
    let text = format!(
        "issuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret_file = \"secret\"\nallow_http = true\ntitle = \"Contoso devices\"\n{PRINCIPALS}"
    );
    std::fs::write(&file, text).unwrap();
    SignIn::open(&file).unwrap()
}

struct Setting {
    house: House,
    provider: Provider,
    _folder: tempfile::TempDir,
}

impl Setting {
    async fn new(issuer_path: &str) -> Self {
        let (provider, folder) = (Provider::start().await, tempfile::tempdir().unwrap());
        let sign_in = open(folder.path(), &format!("{}{issuer_path}", provider.url));
        Self { house: House::with(sign_in, URL), provider, _folder: folder }
    }

    /// Begins a sign-in; gives the state and the nonce.
    async fn begin(&self, browser: &mut Browser, next: &str) -> (String, String) {
        let answer = browser.get(&self.house, &format!("/sign-in?next={next}")).await;
        let location = answer.location().to_owned();
        let query = location.strip_prefix(&format!("{}/authorize?", self.provider.url)).unwrap().to_owned();
        let value = |name: &str| query_value(&query, name).unwrap();
        assert_eq!(
            ["response_type", "client_id", "redirect_uri", "scope", "code_challenge_method"].map(value),
            ["code", CLIENT_ID, "http://localhost:8080/sign-in/callback", "openid profile", "S256"]
        );
        self.provider.next.lock().unwrap().challenge = value("code_challenge");
        (value("state"), value("nonce"))
    }

    /// A whole sign-in, with claims that a test changes.
    async fn sign_in(&self, browser: &mut Browser, user: &str, change: impl FnOnce(&mut Value)) -> Answer {
        let (state, nonce) = self.begin(browser, "/consents").await;
        let (user, tenant) = user.split_once('@').unwrap();
        let mut claims = self.provider.claims(&nonce, tenant, user, &[GLOBAL]);
        change(&mut claims);
        self.provider.next.lock().unwrap().claims = claims;
        browser.get(&self.house, &format!("/sign-in/callback?code={CODE}&state={state}")).await
    }

    fn roles(&self, user: &str) -> Vec<String> {
        let view = self.house.pdp.view();
        let (schema, uid) = (view.snapshot().schema(), crate::people::uid(&view, &name(user)).unwrap());
        let Some(stored) = view.snapshot().entities().get(uid.as_uid_ref()) else { return Vec::new() };
        let json = mandate_core::display::entity_json(&stored.entity.unpack(schema), schema);
        let roles = json["attrs"]["roles"].as_array().unwrap().iter();
        roles
            .map(|role| role["__entity"]["id"].as_str().or(role["id"].as_str()).unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn an_administrator_whom_nobody_knew_signs_in_and_accepts() {
    let setting = Setting::new("").await;
    let house = &setting.house;
    let link = house.ask("DirectBillPartner::fabrikam", Some("northwind"), false).link;
    let mut browser = Browser::default();
    let answer = setting.sign_in(&mut browser, "new@northwind", |_| {}).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, "/consents"), "{}", answer.text());
    assert!(browser.cookies.iter().all(|(name, _)| name != "mandate-sign-in"), "it is over");
    assert_eq!(setting.roles("TenantUser::new@northwind"), ["global-administrator"]);
    let path = format!("/links/{link}");
    let page = browser.get(house, &path).await;
    page.expect(200, &["Signed in as Alex Admin", "Contoso devices"]);
    let answer = browser.submit(house, &page, &path, &[("do", "accept"), ("yes", "on")]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert!(house.may_register("DirectBillPartner::fabrikam", "northwind"));
    // Nobody without a password chooses who they are.
    browser.post(house, "/sign-in", &[("as", "TenantUser::admin@contoso")]).await.expect(404, &[]);
}

#[tokio::test]
async fn roles_are_written_at_each_sign_in_if_they_differ() {
    let setting = Setting::new("").await;
    let user = "admin@northwind";
    let mut browser = Browser::default();
    setting.sign_in(&mut browser, user, |_| {}).await;
    let position = setting.house.position();
    setting.sign_in(&mut browser, user, |_| {}).await;
    assert_eq!(setting.house.position(), position, "nothing differs");
    setting.sign_in(&mut browser, user, |claims| claims["wids"] = json!([INTUNE, "other"])).await;
    assert_eq!(setting.roles("TenantUser::admin@northwind"), ["intune-administrator"]);
    setting.sign_in(&mut browser, user, |claims| drop(claims.as_object_mut().unwrap().remove("wids"))).await;
    assert_eq!(setting.roles("TenantUser::admin@northwind"), Vec::<String>::new());
}

#[tokio::test]
async fn whom_somebody_may_act_as() {
    let setting = Setting::new("").await;
    let house = &setting.house;
    let position = house.position();
    let mut browser = Browser::default();
    // An organization that nobody knows: nothing is written.
    let answer = setting.sign_in(&mut browser, "a@unknown", |_| {}).await;
    answer.expect(403, &["Your organization is not known here", "Reference for support"]);
    assert_eq!(house.position(), position);
    // A partner, which is no customer.
    let answer = setting.sign_in(&mut browser, "a@fabrikam", |_| {}).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    browser.get(house, "/").await;
    browser.get(house, "/partner").await.expect(200, &["You act for", "fabrikam"]);
    assert_eq!(house.position(), position);
}

type ChangeClaims = Box<dyn FnOnce(&mut Value)>;

#[tokio::test]
async fn tokens_that_are_not_right_let_nobody_in() {
    let setting = Setting::new("").await;
    let now = mandate_pdp::wall_clock::now().unix_seconds();
    let set = |name: &'static str, value: Value| move |claims: &mut Value| claims[name] = value;
    let cases: Vec<(&str, ChangeClaims)> = vec![
        ("issuer", Box::new(set("iss", json!("https://evil.example")))),
        ("audience", Box::new(set("aud", json!("other")))),
        ("audiences", Box::new(set("aud", json!([CLIENT_ID, "other"])))),
        ("party", Box::new(set("azp", json!("other")))),
        ("nonce", Box::new(set("nonce", json!("other")))),
        ("no nonce", Box::new(set("nonce", Value::Null))),
        ("expired", Box::new(set("exp", json!(now - 61)))),
        ("no end", Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
        ("not yet", Box::new(set("nbf", json!(now + 120)))),
        ("of the future", Box::new(set("iat", json!(now + 120)))),
        ("no subject", Box::new(set("sub", json!("")))),
        ("a claim that is no id", Box::new(set("oid", json!("a\"b")))),
        ("a claim that is too long", Box::new(set("oid", json!("a".repeat(129))))),
        ("no tenant", Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("tid")))),
    ];
    let position = setting.house.position();
    for (what, change) in cases {
        let mut browser = Browser::default();
        let answer = setting.sign_in(&mut browser, "admin@northwind", change).await;
        answer.expect(403, &["You could not be signed in"]);
        assert!(browser.cookies.is_empty(), "{what}");
    }
    // A key that the provider does not publish, under the name of one that it does.
    setting.provider.next.lock().unwrap().key = SigningKey::new("one");
    let mut browser = Browser::default();
    setting.sign_in(&mut browser, "admin@northwind", |_| {}).await.expect(403, &[]);
    assert_eq!(setting.house.position(), position);
}

#[tokio::test]
async fn a_sign_in_ends_in_the_browser_where_it_began() {
    let setting = Setting::new("").await;
    let house = &setting.house;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let (state, nonce) = setting.begin(&mut browser, "/").await;
    setting.provider.next.lock().unwrap().claims =
        setting.provider.claims(&nonce, "northwind", "admin", &[GLOBAL]);
    let callback = format!("/sign-in/callback?code={CODE}&state={state}");
    // Without the cookie, as when somebody sends the link of their own sign-in.
    other.get(house, &callback).await.expect(400, &["Please begin again"]);
    assert!(other.cookies.is_empty());
    setting.begin(&mut other, "/").await;
    other.get(house, &callback).await.expect(400, &["Please begin again"]);
    // Another state, or none; then the attempt is over.
    for query in [format!("code={CODE}&state=x"), format!("code={CODE}"), String::new()] {
        let mut copy = Browser { cookies: browser.cookies.clone(), ..Browser::default() };
        copy.get(house, &format!("/sign-in/callback?{query}")).await.expect(400, &["Please begin again"]);
        assert!(copy.cookies.is_empty());
    }
    let mut copy = Browser { cookies: browser.cookies.clone(), ..Browser::default() };
    let wrong = format!("/sign-in/callback?code=other&state={state}");
    copy.get(house, &wrong).await.expect(403, &["You could not be signed in"]);
    let mut copy = Browser { cookies: browser.cookies.clone(), ..Browser::default() };
    let denied = format!("/sign-in/callback?error=access_denied&state={state}");
    copy.get(house, &denied).await.expect(403, &["You could not be signed in"]);
    let mut copy = Browser { cookies: browser.cookies.clone(), ..Browser::default() };
    let mixed = format!("{callback}&iss=https%3A%2F%2Fevil.example");
    copy.get(house, &mixed).await.expect(403, &["You could not be signed in"]);
}

#[tokio::test]
async fn an_issuer_of_many_organizations() {
    let setting = Setting::new("/organizations").await;
    let url = setting.provider.url.clone();
    setting.provider.next.lock().unwrap().issuer = format!("{url}/{{tenantid}}");
    let mut browser = Browser::default();
    let own = format!("{url}/northwind");
    let answer = setting.sign_in(&mut browser, "admin@northwind", |claims| claims["iss"] = json!(own)).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    for issuer in [format!("{url}/contoso"), format!("{url}/{{tenantid}}"), url.clone()] {
        let mut browser = Browser::default();
        let answer =
            setting.sign_in(&mut browser, "admin@northwind", |claims| claims["iss"] = json!(issuer)).await;
        answer.expect(403, &["You could not be signed in"]);
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let house = House::with(open(folder.path(), &url), URL);
    let answer = Browser::default().get(&house, "/sign-in").await;
    answer.expect(503, &["Signing in does not work right now", "Reference for support"]);
    assert!(!answer.body.contains("127.0.0.1"), "details are only in the log");
}

#[tokio::test]
async fn a_provider_that_names_another_issuer() {
    let setting = Setting::new("").await;
    setting.provider.next.lock().unwrap().issuer = "https://evil.example".to_owned();
    Browser::default().get(&setting.house, "/sign-in").await.expect(503, &[]);
}
