//! A small identity provider on loopback, which answers with the claims that a test wants.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{Form, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::secret::sha256_text;

pub const CLIENT_ID: &str = "the-pages";
pub const CLIENT_SECRET: &str = "s3cret/+";
pub const CODE: &str = "a-code";

/// A key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    pub id: String,
    encoding: EncodingKey,
    jwk: Value,
}

impl SigningKey {
    pub fn new(id: &str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref()).unwrap();
        let public = pair.public_key().as_ref();
        let text = |bytes| BASE64URL_NOPAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
            "x": text(&public[1..33]), "y": text(&public[33..65]),
        });
        Self { id: id.to_owned(), encoding: EncodingKey::from_ec_der(private.as_ref()), jwk }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.encoding).unwrap()
    }

    pub fn set(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }
}

/// What the provider says next.
pub struct Next {
    pub key: SigningKey,
    /// The keys that it publishes.
    pub published: Value,
    pub issuer: String,
    /// The claims of the ID token.
    pub claims: Value,
    /// The challenge of the sign-in that has begun.
    pub challenge: String,
    /// The form that the token endpoint got last.
    pub sent: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Provider {
    pub url: String,
    pub next: Arc<Mutex<Next>>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::new("one");
        let next = Next {
            published: key.set(),
            key,
            issuer: url.clone(),
            claims: Value::Null,
            challenge: String::new(),
            sent: Vec::new(),
        };
        let provider = Self { url, next: Arc::new(Mutex::new(next)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/organizations/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    /// The claims of a token that is right.
    pub fn claims(&self, nonce: &str, tenant: &str, user: &str, roles: &[&str]) -> Value {
        let now = mandate_pdp::wall_clock::now().unix_seconds();
        json!({
            "iss": self.url, "aud": CLIENT_ID, "sub": format!("{user}@{tenant}"), "oid": user, "tid": tenant,
            "wids": roles, "nonce": nonce, "iat": now, "nbf": now, "exp": now + 300,
            "preferred_username": "Alex Admin",
        })
    }
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let url = &provider.url;
    let issuer = provider.next.lock().unwrap().issuer.clone();
    Json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/keys"),
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    Json(provider.next.lock().unwrap().published.clone())
}

async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(sent): Form<Vec<(String, String)>>,
) -> Result<Json<Value>, StatusCode> {
    let mut next = provider.next.lock().unwrap();
    next.sent.clone_from(&sent);
    let field = |name: &str| sent.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value);
    let credentials = BASE64.encode(b"the%2Dpages:s3cret%2F%2B");
    let is_client = headers.get(AUTHORIZATION).is_some_and(|it| it == &format!("Basic {credentials}"));
    let is_right = field("grant_type") == "authorization_code"
        && field("code") == CODE
        && field("redirect_uri") == "http://localhost:8080/sign-in/callback"
        && sha256_text(field("code_verifier")) == next.challenge;
    if !is_client || !is_right {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(Json(json!({ "id_token": next.key.sign(&next.claims), "access_token": "x", "token_type": "Bearer" })))
}
