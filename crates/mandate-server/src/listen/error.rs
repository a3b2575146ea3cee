//! Why a listener cannot be opened: its socket, or one of its files, cannot be used. Why the token of a
//! caller is not accepted is in `token_error`.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;
use x509_parser::error::X509Error;

use super::address::Address;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub struct SocketError {
    pub address: Address,
    #[source]
    pub error: io::Error,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Http(address) | Address::Https(address) => write!(f, "cannot listen on {address}: ")?,
            address @ Address::Unix(_) => write!(f, "cannot listen on {address}: ")?,
        }
        self.error.fmt(f)
    }
}

/// All errors of files that are parsed together; at least one.
#[derive(Debug)]
pub struct FileErrors(pub Vec<FileError>);

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for FileErrors {}

impl From<FileError> for FileErrors {
    fn from(error: FileError) -> Self {
        Self(vec![error])
    }
}

/// A file that cannot be used. The message names the file, and never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read `{path}`: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("`{path}` is not UTF-8")]
    NotUtf8 { path: PathBuf },
    #[error("`{path}` is not valid PEM: {error}")]
    NotPem { path: PathBuf, error: pem::Error },
    #[error("`{path}` has no certificate: it has to be PEM, with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate { path: PathBuf },
    #[error(
        "`{path}` has no private key: it has to be PEM, with `-----BEGIN PRIVATE KEY-----`, and not encrypted"
    )]
    NoPrivateKey { path: PathBuf },
    #[error("`{path}`: {error}")]
    Certificate { path: PathBuf, error: CertificateError },
    #[error("`{path}` has a certificate that cannot be used as a CA: {error}")]
    UnusableCa { path: PathBuf, error: CaError },
    #[error(
        "the key `{key}` does not belong to the certificate `{certificate}`: use the key that the certificate was issued for"
    )]
    KeyOfOtherCertificate { certificate: PathBuf, key: PathBuf },
    #[error("the certificate `{certificate}` and the key `{key}` cannot be used: {error}")]
    UnusableKeyPair { certificate: PathBuf, key: PathBuf, error: rustls::Error },
    #[error("`{path}` is not a JWKS: {error}")]
    NotJwks { path: PathBuf, error: serde_json::Error },
    /// Keys are counted from 1.
    #[error("`{path}`, key {number}: {error}")]
    Jwk { path: PathBuf, number: usize, error: JwkError },
    #[error("`{path}` has no key for signatures: expected RSA, EC with P-256 or P-384, or Ed25519")]
    NoJwk { path: PathBuf },
    #[error("`{path}` has to have at least {min_length} bytes: make it with `openssl rand -hex 32`")]
    ShortSecret { path: PathBuf, min_length: usize },
    /// Keys are counted from 1.
    #[error("`{path}`, private key {number}: {error}")]
    SigningKey { path: PathBuf, number: usize, error: String },
    /// Lines are counted from 1.
    #[error("`{path}`, line {line}: {error}")]
    TokenLine { path: PathBuf, line: usize, error: TokenLineError },
    #[error("`{path}` has no token: write a name and a token on each line")]
    NoToken { path: PathBuf },
}

/// A certificate that clients would not accept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("it is not an X.509 certificate: {0}")]
    NotX509(#[from] x509_parser::nom::Err<X509Error>),
    #[error(
        "X.509 versions 1 and 2 are not supported: issue a certificate of version 3, with `subjectAltName`"
    )]
    OldVersion,
}

/// A certificate that cannot be used as a CA.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum CaError {
    Root(#[from] rustls::Error),
    Verifier(#[from] VerifierBuilderError),
}

/// A key of a JWKS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwkError {
    #[error("shared secrets (`oct`) are not supported, because a verifier could also sign: use public keys")]
    SharedSecret,
    #[error("its `alg` does not match its `kty` and `crv`")]
    AlgorithmMismatch,
    #[error(transparent)]
    Invalid(#[from] jsonwebtoken::errors::Error),
}

/// A line of a file of tokens that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenLineError {
    #[error("has to be a name and a token, with a space between them")]
    NotTwoWords,
    #[error("after `sha256:` there have to be 64 hexadecimal digits")]
    NotDigest,
    #[error("the token is shorter than {min_length} characters: make one with `openssl rand -hex 32`")]
    TooShort { min_length: usize },
    #[error("another line has the same token")]
    Repeated,
}
