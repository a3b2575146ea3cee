//! Which path leads to which page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::guard::guard;
use crate::instead::Instead;
use crate::layout::{STYLE, redirect};
use crate::pages::{Pages, PagesConfig};
use crate::visit::Visit;
use crate::{consents, link, message, partner, people, sign_in_page};

/// The longest form, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// All pages.
pub fn router(config: PagesConfig) -> Router {
    let pages = Arc::new(Pages::new(config));
    Router::new()
        .route("/", get(first_page))
        .route("/links/{link}", get(link::get).post(link::post))
        .route("/consents", get(consents::list))
        .route("/consents/{type}/{id}", get(consents::confirm).post(consents::post))
        .route("/partner", get(partner::get).post(partner::post))
        .route("/sign-in", get(sign_in_page::get).post(sign_in_page::post))
        .route("/sign-in/callback", get(sign_in_page::callback))
        .route("/sign-out", post(sign_in_page::sign_out))
        .route("/signed-out", get(sign_in_page::signed_out))
        .route("/style.css", get(style))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(from_fn_with_state(Arc::clone(&pages), guard))
        .with_state(pages)
}

/// The first page of somebody.
async fn first_page(visit: Visit) -> Result<Response, Instead> {
    let session = visit.signed_in()?;
    let view = visit.pages.pdp.view();
    let is = |test: &dyn Fn(&mandate_store::EntityName) -> bool| session.principals.iter().any(test);
    if is(&|principal| people::is_reviewer(&view, principal)) {
        return Ok(redirect("/consents"));
    }
    if is(&|principal| people::is_requester(&view, principal)) {
        return Ok(redirect("/partner"));
    }
    Ok(message::plain(&visit, StatusCode::FORBIDDEN, visit.words().nobody))
}

async fn style() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"))], STYLE).into_response()
}

async fn not_found(State(_): State<Arc<Pages>>, visit: Visit) -> Response {
    message::plain(&visit, StatusCode::NOT_FOUND, visit.words().not_found)
}
