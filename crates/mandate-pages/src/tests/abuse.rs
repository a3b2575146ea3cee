//! What others may try: forged, replayed and swapped forms, other sites, other machines, and names that want to be markup.

use axum::http::Method;

use super::house::{Browser, House};

const ADMIN: &str = "TenantUser::admin@northwind";
const FABRIKAM: &str = "DirectBillPartner::fabrikam";
const ACCEPT: [(&str, &str); 2] = [("do", "accept"), ("yes", "on")];

#[tokio::test]
async fn a_get_changes_nothing() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, Some("northwind"), true).link;
    let mut browser = Browser::of(&house, ADMIN).await;
    let position = house.position();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
        for path in [
            format!("/links/{link}"),
            format!("/links/{link}?do=accept&yes=on"),
            "/consents/CspConsent/x?do=remove-administration".to_owned(),
            "/partner?do=ask".to_owned(),
            "/sign-out".to_owned(),
        ] {
            browser.send(&house, method.clone(), &path, "do=accept&yes=on".into()).await;
        }
    }
    assert_eq!(house.position(), position);
    browser.get(&house, "/consents").await.expect(200, &[]);
}

#[tokio::test]
async fn tokens_are_of_one_session_one_link_and_one_page() {
    let house = House::demo();
    let [link, other] = ["fabrikam", "adventure-works"]
        .map(|it| house.ask(&format!("DirectBillPartner::{it}"), Some("northwind"), false).link);
    let (path, other_path) = (format!("/links/{link}"), format!("/links/{other}"));
    let mut browser = Browser::of(&house, ADMIN).await;
    let page = browser.get(&house, &path).await;
    let other_page = browser.get(&house, &other_path).await;
    let mut second = Browser::of(&house, ADMIN).await;
    let page_of_second = second.get(&house, &path).await;
    let token = |page: &super::house::Answer, path: &str| {
        page.hidden_of(path).into_iter().find(|(name, _)| name == "token").unwrap().1
    };
    let good = token(&page, &path);
    let tokens = [
        ("no token", String::new()),
        ("another link's", token(&other_page, &other_path)),
        ("another session's", token(&page_of_second, &path)),
        ("the one to sign out", token(&page, "/sign-out")),
        ("a changed one", format!("A{}", &good[1..])),
        ("a cut one", good[..10].to_owned()),
    ];
    let position = house.position();
    for (which, token) in tokens {
        if token == good {
            continue;
        }
        let answer = browser.post(&house, &path, &[ACCEPT[0], ACCEPT[1], ("token", &token)]).await;
        assert_eq!(answer.status.as_u16(), 409, "{which}: {}", answer.text());
        assert_eq!(house.position(), position, "{which}");
    }
    // After a new sign-in, forms of the session before are worth nothing.
    let mut again = Browser { cookies: browser.cookies.clone(), ..Browser::default() };
    let before = again.cookies.clone();
    again.post(&house, "/sign-in", &[("as", ADMIN)]).await;
    assert_ne!(again.cookies, before);
    again.post(&house, &path, &[ACCEPT[0], ACCEPT[1], ("token", &good)]).await.expect(409, &[]);
    assert_eq!(house.position(), position);
}

#[tokio::test]
async fn other_sites_cannot_send_forms() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let path = format!("/links/{link}");
    let mut browser = Browser::of(&house, ADMIN).await;
    let page = browser.get(&house, &path).await;
    let position = house.position();
    let foreign = [
        vec![("origin", "https://evil.example")],
        vec![("origin", "http://localhost:8080.evil.example")],
        vec![("origin", "https://localhost:8080")],
        vec![("origin", "http://localhost")],
        vec![("origin", "null")],
        vec![("origin", "null"), ("sec-fetch-site", "cross-site")],
        vec![("origin", "http://localhost:8080"), ("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "none")],
        vec![("sec-fetch-site", "cross-site")],
    ];
    for headers in foreign {
        let named = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        browser.headers = named;
        let answer = browser.submit(&house, &page, &path, &ACCEPT).await;
        answer.expect(403, &["This came from another page"]);
        assert_eq!(house.position(), position, "{headers:?}");
    }
    browser.headers = vec![("origin", "null".into()), ("sec-fetch-site", "same-origin".into())];
    assert_eq!(browser.submit(&house, &page, &path, &ACCEPT).await.status.as_u16(), 303);
}

#[tokio::test]
async fn a_session_that_is_over_changes_nothing_and_says_so() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let path = format!("/links/{link}");
    let mut browser = Browser::of(&house, ADMIN).await;
    let page = browser.get(&house, &path).await;
    let stolen = browser.cookies.clone();
    let answer = browser.submit(&house, &page, "/sign-out", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, "/signed-out"));
    assert!(browser.cookies.is_empty());
    browser.get(&house, "/signed-out").await.expect(200, &["You are signed out"]);
    let mut thief = Browser { cookies: stolen, ..Browser::default() };
    let answer = thief.submit(&house, &page, &path, &ACCEPT).await;
    answer.expect(403, &["You are not signed in any more", "Sign in again"]);
    assert!(!house.may_register(FABRIKAM, "northwind"));
}

