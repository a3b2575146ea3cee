//! The decision API: `OpenID` AuthZEN Authorization API 1.0. How requests are taken, and errors said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::wire::sentence;
use super::{evaluation, search};
use crate::body::{Arrived, Lost, collect};
use crate::listen::refusal::Reason;
use mandate_core::json::{Json, Object};
use mandate_pdp::{Pdp, Refusal};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What one caller may ask for at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A body's length, in bytes.
    pub body: usize,
    /// Questions in a batch.
    pub batch: usize,
    /// Levels of arrays and objects in a body.
    pub depth: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long a request may take until it is answered.
    pub request_time: Duration,
    /// Results of a page of a search that does not say how many it wants.
    pub page: usize,
    /// Results of any page.
    pub largest_page: usize,
    /// Entities that are looked at for one page.
    pub search_steps: usize,
}

impl Limits {
    /// The most levels that can be allowed.
    pub const DEEPEST: usize = Json::DEEPEST;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            batch: 1_000,
            depth: 64,
            body_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            page: 100,
            largest_page: 1_000,
            search_steps: 10_000,
        }
    }
}

/// The decision API: it answers requests of whatever path.
#[derive(Clone)]
pub struct Api {
    pub(super) pdp: Pdp,
    pub(super) limits: Limits,
    searches: Arc<Turns>,
}

/// Turns at searching: a search takes a core for longer than a decision, and decisions must find one.
#[derive(Debug)]
struct Turns {
    running: Semaphore,
    /// Those that run or wait.
    places: Semaphore,
}

/// Searches that may wait for their turn.
const WAITING: usize = 64;

impl Turns {
    fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = cores.saturating_sub(1).max(1);
        Self { running: Semaphore::new(running), places: Semaphore::new(running + WAITING) }
    }

    /// Waits for a turn; whoever gives up waiting is forgotten.
    async fn take(&self) -> Result<[SemaphorePermit<'_>; 2], Problem> {
        let full = |_| {
            let message = "too many searches at a time: try again";
            Problem::of(StatusCode::SERVICE_UNAVAILABLE, message).because(Reason::Overload)
        };
        let place = self.places.try_acquire().map_err(full)?;
        // Neither is ever closed.
        let turn = self.running.acquire().await.map_err(|_| Problem::late("searches have ended"))?;
        Ok([place, turn])
    }
}

/// An error in AuthZEN's form: a status, and a sentence as the body.
pub(super) struct Problem {
    pub status: StatusCode,
    pub message: String,
    /// What it is counted as, where operators want to see that.
    reason: Option<Reason>,
}

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::of(StatusCode::BAD_REQUEST, message)
    }

    fn of(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), reason: None }
    }

    fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    fn defect(message: &str) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// It takes longer than it may.
    pub(super) fn late(message: &str) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, message).because(Reason::Timeout)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Request(error) => Self::bad(sentence(&error)),
            // Why is in the log; the caller can do nothing about it.
            Refusal::Decide(_) => Self::defect("the request could not be decided"),
        }
    }
}

/// From the body of a request to the body of its answer, which has to be there in time.
type Evaluate = fn(&Api, &Object<'_>, Deadline) -> Result<Vec<u8>, Problem>;

/// What answers at a path.
#[derive(Clone, Copy)]
struct Endpoint {
    evaluate: Evaluate,
    /// Whether it takes turns.
    searches: bool,
}

/// Until when a request has to be answered.
pub(super) type Deadline = Instant;

impl Api {
    pub fn new(pdp: Pdp, limits: Limits) -> Self {
        Self { pdp, limits, searches: Arc::new(Turns::new()) }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let deadline = Instant::now() + self.limits.request_time;
        let (head, body) = request.into_parts();
        let answer = match endpoint(head.uri.path(), &head.method) {
            Ok(endpoint) => self.evaluate(&head.headers, body, endpoint, deadline).await,
            Err(problem) => Err(problem),
        };
        let mut response = match answer {
            Ok(body) => respond(StatusCode::OK, "application/json", body),
            Err(Problem { status, message, reason }) => {
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
        Endpoint { evaluate, searches }: Endpoint,
        deadline: Deadline,
    ) -> Result<Vec<u8>, Problem> {
        let answer = match self.read(headers, body).await {
            Ok(body) if searches => match self.searches.take().await {
                Ok(_turn) => self.reply(&body, evaluate, deadline),
                Err(problem) => Err(problem),
            },
            Ok(body) => self.reply(&body, evaluate, deadline),
            Err(problem) => Err(problem),
        };
        if answer.as_ref().is_err_and(|problem| problem.status.is_client_error()) {
            self.pdp.count_bad_request();
        }
        answer
    }

    fn reply(&self, body: &[u8], evaluate: Evaluate, deadline: Deadline) -> Result<Vec<u8>, Problem> {
        parse(body, self.limits.depth).and_then(|json| evaluate(self, object(&json)?, deadline))
    }

    /// The answer to a body that was posted to a path.
    ///
    /// # Errors
    /// The status and the sentence that the caller gets instead.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, (StatusCode, String)> {
        let deadline = Instant::now() + self.limits.request_time;
        let answer = endpoint(path, &Method::POST).and_then(|at| self.reply(body, at.evaluate, deadline));
        answer.map_err(|problem| (problem.status, problem.message))
    }

    async fn read(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
        if !is_json(headers) {
            return Err(Problem::bad("the content type has to be `application/json`"));
        }
        match collect(body, self.limits.body, self.limits.body_time).await {
            Ok(Arrived::Whole(body)) => Ok(body),
            Ok(Arrived::TooLong) => {
                let problem = Problem::bad(format!("the body is longer than {} bytes", self.limits.body));
                Err(problem.because(Reason::TooLarge))
            }
            Err(Lost::Broken) => Err(Problem::bad("the body did not arrive whole")),
            Err(Lost::Late) => {
                Err(Problem::of(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))
            }
        }
    }
}

fn endpoint(path: &str, method: &Method) -> Result<Endpoint, Problem> {
    let answers = |evaluate| Endpoint { evaluate, searches: false };
    let searches = |evaluate| Endpoint { evaluate, searches: true };
    let endpoint = match path {
        "/access/v1/evaluation" => answers(evaluation::single),
        "/access/v1/evaluations" => answers(evaluation::batch),
        "/access/v1/search/subject" => searches(search::subject),
        "/access/v1/search/resource" => searches(search::resource),
        "/access/v1/search/action" => searches(search::action),
        _ => {
            let message = "no such path: use /access/v1/evaluation, /access/v1/evaluations or /access/v1/search/subject, …/resource, …/action";
            return Err(Problem::of(StatusCode::NOT_FOUND, message));
        }
    };
    if method == Method::POST {
        return Ok(endpoint);
    }
    Err(Problem::of(StatusCode::METHOD_NOT_ALLOWED, "use POST"))
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn parse(body: &[u8], depth: usize) -> Result<Json<'_>, Problem> {
    if body.is_empty() {
        return Err(Problem::bad("the body is empty: it has to be a JSON object"));
    }
    Json::parse_within(body, depth)
        .map_err(|error| Problem::bad(format!("the body is not valid JSON: {error}")))
}

fn object<'j>(json: &'j Json<'j>) -> Result<&'j Object<'j>, Problem> {
    match json {
        Json::Object(object) => Ok(object),
        other => Err(Problem::bad(format!("the body has to be a JSON object, found {}", other.kind()))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

pub(super) fn written(body: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(256);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|_| Problem::defect("the answer could not be written"))?;
    Ok(bytes)
}
