//! Who asks: by a bearer token, a JWT, or a client's certificate.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::jwt::{ExpectedClaims, JwtVerifier};
use super::reloading_file::{Reloadable, ReloadingFile};
use super::tokens::Tokens;

/// The name of whoever asks, as an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Arc<str>);

/// How callers are told apart. Tokens and JWTs are alternatives to each other.
#[derive(Clone, Default)]
pub struct Authentication {
    tokens: Option<Arc<ReloadingFile<Tokens>>>,
    keys: Option<Arc<ReloadingFile<JwtVerifier>>>,
}

/// Where JWTs come from, and the keys that they are verified by.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    pub issuer: String,
    pub audience: String,
    pub jwks: PathBuf,
}

/// Why nobody knows who asks.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthenticationError {
    /// There is no token.
    MissingToken,
    /// There is one that cannot be believed.
    InvalidToken(&'static str),
}

impl Authentication {
    /// Reads tokens and keys, and follows them.
    ///
    /// # Errors
    /// The files that cannot be used.
    pub fn open(tokens: Option<PathBuf>, jwt: Option<JwtConfig>) -> Result<Self, Vec<String>> {
        let tokens = tokens.map(Tokens::open).transpose();
        let keys = jwt.map(|JwtConfig { issuer, audience, jwks }| {
            JwtVerifier::open(jwks, ExpectedClaims { issuer, audience })
        });
        match (tokens, keys.transpose()) {
            (Ok(tokens), Ok(keys)) => Ok(Self { tokens, keys }),
            (tokens, keys) => Err(tokens.err().into_iter().chain(keys.err()).collect()),
        }
    }

    /// Whether callers have to say who they are.
    pub fn is_required(&self) -> bool {
        self.tokens.is_some() || self.keys.is_some()
    }

    /// Its kinds, in words.
    pub fn methods(&self) -> Vec<&'static str> {
        let methods = [self.tokens.as_ref().map(|_| "tokens"), self.keys.as_ref().map(|_| "jwt")];
        methods.into_iter().flatten().collect()
    }

    /// The files that are followed.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        let tokens = self.tokens.clone().map(|tokens| tokens as Arc<dyn Reloadable>);
        tokens.into_iter().chain(self.keys.clone().map(|keys| keys as Arc<dyn Reloadable>)).collect()
    }

    /// Who asks, by the headers of a request.
    ///
    /// # Errors
    /// Nobody knows.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, AuthenticationError> {
        let token = bearer_token(headers)?;
        let holder = self.tokens.as_ref().and_then(|tokens| tokens.current().holder(token));
        match (holder, &self.keys) {
            (Some(name), _) => Ok(Caller(name)),
            (None, Some(keys)) => {
                keys.current().verified_subject(token).map(Caller).map_err(AuthenticationError::InvalidToken)
            }
            (None, None) => Err(AuthenticationError::InvalidToken("the token is not known")),
        }
    }
}

/// The token in `Authorization: Bearer …`; two such headers are no token.
fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthenticationError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthenticationError::MissingToken)?;
    if values.next().is_some() {
        return Err(AuthenticationError::InvalidToken("there is more than one `Authorization` header"));
    }
    let value = value.to_str().map_err(|_| AuthenticationError::InvalidToken("the token is no text"))?;
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
        // Another scheme is no token.
        _ => Err(AuthenticationError::MissingToken),
    }
}
