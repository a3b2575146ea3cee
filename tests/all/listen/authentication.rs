//! Callers: bearer tokens and JWTs, and what happens without.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{fabrikam, refuses_to_start};
use crate::support::wire::{Connection, Version};
use crate::support::{Content, Reply, Sidecar, until};

const ALICE: &str = "alice-0123456789";
const TOKENS: &str = "# callers\nalice alice-0123456789\nbob sha256:6b23c0d5f35d1b11f9b683f0b0a617355deb11277d91ae091d399c655b87940d\n";

fn ask(sidecar: &Sidecar, token: Option<&str>) -> Reply {
    let mut connection = Connection::open(&sidecar.decisions, Version::One, None).unwrap();
    connection.ask(&fabrikam(), token).unwrap()
}

fn with_tokens() -> (Content, Sidecar) {
    let content = Content::of_pack();
    content.write("tokens", TOKENS);
    let file = content.path("tokens").display().to_string();
    let sidecar = content.serve_with(&["--tokens", &file]);
    (content, sidecar)
}

#[test]
fn tokens() {
    let (_content, sidecar) = with_tokens();
    assert_eq!(ask(&sidecar, Some(ALICE)).status, 200);
    assert_eq!(ask(&sidecar, Some("C")).status, 200, "by its digest");
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
    assert_eq!(sidecar.admin("/status").status, 200, "the operators' port is another matter");
}

/// Every path, every method and both versions pass the same door.
#[test]
fn no_path_is_forgotten() {
    let (_content, sidecar) = with_tokens();
    for version in [Version::One, Version::Two] {
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
        let open = connection.send("GET", "/.well-known/authzen-configuration", "", &[]).unwrap();
        assert_ne!(open.status, 401);
        let reply = connection.ask(&fabrikam(), Some(ALICE)).unwrap();
        assert_eq!(reply.status, 200);
    }
}

#[test]
fn odd_headers_are_no_tokens() {
    let (_content, sidecar) = with_tokens();
    let send = |headers: &[(&str, &str)]| {
        let mut connection = Connection::open(&sidecar.decisions, Version::One, None).unwrap();
        connection.send("POST", "/access/v1/evaluation", "{}", headers).unwrap().status
    };
    let bearer = format!("Bearer {ALICE}");
    assert_eq!(send(&[("authorization", &bearer), ("content-type", "application/json")]), 400);
    assert_eq!(send(&[("authorization", &bearer.replace('B', "b"))]), 400);
    assert_eq!(send(&[("authorization", &bearer), ("authorization", &bearer)]), 401);
    assert_eq!(send(&[("authorization", ALICE)]), 401);
    assert_eq!(send(&[("authorization", &bearer.replace("Bearer", "Basic"))]), 401);
    assert_eq!(send(&[("authorization", "Bearer")]), 401);
}

#[test]
fn grpc_callers_are_told_by_grpc() {
    let (_content, sidecar) = with_tokens();
    let path = "/envoy.service.auth.v3.Authorization/Check";
    let mut connection = Connection::open(&sidecar.decisions, Version::Two, None).unwrap();
    let reply = connection.send("POST", path, "", &[("content-type", "application/grpc+proto")]).unwrap();
    assert_eq!((reply.status, &reply.headers["grpc-status"]), (200, &"16".parse().unwrap()));
    assert!(reply.headers["grpc-message"].to_str().unwrap().contains("authentication is required"));
    assert_eq!(reply.headers["content-type"], "application/grpc");
    // A gateway may pass on its client's content type, and takes 200 for a permit.
    for path in ["/forward-auth", "/ext-authz/x", "/access/v1/evaluation"] {
        let reply = connection.send("POST", path, "", &[("content-type", "application/grpc")]).unwrap();
        assert_eq!(reply.status, 401, "{path}");
    }
}

#[test]
fn tokens_are_read_again() {
    let (content, sidecar) = with_tokens();
    content.place("tokens", "carol carol-0123456789\n");
    until("the new token counts", || ask(&sidecar, Some("carol-0123456789")).status == 200);
    assert_eq!(ask(&sidecar, Some(ALICE)).status, 401);
    content.place("tokens", "carol carol-0123456789\nsecret-without-a-name\n");
    until("it is refused", || !sidecar.status()["listeners"][1]["files"][0]["refused"].is_null());
    let refused = sidecar.status()["listeners"][1]["files"][0]["refused"].to_string();
    assert!(refused.contains("line 2") && !refused.contains("secret"), "{refused}");
    assert_eq!(ask(&sidecar, Some("carol-0123456789")).status, 200, "the last good stays");
    std::fs::remove_file(content.path("tokens")).unwrap();
    until("the log tells", || sidecar.log().contains("cannot read"));
    assert_eq!(ask(&sidecar, Some("carol-0123456789")).status, 200);
    assert!(!sidecar.log().contains("secret") && !sidecar.log().contains("0123456789"), "{}", sidecar.log());
}

