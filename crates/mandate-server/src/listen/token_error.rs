//! The reasons why a bearer token is not accepted. `authentication`, `tokens` and `jwt` find them;
//! `rejection` shows them to the caller.

/// A token that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("there is more than one `Authorization` header")]
    SeveralHeaders,
    #[error("the token has characters that are not ASCII")]
    NotAscii,
    #[error("the token is unknown")]
    Unknown,
    #[error("the token is not a JWT, or is signed with an algorithm that is not supported")]
    NotJwt,
    #[error("the token has `crit` in its header, which is not supported")]
    CriticalHeader,
    #[error("no key matches the token's `kid` and `alg`")]
    NoMatchingKey,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token has another issuer")]
    WrongIssuer,
    #[error("the token has another audience")]
    WrongAudience,
    #[error("the token's signature is not valid")]
    WrongSignature,
    #[error("the token lacks `exp`, `iss` or `aud`, or one of its claims is malformed")]
    MalformedClaims,
    #[error("the token cannot be verified")]
    Unverifiable,
}
