//! Envoy's gRPC messages, without Envoy: requests that the tests with the real Envoy in `tests/gateways/`
//! do not make it send.

use envoy_types::ext_authz::v3::pb::{
    Authorization, CheckRequest, CheckResponse, HeaderValue, HttpResponse, HttpStatusCode,
};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, Metadata};
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mandate_core::snapshot::RequestConfig;
use mandate_pdp::{DecisionContext, Generation, LogPosition, Pdp, PdpConfig, Transport};
use mandate_server::gateway::envoy::ExtAuthz;
use mandate_sources::loader::{ContentPaths, Loader};
use mandate_sources::policy_limits::PolicyLimits;
use tonic::Code;

use crate::support::Content;

const REQUEST_CONSENT: &str = "/oem/v1/customers/contoso/consentRequests";

fn content_paths(content: &Content) -> ContentPaths {
    ContentPaths {
        policies: content.policies(),
        entities: content.entities(),
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    }
}

fn service(content: &Content) -> ExtAuthz {
    let loaded = Loader::new(&content_paths(content)).load().unwrap();
    ExtAuthz::new(Pdp::new(loaded, PdpConfig::cached(100)).0)
}

/// A request as Envoy describes it.
fn http(method: &str, path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: headers.iter().map(owned).collect(),
        ..HttpRequest::default()
    }
}

fn attributes(http: HttpRequest) -> AttributeContext {
    AttributeContext {
        request: Some(Request { http: Some(http), ..Request::default() }),
        ..AttributeContext::default()
    }
}

#[track_caller]
fn answer(service: &ExtAuthz, attributes: AttributeContext) -> CheckResponse {
    service
        .decide(&CheckRequest { attributes: Some(attributes) }, DecisionContext::new(Transport::InProcess))
        .unwrap()
}

/// One field of the dynamic metadata, which Envoy shows to its other filters.
fn metadata_field(response: &CheckResponse, field: &str) -> String {
    match &response.dynamic_metadata.as_ref().unwrap().fields[field].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(bool)) => bool.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The headers of the partner Trey.
const TREY: [(&str, &str); 2] = [("x-partner-type", "Oem"), ("x-partner-id", "trey")];

#[track_caller]
fn check_outcome(service: &ExtAuthz, http: HttpRequest, expected: &str) {
    assert_eq!(metadata_field(&answer(service, attributes(http)), "outcome"), expected);
}

#[test]
fn denials_carry_status_body_and_headers() {
    let content = Content::of_pack();
    let response = answer(&service(&content), attributes(http("GET", "/nowhere", &[])));
    let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else { panic!("{response:?}") };
    assert_eq!(response.status.as_ref().unwrap().code, i32::from(Code::PermissionDenied));
    assert_eq!(denied.status.as_ref().unwrap().code, i32::from(HttpStatusCode::Forbidden));
    let problem: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
    assert_eq!(problem["decision_id"], metadata_field(&response, "decision_id"));
    assert_eq!(problem["detail"], "No route matches the request.");
    assert_eq!(denied.headers.len(), 8, "{denied:?}");
    assert_eq!(metadata_field(&response, "decision"), "false");
}

#[test]
fn metadata_say_until_when_a_decision_holds() {
    let schema = "entity User; action view, edit appliesTo { principal: User, resource: User, context: { @clock(\"1d\") today: datetime } };";
    let policies = "@id(\"a\") permit (principal, action == Action::\"view\", resource) when { context.today > datetime(\"2026-01-01\") };";
    let route = |action: &str| {
        format!(
            "[[route]]\nid = '{action}'\nmethod = 'GET'\npath = '/{action}'\naction = '{action}'\nprincipal = {{ type = 'User', id = {{ header = 'x-user' }} }}\nresource = {{ type = 'User', id = 'eve' }}\n"
        )
    };
    let content = Content::of(&[
        ("policies/s.cedarschema", schema),
        ("policies/p.cedar", policies),
        ("policies/routes.toml", &[route("view"), route("edit")].concat()),
        (
            "entities/users.json",
            "[{ \"uid\": { \"type\": \"User\", \"id\": \"eve\" }, \"attrs\": {}, \"parents\": [] }]",
        ),
    ]);
    let service = service(&content);
    let view = answer(&service, attributes(http("GET", "/view", &[("x-user", "eve")])));
    assert_eq!(metadata_field(&view, "decision"), "true");
    assert!(metadata_field(&view, "valid_until").ends_with("T00:00:00Z"));
    let edit = answer(&service, attributes(http("GET", "/edit", &[("x-user", "eve")])));
    assert!(!edit.dynamic_metadata.unwrap().fields.contains_key("valid_until"));
}

