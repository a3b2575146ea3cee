//! The decision API: `OpenID` AuthZEN Authorization API 1.0, evaluation and evaluations.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};

use super::body::{Arrived, Lost, collect};
use super::wire::{Answer, Parts, optional, sentence};
use crate::authz::decision::Decision;
use crate::authz::explain::{Budget, Explanation};
use crate::authz::json::{Json, Object, quoted};
use crate::authz::request::Question;
use crate::pdp::{Pdp, Refusal, View};
use crate::transport::listen::refusal::Reason;

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
        }
    }
}

/// The decision API: it answers requests of whatever path.
#[derive(Clone)]
pub struct Api {
    pdp: Pdp,
    limits: Limits,
}

/// An error in AuthZEN's form: a status, and a sentence as the body.
struct Problem(StatusCode, String);

impl Problem {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn defect(message: &str) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, message.to_owned())
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

/// Until when a request has to be answered.
type Deadline = Instant;

impl Api {
    pub fn new(pdp: Pdp, limits: Limits) -> Self {
        Self { pdp, limits }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let deadline = Instant::now() + self.limits.request_time;
        let (head, body) = request.into_parts();
        let answer = match endpoint(head.uri.path(), &head.method) {
            Ok(evaluate) => self.evaluate(&head.headers, body, evaluate, deadline).await,
            Err(problem) => Err(problem),
        };
        let mut response = match answer {
            Ok(body) => respond(StatusCode::OK, "application/json", body),
            Err(Problem(status, message)) => respond(status, "text/plain; charset=utf-8", message),
        };
        match response.status() {
            // By AuthZEN it is a malformed request; operators want to see which.
            StatusCode::PAYLOAD_TOO_LARGE => {
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response.extensions_mut().insert(Reason::TooLarge);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.extensions_mut().insert(Reason::Timeout);
            }
            _ => {}
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
        evaluate: Evaluate,
        deadline: Deadline,
    ) -> Result<Vec<u8>, Problem> {
        let answer = match self.read(headers, body).await {
            Ok(body) => self.reply(&body, evaluate, deadline),
            Err(problem) => Err(problem),
        };
        if answer.as_ref().is_err_and(|problem| problem.0.is_client_error()) {
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
        let answer = endpoint(path, &Method::POST).and_then(|evaluate| self.reply(body, evaluate, deadline));
        answer.map_err(|Problem(status, message)| (status, message))
    }

    async fn read(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
        if !is_json(headers) {
            return Err(Problem::bad("the content type has to be `application/json`"));
        }
        match collect(body, self.limits.body, self.limits.body_time).await {
            Ok(Arrived::Whole(body)) => Ok(body),
            Ok(Arrived::TooLong) => Err(Problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is longer than {} bytes", self.limits.body),
            )),
            Err(Lost::Broken) => Err(Problem::bad("the body did not arrive whole")),
            Err(Lost::Late) => {
                Err(Problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned()))
            }
        }
    }
}

fn endpoint(path: &str, method: &Method) -> Result<Evaluate, Problem> {
    let evaluate: Evaluate = match path {
        "/access/v1/evaluation" => single,
        "/access/v1/evaluations" => batch,
        _ => {
            let message = "no such path: use /access/v1/evaluation or /access/v1/evaluations";
            return Err(Problem(StatusCode::NOT_FOUND, message.to_owned()));
        }
    };
    if method == Method::POST {
        return Ok(evaluate);
    }
    Err(Problem(StatusCode::METHOD_NOT_ALLOWED, "use POST".to_owned()))
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

fn written(body: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(256);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|_| Problem::defect("the answer could not be written"))?;
    Ok(bytes)
}

fn single(api: &Api, object: &Object<'_>, _: Deadline) -> Result<Vec<u8>, Problem> {
    let options = Options::read(object)?;
    let question = Parts::of(object).question().map_err(Problem::bad)?;
    let view = api.pdp.view();
    let answered = Answered::to(&question, &view, options.explain.then(Budget::single).as_mut())?;
    written(&answered.with_context(&view))
}

fn batch(api: &Api, object: &Object<'_>, deadline: Deadline) -> Result<Vec<u8>, Problem> {
    let items = match object.get("evaluations") {
        None => return single(api, object, deadline),
        Some(Json::Array(items)) if items.is_empty() => return single(api, object, deadline),
        Some(Json::Array(items)) => items,
        Some(other) => {
            return Err(Problem::bad(format!("evaluations: has to be an array, found {}", other.kind())));
        }
    };
    if items.len() > api.limits.batch {
        return Err(Problem::bad(format!(
            "evaluations: at most {}, found {}",
            api.limits.batch,
            items.len()
        )));
    }
    let options = Options::read(object)?;
    let defaults = Parts::of(object);
    defaults.are_objects().map_err(Problem::bad)?;
    let batch =
        Batch { api, view: api.pdp.view(), items, defaults, options, deadline, late: Cell::new(false) };
    let answer = written(&batch);
    if batch.late.get() {
        let message = "the answer took too long: ask fewer questions at a time";
        return Err(Problem(StatusCode::SERVICE_UNAVAILABLE, message.to_owned()));
    }
    answer
}

