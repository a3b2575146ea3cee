//! The decision API: `OpenID` AuthZEN Authorization API 1.0, how requests are taken, evaluation and
//! evaluations.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};

use super::metadata::{self, Address, Metadata};
use super::search;
use super::wire::{Answer, Parts, optional, sentence};
use crate::authz::decision::Decision;
use crate::authz::explain::{Budget, Explanation};
use crate::authz::json::{Json, Object, quoted};
use crate::authz::request::Question;
use crate::pdp::{Pdp, Refusal, View};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What one caller may ask for at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A body's length, in bytes.
    pub body: usize,
    /// Questions in a batch.
    pub batch: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// Results of a page of a search that does not say how many it wants.
    pub page: usize,
    /// Results of any page.
    pub largest_page: usize,
    /// Entities that are looked at for one page.
    pub search_steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            batch: 1_000,
            body_time: Duration::from_secs(10),
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
    address: Arc<Address>,
}

/// An error in AuthZEN's form: a status, and a sentence as the body.
pub(super) struct Problem(StatusCode, String);

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
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

/// From the body of a request to the body of its answer.
type Evaluate = fn(&Api, &Object<'_>) -> Result<Vec<u8>, Problem>;

impl Api {
    pub fn new(pdp: Pdp, limits: Limits, address: Address) -> Self {
        Self { pdp, limits, address: Arc::new(address) }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = match endpoint(head.uri.path(), &head.method) {
            _ if head.uri.path() == metadata::PATH => self.metadata(&head),
            Ok(evaluate) => self.evaluate(&head.headers, body, evaluate).await,
            Err(problem) => Err(problem),
        };
        let allowed = if head.uri.path() == metadata::PATH { "GET, HEAD" } else { "POST" };
        let mut response = match answer {
            Ok(body) => respond(StatusCode::OK, "application/json", body),
            Err(Problem(status, message)) => respond(status, "text/plain; charset=utf-8", message),
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static(allowed));
        }
        if let Some(id) = head.headers.get(&REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response
    }

    fn metadata(&self, request: &hyper::http::request::Parts) -> Result<Vec<u8>, Problem> {
        if request.method == Method::GET || request.method == Method::HEAD {
            return written(&Metadata::of(&self.address, request));
        }
        Err(Problem(StatusCode::METHOD_NOT_ALLOWED, "use GET".to_owned()))
    }

    async fn evaluate(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        evaluate: Evaluate,
    ) -> Result<Vec<u8>, Problem> {
        let answer = match self.read(headers, body).await {
            Ok(body) => parse(&body).and_then(|json| evaluate(self, object(&json)?)),
            Err(problem) => Err(problem),
        };
        if answer.as_ref().is_err_and(|problem| problem.0.is_client_error()) {
            self.pdp.count_bad_request();
        }
        answer
    }

    async fn read(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
        if !is_json(headers) {
            return Err(Problem::bad("the content type has to be `application/json`"));
        }
        let mut arriving = pin!(Limited::new(body, self.limits.body).collect());
        // Most bodies come with their head, and need no timer.
        let arrived = match poll_fn(|context| Poll::Ready(arriving.as_mut().poll(context))).await {
            Poll::Ready(arrived) => Ok(arrived),
            Poll::Pending => tokio::time::timeout(self.limits.body_time, arriving).await,
        };
        match arrived {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Problem::bad(format!("the body is longer than {} bytes", self.limits.body)))
            }
            Ok(Err(_)) => Err(Problem::bad("the body did not arrive whole")),
            Err(_) => Err(Problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
        }
    }
}

fn endpoint(path: &str, method: &Method) -> Result<Evaluate, Problem> {
    let evaluate: Evaluate = match path {
        "/access/v1/evaluation" => single,
        "/access/v1/evaluations" => batch,
        "/access/v1/search/subject" => search::subject,
        "/access/v1/search/resource" => search::resource,
        "/access/v1/search/action" => search::action,
        _ => {
            let message = "no such path: use /access/v1/evaluation, /access/v1/evaluations or /access/v1/search/subject, …/resource, …/action";
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

fn parse(body: &[u8]) -> Result<Json<'_>, Problem> {
    if body.is_empty() {
        return Err(Problem::bad("the body is empty: it has to be a JSON object"));
    }
    Json::parse(body).map_err(|error| Problem::bad(format!("the body is not valid JSON: {error}")))
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

fn single(api: &Api, object: &Object<'_>) -> Result<Vec<u8>, Problem> {
    let options = Options::read(object)?;
    let question = Parts::of(object).question().map_err(Problem::bad)?;
    let view = api.pdp.view();
    let answered = Answered::to(&question, &view, options.explain.then(Budget::single).as_mut())?;
    written(&answered.with_context(&view))
}

fn batch(api: &Api, object: &Object<'_>) -> Result<Vec<u8>, Problem> {
    let items = match object.get("evaluations") {
        None => return single(api, object),
        Some(Json::Array(items)) if items.is_empty() => return single(api, object),
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
    written(&Batch { api, view: api.pdp.view(), items, defaults, options })
}

/// A batch, which is answered while its answer is written: all of it from one view.
struct Batch<'j> {
    api: &'j Api,
    view: View<'j>,
    items: &'j [Json<'j>],
    defaults: Parts<'j>,
    options: Options,
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
        let Batch { api, view, items, defaults, options } = self.0;
        let mut answers = serializer.serialize_seq(None)?;
        let mut budget = Budget::batch();
        for item in *items {
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
