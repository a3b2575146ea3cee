//! Metadata and public keys.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{Served, SigningKey, header, registration, submission, text};
use crate::support::{Reply, Sidecar, until};

const METADATA: &str = "/.well-known/authzen-configuration";
const JWKS: &str = "/access/v1/jwks";

fn get(sidecar: &Sidecar, path: &str) -> Reply {
    sidecar.send("GET", path, "", &[])
}

fn keys(sidecar: &Sidecar) -> Vec<Jwk> {
    let reply = get(sidecar, JWKS);
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str::<JwkSet>(&reply.body).unwrap().keys
}

#[test]
fn metadata_name_the_endpoint_the_keys_and_the_capability() {
    let served = Served::new();
    let metadata = get(served.sidecar(), METADATA).json();
    assert_eq!(metadata["access_request_endpoint"], "https://pdp.example.com/access/v1/requests");
    assert_eq!(metadata["jwks_uri"], "https://pdp.example.com/access/v1/jwks");
    assert_eq!(metadata["capabilities"], json!(["urn:openid:authzen:capability:access-request"]));
}

#[test]
fn nothing_of_it_is_there_unless_it_is_turned_on() {
    let sidecar = Sidecar::of_pack(&[]);
    let metadata = get(&sidecar, METADATA).json();
    for member in ["access_request_endpoint", "jwks_uri", "capabilities"] {
        assert!(metadata[member].is_null(), "{metadata}");
    }
    assert_eq!(get(&sidecar, JWKS).status, 404);
    assert_eq!(sidecar.post("/access/v1/requests", "{}").status, 404);
    assert_eq!(sidecar.evaluate(&registration())["context"]["access_request"], Value::Null);
}

#[test]
fn keys_are_public_and_named_by_their_thumbprints() {
    let served = Served::new();
    let reply = get(served.sidecar(), JWKS);
    assert_eq!((reply.status, header(&reply, "cache-control")), (200, "max-age=300"));
    for key in keys(served.sidecar()) {
        assert_eq!(key.common.key_id, Some(key.thumbprint(ThumbprintHash::SHA256).unwrap()));
    }
    let shown = &reply.json()["keys"][0];
    assert_eq!(
        (&shown["use"], &shown["alg"], &shown["crv"]),
        (&json!("sig"), &json!("ES256"), &json!("P-256"))
    );
    assert!(shown.get("d").is_none(), "{shown}");
}

#[test]
fn the_token_of_a_denial_is_verified_by_the_published_key() {
    let served = Served::new();
    let denied = served.evaluate(&registration());
    let token = text(&denied["context"]["access_request"]["binding_token"]);
    let header = decode_header(token).unwrap();
    let key = keys(served.sidecar()).into_iter().find(|key| key.common.key_id == header.kid).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["https://pdp.example.com"]);
    validation.set_issuer(&["https://pdp.example.com"]);
    let claims = decode::<Value>(token, &DecodingKey::from_jwk(&key).unwrap(), &validation).unwrap().claims;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let lives_for = claims["exp"].as_u64().unwrap() - now;
    assert!((590..=600).contains(&lives_for), "{claims}");
}

#[test]
fn keys_are_rotated_without_losing_what_was_signed() {
    let served = Served::new();
    let submission_of_old = submission(&registration(), &served.evaluate(&registration()));
    let old = keys(served.sidecar());
    let new = SigningKey::new();
    served.content.replace_file("keys.pem", &format!("{}{}", new.pem(), served.key.pem()));
    until("both keys are published", || keys(served.sidecar()).len() == 2);
    let both = keys(served.sidecar());
    assert_eq!(both[1], old[0]);
    // The first signs from now on, and what the old one signed is still accepted.
    let denied = served.evaluate(&registration());
    let kid = decode_header(text(&denied["context"]["access_request"]["binding_token"])).unwrap().kid;
    assert_eq!(kid, both[0].common.key_id);
    assert_eq!(served.submit(&submission_of_old).status, 202);
    // Without the old key, it is not.
    served.content.replace_file("keys.pem", &new.pem());
    until("the old key is gone", || keys(served.sidecar()).len() == 1);
    let reply = served.submit(&submission_of_old);
    super::refused(&reply, 400, "invalid_denial_binding");
    // A file that is wrong leaves the keys as they are.
    served.content.replace_file("keys.pem", "no key");
    until("the file is refused", || served.sidecar().log().contains("has no private key"));
    assert_eq!(keys(served.sidecar()).len(), 1);
}

#[test]
fn without_a_file_the_keys_end_with_the_process() {
    let mut served = Served::new();
    let path = served.content.path("none").display().to_string();
    assert!(!std::path::Path::new(&path).exists());
    served.sidecar = None;
    let (store, tokens) = (served.content.path("store.redb"), served.content.path("tokens"));
    let (store, tokens) = (store.display().to_string(), tokens.display().to_string());
    let args = [
        "--store",
        &store,
        "--tokens",
        &tokens,
        "--request-callers",
        "gateway",
        "--public-url",
        "https://pdp.example.com",
    ];
    let start = |served: &mut Served| {
        served.sidecar = None;
        served.sidecar = Some(served.content.serve_with(&args));
    };
    start(&mut served);
    assert!(served.sidecar().log().contains("end with this process"), "{}", served.sidecar().log());
    let submission = served.denied(&registration());
    start(&mut served);
    super::refused(&served.submit(&submission), 400, "invalid_denial_binding");
}

#[test]
fn requests_and_answers_are_as_the_openapi_document_has_them() {
    let served = Served::new();
    let document = served.send("gateway", "GET", "/openapi.json", &Value::Null, &[]).json();
    let described = |pointer: &str, value: &Value| {
        let mut schema = document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        validator.validate(value).unwrap_or_else(|error| panic!("{error}: {value}"));
    };
    let json = "content/application~1json/schema";
    let denied = served.evaluate(&registration());
    described(&format!("/paths/~1access~1v1~1evaluation/post/responses/200/{json}"), &denied);
    let submission = submission(&registration(), &denied);
    described(&format!("/paths/~1access~1v1~1requests/post/requestBody/{json}"), &submission);
    let reply = served.submit(&submission);
    described(&format!("/paths/~1access~1v1~1requests/post/responses/202/{json}"), &reply.json());
    let task = super::task_of(&reply);
    served.review(&task, "accept", "relecloud");
    let answer = served.poll(&task);
    described(&format!("/paths/~1access~1v1~1requests~1{{path}}/get/responses/200/{json}"), &answer);
    let problem = served.submit(&submission);
    let pointer = "/paths/~1access~1v1~1requests/post/responses/400/content/application~1problem+json/schema";
    described(pointer, &problem.json());
}
