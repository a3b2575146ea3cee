//! Where bytes of others come in, and what has to hold whatever they are. Fuzzers call these, and so do
//! the tests, with mutations of `corpus/`.

#![allow(dead_code, reason = "each fuzz target takes one of them")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is what a fuzzer looks for")]

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
use prost::Message as _;
use serde_json::Value;

/// The pack, loaded once.
fn pack() -> &'static Generation {
    static PACK: OnceLock<Generation> = OnceLock::new();
    PACK.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = if root.join("policies").is_dir() { root } else { root.parent().unwrap() };
        let content_paths = ContentPaths {
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

/// Bodies of the AuthZEN API: an answer in its form, or a sentence about what is wrong. The same question
/// alone and in a batch of one comes to the same.
pub fn authzen(body: &[u8]) {
    let api = Api::new(pdp().clone(), ApiLimits::default());
    let single = said(api.post("/access/v1/evaluation", body));
    let batch = said(api.post("/access/v1/evaluations", body));
    if let Some(single) = &single {
        assert!(single["decision"].is_boolean(), "{single}");
    }
    for side in ["subject", "resource", "action"] {
        let found = said(api.post(&format!("/access/v1/search/{side}"), body));
        assert!(
            found.is_none_or(|found| found["results"].is_array() && found["page"]["next_token"].is_string())
        );
    }
    let Some(batch) = batch else { return };
    match batch["evaluations"].as_array() {
        Some(items) => assert!(items.iter().all(|item| item["decision"].is_boolean()), "{batch}"),
        None => assert_eq!(single.map(|it| it["decision"].clone()), Some(batch["decision"].clone())),
    }
}

fn said<E: std::fmt::Debug>(answer: Result<Vec<u8>, E>) -> Option<Value> {
    answer.ok().map(|body| serde_json::from_slice(&body).unwrap())
}

/// Envoy's messages: a permit is an OK response, and only that is one.
pub fn ext_authz(message: &[u8]) {
    let Ok(request) = CheckRequest::decode(message) else { return };
    let response =
        ExtAuthz::new(pdp().clone()).decide(&request, DecisionContext::new(Transport::InProcess)).unwrap();
    let permits = response.status.as_ref().unwrap().code == 0;
    let (ok, headers) = match response.http_response.unwrap() {
        HttpResponse::OkResponse(response) => (true, response.headers),
        HttpResponse::DeniedResponse(response) | HttpResponse::ErrorResponse(response) => {
            (false, response.headers)
        }
    };
    assert_eq!(ok, permits);
    for header in headers.into_iter().filter_map(|header| header.header) {
        let plain = header.value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        assert!(plain && !header.value.is_empty(), "{header:?}");
    }
}

/// Files of routes: what is refused is refused with a place or a reason, never with a panic.
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

/// Paths: what is split is split where every program splits it, and means no other place.
pub fn paths(target: &[u8]) {
    let Ok(target) = std::str::from_utf8(target) else { return };
    let Ok(split) = decode_segments(target) else { return };
    for segment in &split {
        assert!(!segment.is_empty() && !segment.contains(['/', '\\']), "{segment:?}");
        assert!(!matches!(segment.as_ref(), "." | ".."), "{segment:?}");
    }
    let path = target.split('?').next().unwrap();
    assert_eq!(split.len(), path.matches('/').count() - usize::from(path == "/"));
    let request = HttpRequest { method: "POST", target, ..HttpRequest::default() };
    let _ = pack().routes().route(&request).map(|routed| routed.route.line());
}

/// Entities in JSON: what is read can be put into the store, or is refused with reasons.
pub fn entities(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    for name in ["entities.json", "entities.ndjson"] {
        let file = SourceText::new(name, text);
        let (schema, none) = (pack().snapshot().schema(), LoadProgress::default());
        let Ok(upsert) = parse_entity_file(&file, Origin::default(), schema, &none) else { continue };
        let count = upsert.len();
        match pack().snapshot().apply(&EntityChanges { upserts: upsert, ..EntityChanges::default() }) {
            Ok(next) => assert!(next.entities().len() <= pack().snapshot().entities().len() + count),
            Err(diagnostics) => assert!(diagnostics.has_errors()),
        }
    }
}
