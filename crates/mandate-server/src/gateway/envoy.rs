//! Envoy's external authorization over gRPC, v3: reads a `CheckRequest`, writes a `CheckResponse`. The
//! decision is made in `check`; `ext_authz` over HTTP is in `http`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderAppendAction,
    HeaderValue, HeaderValueOption, HttpResponse, HttpStatus, HttpStatusCode, OkHttpResponse,
};
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use envoy_types::pb::google::rpc;
use hyper::StatusCode;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use crate::authzen::api::ApiLimits;
use crate::context;
use crate::gateway::check::{self, DecisionFailed, GatewayDecision};
use crate::position::{self, PositionError};
use mandate_core::json::{Json, Object};
use mandate_pdp::{DecisionContext, LogPosition, Pdp, Transport};
use mandate_routes::{HttpRequest, RequestBody};

/// The prefix of the path of every call.
pub const SERVICE_PATH_PREFIX: &str = "/envoy.service.auth.v3.Authorization/";

/// The gRPC service.
#[derive(Clone)]
pub struct ExtAuthz {
    pdp: Pdp,
    /// Levels of arrays and objects in a body that a route reads.
    max_json_depth: usize,
    /// How long a call may wait for the position that it names.
    max_wait: Duration,
}

/// The gRPC server of the service. It refuses messages that are longer than a body may be.
pub fn ext_authz_server(pdp: Pdp, limits: &ApiLimits) -> AuthorizationServer<ExtAuthz> {
    let ApiLimits { max_body_bytes, max_json_depth, max_wait, .. } = *limits;
    AuthorizationServer::new(ExtAuthz { pdp, max_json_depth, max_wait })
        .max_decoding_message_size(max_body_bytes)
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let received = Instant::now();
        let caller_timeout = caller_timeout(request.metadata());
        let headers = request.metadata().as_ref();
        let context = context::of_request(Transport::ExtAuthzGrpc, headers, request.extensions());
        if let Some(asked) = asked_position(&request) {
            let reached = position::reach_position(&self.pdp, asked, self.max_wait).await;
            reached.map_err(position_status)?;
        }
        let (answer, at) = self.decide_at(request.get_ref(), context)?;
        // The caller's own timeout has passed, so it has already acted without this answer. An error makes
        // sure that a late permit is never used.
        if caller_timeout.is_some_and(|caller_timeout| received.elapsed() > caller_timeout) {
            return Err(Status::deadline_exceeded("the caller's deadline has passed"));
        }
        let mut response = Response::new(answer);
        if let Some(at) = at.and_then(|at| at.to_string().parse().ok()) {
            response.metadata_mut().insert(position::MANDATE_AT, at);
        }
        Ok(response)
    }
}

/// The position that a call needs: its own metadata say so, or the request that it describes.
fn asked_position(request: &Request<CheckRequest>) -> Option<&[u8]> {
    let name = position::MANDATE_AT_LEAST;
    if let Some(asked) = request.metadata().get(name.as_str()) {
        return Some(asked.as_bytes());
    }
    let attributes = request.get_ref().attributes.as_ref()?;
    let http = attributes.request.as_ref()?.http.as_ref()?;
    let raw = || {
        let mut headers = http.header_map.iter().flat_map(|map| &map.headers);
        headers.find(|header| header.key == name.as_str()).map(value)
    };
    http.headers.get(name.as_str()).map(String::as_bytes).or_else(raw)
}

fn position_status(error: PositionError) -> Status {
    let message = error.to_string();
    match error {
        PositionError::Malformed | PositionError::NoStore => Status::invalid_argument(message),
        PositionError::OtherEpoch { .. } => Status::failed_precondition(message),
        PositionError::NotYet { .. } => Status::unavailable(message),
    }
}

impl ExtAuthz {
    pub fn new(pdp: Pdp) -> Self {
        Self { pdp, max_json_depth: Json::MAX_DEPTH, max_wait: Duration::ZERO }
    }

