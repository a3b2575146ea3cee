//! One request for a change, and its answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::{Method, Response};
use serde_json::Value;
use tokio::sync::oneshot;

use super::problem::Problem;
use crate::authzen::api::ApiLimits;
use crate::position;
use mandate_core::digest::Digest;
use mandate_pdp::proposal::{CommitResult, Committed, Proposal, ProposedEdits, Refusal};
use mandate_pdp::{CommitQueue, DecisionContext, LogPosition, Pdp};
use mandate_store::KeyedRequest;

/// One request.
pub struct ChangeRequest<'r> {
    pub pdp: &'r Pdp,
    pub limits: &'r ApiLimits,
    pub commits: &'r CommitQueue,
    pub context: DecisionContext<'r>,
    pub method: &'r Method,
    pub path: &'r str,
    pub query: Option<&'r str>,
    /// The URL of the pages, if there are any.
    pub pages_url: Option<&'r str>,
    pub headers: &'r HeaderMap,
    pub key: Option<&'r str>,
    pub caller: String,
    /// Whether it asks for several things, so that an answer has to say which of them it is about.
    pub is_plural: bool,
}

/// The answer to a request that was performed.
pub struct Answer {
    body: String,
    tag: Option<String>,
    at: Option<LogPosition>,
    repeated: bool,
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that the request was performed before, and is not again.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in characters.
const MAX_KEY_LENGTH: usize = 255;

impl ChangeRequest<'_> {
    /// Has edits committed, and waits for them, but not for longer than the answer may take.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn commit(&self, edits: ProposedEdits, schema: Digest, body: &[u8]) -> CommitResult {
        // Less than the limit of the listener, whose answer could not say how to find out.
        let wait: Duration = self.limits.request_timeout.mul_f64(0.9);
        let proposal = Proposal {
            caller: self.caller.clone(),
            request_id: self.context.request_id.map(ToOwned::to_owned),
            key: self.keyed(body),
            until: Instant::now() + wait,
            schema,
            edits,
        };
        let (reply, result) = oneshot::channel();
        // Whoever asked may have gone.
        self.commits.submit(proposal, |result| drop(reply.send(result)));
        match tokio::time::timeout(wait, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Refusal::Unknown),
        }
    }

    /// What the log remembers of a request, if it has a key.
    pub fn keyed(&self, body: &[u8]) -> Option<KeyedRequest> {
        let key = self.key?;
        let header = |name| self.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
        let (matches, none) = (header(IF_MATCH), header(IF_NONE_MATCH));
        let asked = [self.method.as_str().as_bytes(), self.path.as_bytes(), matches, none, body];
        Some(Proposal::key(key, &asked))
    }

    /// The answer to a request that was refused.
    pub fn refused(&self, refusal: &Refusal) -> Problem {
        let problem = Problem::of_refusal(refusal, self.key.is_some());
        match refusal.index().filter(|_| self.is_plural) {
            Some(index) => problem.with("index", index),
            None => problem,
        }
    }

    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// It is too long, or no plain text.
    pub fn read_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
        let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let fits = |key: &&str| !key.is_empty() && key.len() <= MAX_KEY_LENGTH;
        let key = key.to_str().ok().filter(fits);
        key.map(Some).ok_or_else(|| {
            Problem::bad_request(format!(
                "`Idempotency-Key` has to be 1 to {MAX_KEY_LENGTH} plain characters"
            ))
        })
    }
}

impl Answer {
    /// The answer to a change.
    pub fn committed(committed: &Committed, body: &Value) -> Self {
        let (at, repeated) = (Some(committed.position), committed.repeated);
        Self { body: body.to_string(), tag: None, at, repeated }
    }

    /// A document that is read.
    pub fn document(body: &Value, at: Option<LogPosition>) -> Self {
        Self { body: body.to_string(), tag: None, at, repeated: false }
    }

    /// An entity.
    pub fn entity(text: String, tag: String, at: Option<LogPosition>) -> Self {
        Self { body: text, tag: Some(tag), at, repeated: false }
    }

    /// The answer over HTTP.
    pub fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(tag) = self.tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
            headers.insert(ETAG, tag);
        }
        if self.repeated {
            headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        position::insert(headers, self.at);
        response
    }
}
