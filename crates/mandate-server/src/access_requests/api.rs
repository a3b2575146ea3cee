//! Access requests over HTTP: who asks, what for, and the answer. How one is submitted is in `submit`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use mandate_pdp::proposal::{Committed, ProposedEdits, Refusal};
use mandate_pdp::review_operation::ReviewOperation;
use mandate_pdp::task::{Cancellation, TaskStatus};
use mandate_pdp::task_book::TaskNow;
use mandate_pdp::{CommitQueue, LogPosition, Pdp, Transport, wall_clock};
use serde::Deserialize;
use serde_json::Value;

use super::issuer::{Asker, Issuer};
use super::operation::{AccessRequestOperation, CANCEL_SUFFIX, SCHEMA_PREFIX, TASK_PREFIX};
use super::problem::{ProblemKind, of_refusal, unreadable};
use super::schema::request_schema;
use super::submit::{Submittal, submit};
use super::task_json::task_json;
use crate::authzen::api::ApiLimits;
use crate::authzen::json_body::{parse_json, read_json_body};
use crate::changes::links::record;
use crate::changes::problem::{BODY, Problem, finish};
use crate::changes::request::{ChangeRequest, IDEMPOTENCY_REPLAYED};
use crate::context;
use crate::endpoints::Endpoint;
use crate::position;

/// How long a caller should wait before it asks again for a task that waits, in seconds: people decide.
const POLL_AFTER: u64 = 5;

/// How long others may keep the public keys.
const KEYS_KEPT: &str = "max-age=300";

/// The API of access requests on one listener.
pub struct AccessRequestApi {
    pdp: Pdp,
    limits: ApiLimits,
    /// `None`: access requests are not taken here.
    served: Option<(Arc<Issuer>, CommitQueue)>,
}

/// The answer to a request that was done.
struct Done {
    status: StatusCode,
    body: Value,
    location: Option<String>,
    waits: bool,
    repeated: bool,
    at: Option<LogPosition>,
}

/// Why a task is cancelled.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    reason: Option<String>,
    comment: Option<String>,
}

impl AccessRequestApi {
    pub fn new(pdp: Pdp, limits: ApiLimits, served: Option<(Arc<Issuer>, CommitQueue)>) -> Self {
        Self { pdp, limits, served }
    }

    /// Whether access requests are taken here.
    pub fn is_served(&self) -> bool {
        self.served.is_some()
    }

    /// Answers a request.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        endpoint: &Endpoint,
        operation: AccessRequestOperation,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = if endpoint.methods.allow(&head.method) {
            self.answer(&head, body, operation).await
        } else {
            Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("use {}", endpoint.methods.allow_header()),
            ))
        };
        finish(&self.pdp, endpoint.methods.allow_header(), &head, answer.map(Done::response))
    }

    /// The public keys, for everybody.
    pub fn keys(&self, method: &Method) -> Response<Full<Bytes>> {
        let Some((issuer, _)) = &self.served else { return not_served().response() };
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET").response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut response = Response::new(Full::new(issuer.keys.jwks()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(KEYS_KEPT));
        response
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        operation: AccessRequestOperation,
    ) -> Result<Done, Problem> {
        let (issuer, commits) = self.served.as_ref().ok_or_else(not_served)?;
        let asker = issuer.asker(head)?;
        let request = ChangeRequest {
            pdp: &self.pdp,
            limits: &self.limits,
            commits,
            context: context::of_request(Transport::AccessRequests, &head.headers, &head.extensions),
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            pages_url: issuer.pages_url.as_deref(),
            headers: &head.headers,
            key: ChangeRequest::read_key(&head.headers)?,
            caller: asker.caller.to_owned(),
            is_plural: false,
        };
        let has_body = operation == AccessRequestOperation::Submit || sends_body(head);
        let body =
            if has_body { read_json_body(&head.headers, body, &self.limits).await? } else { Bytes::new() };
        position::reach(&self.pdp, &head.headers, self.limits.max_wait)
            .await
            .map_err(|error| Problem::new(error.status(), error.to_string()))?;
        match operation {
            AccessRequestOperation::Submit => submitted(&request, &asker, &body).await,
            AccessRequestOperation::Task => task(&request, &asker),
            AccessRequestOperation::Cancel => cancel(&request, &asker, &body).await,
            AccessRequestOperation::Schema => schema(&request),
        }
    }
}

