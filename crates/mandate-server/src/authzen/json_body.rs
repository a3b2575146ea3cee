//! Reads the JSON object that the body of a request has to be. What it means is up to the operations.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::api::{ApiError, ApiLimits};
use crate::body::{BodyError, ReceivedBody, read_body};
use crate::listen::rejection::RejectionReason;
use mandate_core::json::{Json, Object};

/// Reads a body of JSON, within the limits.
///
/// # Errors
/// It is something else, or too long, or does not arrive.
pub async fn read_json_body(
    headers: &HeaderMap,
    body: Incoming,
    limits: &ApiLimits,
) -> Result<Bytes, ApiError> {
    if !has_json_content_type(headers) {
        return Err(ApiError::bad_request("the content type has to be `application/json`"));
    }
    let max_bytes = limits.max_body_bytes;
    match read_body(body, max_bytes, limits.body_timeout).await {
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

/// The JSON of a body.
///
/// # Errors
/// It is not valid, or nested too deeply.
pub fn parse_json(body: &[u8], max_depth: usize) -> Result<Json<'_>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("the body is empty: it has to be a JSON object"));
    }
    Json::parse_with_max_depth(body, max_depth)
        .map_err(|error| ApiError::bad_request(format!("the body is not valid JSON: {error}")))
}

/// The object that a body has to be.
///
/// # Errors
/// It is something else.
pub fn expect_object<'j>(json: &'j Json<'j>) -> Result<&'j Object<'j>, ApiError> {
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
