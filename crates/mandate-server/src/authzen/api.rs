//! What all operations of the AuthZEN API share: the API's state, its limits, the scope of one request, and
//! the error that a caller gets. `http` reads requests and calls the operations in `evaluation` and `search`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Serialize;

use super::turns::{TooManyWaiting, Turns};
use super::wire::{ShapeError, request_error_message};
use crate::access_requests::issuer::{Asking, Issuer};
use crate::listen::rejection::RejectionReason;
use crate::position::PositionError;
use mandate_core::json::{Json, Object};
use mandate_pdp::{DecisionContext, Pdp, PdpError, View};

/// The limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// The length of a body, in bytes.
    pub max_body_bytes: usize,
    /// Evaluations in a batch.
    pub max_batch_items: usize,
    /// Levels of arrays and objects in a body.
    pub max_json_depth: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long the answer may take.
    pub request_timeout: Duration,
    /// How long a request may wait for the position that it names.
    pub max_wait: Duration,
    /// Results on a search page if the request does not set `page.limit`.
    pub default_page_size: usize,
    /// The most results on a search page.
    pub max_page_size: usize,
    /// Entities that are visited for one search page.
    pub max_search_steps: usize,
}

impl ApiLimits {
    /// The largest `max_json_depth`.
    pub const MAX_JSON_DEPTH: usize = Json::MAX_DEPTH;
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            max_batch_items: 1_000,
            max_json_depth: 64,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_wait: Duration::from_secs(1),
            default_page_size: 100,
            max_page_size: 1_000,
            max_search_steps: 10_000,
        }
    }
}

/// The AuthZEN API. Clones share everything.
#[derive(Clone)]
pub struct Api {
    pub(super) pdp: Pdp,
    pub(super) limits: ApiLimits,
    pub(super) turns: Arc<Turns>,
    /// Access requests, if they are taken here.
    pub(super) issuer: Option<Arc<Issuer>>,
}

impl Api {
    pub fn new(pdp: Pdp, limits: ApiLimits) -> Self {
        Self { pdp, limits, turns: Arc::new(Turns::new()), issuer: None }
    }

    /// This API, with access requests.
    #[must_use]
    pub fn with_access_requests(self, issuer: Option<Arc<Issuer>>) -> Self {
        Self { issuer, ..self }
    }
}

/// Answers the object in a request, by the content of a view.
type Run = fn(&Api, &Object<'_>, &RequestScope<'_>, &View<'_>) -> Result<Vec<u8>, ApiError>;

/// An operation: from the JSON object in the request to the JSON text of the answer.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub run: Run,
    /// Whether a request takes so long that it has to wait for a turn.
    pub takes_turn: fn(&Object<'_>) -> bool,
}

/// One request, without its body.
pub struct RequestScope<'r> {
    pub context: DecisionContext<'r>,
    /// When the answer has to be ready.
    pub deadline: Instant,
    /// Set if the caller may submit access requests.
    pub asking: Option<&'r Asking<'r>>,
}

/// An error as AuthZEN wants it: a status, and a sentence as the plain-text body.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// Set if the metric of rejected requests counts it.
    pub(crate) rejection: Option<RejectionReason>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), rejection: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn internal(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The answer took longer than `request_timeout`.
    pub(super) fn timed_out(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).counted_as(RejectionReason::Timeout)
    }

    pub(super) fn counted_as(self, reason: RejectionReason) -> Self {
        Self { rejection: Some(reason), ..self }
    }
}

impl From<PositionError> for ApiError {
    fn from(error: PositionError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

impl From<ShapeError> for ApiError {
    fn from(error: ShapeError) -> Self {
        Self::bad_request(error)
    }
}

impl From<PdpError> for ApiError {
    fn from(error: PdpError) -> Self {
        match error {
            PdpError::Request(error) => Self::bad_request(request_error_message(&error)),
            // The reason is in the log; the caller can do nothing about it.
            PdpError::Decide(_) => Self::internal("the request could not be decided"),
        }
    }
}

impl From<TooManyWaiting> for ApiError {
    fn from(error: TooManyWaiting) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, error.to_string()).counted_as(RejectionReason::Overload)
    }
}

/// The JSON text of an answer.
pub(super) fn to_json_bytes(body: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(256);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|_| ApiError::internal("the answer could not be written"))?;
    Ok(bytes)
}
