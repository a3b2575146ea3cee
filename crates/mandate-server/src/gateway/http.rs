//! Gateways that ask over HTTP: forward auth (nginx, Caddy, Traefik), where headers describe the request, and
//! Envoy's `ext_authz` in HTTP mode, which sends the request itself, without its body or with a part of it.
//! The decision is made in `check`.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::body::ReceivedBody;
use crate::context;
use crate::gateway::check::{self, DecisionFailed, GatewayDecision};
use crate::position;
use mandate_pdp::{Pdp, Transport};
use mandate_routes::{HttpRequest, RequestBody};

/// What Envoy is configured to put before the path of each request. The slash at the end is the first
/// character of the request's own path.
pub const EXT_AUTHZ_PREFIX: &str = "/ext-authz/";

/// How a gateway describes the request that it asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayProtocol {
    /// In headers.
    ForwardAuth,
    /// By sending it, with [`EXT_AUTHZ_PREFIX`] before its path.
    ExtAuthz,
}

/// Envoy sets this header when it sends only a part of the body.
const PARTIAL_BODY_HEADER: &str = "x-envoy-auth-partial-body";

/// Envoy removes the headers that this one names.
const HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// Answers a gateway's request; `arrived` is the body of the request that it asks about, if it sent it.
pub fn respond(
    pdp: &Pdp,
    protocol: GatewayProtocol,
    head: &Parts,
    arrived: &ReceivedBody,
    max_json_depth: usize,
) -> Response<Bytes> {
    let headers = header_pairs(&head.headers);
    let body = match arrived {
        ReceivedBody::Complete(bytes) if bytes.is_empty() => RequestBody::None,
        ReceivedBody::Complete(_) if is_body_truncated(&head.headers) => RequestBody::Partial,
        ReceivedBody::Complete(bytes) => RequestBody::Complete(bytes),
        ReceivedBody::TooLong => RequestBody::Partial,
    };
    let (transport, described) = match protocol {
        GatewayProtocol::ForwardAuth => (Transport::ForwardAuth, forwarded_request(&head.headers)),
        GatewayProtocol::ExtAuthz => (Transport::ExtAuthzHttp, Ok(prefixed_request(head))),
    };
    let context = context::of_request(transport, &head.headers, &head.extensions);
    let (method, target) = match described {
        Ok(described) => described,
        Err(MissingHeader(header)) => {
            return to_http_response(&GatewayDecision::misconfigured(pdp, context.id, header), &[]);
        }
    };
    let request =
        HttpRequest { method, target, headers, body, depth: max_json_depth, ..HttpRequest::default() };
    match check::check(pdp, &request, &context) {
        Ok(decision) => to_http_response(&decision, &check::spoofed_headers(&request)),
        Err(DecisionFailed) => internal_error(),
    }
}

/// The method and the target of a request that has the prefix before its path.
fn prefixed_request(head: &Parts) -> (&str, &str) {
    let own = head.uri.path_and_query().map_or("", |target| target.as_str());
    let prefix = EXT_AUTHZ_PREFIX.trim_end_matches('/');
    (head.method.as_str(), own.strip_prefix(prefix).unwrap_or_default())
}

/// A header that the gateway has to send once, and did not.
struct MissingHeader(&'static str);

/// The method and the target of a request that headers describe.
fn forwarded_request(headers: &HeaderMap) -> Result<(&str, &str), MissingHeader> {
    let one = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            // A value that is not UTF-8 becomes an empty one, which is rejected as an invalid path.
            (Some(value), None) if !value.is_empty() => {
                Ok(str::from_utf8(value.as_bytes()).unwrap_or_default())
            }
            _ => Err(MissingHeader(name)),
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
        // The values are plain ASCII. If one is not, that is a defect, and the header has to be set anyway.
        let value = HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("-"));
        headers.insert(HeaderName::from_static(name), value);
    }
    position::insert(headers, decision.position);
    if let Ok(names) = HeaderValue::try_from(spoofed.join(","))
        && !spoofed.is_empty()
    {
        headers.insert(HEADERS_TO_REMOVE, names);
    }
    if !decision.outcome.is_permit() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if decision.outcome.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(check::CHALLENGE));
        }
        *response.status_mut() = decision.outcome.status();
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
