//! The sign-in by OpenID Connect: the authorization code flow with PKCE. What a sign-in needs until the browser comes
//! back is in a sealed cookie of that browser, so nothing is kept here, and no other browser can end it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use axum::http::{Request, Uri};
use bytes::Bytes;
use data_encoding::BASE64;
use mandate_client::Client;
use mandate_pdp::wall_clock;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::claims::{Claims, PrincipalRule};
use super::failure::Failure;
use super::id_token::{Expected, is_of_many, verify};
use super::key_set::{KeySet, KeySource, get};
use crate::secret::{sha256_text, unguessable};
use crate::text::encode;

/// What a file says about an identity provider.
pub struct OpenIdSettings {
    pub title: Option<String>,
    pub session: Option<Duration>,
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<String>,
    pub scopes: Vec<String>,
    /// Whether the identity provider may be on this machine, without HTTPS.
    pub allow_http: bool,
    pub client: Client,
    pub rules: Vec<PrincipalRule>,
}

/// An identity provider.
pub struct OpenIdConnect {
    settings: OpenIdSettings,
    provider: Mutex<Option<Known>>,
}

/// What is known of an identity provider, or why nothing is.
struct Known {
    provider: Result<Arc<Provider>, String>,
    at: Instant,
}

/// What an identity provider says about itself.
struct Provider {
    metadata: Metadata,
    keys: KeySet,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// A sign-in that has begun. The browser keeps it, sealed, until it comes back.
#[derive(Serialize, Deserialize)]
pub struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
    /// The page to go to afterwards.
    pub next: String,
    /// In seconds since 1970.
    began: i64,
}

/// What the browser brings back.
#[derive(Deserialize, Default)]
pub struct Returned {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// How long somebody may take to sign in, in seconds.
pub const ATTEMPT_SECONDS: u64 = 15 * 60;

/// How old the metadata of an identity provider may get.
const MAX_AGE: Duration = Duration::from_hours(24);

/// How long an identity provider is left alone that did not answer.
const PAUSE: Duration = Duration::from_secs(5);

impl OpenIdConnect {
    pub fn new(settings: OpenIdSettings) -> Self {
        Self { settings, provider: Mutex::new(None) }
    }

    pub fn title(&self) -> Option<&str> {
        self.settings.title.as_deref()
    }

    pub fn session_lifetime(&self) -> Option<Duration> {
        self.settings.session
    }

    pub fn rules(&self) -> &[PrincipalRule] {
        &self.settings.rules
    }

