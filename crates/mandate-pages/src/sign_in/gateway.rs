//! The sign-in by a gateway in front: it sends an ID token with every request, which is verified here. So nobody who
//! reaches the pages past the gateway can say who they are.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{HeaderMap, HeaderName};
use mandate_pdp::wall_clock;
use mandate_store::EntityName;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Value;

use super::claims::{Claims, PrincipalRule, shown_name};
use super::failure::Failure;
use super::id_token::{Expected, verify};
use super::key_set::KeySet;
use crate::secret::{ProofKey, sha256, unguessable};
use crate::session::Session;

/// The most tokens that are remembered, and how long.
const MAX_TOKENS: u64 = 10_000;
const REMEMBERED: Duration = Duration::from_mins(10);

/// A gateway that signs people in.
pub struct Gateway {
    settings: GatewaySettings,
    tokens: Cache<[u8; 32], Known>,
    /// Makes the keys of sessions, so that a form survives the next token of the same user.
    secret: ProofKey,
}

/// What a token says, once it was verified.
#[derive(Clone)]
struct Known {
    session: Arc<Session>,
    /// When the token ends, in seconds since 1970.
    end: i64,
}

/// What a file says about a gateway.
pub struct GatewaySettings {
    pub title: Option<String>,
    pub header: HeaderName,
    pub issuer: String,
    pub audience: String,
    pub keys: KeySet,
    pub rules: Vec<PrincipalRule>,
}

impl Gateway {
    pub fn new(settings: GatewaySettings) -> Self {
        let tokens = Cache::builder().max_capacity(MAX_TOKENS).time_to_live(REMEMBERED);
        let tokens = tokens.eviction_policy(EvictionPolicy::lru()).build();
        Self { settings, tokens, secret: ProofKey::new(&unguessable()) }
    }

    pub fn title(&self) -> Option<&str> {
        self.settings.title.as_deref()
    }

    pub fn rules(&self) -> &[PrincipalRule] {
        &self.settings.rules
    }

    /// The token of a request.
    ///
    /// # Errors
    /// There is not exactly one.
    pub fn token<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Failure> {
        let header = &self.settings.header;
        let mut sent = headers.get_all(header).iter();
        let invalid = |reason: &str| Failure::Invalid(format!("`{header}` {reason}"));
        let (Some(token), None) = (sent.next(), sent.next()) else {
            return Err(invalid("was not sent exactly once"));
        };
        let token = token.to_str().map_err(|_| invalid("is not an ID token"))?;
        Ok(token.strip_prefix("Bearer ").unwrap_or(token))
    }

    /// The session of a token that was verified before.
    pub fn known(&self, token: &str) -> Option<Arc<Session>> {
        let now = wall_clock::now().unix_seconds();
        let known = self.tokens.get(&sha256(token.as_bytes()))?;
        (known.end > now).then_some(known.session)
    }

    /// Verifies a token, and gives its claims.
    ///
    /// # Errors
    /// It is not valid, or the keys cannot be read.
    pub async fn verify(&self, token: &str) -> Result<Claims, Failure> {
        let GatewaySettings { issuer, audience, keys, .. } = &self.settings;
        verify(token, keys, &Expected { issuer, audience, nonce: None }).await
    }

    /// Remembers a token that was verified, and gives its session.
    pub fn remember(&self, token: &str, claims: &Claims, principals: Vec<EntityName>) -> Arc<Session> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = ProofKey::new(&self.secret.prove(&[text("iss").as_bytes(), text("sub").as_bytes()]));
        let name = shown_name(claims).unwrap_or_else(|| text("sub").to_owned());
        let session = Arc::new(Session { name, principals, key, can_end: false });
        #[allow(clippy::cast_possible_truncation, reason = "saturates")]
        let end = claims.get("exp").and_then(Value::as_f64).unwrap_or_default() as i64;
        self.tokens.insert(sha256(token.as_bytes()), Known { session: Arc::clone(&session), end });
        session
    }
}