#[test]
fn broken_files_are_said_at_the_start() {
    let content = Content::of_pack();
    let file = content.path("secrets").display().to_string();
    content.write("secrets", "a short\nb\n");
    refuses_to_start(
        &content,
        &["--tokens", &file],
        &["line 1: the token is shorter than 16", "line 2: has to be"],
    );
    let jwt = |text: &str, says: &[&str]| {
        content.write("secrets", text);
        let args = ["--jwt-jwks", &file, "--jwt-issuer", "i", "--jwt-audience", "a"];
        refuses_to_start(&content, &args, says);
    };
    jwt("{", &["is not a JWKS"]);
    jwt(r#"{"keys":[]}"#, &["has no key for signatures"]);
    jwt(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, &["key 1: shared secrets (`oct`) are not supported"]);
    jwt(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","alg":"HS256"}]}"#,
        &["key 1: its `alg` does not match"],
    );
    refuses_to_start(
        &content,
        &["--jwt-jwks", &file],
        &["set all three of `jwt-issuer`, `jwt-audience` and `jwt-jwks`, or none"],
    );
}

/// An issuer of tokens.
struct Issuer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    public: Vec<u8>,
}

impl Issuer {
    fn new(id: &'static str, algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            _ => &rcgen::PKCS_ED25519,
        };
        let pair = KeyPair::generate_for(kind).unwrap();
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(pair.serialized_der()),
            _ => EncodingKey::from_ed_der(pair.serialized_der()),
        };
        Self { id, algorithm, key, public: pair.public_key_raw().to_vec() }
    }

    fn jwk(&self) -> Value {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        if self.algorithm == Algorithm::EdDSA {
            return json!({ "kid": self.id, "kty": "OKP", "crv": "Ed25519", "x": part(&self.public) });
        }
        // A point of P-256 is written as 4, x and y.
        let (x, y) = self.public[1..].split_at(32);
        json!({ "kid": self.id, "kty": "EC", "crv": "P-256", "use": "sig", "x": part(x), "y": part(y) })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "iss": "https://issuer", "aud": "mandate", "sub": "gateway", "exp": now() + 600 })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn jwks(issuers: &[&Issuer]) -> String {
    json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string()
}

