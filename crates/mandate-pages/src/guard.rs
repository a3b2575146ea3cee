//! What every request and every answer has to keep, whatever the page: a change comes from a page of ours, the demo
//! sign-in stays on this machine, and the headers keep other pages away from ours.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use mandate_client::is_this_machine;

use crate::cookie::Cookie;
use crate::language::Language;
use crate::message;
use crate::pages::Pages;
use crate::text::query_value;
use crate::visit::{LANGUAGE, Visit};

/// Nothing is loaded but our stylesheet, nothing runs, forms go only to us, and no page shows ours inside itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";

/// A year, in seconds.
const YEAR: u64 = 31_536_000;

/// Lets a request pass, or refuses it, and puts the headers on the answer.
pub async fn guard(State(pages): State<Arc<Pages>>, request: Request, next: Next) -> Response {
    let language = chosen_language(&pages, &request);
    let is_style = request.uri().path() == "/style.css";
    let mut response = match check(&pages, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            let (parts, _) = request.into_parts();
            let visit = Visit::anonymous(&parts, &pages);
            match refused {
                Refused::OtherMachine => {
                    message::plain(&visit, StatusCode::FORBIDDEN, visit.words().demo_host)
                }
                Refused::Foreign => message::plain(&visit, StatusCode::FORBIDDEN, visit.words().foreign),
            }
        }
    };
    let headers = response.headers_mut();
    if let Some(cookie) = language {
        headers.append(SET_COOKIE, cookie);
    }
    put_headers(headers, &pages, is_style);
    response
}

enum Refused {
    OtherMachine,
    Foreign,
}

fn check(pages: &Pages, request: &Request) -> Result<(), Refused> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    if pages.is_demo() && !host.is_some_and(is_this_machine) {
        return Err(Refused::OtherMachine);
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_safe || is_ours(pages, request.headers(), host) { Ok(()) } else { Err(Refused::Foreign) }
}

/// Whether a browser sent this from a page of ours, as far as it says. Programs say nothing; the token of the form
/// decides then.
fn is_ours(pages: &Pages, headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let site = text(SEC_FETCH_SITE);
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match text(ORIGIN) {
        None => true,
        // Our policy on referrers has browsers leave out our origin even to ourselves. Then they say the rest.
        Some("null") => site.is_some(),
        Some(origin) => {
            // The demo sign-in is for all names of this machine, which `check` has made sure of.
            let demo = || host.filter(|_| pages.is_demo()).map(|host| format!("http://{host}"));
            origin == pages.url || demo().is_some_and(|demo| origin == demo)
        }
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The cookie that keeps the language that a link chose.
fn chosen_language(pages: &Pages, request: &Request) -> Option<HeaderValue> {
    let code = query_value(request.uri().query()?, LANGUAGE)?;
    let language = Language::from_code(&code).filter(|_| *request.method() == Method::GET)?;
    Cookie::Language.set(language.code(), Some(YEAR), pages.is_https)
}

fn put_headers(headers: &mut HeaderMap, pages: &Pages, is_style: bool) {
    let mut put =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(X_FRAME_OPTIONS, "DENY");
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(REFERRER_POLICY, "no-referrer");
    put(CACHE_CONTROL, if is_style { "public, max-age=31536000, immutable" } else { "no-store" });
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    put(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    if pages.is_https {
        put(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

/// The pages use none of these.
const PERMISSIONS: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-read=()";
