//! The AuthZEN API over HTTP: reads the body of a request, runs the operation, and writes the answer or the
//! error. The operations are in `evaluation` and `search`, their paths in `crate::endpoints`.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use super::api::{Api, ApiError, Operation, RequestScope};
use crate::body::{BodyError, ReceivedBody, read_body};
use crate::context::{self, REQUEST_ID};
use crate::endpoints::{self, Endpoint, Handler, Methods};
use crate::listen::rejection::RejectionReason;
use mandate_core::json::{Json, Object};
use mandate_pdp::{DecisionContext, Transport};

impl Api {
    /// Answers a request for this endpoint, or one whose path has no endpoint.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        endpoint: Option<&'static Endpoint>,
    ) -> Response<Full<Bytes>> {
        let deadline = Instant::now() + self.limits.request_timeout;
        let (head, body) = request.into_parts();
        let context = context::of_request(Transport::AuthZen, &head.headers, &head.extensions);
        let scope = RequestScope { context, deadline };
        let answer = match operation(endpoint, &head.method) {
            Ok(operation) => self.answer(&head.headers, body, operation, &scope).await,
            Err(error) => Err(error),
        };
        let mut response = match answer {
            Ok(body) => respond(StatusCode::OK, "application/json", body),
            Err(error) => error_response(error),
        };
        if let Some(id) = head.headers.get(&REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response
    }

    /// The answer to a body that was posted to a path, without HTTP.
    ///
    /// # Errors
    /// The status and the sentence that the caller gets instead.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, (StatusCode, String)> {
        let deadline = Instant::now() + self.limits.request_timeout;
        let scope = RequestScope { context: DecisionContext::new(Transport::InProcess), deadline };
        let answer = || {
            let operation = operation(endpoints::find(path), &Method::POST)?;
            let json = parse_json(body, self.limits.max_json_depth)?;
            (operation.run)(self, expect_object(&json)?, &scope)
        };
        answer().map_err(|error: ApiError| (error.status, error.message))
    }

    async fn answer(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        operation: Operation,
        scope: &RequestScope<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        let answer = match self.read_json_body(headers, body).await {
            Ok(body) => self.run_in_turn(&body, operation, scope).await,
            Err(error) => Err(error),
        };
        if answer.as_ref().is_err_and(|error| error.status.is_client_error()) {
            self.pdp.count_bad_request();
        }
        answer
    }

    /// Runs an operation. One that takes long waits for its turn, and runs on a thread on which no other
    /// request waits.
    async fn run_in_turn(
        &self,
        body: &[u8],
        operation: Operation,
        scope: &RequestScope<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        let json = parse_json(body, self.limits.max_json_depth)?;
        let object = expect_object(&json)?;
        if !(operation.takes_turn)(object) {
            return (operation.run)(self, object, scope);
        }
        let _turn = self.turns.acquire().await?;
        tokio::task::block_in_place(|| (operation.run)(self, object, scope))
    }

    async fn read_json_body(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, ApiError> {
        if !has_json_content_type(headers) {
            return Err(ApiError::bad_request("the content type has to be `application/json`"));
        }
        let max_bytes = self.limits.max_body_bytes;
        match read_body(body, max_bytes, self.limits.body_timeout).await {
            Ok(ReceivedBody::Complete(body)) => Ok(body),
            Ok(ReceivedBody::TooLong) => {
                let error = ApiError::bad_request(format!("the body is longer than {max_bytes} bytes"));
                Err(error.counted_as(RejectionReason::TooLarge))
            }
            Err(error @ BodyError::Incomplete) => Err(ApiError::bad_request(error.to_string())),
            Err(error @ BodyError::TimedOut) => {
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, error.to_string()))
            }
        }
    }
}

/// The operation of an endpoint.
fn operation(endpoint: Option<&Endpoint>, method: &Method) -> Result<Operation, ApiError> {
    let Some(Endpoint { handler: Handler::AuthZen(operation), methods, .. }) = endpoint else {
        let message = "no such path: `/openapi.json` lists all paths";
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    };
    if methods.allow(method) {
        Ok(*operation)
    } else {
        Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "use POST"))
    }
}

fn error_response(ApiError { status, message, rejection }: ApiError) -> Response<Full<Bytes>> {
    let mut response = respond(status, "text/plain; charset=utf-8", message);
    if let Some(reason) = rejection {
        response.extensions_mut().insert(reason);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(Methods::Post.allow_header()));
    }
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn parse_json(body: &[u8], max_depth: usize) -> Result<Json<'_>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("the body is empty: it has to be a JSON object"));
    }
    Json::parse_with_max_depth(body, max_depth)
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
