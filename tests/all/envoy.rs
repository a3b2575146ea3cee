//! Envoy's gRPC messages, without Envoy: what it can send that the tests with the real one do not make
//! it send. `tests/gateways/` has the real one.

use envoy_types::ext_authz::v3::pb::{
    Authorization, CheckRequest, CheckResponse, HeaderValue, HttpResponse, HttpStatusCode,
};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, Metadata};
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mandate_core::snapshot::RequestConfig;
use mandate_pdp::{DecisionContext, Pdp, PdpConfig, Transport};
use mandate_server::gateway::envoy::ExtAuthz;
use mandate_sources::loader::{ContentPaths, Loader};
use tonic::Code;

use crate::support::Content;

const CONSENT: &str = "/oem/v1/customers/contoso/consentRequests";

fn service(content: &Content) -> ExtAuthz {
    let content_paths = ContentPaths {
        policies: content.policies(),
        entities: content.entities(),
        terms: RequestConfig::default(),
    };
    ExtAuthz::new(Pdp::new(Loader::new(&content_paths).load().unwrap(), PdpConfig::cached(100)).0)
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

/// One field of the metadata that other filters see.
fn said(response: &CheckResponse, field: &str) -> String {
    match &response.dynamic_metadata.as_ref().unwrap().fields[field].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(bool)) => bool.to_string(),
        other => panic!("{other:?}"),
    }
}

const TREY: [(&str, &str); 2] = [("x-partner-type", "Oem"), ("x-partner-id", "trey")];

#[track_caller]
fn outcome(service: &ExtAuthz, http: HttpRequest, expected: &str) {
    assert_eq!(said(&answer(service, attributes(http)), "outcome"), expected);
}

#[test]
fn denials_carry_status_body_and_headers() {
    let content = Content::of_pack();
    let response = answer(&service(&content), attributes(http("GET", "/nowhere", &[])));
    let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else { panic!("{response:?}") };
    assert_eq!(response.status.as_ref().unwrap().code, i32::from(Code::PermissionDenied));
    assert_eq!(denied.status.as_ref().unwrap().code, i32::from(HttpStatusCode::Forbidden));
    let problem: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
    assert_eq!(problem["decision_id"], said(&response, "decision_id"));
    assert_eq!(problem["detail"], "No route matches the request.");
    assert_eq!(denied.headers.len(), 8, "{denied:?}");
    assert_eq!(said(&response, "decision"), "false");
}

#[test]
fn bodies_come_whole_or_count_as_cut_off() {
    let content = Content::of_pack();
    let service = service(&content);
    let body = br#"{"delegatedAdministration":false}"#;
    let with = |more: &[(&str, &str)], raw: &[u8], text: &str| {
        let http = http("POST", CONSENT, &[&TREY[..], more].concat());
        HttpRequest { raw_body: raw.to_vec(), body: text.to_owned(), ..http }
    };
    outcome(&service, with(&[], body, ""), "permitted");
    outcome(&service, with(&[], b"", std::str::from_utf8(body).unwrap()), "permitted");
    outcome(&service, with(&[("x-envoy-auth-partial-body", "false")], body, ""), "permitted");
    outcome(&service, with(&[("x-envoy-auth-partial-body", "true")], body, ""), "missing");
    outcome(&service, with(&[("content-length", "33")], body, ""), "permitted");
    outcome(&service, with(&[("content-length", "34")], body, ""), "missing");
    outcome(&service, with(&[], b"", ""), "missing");
    outcome(&service, with(&[], b"\xff", ""), "missing");
}

#[test]
fn headers_can_come_raw() {
    let content = Content::of_pack();
    let raw = |key: &str, value: &str| HeaderValue {
        key: key.to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let path = "/oem/v1/customers/contoso/consent";
    let with = |headers: Vec<HeaderValue>| HttpRequest {
        header_map: Some(HeaderMap { headers }),
        ..http("GET", path, &[])
    };
    let [kind, id] = TREY.map(|(name, value)| raw(name, value));
    outcome(&service(&content), with(vec![kind.clone(), id.clone()]), "permitted");
    // Twice is once too often, whoever added it.
    outcome(&service(&content), with(vec![kind, id.clone(), id]), "missing");
}

#[test]
fn only_what_clients_made_up_is_removed() {
    let content = Content::of_pack();
    let spoofed = [("x-mandate-decision", "permit"), ("x-mandate-z", "1"), ("x-mandate-a", "1")];
    let request = http("GET", "/oem/v1/customers/contoso/consent", &[&TREY[..], &spoofed].concat());
    let response = answer(&service(&content), attributes(request));
    let Some(HttpResponse::OkResponse(ok)) = &response.http_response else { panic!("{response:?}") };
    assert_eq!(ok.headers_to_remove, ["x-mandate-a", "x-mandate-z"]);
    assert_eq!(ok.headers.len(), 7, "{ok:?}");
}

/// Claims from metadata, an extension and the client's certificate, by routes of its own.
#[test]
fn everything_that_envoy_knows_can_be_read() {
    let content = Content::of_pack();
    let routes = |id: &str| {
        let text = "claims.metadata = '/jwt/partner'\n[[route]]\nid = 'r'\nmethod = 'GET'\npath = '/{c}'\naction = 'viewCustomer'\nresource = { type = 'Customer', id = { path = 'c' } }\nprincipal = { type = 'Oem', id = ID }\n";
        content.write("policies/routes.toml", &text.replace("ID", id));
    };
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = |name: &str, value: Value| Struct { fields: [(name.to_owned(), value)].into() };
    let claims = Value { kind: Some(Kind::StructValue(fields("id", text("trey")))) };
    let known = || AttributeContext {
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
        routes(id);
        let service = service(&content);
        assert_eq!(said(&answer(&service, known()), "outcome"), "permitted", "{id}");
        assert_eq!(
            said(&answer(&service, attributes(http("GET", "/contoso", &[]))), "outcome"),
            "missing",
            "{id}"
        );
    }
    // Nothing at all is a denial, too.
    assert_eq!(said(&answer(&service(&content), AttributeContext::default()), "outcome"), "bad_path");
}

#[test]
fn who_does_not_wait_gets_no_decision() {
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
