//! Authentication of callers by bearer tokens and JWTs.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{check_refused_start, permitted_question};
use crate::support::wire::{Connection, Version};
use crate::support::{Content, Reply, Sidecar, until};

const ALICES_TOKEN: &str = "alice-0123456789";
/// A token file. Bob's token is `C`: the file has its digest.
const TOKENS: &str = "# callers\nalice alice-0123456789\nbob sha256:6b23c0d5f35d1b11f9b683f0b0a617355deb11277d91ae091d399c655b87940d\n";

/// The answer to a question that is permitted, asked with this token.
fn ask(sidecar: &Sidecar, token: Option<&str>) -> Reply {
    let mut connection = Connection::open(&sidecar.decisions, Version::Http1, None).unwrap();
    connection.ask(&permitted_question(), token).unwrap()
}

fn sidecar_with_tokens() -> (Content, Sidecar) {
    let content = Content::of_pack();
    content.write("tokens", TOKENS);
    let file = content.path("tokens").display().to_string();
    let sidecar = content.serve_with(&["--tokens", &file]);
    (content, sidecar)
}

#[test]
fn only_known_tokens_are_accepted() {
    let (_content, sidecar) = sidecar_with_tokens();
    assert_eq!(ask(&sidecar, Some(ALICES_TOKEN)).status, 200);
    assert_eq!(ask(&sidecar, Some("C")).status, 200, "a token that is configured by its digest");
    for wrong in ["alice", "alice-012345678", "alice-01234567890", "Alice-0123456789"] {
        let reply = ask(&sidecar, Some(wrong));
        assert_eq!((reply.status, reply.body.as_str()), (401, "the token is unknown"), "{wrong}");
        assert_eq!(reply.headers["www-authenticate"], r#"Bearer realm="mandate", error="invalid_token""#);
    }
    let reply = ask(&sidecar, None);
    assert_eq!(
        (reply.status, &reply.headers["www-authenticate"]),
        (401, &r#"Bearer realm="mandate""#.parse().unwrap())
    );
    assert_eq!(reply.headers["x-request-id"], "asked");
    assert!(reply.body.starts_with("authentication is required"), "{}", reply.body);
    assert_eq!(sidecar.metric(r#"mandate_rejected_total{reason="unauthenticated"}"#) as u64, 5);
    assert_eq!(sidecar.admin("/status").status, 200, "the operators' port needs no token");
}

#[test]
fn every_path_and_method_needs_authentication_in_both_versions_of_http() {
    let (_content, sidecar) = sidecar_with_tokens();
    for version in [Version::Http1, Version::Http2] {
        let paths = [
            "/",
            "/access/v1/evaluations",
            "/nowhere",
            "/forward-auth",
            "/ext-authz/x",
            "/.well-known/authzen-configuration/x",
        ];
        for path in paths {
            for method in ["GET", "POST", "OPTIONS"] {
                let mut connection = Connection::open(&sidecar.decisions, version, None).unwrap();
                let reply = connection.send(method, path, "", &[]).unwrap();
                assert_eq!(reply.status, 401, "{method} {path}");
            }
        }
        let mut connection = Connection::open(&sidecar.decisions, version, None).unwrap();
        let metadata = connection.send("GET", "/.well-known/authzen-configuration", "", &[]).unwrap();
        assert_ne!(metadata.status, 401, "the metadata is public");
        let reply = connection.ask(&permitted_question(), Some(ALICES_TOKEN)).unwrap();
        assert_eq!(reply.status, 200);
    }
}

#[test]
fn malformed_authorization_headers_are_refused() {
    let (_content, sidecar) = sidecar_with_tokens();
    let send = |headers: &[(&str, &str)]| {
        let mut connection = Connection::open(&sidecar.decisions, Version::Http1, None).unwrap();
        connection.send("POST", "/access/v1/evaluation", "{}", headers).unwrap().status
    };
    let bearer = format!("Bearer {ALICES_TOKEN}");
    assert_eq!(send(&[("authorization", &bearer), ("content-type", "application/json")]), 400);
    assert_eq!(send(&[("authorization", &bearer.replace('B', "b"))]), 400);
    assert_eq!(send(&[("authorization", &bearer), ("authorization", &bearer)]), 401);
    assert_eq!(send(&[("authorization", ALICES_TOKEN)]), 401);
    assert_eq!(send(&[("authorization", &bearer.replace("Bearer", "Basic"))]), 401);
    assert_eq!(send(&[("authorization", "Bearer")]), 401);
}

#[test]
fn grpc_callers_get_a_grpc_status() {
    let (_content, sidecar) = sidecar_with_tokens();
    let path = "/envoy.service.auth.v3.Authorization/Check";
    let mut connection = Connection::open(&sidecar.decisions, Version::Http2, None).unwrap();
    let reply = connection.send("POST", path, "", &[("content-type", "application/grpc+proto")]).unwrap();
    assert_eq!((reply.status, &reply.headers["grpc-status"]), (200, &"16".parse().unwrap()));
    assert!(reply.headers["grpc-message"].to_str().unwrap().contains("authentication is required"));
    assert_eq!(reply.headers["content-type"], "application/grpc");
    // A gateway that asks over HTTP may forward this header from its client, and takes status 200 as a permit.
    for path in ["/forward-auth", "/ext-authz/x", "/access/v1/evaluation"] {
        let reply = connection.send("POST", path, "", &[("content-type", "application/grpc")]).unwrap();
        assert_eq!(reply.status, 401, "{path}");
    }
}

#[test]
fn a_changed_token_file_is_loaded() {
    let (content, sidecar) = sidecar_with_tokens();
    content.replace_file("tokens", "carol carol-0123456789\n");
    until("the new token is accepted", || ask(&sidecar, Some("carol-0123456789")).status == 200);
    assert_eq!(ask(&sidecar, Some(ALICES_TOKEN)).status, 401);
    content.replace_file("tokens", "carol carol-0123456789\nsecret-without-a-name\n");
    until("the new file is refused", || !sidecar.status()["listeners"][1]["files"][0]["refused"].is_null());
    let refused = sidecar.status()["listeners"][1]["files"][0]["refused"].to_string();
    assert!(refused.contains("line 2") && !refused.contains("secret"), "{refused}");
    assert_eq!(ask(&sidecar, Some("carol-0123456789")).status, 200, "the last good file stays in use");
    std::fs::remove_file(content.path("tokens")).unwrap();
    until("the log shows the error", || sidecar.log().contains("cannot read"));
    assert_eq!(ask(&sidecar, Some("carol-0123456789")).status, 200);
    assert!(!sidecar.log().contains("secret") && !sidecar.log().contains("0123456789"), "{}", sidecar.log());
}

#[test]
fn serve_refuses_to_start_on_a_broken_token_or_key_file() {
    let content = Content::of_pack();
    let file = content.path("secrets").display().to_string();
    content.write("secrets", "a short\nb\n");
    check_refused_start(
        &content,
        &["--tokens", &file],
        &["line 1: the token is shorter than 16", "line 2: has to be"],
    );
    let check_keys = |text: &str, messages: &[&str]| {
        content.write("secrets", text);
        let args = ["--jwt-jwks", &file, "--jwt-issuer", "i", "--jwt-audience", "a"];
        check_refused_start(&content, &args, messages);
    };
    check_keys("{", &["is not a JWKS"]);
    check_keys(r#"{"keys":[]}"#, &["has no key for signatures"]);
    check_keys(
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
        &["key 1: shared secrets (`oct`) are not supported"],
    );
    check_keys(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","alg":"HS256"}]}"#,
        &["key 1: its `alg` does not match"],
    );
    check_refused_start(
        &content,
        &["--jwt-jwks", &file],
        &["set all three of `jwt-issuer`, `jwt-audience` and `jwt-jwks`, or none"],
    );
}

/// An issuer of JWTs.
struct Issuer {
    key_id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    public_key: Vec<u8>,
}

impl Issuer {
    fn new(key_id: &'static str, algorithm: Algorithm) -> Self {
        let key_type = match algorithm {
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            _ => &rcgen::PKCS_ED25519,
        };
        let pair = KeyPair::generate_for(key_type).unwrap();
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(pair.serialized_der()),
            _ => EncodingKey::from_ed_der(pair.serialized_der()),
        };
        Self { key_id, algorithm, key, public_key: pair.public_key_raw().to_vec() }
    }

    fn jwk(&self) -> Value {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        if self.algorithm == Algorithm::EdDSA {
            return json!({ "kid": self.key_id, "kty": "OKP", "crv": "Ed25519", "x": base64(&self.public_key) });
        }
        // The bytes are 4, then the coordinates x and y.
        let (x, y) = self.public_key[1..].split_at(32);
        json!({ "kid": self.key_id, "kty": "EC", "crv": "P-256", "use": "sig", "x": base64(x), "y": base64(y) })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.key_id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "iss": "https://issuer", "aud": "mandate", "sub": "gateway", "exp": now() + 600 })
}

fn claims_with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn jwks(issuers: &[&Issuer]) -> String {
    json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// A sidecar that accepts JWTs signed by these keys. An argument `@tokens` in `more` stands for the path of the
/// token file.
fn sidecar_with_jwt(keys: &str, more: &[&str]) -> (Content, Sidecar) {
    let content = Content::of_pack();
    content.write("jwks.json", keys);
    content.write("tokens", TOKENS);
    let (file, tokens) =
        (content.path("jwks.json").display().to_string(), content.path("tokens").display().to_string());
    let mut args = vec!["--jwt-jwks", &file, "--jwt-issuer", "https://issuer", "--jwt-audience", "mandate"];
    args.extend(more.iter().map(|arg| if *arg == "@tokens" { tokens.as_str() } else { arg }));
    let sidecar = content.serve_with(&args);
    (content, sidecar)
}

#[test]
fn only_valid_jwts_are_accepted() {
    let (ecdsa, eddsa) = (Issuer::new("a", Algorithm::ES256), Issuer::new("b", Algorithm::EdDSA));
    let (_content, sidecar) = sidecar_with_jwt(&jwks(&[&ecdsa, &eddsa]), &[]);
    for issuer in [&ecdsa, &eddsa] {
        for _ in 0..2 {
            assert_eq!(ask(&sidecar, Some(&issuer.sign(&claims()))).status, 200);
        }
        assert_eq!(
            ask(&sidecar, Some(&issuer.sign(&claims_with("aud", json!(["x", "mandate"]))))).status,
            200
        );
        assert_eq!(
            ask(&sidecar, Some(&issuer.sign(&claims_with("exp", json!(now() - 5))))).status,
            200,
            "within the leeway"
        );
    }
    let check_refused = |token: &str, message: &str| {
        for _ in 0..2 {
            let reply = ask(&sidecar, Some(token));
            assert_eq!((reply.status, reply.body.as_str()), (401, message));
        }
    };
    let sign = |claims: &Value| ecdsa.sign(claims);
    check_refused(&sign(&claims_with("exp", json!(now() - 100))), "the token has expired");
    check_refused(&sign(&claims_with("nbf", json!(now() + 100))), "the token is not valid yet");
    check_refused(&sign(&claims_with("iss", json!("https://other"))), "the token has another issuer");
    check_refused(&sign(&claims_with("aud", json!("other"))), "the token has another audience");
    let malformed = "the token lacks `exp`, `iss` or `aud`, or one of its claims is malformed";
    for claim in ["exp", "iss", "aud"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        // The message depends on which claim is read first.
        let reply = ask(&sidecar, Some(&sign(&claims)));
        assert_eq!(reply.status, 401, "{claim}: {}", reply.body);
    }
    check_refused(&sign(&claims_with("nbf", json!("soon"))), malformed);
    let same_key_id = Issuer::new("a", Algorithm::ES256);
    check_refused(&same_key_id.sign(&claims()), "the token's signature is not valid");
    let other_key_id = Issuer::new("c", Algorithm::ES256);
    check_refused(&other_key_id.sign(&claims()), "no key matches the token's `kid` and `alg`");
    check_refused("x.y.z", "the token is not a JWT, or is signed with an algorithm that is not supported");
    check_refused(
        ALICES_TOKEN,
        "the token is not a JWT, or is signed with an algorithm that is not supported",
    );
}

/// Known attacks: no algorithm, a public key used as a shared secret, and the algorithm of another key.
#[test]
fn a_jwt_cannot_choose_its_algorithm() {
    let issuer = Issuer::new("a", Algorithm::ES256);
    let (_content, sidecar) = sidecar_with_jwt(&jwks(&[&issuer]), &[]);
    let base64 = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let valid = issuer.sign(&claims());
    let signature = valid.rsplit('.').next().unwrap();
    for algorithm in ["none", "None", "", "HS256", "RS256", "ES384", "EdDSA"] {
        for signature in ["", signature] {
            let token = format!(
                "{}.{}.{signature}",
                base64(json!({ "alg": algorithm, "typ": "JWT" })),
                base64(claims())
            );
            assert_eq!(ask(&sidecar, Some(&token)).status, 401, "{algorithm}");
        }
    }
    let public_key = issuer.jwk();
    for secret in [public_key["x"].as_str().unwrap().to_owned(), public_key.to_string()] {
        let forged =
            encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(ask(&sidecar, Some(&forged.unwrap())).status, 401);
    }
    let critical = base64(json!({ "alg": "ES256", "crit": ["x"], "x": 1 }));
    let token = format!("{critical}.{}.{signature}", base64(claims()));
    assert_eq!(ask(&sidecar, Some(&token)).status, 401);
    assert_eq!(ask(&sidecar, Some(&valid)).status, 200);
    // Not the last character: some of its bits have no meaning.
    let mut forged = valid.clone().into_bytes();
    let changed = forged.len() - 10;
    forged[changed] = if forged[changed] == b'A' { b'B' } else { b'A' };
    assert_eq!(ask(&sidecar, Some(&String::from_utf8(forged).unwrap())).status, 401);
}

#[test]
fn changed_keys_are_loaded_and_jwts_of_the_old_keys_are_refused() {
    let (old, new) = (Issuer::new("a", Algorithm::ES256), Issuer::new("b", Algorithm::EdDSA));
    let (content, sidecar) = sidecar_with_jwt(&jwks(&[&old]), &[]);
    let (old_jwt, new_jwt) = (old.sign(&claims()), new.sign(&claims()));
    assert_eq!((ask(&sidecar, Some(&old_jwt)).status, ask(&sidecar, Some(&new_jwt)).status), (200, 401));
    content.replace_file("jwks.json", &jwks(&[&new]));
    until("the new key is in use", || ask(&sidecar, Some(&new_jwt)).status == 200);
    assert_eq!(ask(&sidecar, Some(&old_jwt)).status, 401);
    content.replace_file("jwks.json", "{");
    until("the broken file is refused", || sidecar.log().contains("the last good set of keys stays in use"));
    assert_eq!(ask(&sidecar, Some(&new_jwt)).status, 200);
}

#[test]
fn a_token_or_a_jwt_is_enough() {
    let issuer = Issuer::new("a", Algorithm::EdDSA);
    let (_content, sidecar) = sidecar_with_jwt(&jwks(&[&issuer]), &["--tokens", "@tokens"]);
    assert_eq!(ask(&sidecar, Some(ALICES_TOKEN)).status, 200);
    assert_eq!(ask(&sidecar, Some(&issuer.sign(&claims()))).status, 200);
    assert_eq!(ask(&sidecar, None).status, 401);
    assert_eq!(sidecar.status()["listeners"][1]["authentication"], json!(["tokens", "jwt"]));
}

#[test]
fn the_operators_port_can_require_tokens_except_for_health_probes() {
    let content = Content::of_pack();
    content.write("tokens", TOKENS);
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntokens = {:?}\n",
        content.path("tokens").display().to_string()
    );
    let sidecar = content.serve_with_config(&config, 1);
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/status", 401), ("/metrics", 401), ("/x", 401)]
    {
        assert_eq!(sidecar.admin(path).status, status, "{path}");
    }
    let mut connection = Connection::open(&sidecar.admin, Version::Http1, None).unwrap();
    let bearer = format!("Bearer {ALICES_TOKEN}");
    assert_eq!(connection.send("GET", "/status", "", &[("authorization", &bearer)]).unwrap().status, 200);
}
