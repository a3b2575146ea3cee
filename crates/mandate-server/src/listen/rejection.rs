//! The answers to requests that are not admitted, or that time out, in HTTP or gRPC. Requests are rejected by
//! `admission` and `server`, and the counts are in `monitor`.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::authentication::AuthenticationError;

/// The reason why a request is rejected.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejection {
    Unauthenticated(AuthenticationError),
    /// The client certificate is valid, but none of its names is allowed.
    Forbidden(Vec<String>),
    Overload,
    /// The answer took longer than the request timeout.
    TimedOut,
}

/// The prefix of the content types of gRPC.
const GRPC_CONTENT_TYPE: &str = "application/grpc";

/// The format of a rejection, which depends on the request.
#[derive(Debug, Default)]
pub struct ResponseFormat {
    grpc: bool,
    request_id: Option<HeaderValue>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl ResponseFormat {
    /// The format for a request. It is gRPC only if the path says so too: a gateway over HTTP may forward its
    /// client's `application/grpc`, and errors of gRPC have the HTTP status 200, which would be a permit.
    pub fn for_request(path: &str, headers: &HeaderMap, grpc_prefix: &str) -> Self {
        let content_type = || headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        let grpc = !grpc_prefix.is_empty()
            && path.starts_with(grpc_prefix)
            && content_type().starts_with(GRPC_CONTENT_TYPE.as_bytes());
        Self { grpc, request_id: headers.get(REQUEST_ID).cloned() }
    }
}

impl Rejection {
    /// The reason in metrics.
    pub fn reason(&self) -> RejectionReason {
        match self {
            Self::Unauthenticated(_) => RejectionReason::Unauthenticated,
            Self::Forbidden(_) => RejectionReason::Forbidden,
            Self::Overload => RejectionReason::Overload,
            Self::TimedOut => RejectionReason::Timeout,
        }
    }

    pub fn response(&self, form: ResponseFormat) -> Response<Full<Bytes>> {
        let mut response = if form.grpc { self.grpc_response() } else { self.http_response() };
        if let Some(id) = form.request_id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    fn http_response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.message().into_owned())));
        *response.status_mut() = match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Overload | Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::Unauthenticated(error) => {
                let challenge = match error {
                    AuthenticationError::MissingToken => r#"Bearer realm="mandate""#,
                    AuthenticationError::InvalidToken(_) => {
                        r#"Bearer realm="mandate", error="invalid_token""#
                    }
                };
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::Overload => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Forbidden(_) | Self::TimedOut => {}
        }
        response
    }

    /// A gRPC response without messages, whose status is in the headers.
    fn grpc_response(&self) -> Response<Full<Bytes>> {
        const UNSAFE: &AsciiSet = &CONTROLS.add(b'%');
        let status = match self {
            Self::Unauthenticated(_) => "16",
            Self::Forbidden(_) => "7",
            Self::Overload => "14",
            Self::TimedOut => "4",
        };
        let message = utf8_percent_encode(&self.message(), UNSAFE).to_string();
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC_CONTENT_TYPE));
        headers.insert("grpc-status", HeaderValue::from_static(status));
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert("grpc-message", message);
        }
        response
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthenticated(error) => error.to_string().into(),
            Self::Forbidden(names) if names.is_empty() => {
                "the client certificate has no URI, no DNS name, and no common name that is its only name"
                    .into()
            }
            Self::Forbidden(names) => {
                let names: Vec<String> = names.iter().map(|name| mandate_core::json::quoted(name)).collect();
                format!("the client certificate of {} is not allowed on this listener", names.join(", "))
                    .into()
            }
            Self::Overload => "too many concurrent requests: try again".into(),
            Self::TimedOut => "the answer took too long".into(),
        }
    }
}

/// The reason of a rejection in metrics. A service puts it into the extensions of an answer that is to be
/// counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionReason {
    Unauthenticated,
    Forbidden,
    Overload,
    Timeout,
    TooLarge,
}

impl RejectionReason {
    pub const ALL: [Self; 5] =
        [Self::Unauthenticated, Self::Forbidden, Self::Overload, Self::Timeout, Self::TooLarge];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Overload => "overload",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
        }
    }
}
