//! Gateways that ask over HTTP: forward auth (nginx, Caddy, Traefik), where headers describe the
//! request, and Envoy's `ext_authz` in HTTP mode, which sends the request itself without its body or
//! with a part of it.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::body::ReceivedBody;
use crate::context;
use crate::gateway::check::{self, DecisionFailed, GatewayDecision};
use mandate_pdp::{Pdp, Transport};
use mandate_routes::{HttpRequest, RequestBody};

/// Where gateways ask by headers.
pub const FORWARD_AUTH_PATH: &str = "/forward-auth";

/// What Envoy is told to put before the path of each request.
pub const EXT_AUTHZ_PREFIX: &str = "/ext-authz";

/// Envoy's word that it cut the body off.
const PARTIAL_BODY_HEADER: &str = "x-envoy-auth-partial-body";

/// Envoy removes the headers that this one names.
const HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// Whether a path is one that gateways ask at.
pub fn is_gateway_path(path: &str) -> bool {
    path == FORWARD_AUTH_PATH || path.strip_prefix(EXT_AUTHZ_PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// Answers a gateway about a request, whose own body may be what arrived.
pub fn respond(pdp: &Pdp, head: &Parts, arrived: &ReceivedBody, depth: usize) -> Response<Bytes> {
    let headers = header_pairs(&head.headers);
    let body = match arrived {
        ReceivedBody::Complete(bytes) if bytes.is_empty() => RequestBody::None,
        ReceivedBody::Complete(_) if is_body_truncated(&head.headers) => RequestBody::Partial,
        ReceivedBody::Complete(bytes) => RequestBody::Complete(bytes),
        ReceivedBody::TooLong => RequestBody::Partial,
    };
    let transport =
        if head.uri.path() == FORWARD_AUTH_PATH { Transport::ForwardAuth } else { Transport::ExtAuthzHttp };
    let context = context::of_request(transport, &head.headers, &head.extensions);
    let (method, target) = match original_request(head) {
        Ok(described) => described,
        Err(lacks) => return to_http_response(&GatewayDecision::misconfigured(pdp, context.id, lacks), &[]),
    };
    let request = HttpRequest { method, target, headers, body, depth, ..HttpRequest::default() };
    match check::check(pdp, &request, &context) {
        Ok(decision) => to_http_response(&decision, &check::spoofed_headers(&request)),
        Err(DecisionFailed) => internal_error(),
    }
}

/// Method and target of the request that is asked about.
fn original_request(head: &Parts) -> Result<(&str, &str), &'static str> {
    let own = head.uri.path_and_query().map_or("", |target| target.as_str());
    if let Some(target) = own.strip_prefix(EXT_AUTHZ_PREFIX).filter(|target| target.starts_with('/')) {
        return Ok((head.method.as_str(), target));
    }
    let one = |name: &'static str| {
        let mut values = head.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            // What is no text is no path either, and refused as one.
            (Some(value), None) if !value.is_empty() => {
                Ok(str::from_utf8(value.as_bytes()).unwrap_or_default())
            }
            _ => Err(name),
        }
    };
    Ok((one("x-forwarded-method")?, one("x-forwarded-uri")?))
}

/// How long Envoy waits for the answer, if it says so.
pub fn caller_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("x-envoy-expected-rq-timeout-ms")?.to_str().ok()?;
    text.parse().ok().map(Duration::from_millis)
}

fn header_pairs(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn is_body_truncated(headers: &HeaderMap) -> bool {
    headers.get_all(PARTIAL_BODY_HEADER).iter().any(|value| value != "false")
}

fn to_http_response(decision: &GatewayDecision, spoofed: &[&str]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    for (name, value) in decision.headers() {
        // The values are plain; one that is not would be a defect, and has to be there all the same.
        let value = HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("-"));
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Ok(names) = HeaderValue::try_from(spoofed.join(","))
        && !spoofed.is_empty()
    {
        headers.insert(HEADERS_TO_REMOVE, names);
    }
    if !decision.permitted {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        *response.status_mut() = StatusCode::FORBIDDEN;
        *response.body_mut() = decision.problem_json().into();
    }
    response
}

fn internal_error() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"the request could not be decided"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