#[tokio::test]
async fn the_demo_stays_on_this_machine() {
    let house = House::demo();
    for (host, status) in
        [("127.0.0.1:8080", 303), ("[::1]:8080", 303), ("evil.example:8080", 403), ("", 403)]
    {
        let mut browser = Browser::with(vec![("host", host.to_owned())]);
        let answer = browser.get(&house, "/consents").await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
        let answer = browser.post(&house, "/sign-in", &[("as", ADMIN)]).await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
    for unknown in
        ["TenantUser::nobody@northwind", "Customer::northwind", "Role::global-administrator", "x", ""]
    {
        let mut browser = Browser::default();
        browser.post(&house, "/sign-in", &[("as", unknown)]).await.expect(400, &[]);
        assert!(browser.cookies.is_empty());
    }
}

#[tokio::test]
async fn nobody_is_led_to_other_sites() {
    let house = House::demo();
    for next in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let mut browser = Browser::default();
        let answer = browser.post(&house, "/sign-in", &[("as", ADMIN), ("next", next)]).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "/"), "{next}");
    }
}

#[tokio::test]
async fn names_are_neither_markup_nor_turned_around() {
    let house = House::demo();
    house.write(
        r#"{"uid":{"type":"Autopilot::DirectBillPartner","id":"fabrikam"},"attrs":{"active":true,"displayName":"<script>alert(1)</script> \u202Egnp.Microsoft\" onclick=\"x {resource}"},"parents":[]}"#,
    );
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let mut browser = Browser::of(&house, ADMIN).await;
    let page = browser.get(&house, &format!("/links/{link}")).await;
    assert!(page.body.contains(
        "<bdi>&lt;script&gt;alert(1)&lt;/script&gt; gnp.Microsoft&quot; onclick=&quot;x {resource}</bdi>"
    ));
    assert!(
        !page.body.contains("<script")
            && !page.body.contains('\u{202E}')
            && !page.body.contains("\" onclick")
    );
    let mut partner = Browser::of(&house, FABRIKAM).await;
    let page = partner.get(&house, "/partner").await;
    assert!(
        !page.body.contains("<script")
            && !page.body.contains('\u{202E}')
            && !page.body.contains("\" onclick")
    );
}

#[tokio::test]
async fn long_and_broken_forms_are_refused() {
    let house = House::demo();
    let link = house.ask(FABRIKAM, Some("northwind"), false).link;
    let path = format!("/links/{link}");
    let mut browser = Browser::of(&house, ADMIN).await;
    let long = format!("do=accept&yes=on&x={}", "a".repeat(20_000));
    let bodies =
        [(long.as_str(), 413), ("do=accept&do=decline&yes=on", 400), ("do=%FF", 400), ("do=other", 400)];
    for (body, status) in bodies {
        let answer = browser.send(&house, Method::POST, &path, body.to_owned()).await;
        assert_eq!(answer.status.as_u16(), status, "{body:.40}");
    }
    assert!(!house.may_register(FABRIKAM, "northwind"));
}

#[tokio::test]
async fn another_session_cannot_have_us_say_that_something_was_done() {
    let house = House::demo();
    let mut browser = Browser::of(&house, ADMIN).await;
    for query in ["done=accepted", "done=accepted&proof=", "done=accepted&proof=AAAA"] {
        let page = browser.get(&house, &format!("/consents?{query}")).await;
        assert!(!page.text().contains("You have accepted"), "{query}");
    }
}
