//! One function for each place where Mandate reads foreign bytes. It states what has to hold for all bytes.
//! The fuzz targets call these functions, and the tests call them with mutations of `corpus/`.

#![allow(dead_code, reason = "each fuzz target calls only one of the functions")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a fuzzer finds errors by panics")]

use std::path::Path;
use std::sync::OnceLock;

use envoy_types::ext_authz::v3::pb::{CheckRequest, HttpResponse};
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::snapshot::RequestConfig;
use mandate_pdp::{DecisionContext, Generation, Pdp, PdpConfig, Transport};
use mandate_routes::path::decode_segments;
use mandate_routes::{HttpRequest, Routes};
use mandate_server::authzen::api::{Api, ApiLimits};
use mandate_server::gateway::envoy::ExtAuthz;
use mandate_sources::loader::{ContentPaths, Loader};
use mandate_sources::policy_limits::PolicyLimits;
use prost::Message as _;
use serde_json::Value;

/// The pack, loaded once.
fn pack() -> &'static Generation {
    static PACK: OnceLock<Generation> = OnceLock::new();
    PACK.get_or_init(|| {
        // The tests are in the root package, and the fuzz targets in a folder below it.
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = if root.join("policies").is_dir() { root } else { root.parent().unwrap() };
        let content_paths = ContentPaths {
            identity_sources: None,
            policy_limits: PolicyLimits::default(),
            policies: root.join("policies"),
            entities: root.join("entities"),
            terms: RequestConfig {
                described_by_callers: vec!["TenantUser".to_owned()],
                ..RequestConfig::default()
            },
        };
        Loader::new(&content_paths).load().unwrap().into()
    })
}

fn pdp() -> &'static Pdp {
    static PDP: OnceLock<Pdp> = OnceLock::new();
    PDP.get_or_init(|| Pdp::new(pack().clone(), PdpConfig::cached(1_000)).0)
}

/// Request bodies of the AuthZEN API: the answer has the form of the API, or the body is refused. If the
/// batch endpoint reads a body as a single evaluation, it decides the same as the evaluation endpoint.
pub fn authzen(body: &[u8]) {
    let api = Api::new(pdp().clone(), ApiLimits::default());
    let single = answer_json(api.post("/access/v1/evaluation", body));
    let batch = answer_json(api.post("/access/v1/evaluations", body));
    if let Some(single) = &single {
        assert!(single["decision"].is_boolean(), "{single}");
    }
    for target in ["subject", "resource", "action"] {
        let page = answer_json(api.post(&format!("/access/v1/search/{target}"), body));
        assert!(page.is_none_or(|page| page["results"].is_array() && page["page"]["next_token"].is_string()));
    }
    let Some(batch) = batch else { return };
    match batch["evaluations"].as_array() {
        Some(items) => assert!(items.iter().all(|item| item["decision"].is_boolean()), "{batch}"),
        None => assert_eq!(single.map(|single| single["decision"].clone()), Some(batch["decision"].clone())),
    }
}

/// The JSON of an answer; `None` if the body was refused.
fn answer_json<E: std::fmt::Debug>(answer: Result<Vec<u8>, E>) -> Option<Value> {
    answer.ok().map(|body| serde_json::from_slice(&body).unwrap())
}

/// Envoy's `CheckRequest`: the status is OK exactly if the HTTP response is OK, and headers hold printable
/// ASCII only.
pub fn ext_authz(message: &[u8]) {
    let Ok(request) = CheckRequest::decode(message) else { return };
    let response =
        ExtAuthz::new(pdp().clone()).decide(&request, DecisionContext::new(Transport::InProcess)).unwrap();
    let permits = response.status.as_ref().unwrap().code == 0;
    let (is_ok_response, headers) = match response.http_response.unwrap() {
        HttpResponse::OkResponse(response) => (true, response.headers),
        HttpResponse::DeniedResponse(response) | HttpResponse::ErrorResponse(response) => {
            (false, response.headers)
        }
    };
    assert_eq!(is_ok_response, permits);
    for header in headers.into_iter().filter_map(|header| header.header) {
        let is_printable = header.value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        assert!(is_printable && !header.value.is_empty(), "{header:?}");
    }
}

/// Route files: a file that is refused has errors to show, and routing by an accepted file does not panic.
pub fn routes(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let file = SourceText::new("routes.toml", text);
    match Routes::parse(&[file], pack().snapshot().schema()) {
        Ok(routes) => {
            let request =
                HttpRequest { method: "POST", target: "/v1/customers/x/y", ..HttpRequest::default() };
            let _ = routes.route(&request).map(|routed| routed.route.line());
        }
        Err(diagnostics) => assert!(diagnostics.has_errors() && !diagnostics.to_string().is_empty()),
    }
}

/// Paths of HTTP requests: an accepted path has one segment for each slash, and no program can resolve it
/// differently.
pub fn paths(target: &[u8]) {
    let Ok(target) = std::str::from_utf8(target) else { return };
    let Ok(segments) = decode_segments(target) else { return };
    for segment in &segments {
        assert!(!segment.is_empty() && !segment.contains(['/', '\\']), "{segment:?}");
        assert!(!matches!(segment.as_ref(), "." | ".."), "{segment:?}");
    }
    let path = target.split('?').next().unwrap();
    assert_eq!(segments.len(), path.matches('/').count() - usize::from(path == "/"));
    let request = HttpRequest { method: "POST", target, ..HttpRequest::default() };
    let _ = pack().routes().route(&request).map(|routed| routed.route.line());
}

/// Entity files in JSON and NDJSON: the entities of a file that parses are applied, or refused with errors.
pub fn entities(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    for name in ["entities.json", "entities.ndjson"] {
        let file = SourceText::new(name, text);
        let (schema, progress) = (pack().snapshot().schema(), LoadProgress::default());
        let Ok(upserts) = parse_entity_file(&file, Origin::default(), schema, &progress) else { continue };
        let count = upserts.len();
        match pack().snapshot().apply(&EntityChanges { upserts, ..EntityChanges::default() }) {
            Ok(next) => assert!(next.entities().len() <= pack().snapshot().entities().len() + count),
            Err(diagnostics) => assert!(diagnostics.has_errors()),
        }
    }
}
