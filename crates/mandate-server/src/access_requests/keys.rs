//! The keys that sign denials and approvals, and verify them when they come back: elliptic curve keys (P-256) in a PEM
//! file, of which the first signs and all verify. So a new key is put first, and the old one goes when nothing that it
//! signed is valid any more. What is signed is in `binding` and `approval`.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::listen::error::{FileError, FileErrors};
use crate::listen::reloading_file::{FileBytes, FileContent, Reloadable, ReloadingFile};

/// The keys in use.
#[derive(Clone)]
pub enum Keys {
    /// They are reloaded when their file changes.
    File(Arc<ReloadingFile<SigningKeys>>),
    /// They end with the process.
    Generated(Arc<SigningKeys>),
}

/// Some keys, the one that signs first.
pub struct SigningKeys {
    keys: Vec<Key>,
    jwks: Bytes,
}

struct Key {
    /// The thumbprint of the public key (RFC 7638).
    id: String,
    private: EncodingKey,
    public: DecodingKey,
    jwk: Jwk,
}

/// A token cannot be signed, or is not one of ours.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    #[error("it is not a signed token")]
    NotToken,
    #[error("no key in use has signed it")]
    UnknownKey,
    #[error("it is a token for something else")]
    OtherUse,
    #[error("its signature or its claims are wrong: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
}

/// What a token is for. One that is made for one use is not accepted for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse {
    Denial,
    Approval,
}

impl TokenUse {
    /// The value of the header `typ`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Denial => "denial+jwt",
            Self::Approval => "approval+jwt",
        }
    }
}

impl FileContent for SigningKeys {
    const LABEL: &'static str = "list of signing keys";
}

impl Keys {
    /// Reads a file of keys. Later changes are reloaded.
    ///
    /// # Errors
    /// The file cannot be used; the message names it.
    pub fn open(path: PathBuf) -> Result<Self, FileErrors> {
        ReloadingFile::open([path], |[file]| SigningKeys::parse(file)).map(Self::File)
    }

    /// One new key.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random);
        let key = Key::read(pkcs8.map_err(|_| KeyError::NoRandomness)?.as_ref())?;
        Ok(Self::Generated(Arc::new(SigningKeys::new(vec![key]))))
    }

    /// The file that is reloaded, if there is one.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        match self {
            Self::File(file) => vec![Arc::clone(file) as Arc<dyn Reloadable>],
            Self::Generated(_) => Vec::new(),
        }
    }

    /// Signs claims, as a compact JWS.
    ///
    /// # Errors
    /// A defect of this program.
    pub fn sign(&self, token_use: TokenUse, claims: &impl Serialize) -> Result<String, TokenFault> {
        self.with(|keys| {
            let key = keys.keys.first().ok_or(TokenFault::UnknownKey)?;
            let mut header = Header::new(Algorithm::ES256);
            (header.typ, header.kid) = (Some(token_use.as_str().to_owned()), Some(key.id.clone()));
            Ok(encode(&header, claims, &key.private)?)
        })
    }

    /// The claims of a token that one of the keys has signed. Whether they fit is up to the caller.
    ///
    /// # Errors
    /// It is not one of ours.
    pub fn verify<T: DeserializeOwned>(&self, token_use: TokenUse, token: &str) -> Result<T, TokenFault> {
        let header = decode_header(token).map_err(|_| TokenFault::NotToken)?;
        if header.typ.as_deref() != Some(token_use.as_str()) || header.crit.is_some() {
            return Err(TokenFault::OtherUse);
        }
        self.with(|keys| {
            let key = keys.keys.iter().find(|key| header.kid.as_ref() == Some(&key.id));
            let mut validation = Validation::new(Algorithm::ES256);
            (validation.validate_exp, validation.validate_aud) = (false, false);
            validation.required_spec_claims.clear();
            Ok(decode::<T>(token, &key.ok_or(TokenFault::UnknownKey)?.public, &validation)?.claims)
        })
    }

    /// The public keys, as a JSON Web Key Set.
    pub fn jwks(&self) -> Bytes {
        self.with(|keys| keys.jwks.clone())
    }

    fn with<T>(&self, run: impl FnOnce(&SigningKeys) -> T) -> T {
        match self {
            Self::File(file) => run(&file.current()),
            Self::Generated(keys) => run(keys),
        }
    }
}

impl SigningKeys {
    fn parse(file: &FileBytes<'_>) -> Result<Self, FileErrors> {
        let path = || file.path.to_owned();
        let (mut keys, mut errors) = (Vec::<Key>::new(), Vec::new());
        for (number, der) in (1..).zip(PrivatePkcs8KeyDer::pem_slice_iter(file.bytes)) {
            let der = der.map_err(|error| FileError::NotPem { path: path(), error })?;
            match Key::read(der.secret_pkcs8_der()) {
                Ok(key) if keys.iter().any(|other| other.id == key.id) => {}
                Ok(key) => keys.push(key),
                Err(error) => {
                    let error = error.to_string();
                    errors.push(FileError::SigningKey { path: path(), number, error });
                }
            }
        }
        if keys.is_empty() && errors.is_empty() {
            errors.push(FileError::NoPrivateKey { path: path() });
        }
        if errors.is_empty() { Ok(Self::new(keys)) } else { Err(FileErrors(errors)) }
    }

    fn new(keys: Vec<Key>) -> Self {
        let public: Vec<&Jwk> = keys.iter().map(|key| &key.jwk).collect();
        let jwks = json!({ "keys": public }).to_string().into();
        Self { keys, jwks }
    }
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("it has to be an elliptic curve key on P-256, in PKCS #8: {0}")]
    NotP256(#[from] aws_lc_rs::error::KeyRejected),
    #[error(transparent)]
    Unusable(#[from] jsonwebtoken::errors::Error),
    #[error("the machine has no random numbers")]
    NoRandomness,
}

impl Key {
    fn read(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8)?;
        let private = EncodingKey::from_ec_der(pkcs8);
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::ES256)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        (jwk.common.key_id, jwk.common.public_key_use) = (Some(id.clone()), Some(PublicKeyUse::Signature));
        let public = DecodingKey::from_jwk(&jwk)?;
        Ok(Self { id, private, public, jwk })
    }
}
