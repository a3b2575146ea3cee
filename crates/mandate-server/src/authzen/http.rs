//! The AuthZEN API over HTTP: reads the body of a request, runs the operation, and writes the answer or the
//! error. The operations are in `evaluation` and `search`, their paths in `crate::endpoints`.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use super::api::{Api, ApiError, Operation, RequestScope};
use super::json_body::{expect_object, parse_json, read_json_body};
use crate::access_requests::issuer::{Asker, Asking};
use crate::context::{self, REQUEST_ID};
use crate::endpoints::{self, Endpoint, Handler, Methods};
use crate::position;
use mandate_pdp::{DecisionContext, LogPosition, Transport};

/// The JSON text of an answer, and the position of the entities that it was made on.
type PositionedAnswer = (Vec<u8>, Option<LogPosition>);

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
        let scope = RequestScope { context, deadline, asking: None };
        let asker = self.issuer.as_deref().and_then(|issuer| issuer.asker(&head).ok());
        let answer = match operation(endpoint, &head.method) {
            Ok(operation) => self.answer(&head.headers, body, operation, (&scope, asker.as_ref())).await,
            Err(error) => Err(error),
        };
        let mut response = match answer {
            Ok((body, at)) => {
                let mut response = respond(StatusCode::OK, "application/json", body);
                position::insert(response.headers_mut(), at);
                response
            }
            Err(error) => {
                let mut response = error_response(error);
                position::insert(response.headers_mut(), self.pdp.view().position());
                response
            }
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
        let context = DecisionContext::new(Transport::InProcess);
        let scope = RequestScope { context, deadline, asking: None };
        let answer = || {
            let operation = operation(endpoints::find(path), &Method::POST)?;
            let json = parse_json(body, self.limits.max_json_depth)?;
            (operation.run)(self, expect_object(&json)?, &scope, &self.pdp.view())
        };
        answer().map_err(|error: ApiError| (error.status, error.message))
    }

    async fn answer(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        operation: Operation,
        (scope, asker): (&RequestScope<'_>, Option<&Asker<'_>>),
    ) -> Result<PositionedAnswer, ApiError> {
        let answer = match read_json_body(headers, body, &self.limits).await {
            Ok(body) => match position::reach(&self.pdp, headers, self.limits.max_wait).await {
                Ok(()) => self.run_in_turn(&body, operation, (scope, asker)).await,
                Err(error) => Err(error.into()),
            },
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
        (scope, asker): (&RequestScope<'_>, Option<&Asker<'_>>),
    ) -> Result<PositionedAnswer, ApiError> {
        let json = parse_json(body, self.limits.max_json_depth)?;
        let object = expect_object(&json)?;
        let run = || {
            let (view, asking) = (self.pdp.view(), asker.map(|asker| Asking::new(asker, body)));
            let scope = RequestScope { asking: asking.as_ref(), ..*scope };
            Ok(((operation.run)(self, object, &scope, &view)?, view.position()))
        };
        if !(operation.takes_turn)(object) {
            return run();
        }
        let _turn = self.turns.acquire().await?;
        tokio::task::block_in_place(run)
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
