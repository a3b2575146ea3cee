//! The decision API: `OpenID` AuthZEN Authorization API 1.0, evaluation and evaluations.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;

use super::wire::{Answer, Answers, Parts, optional, sentence};
use crate::authz::json::{Json, Object, quoted};
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1024 * 1024, batch: 1_000, body_time: Duration::from_secs(10) }
    }
}

#[derive(Clone)]
struct Api {
    pdp: Pdp,
    limits: Limits,
}

/// The routes of the decision API.
pub fn router(pdp: Pdp, limits: Limits) -> Router {
    Router::new()
        .route("/access/v1/evaluation", post(evaluation))
        .route("/access/v1/evaluations", post(evaluations))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        .with_state(Api { pdp, limits })
}

async fn evaluation(State(api): State<Api>, request: Request) -> Response {
    api.respond(request, single).await
}

async fn evaluations(State(api): State<Api>, request: Request) -> Response {
    api.respond(request, batch).await
}

async fn wrong_method(headers: HeaderMap) -> Response {
    let problem = Problem(StatusCode::METHOD_NOT_ALLOWED, "use POST".to_owned());
    echo(&headers, problem.into_response())
}

async fn no_such_path(headers: HeaderMap) -> Response {
    let message = "no such path: use /access/v1/evaluation or /access/v1/evaluations".to_owned();
    echo(&headers, Problem(StatusCode::NOT_FOUND, message).into_response())
}

/// An error in AuthZEN's form: a status, and a sentence as the body.
struct Problem(StatusCode, String);

impl Problem {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Request(error) => Self::bad(sentence(&error)),
            // Why is in the log; the caller can do nothing about it.
            Refusal::Decide(_) => {
                Self(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be decided".to_owned())
            }
        }
    }
}

type Evaluate = fn(&Api, &Object<'_>) -> Result<Response, Problem>;

impl Api {
    async fn respond(&self, request: Request, evaluate: Evaluate) -> Response {
        let (parts, body) = request.into_parts();
        let response = match self.read(&parts.headers, body).await {
            Ok(body) => self.evaluate(&body, evaluate),
            Err(problem) => Err(problem),
        };
        let response = response.unwrap_or_else(|problem| {
            if problem.0.is_client_error() {
                self.pdp.count_bad_request();
            }
            problem.into_response()
        });
        echo(&parts.headers, response)
    }

    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, Problem> {
        if !is_json(headers) {
            return Err(Problem::bad("the content type has to be `application/json`"));
        }
        let arriving = tokio::time::timeout(self.limits.body_time, to_bytes(body, self.limits.body));
        match arriving.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if is_too_long(&error) => {
                Err(Problem::bad(format!("the body is longer than {} bytes", self.limits.body)))
            }
            Ok(Err(_)) => Err(Problem::bad("the body did not arrive whole")),
            Err(_) => Err(Problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
        }
    }

    fn evaluate(&self, body: &[u8], evaluate: Evaluate) -> Result<Response, Problem> {
        if body.is_empty() {
            return Err(Problem::bad("the body is empty: it has to be a JSON object"));
        }
        let json = Json::parse(body)
            .map_err(|error| Problem::bad(format!("the body is not valid JSON: {error}")))?;
        match &json {
            Json::Object(object) => evaluate(self, object),
            other => Err(Problem::bad(format!("the body has to be a JSON object, found {}", other.kind()))),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(<dyn std::error::Error + 'static>::is::<http_body_util::LengthLimitError>)
}

fn echo(headers: &HeaderMap, mut response: Response) -> Response {
    if let Some(id) = headers.get(&REQUEST_ID) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
    }
    response
}

fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(body).map_err(|_| {
        Problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written".to_owned())
    })?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response())
}

fn single(api: &Api, object: &Object<'_>) -> Result<Response, Problem> {
    let options = Options::read(object)?;
    let question = Parts::of(object).question().map_err(Problem::bad)?;
    let view = api.pdp.view();
    let decision = view.decide(&question)?;
    json(&Answer::with_context(&decision, view.revision().as_str(), options.explain))
}

fn batch(api: &Api, object: &Object<'_>) -> Result<Response, Problem> {
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
    let view = api.pdp.view();
    let mut evaluations = Vec::with_capacity(items.len());
    for item in items {
        let answer =
            item_answer(&view, item, defaults, options.explain).unwrap_or_else(|Problem(status, message)| {
                api.pdp.count_bad_request();
                Answer::broken(status.as_u16(), message)
            });
        let decides = options.semantic.ends_with(answer.decision);
        evaluations.push(answer);
        if decides {
            break;
        }
    }
    json(&Answers { evaluations })
}

fn item_answer(
    view: &View<'_>,
    item: &Json<'_>,
    defaults: Parts<'_>,
    explain: bool,
) -> Result<Answer, Problem> {
    let Json::Object(object) = item else {
        return Err(Problem::bad(format!("an evaluation has to be an object, found {}", item.kind())));
    };
    let question = Parts::of(object).or(defaults).question().map_err(Problem::bad)?;
    let decision = view.decide(&question)?;
    Ok(if explain {
        Answer::with_context(&decision, view.revision().as_str(), true)
    } else {
        Answer::bare(&decision)
    })
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
        let explain = match option("explain") {
            None => false,
            Some(Json::Bool(explain)) => *explain,
            Some(other) => {
                return Err(Problem::bad(format!(
                    "options.explain: has to be a boolean, found {}",
                    other.kind()
                )));
            }
        };
        Ok(Self { semantic, explain })
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
