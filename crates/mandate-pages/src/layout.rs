//! What is around every page: head, header, navigation, language switch. There is no script, and the only stylesheet is
//! in the binary.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::form_token::sign_out_token;
use crate::language::Language;
use crate::people;
use crate::secret::sha256_text;
use crate::session::Session;
use crate::visit::{LANGUAGE, Visit};

pub const STYLE: &str = include_str!("style.css");

/// The path of the stylesheet, which changes with its content, so that browsers may keep it.
static STYLE_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/style.css?v={}", sha256_text(STYLE).chars().take(12).collect::<String>()));

/// A page as an answer.
pub fn page(visit: &Visit, status: StatusCode, title: &str, main: &Markup) -> Response {
    let words = visit.words();
    let operator = visit.pages.sign_in.title().unwrap_or(words.product);
    let document = html! {
        (DOCTYPE)
        html lang=(visit.language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – " (operator) }
                link rel="stylesheet" href=(STYLE_PATH.as_str());
                link rel="icon" href="data:,";
            }
            body {
                a .skip href="#main" { (words.skip) }
                header .top {
                    @if visit.pages.is_demo() { p .demo role="note" { (words.demo) } }
                    div .bar {
                        p .operator { a href="/" { (operator) } }
                        (languages(visit))
                    }
                    @if let Some(session) = &visit.session { (who(visit, session)) }
                }
                main #main tabindex="-1" { (main) }
            }
        }
    };
    html_answer(status, document)
}

fn html_answer(status: StatusCode, document: Markup) -> Response {
    let mut response = (status, document.into_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn languages(visit: &Visit) -> Markup {
    html! {
        nav .languages aria-label=(visit.words().language) {
            @for language in Language::ALL {
                @let is_current = (language == visit.language).then_some("true");
                a href={ (visit.path) "?" (visit.query) @if !visit.query.is_empty() { "&" } (LANGUAGE) "=" (language.code()) }
                    lang=(language.code())
                    hreflang=(language.code()) aria-current=[is_current] { (language.name()) }
            }
        }
    }
}

/// Who is signed in, and where they can go.
fn who(visit: &Visit, session: &Session) -> Markup {
    let (words, view) = (visit.words(), visit.pages.pdp.view());
    let is = |test: &dyn Fn(&mandate_store::EntityName) -> bool| session.principals.iter().any(test);
    let reviews = is(&|principal| people::is_reviewer(&view, principal));
    let requests = is(&|principal| people::is_requester(&view, principal));
    let current = |path: &str| visit.path.starts_with(path).then_some("page");
    html! {
        div .bar {
            nav aria-label=(words.navigation) {
                @if reviews { a href="/consents" aria-current=[current("/consents")] { (words.consents) } }
                @if requests { a href="/partner" aria-current=[current("/partner")] { (words.partner) } }
            }
            div .who {
                p { (words.signed_in_as) " " bdi { (session.name) } }
                @if session.can_end {
                    form method="post" action="/sign-out" {
                        input type="hidden" name="token" value=(sign_out_token(session));
                        button .quiet type="submit" { (words.sign_out) }
                    }
                }
            }
        }
    }
}

/// An answer that leads to another page of ours.
pub fn redirect(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}