    /// Decides on one request.
    ///
    /// # Errors
    /// There is no decision, because of a defect.
    pub fn decide(
        &self,
        request: &CheckRequest,
        context: DecisionContext<'_>,
    ) -> Result<CheckResponse, Status> {
        self.decide_at(request, context).map(|(answer, _)| answer)
    }

    /// As [`Self::decide`], with the position of the entities that decided.
    fn decide_at(
        &self,
        request: &CheckRequest,
        context: DecisionContext<'_>,
    ) -> Result<(CheckResponse, Option<LogPosition>), Status> {
        let no_attributes = AttributeContext::default();
        let attributes = request.attributes.as_ref().unwrap_or(&no_attributes);
        let request = to_http_request(attributes, self.max_json_depth);
        let context = context::about(context, &request);
        match check::check(&self.pdp, &request, &context) {
            Ok(decision) => Ok((to_check_response(&decision, &request), decision.position)),
            Err(error @ DecisionFailed) => Err(Status::internal(error.to_string())),
        }
    }
}

/// How long the caller waits, by gRPC's own header or by Envoy's.
fn caller_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    let envoy = text("x-envoy-expected-rq-timeout-ms").and_then(|text| text.parse().ok());
    let grpc = text("grpc-timeout").and_then(parse_grpc_timeout);
    [envoy.map(Duration::from_millis), grpc].into_iter().flatten().min()
}

/// Parses a gRPC timeout: digits and a unit.
fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u32 = digits.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_hours(1),
        "M" => Duration::from_mins(1),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    unit.checked_mul(amount)
}

/// The HTTP request that Envoy's attributes describe.
fn to_http_request(attributes: &AttributeContext, max_json_depth: usize) -> HttpRequest<'_> {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let source = attributes.source.as_ref();
    let mut headers: Vec<(&str, &[u8])> = Vec::new();
    if let Some(http) = http {
        headers.extend(http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let raw = http.header_map.iter().flat_map(|map| &map.headers);
        headers.extend(raw.map(|header| (header.key.as_str(), value(header))));
    }
    let metadata = attributes.metadata_context.as_ref();
    let metadata = metadata.map(|metadata| filter_metadata_json(&metadata.filter_metadata));
    HttpRequest {
        method: http.map_or("", |http| http.method.as_str()),
        target: http.map_or("", |http| http.path.as_str()),
        body: http.map_or(RequestBody::None, |http| body(&http.body, &http.raw_body, &headers)),
        headers,
        depth: max_json_depth,
        extensions: attributes
            .context_extensions
            .iter()
            .map(|(name, it)| (name.as_str(), it.as_str()))
            .collect(),
        metadata: metadata.unwrap_or_default(),
        peer: source.map(|source| source.principal.as_str()).filter(|it| !it.is_empty()),
        certificate: source.map(|source| source.certificate.as_str()).filter(|it| !it.is_empty()),
    }
}

fn value(header: &HeaderValue) -> &[u8] {
    if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value }
}

/// The body. It is partial if Envoy's header says so, if it is shorter than its `Content-Length`, or if that
/// is not one number.
fn body<'a>(text: &'a str, raw: &'a [u8], headers: &[(&str, &[u8])]) -> RequestBody<'a> {
    let bytes = if raw.is_empty() { text.as_bytes() } else { raw };
    if bytes.is_empty() {
        return RequestBody::None;
    }
    let named = |name| headers.iter().filter(move |(it, _)| *it == name).map(|(_, value)| *value);
    let is_truncated = named("x-envoy-auth-partial-body").any(|value| value != b"false");
    let mut lengths = named("content-length");
    let length = lengths.next().map(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
    let is_shorter = length.is_some_and(|length| length.is_none_or(|length| length > bytes.len()));
    if is_truncated || is_shorter || lengths.next().is_some() {
        RequestBody::Partial
    } else {
        RequestBody::Complete(bytes)
    }
}

/// The metadata of Envoy's filters, by the name of the filter.
fn filter_metadata_json(metadata: &HashMap<String, Struct>) -> Object<'_> {
    metadata
        .iter()
        .map(|(name, fields)| (Cow::Borrowed(name.as_str()), Json::Object(object(fields))))
        .collect()
}

