//! The headers of every answer, and the cookies.

use axum::http::header::SET_COOKIE;

use super::house::{Browser, House, URL};
use crate::{SignIn, check_url};

#[tokio::test]
async fn every_answer_keeps_other_pages_away() {
    let house = House::demo();
    let mut browser = Browser::of(&house, "TenantUser::admin@northwind").await;
    let mut answers = Vec::new();
    for path in
        ["/", "/consents", "/links/x", "/nothing", "/sign-in", "/style.css", "/partner", "/signed-out"]
    {
        answers.push((path, browser.get(&house, path).await));
    }
    answers.push(("POST /consents", browser.post(&house, "/consents", &[]).await));
    for (path, answer) in answers {
        let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        let expected = [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("strict-transport-security", ""),
        ];
        for (name, value) in expected {
            assert_eq!(header(name), value, "{path}: {name}");
        }
        let cached = if path == "/style.css" { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(header("cache-control"), cached, "{path}");
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{path}");
    }
}

#[tokio::test]
async fn cookies_are_of_this_host_alone() {
    let house = House::demo();
    let answer = Browser::default().post(&house, "/sign-in", &[("as", "TenantUser::admin@northwind")]).await;
    let cookie = answer.headers.get(SET_COOKIE).unwrap().to_str().unwrap().to_owned();
    assert!(
        cookie.starts_with("mandate-session=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );

    let house = House::with(SignIn::Demo, "https://localhost");
    let answer = Browser::default().post(&house, "/sign-in", &[("as", "TenantUser::admin@northwind")]).await;
    let cookie = answer.headers.get(SET_COOKIE).unwrap().to_str().unwrap();
    assert!(cookie.starts_with("__Host-mandate-session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(answer.headers.get("strict-transport-security").unwrap(), "max-age=31536000");
}

#[test]
fn urls_of_pages() {
    for url in [URL, "https://localhost", "http://127.0.0.1:1"] {
        assert!(check_url(url, &SignIn::Demo).is_ok(), "{url}");
    }
    for url in [
        "https://consent.example.com",
        "http://consent.example.com",
        "https://localhost/",
        "https://localhost/path",
        "https://user@localhost",
        "localhost",
        "ftp://localhost",
        "",
    ] {
        assert!(check_url(url, &SignIn::Demo).is_err(), "{url}");
    }
}