#[test]
fn a_client_without_credentials_is_asked_for_them() {
    let content = Content::of_pack();
    let attributes = attributes(http("GET", "/v1/customers/contoso/deviceBatches", &[]));
    let response = answer(&service(&content), attributes);
    let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else { panic!("{response:?}") };
    assert_eq!(response.status.as_ref().unwrap().code, i32::from(Code::Unauthenticated));
    assert_eq!(denied.status.as_ref().unwrap().code, i32::from(HttpStatusCode::Unauthorized));
    let mut names = denied.headers.iter().map(|it| it.header.as_ref().unwrap());
    assert!(
        names.any(|header| (header.key.as_str(), header.value.as_str()) == ("www-authenticate", "Bearer"))
    );
}

#[test]
fn a_body_that_is_cut_off_counts_as_missing() {
    let content = Content::of_pack();
    let service = service(&content);
    let body = br#"{"delegatedAdministration":false}"#;
    let request = |headers: &[(&str, &str)], raw: &[u8], text: &str| {
        let json = ("content-type", "application/json");
        let http = http("POST", REQUEST_CONSENT, &[&TREY[..], &[json], headers].concat());
        HttpRequest { raw_body: raw.to_vec(), body: text.to_owned(), ..http }
    };
    check_outcome(&service, request(&[], body, ""), "permitted");
    check_outcome(&service, request(&[], b"", std::str::from_utf8(body).unwrap()), "permitted");
    check_outcome(&service, request(&[("x-envoy-auth-partial-body", "false")], body, ""), "permitted");
    check_outcome(&service, request(&[("x-envoy-auth-partial-body", "true")], body, ""), "missing");
    check_outcome(&service, request(&[("content-length", "33")], body, ""), "permitted");
    check_outcome(&service, request(&[("content-length", "34")], body, ""), "missing");
    check_outcome(&service, request(&[("content-length", "33,33")], body, ""), "missing");
    check_outcome(&service, request(&[("content-length", "")], body, ""), "missing");
    check_outcome(&service, request(&[], b"", ""), "missing");
    check_outcome(&service, request(&[], b"\xff", ""), "missing");
}

