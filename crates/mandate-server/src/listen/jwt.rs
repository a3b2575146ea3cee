//! Verifies JSON Web Tokens: signed by a key of the JWKS file, with the expected issuer and audience, and not
//! expired. The file is reloaded by `reloading_file`; opaque tokens are in `tokens`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::{FileError, FileErrors, JwkError};
use super::reloading_file::{FileBytes, FileContent, ReloadingFile};
use super::token_error::TokenError;

/// The tolerated difference between the clocks, in seconds.
const LEEWAY: u64 = 30;

/// Verified tokens in the cache.
const MAX_CACHED_TOKENS: u64 = 10_000;

/// The claims that tokens have to have.
#[derive(Debug, Clone)]
pub struct ExpectedClaims {
    pub issuer: String,
    pub audience: String,
}

/// The public keys of the issuer, and a cache of the tokens that they verified.
pub struct JwtVerifier {
    trusted: Vec<Key>,
    expected: ExpectedClaims,
    /// By the digest of the token. New keys are a new verifier, whose cache is empty.
    verified: Cache<[u8; 32], VerifiedToken>,
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

#[derive(Clone)]
struct VerifiedToken {
    subject: Arc<str>,
    expires: u64,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    exp: f64,
}

impl FileContent for JwtVerifier {
    const LABEL: &'static str = "set of keys";
}

impl JwtVerifier {
    /// Reads a JWKS file. Later changes are reloaded.
    ///
    /// # Errors
    /// The file cannot be used; the message names it.
    pub fn open(path: PathBuf, expected: ExpectedClaims) -> Result<Arc<ReloadingFile<Self>>, FileErrors> {
        ReloadingFile::open([path], move |[file]| Self::parse(file, &expected))
    }

    fn parse(file: &FileBytes<'_>, expected: &ExpectedClaims) -> Result<Self, FileErrors> {
        let path = file.path.to_owned();
        let set: JwkSet = match serde_json::from_slice(file.bytes) {
            Ok(set) => set,
            Err(error) => return Err(FileError::NotJwks { path, error }.into()),
        };
        let (mut keys, mut errors) = (Vec::new(), Vec::new());
        for (number, jwk) in (1..).zip(&set.keys) {
            match Key::read(jwk) {
                Ok(key) => keys.extend(key),
                Err(error) => errors.push(FileError::Jwk { path: path.clone(), number, error }),
            }
        }
        if keys.is_empty() && errors.is_empty() {
            errors.push(FileError::NoJwk { path });
        }
        if !errors.is_empty() {
            return Err(FileErrors(errors));
        }
        Ok(Self { trusted: keys, expected: expected.clone(), verified: Cache::new(MAX_CACHED_TOKENS) })
    }

    /// The subject of a token, once it is verified.
    ///
    /// # Errors
    /// The token is not valid.
    pub fn verified_subject(&self, token: &str) -> Result<Arc<str>, TokenError> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(verified) = self.verified.get(&digest) {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
            return if now > verified.expires.saturating_add(LEEWAY) {
                Err(TokenError::Expired)
            } else {
                Ok(verified.subject)
            };
        }
        let verified = self.verify(token)?;
        let subject = Arc::clone(&verified.subject);
        self.verified.insert(digest, verified);
        Ok(subject)
    }

    fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::NotJwt)?;
        if header.crit.is_some() {
            return Err(TokenError::CriticalHeader);
        }
        let mut failure = TokenError::NoMatchingKey;
        let has_id = |key: &&Key| key.id.is_none() || header.kid.is_none() || key.id == header.kid;
        for key in self.trusted.iter().filter(has_id).filter(|key| key.algorithms.contains(&header.alg)) {
            match decode::<Claims>(token, &key.public, &self.validation(header.alg)) {
                Ok(token) => return Ok(verified(token.claims)),
                Err(error) => failure = token_error(error.kind()),
            }
        }
        Err(failure)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.expected.issuer]);
        validation.set_audience(&[&self.expected.audience]);
        validation
    }
}

impl Key {
    /// Reads a key; `None` if it is not for signatures or of an unsupported type.
    fn read(jwk: &Jwk) -> Result<Option<Self>, JwkError> {
        let algorithms_of_type = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256.family().algorithms().to_vec(),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                vec![Algorithm::ES256]
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
                vec![Algorithm::ES384]
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            AlgorithmParameters::OctetKey(_) => return Err(JwkError::SharedSecret),
            _ => return Ok(None),
        };
        let (common, verify) = (&jwk.common, KeyOperations::Verify);
        let other_use = common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature)
            || common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&verify));
        if other_use {
            return Ok(None);
        }
        let algorithms = match common.key_algorithm {
            None => algorithms_of_type,
            Some(named) => {
                let named = named.to_string().parse::<Algorithm>().ok();
                let matching = named.filter(|named| algorithms_of_type.contains(named));
                vec![matching.ok_or(JwkError::AlgorithmMismatch)?]
            }
        };
        let public = DecodingKey::from_jwk(jwk)?;
        Ok(Some(Self { id: common.key_id.clone(), algorithms, public }))
    }
}

fn verified(claims: Claims) -> VerifiedToken {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let expires = claims.exp as u64;
    VerifiedToken { subject: claims.sub.unwrap_or_else(|| "-".to_owned()).into(), expires }
}

fn token_error(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::InvalidSignature => TokenError::WrongSignature,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => TokenError::MalformedClaims,
        _ => TokenError::Unverifiable,
    }
}
