//! Pages that say one thing: what is wrong, and what the reader can do.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::Response;
use mandate_pdp::access_request::RequestStatus;
use mandate_pdp::proposal::Refusal;
use mandate_pdp::request_book::RequestBookError;
use maud::{Markup, html};

use crate::layout::page;
use crate::paths::path_to;
use crate::people::reason;
use crate::secret::unguessable;
use crate::sign_in::failure::Failure;
use crate::texts::Message;
use crate::visit::Visit;

/// A page with a message and nothing more.
pub fn plain(visit: &Visit, status: StatusCode, message: Message) -> Response {
    with(visit, status, message, &html! {})
}

/// A page with a message, and more below.
pub fn with(visit: &Visit, status: StatusCode, message: Message, more: &Markup) -> Response {
    let main = html! {
        h1 { (message.title) }
        p .lead { (message.text) }
        (more)
    };
    let mut response = page(visit, status, message.title, &main);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    }
    response
}

/// Nobody is signed in any more.
pub fn sign_in_again(visit: &Visit) -> Response {
    let words = visit.words();
    let more = html! { p { a .button href=(path_to(&visit.path)) { (words.sign_in_again) } } };
    with(visit, StatusCode::FORBIDDEN, words.session_over, &more)
}

/// Somebody could not be signed in. Details are only in the log.
pub fn not_signed_in(visit: &Visit, failure: &Failure) -> Response {
    let words = visit.words();
    let (status, message) = match failure {
        Failure::Invalid(_) => (StatusCode::FORBIDDEN, words.sign_in_failed),
        Failure::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, words.sign_in_unavailable),
        Failure::Stale => (StatusCode::BAD_REQUEST, words.sign_in_stale),
        Failure::UnknownOrganization(_) => (StatusCode::FORBIDDEN, words.unknown_organization),
        Failure::Nobody => (StatusCode::FORBIDDEN, words.nobody),
    };
    let reference: String = unguessable().chars().take(12).collect();
    tracing::info!(reference, %failure, "somebody could not be signed in");
    let more = html! { p .hint { (words.reference) " " code { (reference) } } };
    with(visit, status, message, &more)
}

/// The store cannot be read.
pub fn unreadable(visit: &Visit, error: &RequestBookError) -> Response {
    tracing::warn!(%error, "a request cannot be read");
    plain(visit, StatusCode::SERVICE_UNAVAILABLE, visit.words().not_now)
}

/// The status of a request that does not wait any more, as a page.
pub fn ended(visit: &Visit, status: RequestStatus) -> (StatusCode, Message) {
    let words = visit.words();
    match status {
        RequestStatus::Expired => (StatusCode::GONE, words.expired),
        RequestStatus::Denied => (StatusCode::CONFLICT, words.declined),
        RequestStatus::Cancelled => (StatusCode::CONFLICT, words.withdrawn),
        RequestStatus::Approved | RequestStatus::Pending => (StatusCode::CONFLICT, words.accepted),
    }
}

/// Why nothing was changed, as a page. Denials have their reason below; `who` says who may.
pub fn refused(visit: &Visit, refusal: &Refusal, who: Option<&str>) -> Response {
    let words = visit.words();
    let (status, message) = match refusal {
        Refusal::UnknownRequest => (StatusCode::NOT_FOUND, words.unknown_link),
        Refusal::RequestEnded(status) => ended(visit, *status),
        Refusal::AcceptedAlready => (StatusCode::CONFLICT, words.accepted_before),
        Refusal::RequesterDenied { .. } => (StatusCode::FORBIDDEN, words.requester_denied),
        Refusal::Denied { denied, .. } => {
            let reason = reason(&denied.decision, visit.language);
            let more = html! {
                @match who {
                    Some(who) => p .box { (who) },
                    None => p .box { (reason) },
                }
            };
            return with(visit, StatusCode::FORBIDDEN, words.denied, &more);
        }
        Refusal::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, words.too_many),
        Refusal::NotReviewable(_)
        | Refusal::NotPerformable { .. }
        | Refusal::Invalid { .. }
        | Refusal::Precondition { .. }
        | Refusal::NotFound { .. }
        | Refusal::KeyReused { .. }
        | Refusal::UnknownTask
        | Refusal::TaskEnded(_)
        | Refusal::DenialUsed { .. } => {
            tracing::debug!(%refusal, "a change from a page cannot be made");
            (StatusCode::CONFLICT, words.not_usable)
        }
        Refusal::SchemaChanged
        | Refusal::Overload
        | Refusal::TooLate
        | Refusal::NotCommitted(_)
        | Refusal::TooManyConflicts => (StatusCode::SERVICE_UNAVAILABLE, words.not_now),
        Refusal::Unknown => (StatusCode::SERVICE_UNAVAILABLE, words.unknown_outcome),
    };
    plain(visit, status, message)
}