#[test]
fn headers_are_read_from_raw_values() {
    let content = Content::of_pack();
    let raw = |key: &str, value: &str| HeaderValue {
        key: key.to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let path = "/oem/v1/customers/contoso/consent";
    let request = |headers: Vec<HeaderValue>| HttpRequest {
        header_map: Some(HeaderMap { headers }),
        ..http("GET", path, &[])
    };
    let [partner_type, id] = TREY.map(|(name, value)| raw(name, value));
    check_outcome(&service(&content), request(vec![partner_type.clone(), id.clone()]), "permitted");
    // The client may have sent one of two equal headers, so neither is trusted.
    check_outcome(&service(&content), request(vec![partner_type.clone(), id.clone(), id.clone()]), "missing");
    // Nobody knows where a body with two lengths ends.
    let json = raw("content-type", "application/json");
    let length = raw("content-length", "33");
    let with_body = |more: &[&HeaderValue]| {
        let headers = [&partner_type, &id, &json].into_iter().chain(more.iter().copied()).cloned();
        HttpRequest {
            header_map: Some(HeaderMap { headers: headers.collect() }),
            raw_body: br#"{"delegatedAdministration":false}"#.to_vec(),
            ..http("POST", REQUEST_CONSENT, &[])
        }
    };
    check_outcome(&service(&content), with_body(&[&length]), "permitted");
    check_outcome(&service(&content), with_body(&[&length, &length]), "missing");
}

#[test]
fn headers_that_imitate_those_of_mandate_are_removed() {
    let content = Content::of_pack();
    let spoofed = [("x-mandate-decision", "permit"), ("x-mandate-z", "1"), ("x-mandate-a", "1")];
    let request = http("GET", "/oem/v1/customers/contoso/consent", &[&TREY[..], &spoofed].concat());
    let response = answer(&service(&content), attributes(request));
    let Some(HttpResponse::OkResponse(ok)) = &response.http_response else { panic!("{response:?}") };
    assert_eq!(ok.headers_to_remove, ["x-mandate-a", "x-mandate-z"]);
    assert_eq!(ok.headers.len(), 7, "{ok:?}");
}

#[test]
fn routes_read_claims_extensions_and_the_client_certificate() {
    let content = Content::of_pack();
    let write_routes = |id: &str| {
        let text = "claims.metadata = '/jwt/partner'\n[[route]]\nid = 'r'\nmethod = 'GET'\npath = '/{c}'\naction = 'viewCustomer'\nresource = { type = 'Customer', id = { path = 'c' } }\nprincipal = { type = 'Oem', id = ID }\n";
        content.write("policies/routes.toml", &text.replace("ID", id));
    };
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = |name: &str, value: Value| Struct { fields: [(name.to_owned(), value)].into() };
    let claims = Value { kind: Some(Kind::StructValue(fields("id", text("trey")))) };
    let request = || AttributeContext {
        context_extensions: [("oem".to_owned(), "trey".to_owned())].into(),
        metadata_context: Some(Metadata {
            filter_metadata: [("jwt".to_owned(), fields("partner", claims.clone()))].into(),
            ..Metadata::default()
        }),
        source: Some(Peer { principal: "spiffe://oem/trey".to_owned(), ..Peer::default() }),
        ..attributes(http("GET", "/contoso", &[]))
    };
    for id in [
        "{ claim = '/id' }",
        "{ extension = 'oem' }",
        "{ certificate = 'principal', pattern = 'spiffe://oem/{}' }",
    ] {
        write_routes(id);
        let service = service(&content);
        assert_eq!(metadata_field(&answer(&service, request()), "outcome"), "permitted", "{id}");
        assert_eq!(
            metadata_field(&answer(&service, attributes(http("GET", "/contoso", &[]))), "outcome"),
            if id.contains("extension") { "missing" } else { "unauthenticated" },
            "{id}"
        );
    }
    // A message without a request is denied.
    assert_eq!(
        metadata_field(&answer(&service(&content), AttributeContext::default()), "outcome"),
        "bad_path"
    );
}

#[test]
fn a_request_after_its_deadline_gets_no_decision() {
    let content = Content::of_pack();
    let service = service(&content);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let check = |name: &'static str, value: &str| {
        let attributes = attributes(http("GET", "/oem/v1/customers/contoso/consent", &TREY));
        let mut request = tonic::Request::new(CheckRequest { attributes: Some(attributes) });
        request.metadata_mut().insert(name, value.parse().unwrap());
        runtime.block_on(service.check(request)).map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(check("grpc-timeout", "10S"), Ok(()));
    assert_eq!(check("grpc-timeout", "1n"), Err(Code::DeadlineExceeded));
    assert_eq!(check("x-envoy-expected-rq-timeout-ms", "10000"), Ok(()));
    assert_eq!(check("x-envoy-expected-rq-timeout-ms", "0"), Err(Code::DeadlineExceeded));
    assert_eq!(check("grpc-timeout", "nonsense"), Ok(()));
}

#[test]
fn positions_are_in_the_metadata_and_are_waited_for() {
    let content = Content::of_pack();
    let loaded = Loader::new(&content_paths(&content)).load().unwrap();
    let at: LogPosition = "0123456789abcdef:7".parse().unwrap();
    let generation = Generation::from(loaded).with_position(Some(at));
    let service = ExtAuthz::new(Pdp::new(generation, PdpConfig::cached(100)).0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // In the metadata of the call, or in the headers of the request that it describes.
    let check = |call: Option<&str>, described: Option<&str>| {
        let mut headers = TREY.to_vec();
        headers.extend(described.map(|asked| ("mandate-at-least", asked)));
        let attributes = attributes(http("GET", "/oem/v1/customers/contoso/consent", &headers));
        let mut request = tonic::Request::new(CheckRequest { attributes: Some(attributes) });
        if let Some(asked) = call {
            request.metadata_mut().insert("mandate-at-least", asked.parse().unwrap());
        }
        runtime.block_on(service.check(request)).map_err(|status| status.code())
    };
    let answer = check(None, Some("0123456789abcdef:7")).unwrap();
    assert_eq!(answer.metadata().get("mandate-at").unwrap(), "0123456789abcdef:7");
    assert_eq!(metadata_field(answer.get_ref(), "position"), "0123456789abcdef:7");
    let code = |call, described| check(call, described).map(|_| ()).unwrap_err();
    assert_eq!(code(Some("0123456789abcdef:8"), None), Code::Unavailable);
    assert_eq!(code(None, Some("0123456789abcdef:8")), Code::Unavailable);
    assert_eq!(code(None, Some("ffff456789abcdef:1")), Code::FailedPrecondition);
    assert_eq!(code(None, Some("7")), Code::InvalidArgument);
}
