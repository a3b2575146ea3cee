//! The decision API: `OpenID` AuthZEN Authorization API 1.0. How requests are taken, and errors said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::wire::request_error_message;
use super::{evaluation, search};
use crate::body::{BodyError, ReceivedBody, read_body};
use crate::context::{self, REQUEST_ID};
use crate::listen::rejection::RejectionReason;
use mandate_core::json::{Json, Object};
use mandate_pdp::{DecisionContext, Pdp, PdpError, Transport};

/// What one caller may ask for at a time.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// A body's length, in bytes.
    pub max_body_bytes: usize,
    /// Questions in a batch.
    pub max_batch_items: usize,
    /// Levels of arrays and objects in a body.
    pub max_json_depth: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take until it is answered.
    pub request_timeout: Duration,
    /// Results of a page of a search that does not say how many it wants.
    pub default_page_size: usize,
    /// Results of any page.
    pub max_page_size: usize,
    /// Entities that are looked at for one page.
    pub max_search_steps: usize,
}

impl ApiLimits {
    /// The most levels that can be allowed.
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
            default_page_size: 100,
            max_page_size: 1_000,
            max_search_steps: 10_000,
        }
    }
}

/// The decision API: it answers requests of whatever path.
#[derive(Clone)]
pub struct Api {
    pub(super) pdp: Pdp,
    pub(super) limits: ApiLimits,
    search_limiter: Arc<SearchLimiter>,
}

/// Turns at searching: a search takes a core for longer than a decision, and decisions must find one.
#[derive(Debug)]
struct SearchLimiter {
    running: Semaphore,
    /// Those that run or wait.
    running_or_waiting: Semaphore,
}

/// Searches that may wait for their turn.
const MAX_WAITING_SEARCHES: usize = 64;

impl SearchLimiter {
    fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = cores.saturating_sub(1).max(1);
        Self {
            running: Semaphore::new(running),
            running_or_waiting: Semaphore::new(running + MAX_WAITING_SEARCHES),
        }
    }

    /// Waits for a turn; whoever gives up waiting is forgotten.
    async fn acquire(&self) -> Result<[SemaphorePermit<'_>; 2], ApiError> {
        let full = |_| {
            let message = "too many searches at a time: try again";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).with_reason(RejectionReason::Overload)
        };
        let place = self.running_or_waiting.try_acquire().map_err(full)?;
        // Neither is ever closed.
        let turn = self.running.acquire().await.map_err(|_| ApiError::timed_out("searches have ended"))?;
        Ok([place, turn])
    }
}

/// An error in AuthZEN's form: a status, and a sentence as the body.
pub(super) struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// What it is counted as, where operators want to see that.
    reason: Option<RejectionReason>,
}

impl ApiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), reason: None }
    }

    fn with_reason(self, reason: RejectionReason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    fn internal(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// It takes longer than it may.
    pub(super) fn timed_out(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).with_reason(RejectionReason::Timeout)
    }
}

impl From<PdpError> for ApiError {
    fn from(refusal: PdpError) -> Self {
        match refusal {
            PdpError::Request(error) => Self::bad_request(request_error_message(&error)),
            // Why is in the log; the caller can do nothing about it.
            PdpError::Decide(_) => Self::internal("the request could not be decided"),
        }
    }
}

/// From the body of a request to the body of its answer, which has to be there in time.
type EndpointFn = fn(&Api, &Object<'_>, &RequestScope<'_>) -> Result<Vec<u8>, ApiError>;

/// What answers at a path.
#[derive(Clone, Copy)]
struct Endpoint {
    evaluate: EndpointFn,
    /// Whether it takes turns.
    is_search: bool,
}

/// What belongs to one request besides its body.
pub(super) struct RequestScope<'r> {
    pub context: DecisionContext<'r>,
    /// Until when the request has to be answered.
    pub deadline: Instant,
}

