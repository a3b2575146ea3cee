//! The pages of signing in and out. How people sign in is in `sign_in`; whom they may act as, in `principals`.

use axum::http::header::{HeaderMap, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use crate::cookie::Cookie;
use crate::demo_page;
use crate::form::{Fields, SentForm};
use crate::form_token::SIGN_OUT;
use crate::instead::Instead;
use crate::layout::redirect;
use crate::message;
use crate::paths::local_path;
use crate::principals::principals;
use crate::session::Session;
use crate::sign_in::SignIn;
use crate::sign_in::claims::shown_name;
use crate::sign_in::failure::Failure;
use crate::sign_in::open_id::{ATTEMPT_SECONDS, Attempt, OpenIdConnect, Returned};
use crate::visit::Visit;
use crate::visitor::Parameters;

/// The path to which an identity provider leads back.
pub const CALLBACK: &str = "/sign-in/callback";

/// The purpose of the sealed cookie with a sign-in that has begun.
const ATTEMPT: &str = "sign-in";

/// The parameter with the page to go to afterwards.
#[derive(Deserialize, Default)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// Begins a sign-in.
pub async fn get(visit: Visit, Parameters(next): Parameters<Next>) -> Result<Response, Instead> {
    let next = local_path(&next.next).to_owned();
    match &visit.pages.sign_in {
        SignIn::Demo => visit.work(move |visit| demo_page::choose(visit, &next)).await,
        SignIn::OpenIdConnect(provider) => {
            let begun = begin(&visit, provider, &next).await;
            begun.map_err(|failure| message::not_signed_in(&visit, &failure).into())
        }
        // It has signed them in already.
        SignIn::Gateway(_) => Ok(redirect(&next)),
    }
}

/// Signs somebody in who chose whom to act as.
pub async fn post(visit: Visit, form: SentForm) -> Result<Response, Instead> {
    if !visit.pages.is_demo() {
        return Err(message::plain(&visit, StatusCode::NOT_FOUND, visit.words().not_found).into());
    }
    let fields = Fields::read(&visit, form)?;
    let next = fields.get("next").to_owned();
    let session = visit.work(move |visit| demo_page::session(visit, &fields)).await??;
    Ok(begin_session(&visit, session, &next))
}

async fn begin(visit: &Visit, provider: &OpenIdConnect, next: &str) -> Result<Response, Failure> {
    let (location, attempt) = provider.begin(&callback_url(visit), next).await?;
    let sealed = serde_json::to_string(&attempt).ok();
    let sealed = sealed.and_then(|text| visit.pages.seal.seal(ATTEMPT, &text));
    let cookie = sealed.and_then(|it| Cookie::Attempt.set(&it, Some(ATTEMPT_SECONDS), visit.pages.is_https));
    let cookie = cookie.ok_or_else(|| Failure::Unavailable("the sign-in cannot be sealed".to_owned()))?;
    let mut response = redirect(&location);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

fn callback_url(visit: &Visit) -> String {
    format!("{}{CALLBACK}", visit.pages.url)
}

/// Ends a sign-in at an identity provider: the browser has come back.
pub async fn callback(
    visit: Visit,
    headers: HeaderMap,
    Parameters(returned): Parameters<Returned>,
) -> Response {
    let SignIn::OpenIdConnect(provider) = &visit.pages.sign_in else {
        return message::plain(&visit, StatusCode::NOT_FOUND, visit.words().not_found);
    };
    let ended = end(&visit, provider, &headers, &returned).await;
    let mut response = ended.unwrap_or_else(|failure| message::not_signed_in(&visit, &failure));
    add_cookie(&mut response, Cookie::Attempt.remove(visit.pages.is_https));
    response
}

async fn end(
    visit: &Visit,
    provider: &OpenIdConnect,
    headers: &HeaderMap,
    returned: &Returned,
) -> Result<Response, Failure> {
    let sealed = Cookie::Attempt.read(headers, visit.pages.is_https).ok_or(Failure::Stale)?;
    let opened = visit.pages.seal.open(ATTEMPT, sealed).ok_or(Failure::Stale)?;
    let attempt: Attempt = serde_json::from_str(&opened).map_err(|_| Failure::Stale)?;
    let claims = provider.end(&callback_url(visit), &attempt, returned).await?;
    let principals = principals(&visit.pages, provider.rules(), &claims).await?;
    let name = shown_name(&claims).or_else(|| Some(principals.first()?.id.clone())).unwrap_or_default();
    Ok(begin_session(visit, Session::new(name, principals), &attempt.next))
}

/// Begins a session, and leads to a page. The id is new, so that nobody can have set it before.
fn begin_session(visit: &Visit, session: Session, next: &str) -> Response {
    let id = visit.pages.sessions.begin(session);
    let mut response = redirect(local_path(next));
    add_cookie(&mut response, Cookie::Session.set(&id, None, visit.pages.is_https));
    response
}

fn add_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Signs out.
pub async fn sign_out(visit: Visit, headers: HeaderMap, form: SentForm) -> Result<Response, Instead> {
    let fields = Fields::read(&visit, form)?;
    let Some(session) = &visit.session else { return Ok(redirect(SIGNED_OUT)) };
    if !fields.is_from(session, SIGN_OUT, &[]) {
        return Err(message::plain(&visit, StatusCode::FORBIDDEN, visit.words().foreign).into());
    }
    if let Some(id) = Cookie::Session.read(&headers, visit.pages.is_https) {
        visit.pages.sessions.end(id);
    }
    let mut response = redirect(SIGNED_OUT);
    add_cookie(&mut response, Cookie::Session.remove(visit.pages.is_https));
    Ok(response)
}

const SIGNED_OUT: &str = "/signed-out";

/// Says that somebody is signed out.
pub async fn signed_out(visit: Visit) -> Response {
    let words = visit.words();
    let more = html! { p { a .button href="/sign-in" { (words.sign_in_again) } } };
    message::with(&visit, StatusCode::OK, words.signed_out, &more)
}