    /// Begins a sign-in: where the browser goes, and what it has to keep.
    ///
    /// # Errors
    /// The identity provider cannot be reached.
    pub async fn begin(&self, redirect_uri: &str, next: &str) -> Result<(String, Attempt), Failure> {
        let provider = self.provider().await?;
        let attempt = Attempt {
            state: unguessable(),
            nonce: unguessable(),
            verifier: unguessable(),
            next: next.to_owned(),
            began: wall_clock::now().unix_seconds(),
        };
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &self.settings.scopes.join(" ")),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &sha256_text(&attempt.verifier)),
            ("code_challenge_method", "S256"),
        ];
        let endpoint = &provider.metadata.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok((format!("{endpoint}{joint}{}", form(&parameters)), attempt))
    }

    /// Ends a sign-in: the claims of somebody whose browser has come back.
    ///
    /// # Errors
    /// What came back does not belong to the attempt, or is not valid.
    pub async fn end(
        &self,
        redirect_uri: &str,
        attempt: &Attempt,
        returned: &Returned,
    ) -> Result<Claims, Failure> {
        let age = wall_clock::now().unix_seconds().saturating_sub(attempt.began);
        if attempt.state != returned.state || !u64::try_from(age).is_ok_and(|age| age <= ATTEMPT_SECONDS) {
            return Err(Failure::Stale);
        }
        if let Some(error) = &returned.error {
            let error: String = error.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(Failure::Invalid(format!("the identity provider answers `{error}`")));
        }
        let provider = self.provider().await?;
        if returned.iss.as_ref().is_some_and(|issuer| !self.is_issuer(&provider, issuer)) {
            return Err(Failure::Invalid("another identity provider has answered".to_owned()));
        }
        let code = returned.code.as_deref().ok_or(Failure::Stale)?;
        let token = self.exchange(redirect_uri, &provider, (code, &attempt.verifier)).await?;
        let expected = Expected {
            issuer: &provider.metadata.issuer,
            audience: &self.settings.client_id,
            nonce: Some(&attempt.nonce),
        };
        verify(&token, &provider.keys, &expected).await
    }

    fn is_issuer(&self, provider: &Provider, issuer: &str) -> bool {
        // Of many organizations, the token tells which; `verify` checks that.
        issuer == provider.metadata.issuer || is_of_many(&self.settings.issuer, &provider.metadata.issuer)
    }

    /// What the identity provider says about itself, read once a day. While it does not answer, not everybody waits.
    async fn provider(&self) -> Result<Arc<Provider>, Failure> {
        let mut known = self.provider.lock().await;
        let is_new = |it: &&Known| it.at.elapsed() < if it.provider.is_ok() { MAX_AGE } else { PAUSE };
        if let Some(known) = known.as_ref().filter(is_new) {
            return known.provider.clone().map_err(Failure::Unavailable);
        }
        let provider = self.discover().await.map(Arc::new);
        *known = Some(Known { provider: provider.clone(), at: Instant::now() });
        provider.map_err(Failure::Unavailable)
    }

    async fn discover(&self) -> Result<Provider, String> {
        let OpenIdSettings { issuer, client, .. } = &self.settings;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = get(client, &url).await?;
        let metadata = serde_json::from_slice(&document);
        let metadata: Metadata = metadata.map_err(|error| format!("`{url}` cannot be read: {error}"))?;
        self.check(&metadata)?;
        let keys = KeySet::new(KeySource::Url(metadata.jwks_uri.clone(), client.clone()));
        Ok(Provider { metadata, keys })
    }

    fn check(&self, metadata: &Metadata) -> Result<(), String> {
        let issuer = &self.settings.issuer;
        if metadata.issuer != *issuer && !is_of_many(issuer, &metadata.issuer) {
            return Err(format!("the issuer is `{}`, and the file names `{issuer}`", metadata.issuer));
        }
        let Metadata { authorization_endpoint, token_endpoint, jwks_uri, .. } = metadata;
        for url in [authorization_endpoint, token_endpoint, jwks_uri] {
            let scheme = url.parse::<Uri>().ok().and_then(|url| url.scheme_str().map(ToOwned::to_owned));
            match scheme.as_deref() {
                Some("https") => {}
                Some("http") if self.settings.allow_http => {}
                Some(_) | None => return Err(format!("`{url}` is no URL with `https`")),
            }
        }
        Ok(())
    }

    /// Exchanges the code for an ID token.
    async fn exchange(
        &self,
        redirect_uri: &str,
        provider: &Provider,
        (code, verifier): (&str, &str),
    ) -> Result<String, Failure> {
        let OpenIdSettings { client_id, client_secret, client, .. } = &self.settings;
        let mut parameters = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
            ("client_id", client_id),
        ];
        let endpoint = &provider.metadata.token_endpoint;
        let mut request = Request::post(endpoint).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(secret) = client_secret {
            let methods = &provider.metadata.token_endpoint_auth_methods_supported;
            if methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic") {
                let credentials =
                    BASE64.encode(format!("{}:{}", encode(client_id), encode(secret)).as_bytes());
                let value = HeaderValue::from_str(&format!("Basic {credentials}"));
                let mut value = value.map_err(|error| Failure::Unavailable(error.to_string()))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            } else {
                parameters.push(("client_secret", secret));
            }
        }
        let request = request.body(Bytes::from(form(&parameters)));
        let request = request.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let answer = client.send(request).await;
        let answer = answer.map_err(|error| Failure::Unavailable(format!("`{endpoint}`: {error}")))?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            return Err(Failure::Invalid(format!("`{endpoint}` answers with the status {status}")));
        }
        let tokens: Result<Tokens, _> = serde_json::from_slice(answer.body());
        // Its text may have a token, so the error does not go into the log.
        let tokens = tokens.map_err(|_| Failure::Invalid(format!("`{endpoint}` sends no ID token")))?;
        Ok(tokens.id_token)
    }
}

fn form(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}