impl Api {
    pub fn new(pdp: Pdp, limits: ApiLimits) -> Self {
        Self { pdp, limits, search_limiter: Arc::new(SearchLimiter::new()) }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let deadline = Instant::now() + self.limits.request_timeout;
        let (head, body) = request.into_parts();
        let context = context::of_request(Transport::AuthZen, &head.headers, &head.extensions);
        let scope = RequestScope { context, deadline };
        let answer = match find_endpoint(head.uri.path(), &head.method) {
            Ok(endpoint) => self.evaluate(&head.headers, body, endpoint, &scope).await,
            Err(problem) => Err(problem),
        };
        let mut response = match answer {
            Ok(body) => respond(StatusCode::OK, "application/json", body),
            Err(ApiError { status, message, reason }) => {
                let mut response = respond(status, "text/plain; charset=utf-8", message);
                if let Some(reason) = reason {
                    response.extensions_mut().insert(reason);
                }
                response
            }
        };
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(id) = head.headers.get(&REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response
    }

    async fn evaluate(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        Endpoint { evaluate, is_search }: Endpoint,
        scope: &RequestScope<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        let answer = match self.read_json_body(headers, body).await {
            Ok(body) if is_search => match self.search_limiter.acquire().await {
                Ok(_turn) => self.parse_and_evaluate(&body, evaluate, scope),
                Err(problem) => Err(problem),
            },
            Ok(body) => self.parse_and_evaluate(&body, evaluate, scope),
            Err(problem) => Err(problem),
        };
        if answer.as_ref().is_err_and(|problem| problem.status.is_client_error()) {
            self.pdp.count_bad_request();
        }
        answer
    }

    fn parse_and_evaluate(
        &self,
        body: &[u8],
        evaluate: EndpointFn,
        scope: &RequestScope<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        parse_json(body, self.limits.max_json_depth)
            .and_then(|json| evaluate(self, expect_object(&json)?, scope))
    }

    /// The answer to a body that was posted to a path.
    ///
    /// # Errors
    /// The status and the sentence that the caller gets instead.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, (StatusCode, String)> {
        let deadline = Instant::now() + self.limits.request_timeout;
        let scope = RequestScope { context: DecisionContext::new(Transport::InProcess), deadline };
        let answer = find_endpoint(path, &Method::POST)
            .and_then(|at| self.parse_and_evaluate(body, at.evaluate, &scope));
        answer.map_err(|problem| (problem.status, problem.message))
    }

    async fn read_json_body(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, ApiError> {
        if !has_json_content_type(headers) {
            return Err(ApiError::bad_request("the content type has to be `application/json`"));
        }
        match read_body(body, self.limits.max_body_bytes, self.limits.body_timeout).await {
            Ok(ReceivedBody::Complete(body)) => Ok(body),
            Ok(ReceivedBody::TooLong) => {
                let problem = ApiError::bad_request(format!(
                    "the body is longer than {} bytes",
                    self.limits.max_body_bytes
                ));
                Err(problem.with_reason(RejectionReason::TooLarge))
            }
            Err(BodyError::Incomplete) => Err(ApiError::bad_request("the body did not arrive whole")),
            Err(BodyError::TimedOut) => {
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))
            }
        }
    }
}

fn find_endpoint(path: &str, method: &Method) -> Result<Endpoint, ApiError> {
    let answers = |evaluate| Endpoint { evaluate, is_search: false };
    let searches = |evaluate| Endpoint { evaluate, is_search: true };
    let endpoint = match path {
        "/access/v1/evaluation" => answers(evaluation::single),
        "/access/v1/evaluations" => answers(evaluation::batch),
        "/access/v1/search/subject" => searches(search::subject),
        "/access/v1/search/resource" => searches(search::resource),
        "/access/v1/search/action" => searches(search::action),
        _ => {
            let message = "no such path: use /access/v1/evaluation, /access/v1/evaluations or /access/v1/search/subject, …/resource, …/action";
            return Err(ApiError::new(StatusCode::NOT_FOUND, message));
        }
    };
    if method == Method::POST {
        return Ok(endpoint);
    }
    Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "use POST"))
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn parse_json(body: &[u8], depth: usize) -> Result<Json<'_>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("the body is empty: it has to be a JSON object"));
    }
    Json::parse_with_max_depth(body, depth)
        .map_err(|error| ApiError::bad_request(format!("the body is not valid JSON: {error}")))
}

fn expect_object<'j>(json: &'j Json<'j>) -> Result<&'j Object<'j>, ApiError> {
    match json {
        Json::Object(object) => Ok(object),
        other => Err(ApiError::bad_request(format!(
            "the body has to be a JSON object, found {}",
            other.describe()
        ))),
    }
}

fn has_json_content_type(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

pub(super) fn to_json_bytes(body: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(256);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|_| ApiError::internal("the answer could not be written"))?;
    Ok(bytes)
}