fn with_jwt(keys: &str, more: &[&str]) -> (Content, Sidecar) {
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
fn jwts() {
    let (elliptic, edwards) = (Issuer::new("a", Algorithm::ES256), Issuer::new("b", Algorithm::EdDSA));
    let (_content, sidecar) = with_jwt(&jwks(&[&elliptic, &edwards]), &[]);
    for issuer in [&elliptic, &edwards] {
        for _ in 0..2 {
            assert_eq!(ask(&sidecar, Some(&issuer.sign(&claims()))).status, 200);
        }
        assert_eq!(ask(&sidecar, Some(&issuer.sign(&with("aud", json!(["x", "mandate"]))))).status, 200);
        assert_eq!(
            ask(&sidecar, Some(&issuer.sign(&with("exp", json!(now() - 5))))).status,
            200,
            "within the leeway"
        );
    }
    let refused = |token: &str, says: &str| {
        for _ in 0..2 {
            let reply = ask(&sidecar, Some(token));
            assert_eq!((reply.status, reply.body.as_str()), (401, says));
        }
    };
    let sign = |claims: &Value| elliptic.sign(claims);
    refused(&sign(&with("exp", json!(now() - 100))), "the token has expired");
    refused(&sign(&with("nbf", json!(now() + 100))), "the token is not valid yet");
    refused(&sign(&with("iss", json!("https://other"))), "the token has another issuer");
    refused(&sign(&with("aud", json!("other"))), "the token has another audience");
    let malformed = "the token lacks `exp`, `iss` or `aud`, or one of its claims is malformed";
    for claim in ["exp", "iss", "aud"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        // What the claims are read into misses `exp` first.
        let reply = ask(&sidecar, Some(&sign(&claims)));
        assert_eq!(reply.status, 401, "{claim}: {}", reply.body);
    }
    refused(&sign(&with("nbf", json!("soon"))), malformed);
    let stranger = Issuer::new("a", Algorithm::ES256);
    refused(&stranger.sign(&claims()), "the token's signature is not valid");
    let unknown = Issuer::new("c", Algorithm::ES256);
    refused(&unknown.sign(&claims()), "no key matches the token's `kid` and `alg`");
    refused("x.y.z", "the token is not a JWT, or is signed with an algorithm that is not supported");
    refused(ALICE, "the token is not a JWT, or is signed with an algorithm that is not supported");
}

/// The classics: no algorithm, a public key as a shared secret, and another key's algorithm.
#[test]
fn algorithms_are_those_of_the_keys() {
    let issuer = Issuer::new("a", Algorithm::ES256);
    let (_content, sidecar) = with_jwt(&jwks(&[&issuer]), &[]);
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let good = issuer.sign(&claims());
    let signature = good.rsplit('.').next().unwrap();
    for algorithm in ["none", "None", "", "HS256", "RS256", "ES384", "EdDSA"] {
        for signature in ["", signature] {
            let token =
                format!("{}.{}.{signature}", part(json!({ "alg": algorithm, "typ": "JWT" })), part(claims()));
            assert_eq!(ask(&sidecar, Some(&token)).status, 401, "{algorithm}");
        }
    }
    let public = issuer.jwk();
    for secret in [public["x"].as_str().unwrap().to_owned(), public.to_string()] {
        let forged =
            encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(ask(&sidecar, Some(&forged.unwrap())).status, 401);
    }
    let critical = part(json!({ "alg": "ES256", "crit": ["x"], "x": 1 }));
    let token = format!("{critical}.{}.{signature}", part(claims()));
    assert_eq!(ask(&sidecar, Some(&token)).status, 401);
    assert_eq!(ask(&sidecar, Some(&good)).status, 200);
    // The last character has bits that mean nothing; one before it does.
    let mut forged = good.clone().into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(ask(&sidecar, Some(&String::from_utf8(forged).unwrap())).status, 401);
}

#[test]
fn keys_are_read_again_and_nothing_is_remembered_of_the_old() {
    let (old, new) = (Issuer::new("a", Algorithm::ES256), Issuer::new("b", Algorithm::EdDSA));
    let (content, sidecar) = with_jwt(&jwks(&[&old]), &[]);
    let (of_old, of_new) = (old.sign(&claims()), new.sign(&claims()));
    assert_eq!((ask(&sidecar, Some(&of_old)).status, ask(&sidecar, Some(&of_new)).status), (200, 401));
    content.place("jwks.json", &jwks(&[&new]));
    until("the new key counts", || ask(&sidecar, Some(&of_new)).status == 200);
    assert_eq!(ask(&sidecar, Some(&of_old)).status, 401);
    content.place("jwks.json", "{");
    until("it is refused", || sidecar.log().contains("the last good set of keys stays in use"));
    assert_eq!(ask(&sidecar, Some(&of_new)).status, 200);
}

#[test]
fn a_token_or_a_jwt_suffices() {
    let issuer = Issuer::new("a", Algorithm::EdDSA);
    let (_content, sidecar) = with_jwt(&jwks(&[&issuer]), &["--tokens", "@tokens"]);
    assert_eq!(ask(&sidecar, Some(ALICE)).status, 200);
    assert_eq!(ask(&sidecar, Some(&issuer.sign(&claims()))).status, 200);
    assert_eq!(ask(&sidecar, None).status, 401);
    assert_eq!(sidecar.status()["listeners"][1]["authentication"], json!(["tokens", "jwt"]));
}

#[test]
fn operators_may_have_to_say_who_they_are() {
    let content = Content::of_pack();
    content.write("tokens", TOKENS);
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntokens = {:?}\n",
        content.path("tokens").display().to_string()
    );
    let sidecar = content.serve_by(&config, 1);
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/status", 401), ("/metrics", 401), ("/x", 401)]
    {
        assert_eq!(sidecar.admin(path).status, status, "{path}");
    }
    let mut connection = Connection::open(&sidecar.admin, Version::One, None).unwrap();
    let bearer = format!("Bearer {ALICE}");
    assert_eq!(connection.send("GET", "/status", "", &[("authorization", &bearer)]).unwrap().status, 200);
}