async fn submitted(request: &ChangeRequest<'_>, asker: &Asker<'_>, body: &[u8]) -> Result<Done, Problem> {
    let Submittal { task, committed } = submit(request, asker, body).await?;
    let found = tokio::task::block_in_place(|| asker.issuer.tasks.now(task));
    let found = found.map_err(|error| unreadable(&error))?;
    let waits = found.status_at(wall_clock::now()) == TaskStatus::Pending;
    let repeated = committed.as_ref().is_none_or(|committed| committed.repeated);
    let location = format!("{}{TASK_PREFIX}{}", asker.base_url(), found.task.id);
    let done = shown(request, asker, &found, committed.as_ref())?;
    let status = if waits { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok(Done { status, location: Some(location), repeated, ..done })
}

/// Shows a task.
fn task(request: &ChangeRequest<'_>, asker: &Asker<'_>) -> Result<Done, Problem> {
    let id = request.path.strip_prefix(TASK_PREFIX).unwrap_or_default();
    shown(request, asker, &own_task(asker, id)?, None)
}

async fn cancel(request: &ChangeRequest<'_>, asker: &Asker<'_>, body: &[u8]) -> Result<Done, Problem> {
    let rest = request.path.strip_prefix(TASK_PREFIX).unwrap_or_default();
    let id = rest.strip_suffix(CANCEL_SUFFIX).unwrap_or_default();
    own_task(asker, id)?;
    let CancelBody { reason, comment } = match body {
        [] => CancelBody { reason: None, comment: None },
        body => {
            parse_json(body, request.limits.max_json_depth)?;
            serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("{BODY}: {error}")))?
        }
    };
    let cancellation = Cancellation { reason, comment };
    let operation = ReviewOperation::CancelTask { id: id.to_owned(), cancellation };
    let schema = *request.pdp.view().snapshot().schema().digest();
    let result = request.commit(ProposedEdits::Review(operation), schema, body).await;
    let view = request.pdp.view();
    let committed = match result {
        Ok(committed) => committed,
        Err(Refusal::Denied { denied, revision, .. }) => {
            record(request, &view, std::slice::from_ref(&denied), &revision);
            return Err(Problem::denied(request.context.id, &denied));
        }
        Err(refusal) => return Err(of_refusal(&refusal, request.key.is_some())),
    };
    record(request, &view, &committed.decisions, &committed.revision);
    shown(request, asker, &own_task(asker, id)?, Some(&committed))
}

/// The task of that id, if the caller submitted it.
fn own_task(asker: &Asker<'_>, id: &str) -> Result<TaskNow, Problem> {
    let found = tokio::task::block_in_place(|| asker.issuer.tasks.get(id));
    let found = found.map_err(|error| unreadable(&error))?.filter(|found| found.task.caller == asker.caller);
    let found =
        found.ok_or_else(|| ProblemKind::UnknownTask.because("no task of this caller has this id"))?;
    if found.task.has_expired(wall_clock::now()) {
        return Err(ProblemKind::TaskExpired.because("the task is not kept any more"));
    }
    Ok(found)
}

fn shown(
    request: &ChangeRequest<'_>,
    asker: &Asker<'_>,
    found: &TaskNow,
    committed: Option<&Committed>,
) -> Result<Done, Problem> {
    let (view, now) = (request.pdp.view(), wall_clock::now());
    let body = task_json(found, asker, &view, now).map_err(|error| {
        tracing::error!(%error, "an approval cannot be signed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the approval cannot be signed")
    })?;
    Ok(Done {
        status: StatusCode::OK,
        body,
        location: None,
        waits: found.status_at(now) == TaskStatus::Pending,
        repeated: committed.is_some_and(|committed| committed.repeated),
        at: committed.map_or_else(|| view.position(), |committed| Some(committed.position)),
    })
}

fn schema(request: &ChangeRequest<'_>) -> Result<Done, Problem> {
    let rule = request.path.strip_prefix(SCHEMA_PREFIX).unwrap_or_default();
    let view = request.pdp.view();
    let body = request_schema(&view, rule, request.query.unwrap_or_default());
    let body = body.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no rule of requests has this id"))?;
    let (location, at) = (None, view.position());
    Ok(Done { status: StatusCode::OK, body, location, waits: false, repeated: false, at })
}

/// Whether a request has a body, where it may have none.
fn sends_body(head: &Parts) -> bool {
    let length = head.headers.get(CONTENT_LENGTH);
    head.headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

fn not_served() -> Problem {
    let detail = "access requests are not taken here: start with `--store` and `--request-callers`";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

impl Done {
    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(location) = self.location.and_then(|location| HeaderValue::try_from(location).ok()) {
            headers.insert(LOCATION, location);
        }
        if self.waits {
            headers.insert(RETRY_AFTER, HeaderValue::from(POLL_AFTER));
        }
        if self.repeated {
            headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        position::insert(headers, self.at);
        response
    }
}