/// A batch, which is answered while its answer is written: all of it from one view.
struct Batch<'j> {
    api: &'j Api,
    view: View<'j>,
    items: &'j [Json<'j>],
    defaults: Parts<'j>,
    options: Options,
    deadline: Deadline,
    /// Whether the deadline came first.
    late: Cell<bool>,
}

impl Serialize for Batch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Batch", 1)?;
        body.serialize_field("evaluations", &Evaluations(self))?;
        body.end()
    }
}

struct Evaluations<'b, 'j>(&'b Batch<'j>);

impl Serialize for Evaluations<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Batch { api, view, items, defaults, options, deadline, late } = self.0;
        let mut answers = serializer.serialize_seq(None)?;
        let mut budget = Budget::batch();
        for item in *items {
            if Instant::now() > *deadline {
                late.set(true);
                break;
            }
            let answered = answer_item(view, item, *defaults, options.explain, &mut budget);
            let answer = match &answered {
                Ok(answered) if answered.explanation.is_some() => answered.with_context(view),
                Ok(answered) => Answer::bare(&answered.decision),
                Err(Problem(status, message)) => {
                    if status.is_client_error() {
                        api.pdp.count_bad_request();
                    }
                    Answer::broken(status.as_u16(), message.clone())
                }
            };
            answers.serialize_element(&answer)?;
            if options.semantic.ends_with(answer.decision) {
                break;
            }
        }
        answers.end()
    }
}

fn answer_item(
    view: &View<'_>,
    item: &Json<'_>,
    defaults: Parts<'_>,
    explain: bool,
    budget: &mut Budget,
) -> Result<Answered, Problem> {
    let Json::Object(object) = item else {
        return Err(Problem::bad(format!("an evaluation has to be an object, found {}", item.kind())));
    };
    let explain = Options::explain(object)?.unwrap_or(explain);
    let question = Parts::of(object).or(defaults).question().map_err(Problem::bad)?;
    Answered::to(&question, view, explain.then_some(budget))
}

/// What a question came to.
struct Answered {
    decision: Arc<Decision>,
    explanation: Option<Explanation>,
}

impl Answered {
    /// Decides on a question, and explains the decision if there is a budget for it.
    fn to(question: &Question<'_>, view: &View<'_>, budget: Option<&mut Budget>) -> Result<Self, Problem> {
        let decision = view.decide(question)?;
        let explanation = budget.map(|budget| view.explain(question, &decision, budget)).transpose()?;
        Ok(Self { decision, explanation })
    }

    fn with_context<'a>(&'a self, view: &'a View<'_>) -> Answer<'a> {
        let (decision, revision) = (&self.decision, view.revision().as_str());
        match &self.explanation {
            Some(explanation) => Answer::explained(decision, revision, explanation, view.snapshot().schema()),
            None => Answer::with_context(decision, revision, false),
        }
    }
}

/// How a batch goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    fn ends_with(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// The `options` of a request that mean something here.
struct Options {
    semantic: Semantic,
    explain: bool,
}

impl Options {
    fn read(object: &Object<'_>) -> Result<Self, Problem> {
        let options = optional(object.get("options"), "options").map_err(Problem::bad)?;
        let option = |name| options.and_then(|options| options.get(name));
        let semantic = match option("evaluations_semantic") {
            None => Semantic::ExecuteAll,
            Some(Json::String(name)) => semantic(name)?,
            Some(_) => return Err(unknown_semantic("it")),
        };
        Ok(Self { semantic, explain: Self::explain(object)?.unwrap_or(false) })
    }

    /// Whether a request or an item of a batch wants to be explained, if it says so.
    fn explain(object: &Object<'_>) -> Result<Option<bool>, Problem> {
        let options = optional(object.get("options"), "options").map_err(Problem::bad)?;
        match options.and_then(|options| options.get("explain")) {
            None => Ok(None),
            Some(Json::Bool(explain)) => Ok(Some(*explain)),
            Some(other) => {
                Err(Problem::bad(format!("options.explain: has to be a boolean, found {}", other.kind())))
            }
        }
    }
}

fn semantic(name: &str) -> Result<Semantic, Problem> {
    match name {
        "execute_all" => Ok(Semantic::ExecuteAll),
        "deny_on_first_deny" => Ok(Semantic::DenyOnFirstDeny),
        "permit_on_first_permit" => Ok(Semantic::PermitOnFirstPermit),
        other => Err(unknown_semantic(&quoted(other))),
    }
}

fn unknown_semantic(found: &str) -> Problem {
    Problem::bad(format!(
        "options.evaluations_semantic: {found} is none of `execute_all`, `deny_on_first_deny`, `permit_on_first_permit`"
    ))
}
