//! Authenticates the caller of a request, by a token from a file (`tokens`) or a JWT (`jwt`). Client
//! certificates are checked in `admission`.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::error::FileErrors;
use super::jwt::{ExpectedClaims, JwtVerifier};
use super::reloading_file::{Reloadable, ReloadingFile};
use super::token_error::TokenError;
use super::tokens::Tokens;

/// The name of the authenticated caller, as an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Arc<str>);

/// The methods of authentication. A caller needs a token or a JWT, not both.
#[derive(Clone, Default)]
pub struct Authentication {
    tokens: Option<Arc<ReloadingFile<Tokens>>>,
    keys: Option<Arc<ReloadingFile<JwtVerifier>>>,
}

/// The expected issuer and audience of JWTs, and the file with the keys that verify them.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    pub issuer: String,
    pub audience: String,
    pub jwks: PathBuf,
}

/// The caller is not authenticated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    #[error("authentication is required: send `Authorization: Bearer` and a token")]
    MissingToken,
    #[error(transparent)]
    InvalidToken(#[from] TokenError),
}

impl Authentication {
    /// Reads the files of tokens and keys. Later changes are reloaded.
    ///
    /// # Errors
    /// One error for each file that cannot be used.
    pub fn open(tokens: Option<PathBuf>, jwt: Option<JwtConfig>) -> Result<Self, Vec<FileErrors>> {
        let tokens = tokens.map(Tokens::open).transpose();
        let keys = jwt.map(|JwtConfig { issuer, audience, jwks }| {
            JwtVerifier::open(jwks, ExpectedClaims { issuer, audience })
        });
        match (tokens, keys.transpose()) {
            (Ok(tokens), Ok(keys)) => Ok(Self { tokens, keys }),
            (tokens, keys) => Err(tokens.err().into_iter().chain(keys.err()).collect()),
        }
    }

    /// Whether callers have to send a token.
    pub fn is_required(&self) -> bool {
        self.tokens.is_some() || self.keys.is_some()
    }

    /// The names of the methods.
    pub fn methods(&self) -> Vec<&'static str> {
        let methods = [self.tokens.as_ref().map(|_| "tokens"), self.keys.as_ref().map(|_| "jwt")];
        methods.into_iter().flatten().collect()
    }

    /// The files that are reloaded when they change.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        let tokens = self.tokens.clone().map(|tokens| tokens as Arc<dyn Reloadable>);
        tokens.into_iter().chain(self.keys.clone().map(|keys| keys as Arc<dyn Reloadable>)).collect()
    }

    /// The caller, from the headers of a request.
    ///
    /// # Errors
    /// The token is missing or not valid.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, AuthenticationError> {
        let token = bearer_token(headers)?;
        let holder = self.tokens.as_ref().and_then(|tokens| tokens.current().holder(token));
        match (holder, &self.keys) {
            (Some(name), _) => Ok(Caller(name)),
            (None, Some(keys)) => Ok(Caller(keys.current().verified_subject(token)?)),
            (None, None) => Err(TokenError::Unknown.into()),
        }
    }
}

/// The token in the header `Authorization: Bearer …`. Two such headers are an error.
fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthenticationError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthenticationError::MissingToken)?;
    if values.next().is_some() {
        return Err(TokenError::SeveralHeaders.into());
    }
    let value = value.to_str().map_err(|_| TokenError::NotAscii)?;
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
        // With another scheme there is no token.
        _ => Err(AuthenticationError::MissingToken),
    }
}