fn object(fields: &Struct) -> Object<'_> {
    fields.fields.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), json(value))).collect()
}

/// A protobuf value as JSON. It cannot be too deep, because the decoder limits the depth of messages.
fn json(value: &Value) -> Json<'_> {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(*bool),
        Some(Kind::NumberValue(number)) => exact_integer(*number).map_or(Json::OtherNumber, Json::Long),
        Some(Kind::StringValue(text)) => Json::String(Cow::Borrowed(text)),
        Some(Kind::ListValue(items)) => Json::Array(items.values.iter().map(json).collect()),
        Some(Kind::StructValue(fields)) => Json::Object(object(fields)),
    }
}

/// Converts a float to an integer if it is whole and below 2^53, where all integers are exact.
fn exact_integer(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, and in the range where all integers are exact"
    )]
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

fn to_check_response(decision: &GatewayDecision, request: &HttpRequest<'_>) -> CheckResponse {
    let headers = decision.headers().map(|(name, value)| overwrite_header(name, value)).collect::<Vec<_>>();
    let (code, http_response) = if decision.outcome.is_permit() {
        let headers_to_remove = check::spoofed_headers(request).into_iter().map(ToOwned::to_owned).collect();
        let response = OkHttpResponse { headers, headers_to_remove, ..OkHttpResponse::default() };
        (Code::Ok, HttpResponse::OkResponse(response))
    } else {
        let mut headers = headers;
        headers.push(overwrite_header("content-type", "application/problem+json".to_owned()));
        let is_unauthenticated = decision.outcome.status() == StatusCode::UNAUTHORIZED;
        if is_unauthenticated {
            headers.push(overwrite_header("www-authenticate", check::CHALLENGE.to_owned()));
        }
        let (code, status) = if is_unauthenticated {
            (Code::Unauthenticated, HttpStatusCode::Unauthorized)
        } else {
            (Code::PermissionDenied, HttpStatusCode::Forbidden)
        };
        let status = Some(HttpStatus { code: status.into() });
        let response = DeniedHttpResponse { status, headers, body: decision.problem_json() };
        (code, HttpResponse::DeniedResponse(response))
    };
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(dynamic_metadata(decision)),
        http_response: Some(http_response),
    }
}

/// A header that replaces all headers of that name.
fn overwrite_header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// Metadata that Envoy's other filters and its access log can read, as `envoy.filters.http.ext_authz`.
fn dynamic_metadata(decision: &GatewayDecision) -> Struct {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let policies = ListValue { values: decision.policies.iter().map(|id| text(id)).collect() };
    let fields = [
        ("decision", Value { kind: Some(Kind::BoolValue(decision.outcome.is_permit())) }),
        ("decision_id", Value { kind: Some(Kind::StringValue(decision.id.to_string())) }),
        ("outcome", text(decision.outcome.as_str())),
        ("policies", Value { kind: Some(Kind::ListValue(policies)) }),
        ("reason", text(&decision.reason)),
        ("revision", text(&decision.revision)),
        ("route", text(decision.route.as_deref().unwrap_or_default())),
    ];
    let mut fields: HashMap<String, Value> = fields.map(|(name, value)| (name.to_owned(), value)).into();
    if let Some(position) = decision.position {
        fields.insert("position".to_owned(), text(&position.to_string()));
    }
    if let Some(valid_until) = decision.valid_until {
        fields.insert("valid_until".to_owned(), text(&valid_until.to_string()));
    }
    Struct { fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn waits(text: &str, expected: Option<u64>) {
        assert_eq!(parse_grpc_timeout(text), expected.map(Duration::from_micros), "{text}");
    }

    #[test]
    fn timeouts_of_grpc() {
        waits("200m", Some(200_000));
        waits("5u", Some(5));
        waits("1S", Some(1_000_000));
        waits("99999999H", Some(99_999_999 * 3_600_000_000));
        for wrong in ["", "m", "5", "5x", "-5m", "5µ"] {
            waits(wrong, None);
        }
    }
}
