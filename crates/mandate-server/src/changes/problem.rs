//! The answer to a change that was not made (RFC 9457): what is wrong, and what to do.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::rights::NoRight;
use crate::authzen::api::ApiError;
use crate::context::REQUEST_ID;
use crate::listen::rejection::RejectionReason;
use crate::position;
use mandate_core::diagnostics::{Diagnostics, SourceSpan};
use mandate_pdp::access_request::RequestStatus;
use mandate_pdp::proposal::{DecidedAction, Refusal};
use mandate_pdp::{DecisionId, Pdp};
use mandate_store::EntityName;

/// A change that was not made.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// Members besides those of every problem.
    more: Map<String, Value>,
    rejection: Option<RejectionReason>,
}

/// The name of the body of a request, as a source of errors.
pub const BODY: &str = "body";

/// The most errors that an answer lists.
const MAX_ERRORS: usize = 50;

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), more: Map::new(), rejection: None }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// This problem with another member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The policies do not permit an action.
    pub fn denied(id: DecisionId, DecidedAction { decision, .. }: &DecidedAction) -> Self {
        let policies: Vec<&str> =
            decision.reported_policies().iter().map(|policy| policy.id.as_str()).collect();
        Self::new(StatusCode::FORBIDDEN, decision.reason())
            .with("decision", false)
            .with("decision_id", id.to_string())
            .with("outcome", decision.outcome.as_str())
            .with("policies", policies)
    }

    /// Everything that is wrong with entities.
    pub fn of_diagnostics(status: StatusCode, detail: &str, diagnostics: &Diagnostics) -> Self {
        let errors = diagnostics.iter().take(MAX_ERRORS).map(|diagnostic| {
            let place = diagnostic.span.as_ref().map(SourceSpan::line_column);
            let (line, column) = place.unzip();
            let file = diagnostic.span.as_ref().map(|span| span.source.path.as_str());
            let file = file.filter(|file| *file != BODY);
            json!({ "message": diagnostic.message, "file": file, "line": line, "column": column, "help": diagnostic.help })
        });
        let first = diagnostics.iter().next().map(|first| first.message.clone()).unwrap_or_default();
        Self::new(status, format!("{detail}: {first}")).with("errors", errors.collect::<Vec<_>>())
    }

    /// A proposal was refused; `has_key` is whether its sender may send it again without doing it twice.
    pub fn of_refusal(refusal: &Refusal, has_key: bool) -> Self {
        let detail = refusal.to_string();
        match refusal {
            // Denials have an answer of their own; without their id they are denials all the same.
            Refusal::Denied { denied, .. } => Self::denied(DecisionId::generate(), denied),
            Refusal::Invalid { diagnostics, .. } => {
                let detail = "the entities would break the rules of the schema";
                Self::of_diagnostics(StatusCode::CONFLICT, detail, diagnostics)
            }
            Refusal::Precondition { version, .. } => {
                let detail = format!("{detail}: read it again, and send the change that is still right");
                Self::new(StatusCode::PRECONDITION_FAILED, detail).with("version", *version)
            }
            Refusal::NotFound { .. } | Refusal::UnknownRequest | Refusal::UnknownTask => {
                Self::new(StatusCode::NOT_FOUND, detail)
            }
            Refusal::RequesterDenied { denied } => {
                let problem = Self::denied(DecisionId::generate(), denied);
                Self { detail: format!("{detail}: {}", problem.detail), ..problem }
            }
            Refusal::RequestEnded(RequestStatus::Expired) => {
                Self::new(StatusCode::GONE, "the link has expired: ask for a new one")
            }
            Refusal::NotPerformable { .. }
            | Refusal::RequestEnded(_)
            | Refusal::AcceptedAlready
            | Refusal::TaskEnded(_)
            | Refusal::DenialUsed { .. } => Self::new(StatusCode::CONFLICT, detail),
            Refusal::TooManyRequests(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, detail),
            Refusal::NotReviewable(_) => Self::bad_request(detail),
            Refusal::KeyReused { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            Refusal::SchemaChanged | Refusal::TooManyConflicts | Refusal::TooLate => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
            Refusal::Overload => Self {
                rejection: Some(RejectionReason::Overload),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            },
            // Paths of files are for operators; the log has them.
            Refusal::NotCommitted(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "nothing was changed: the store cannot be written now; try again later",
            ),
            Refusal::Unknown => Self::unknown(has_key),
        }
    }

    /// Nobody knows yet whether a change was committed.
    pub fn unknown(has_key: bool) -> Self {
        let how = if has_key {
            "send it again with the same Idempotency-Key: it is not done twice"
        } else {
            "look at the entities, or at `mandate entities log`; a request with an Idempotency-Key can be repeated"
        };
        let detail = format!("it is not known whether this was committed: {how}");
        Self {
            rejection: Some(RejectionReason::Timeout),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    pub fn is_client_error(&self) -> bool {
        self.status.is_client_error()
    }

    pub fn response(self) -> Response<Full<Bytes>> {
        let Self { status, detail, more, rejection } = self;
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(more);
        }
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(rejection) = rejection {
            response.extensions_mut().insert(rejection);
        }
        response
    }
}

impl From<NoRight> for Problem {
    fn from(no_right: NoRight) -> Self {
        Self::new(StatusCode::FORBIDDEN, no_right.to_string())
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self { rejection: error.rejection, ..Self::new(error.status, error.message) }
    }
}

/// The answer to a request, or the problem with it, with what all answers have in common. `allowed` are the methods of
/// the endpoint, for `Allow`.
pub fn finish(
    pdp: &Pdp,
    allowed: &'static str,
    head: &Parts,
    answer: Result<Response<Full<Bytes>>, Problem>,
) -> Response<Full<Bytes>> {
    let mut response = answer.unwrap_or_else(|problem| {
        if problem.is_client_error() {
            pdp.count_bad_request();
        }
        let mut response = problem.response();
        position::insert(response.headers_mut(), pdp.view().position());
        response
    });
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if let Some(id) = head.headers.get(&REQUEST_ID) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
    }
    response
}

/// The JSON of an entity's name.
pub fn name_json(name: &EntityName) -> Value {
    json!({ "type": name.entity_type, "id": name.id })
}
