//! Why a request lacks a value that its route requires. The text goes to logs and to the command line;
//! clients see only which part of the question is missing.

use crate::json_pointer::PointerError;

/// Why an extractor has no value. The strings name the source of the value, such as "header `x-partner-id`".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    #[error("the request has no {0}")]
    Missing(String),
    #[error("the request has several values for {0}")]
    SeveralValues(String),
    #[error("the request has more than one header `{0}`")]
    RepeatedHeader(String),
    #[error("the header `{0}` is not UTF-8")]
    HeaderNotUtf8(String),
    #[error("{0} {1}")]
    Pointer(String, PointerError),
    #[error("{0} does not match the pattern of the route")]
    PatternMismatch(String),
    #[error("{from} is {quoted}, which is not in the `map` of the route")]
    NotInMap { from: String, quoted: String },
    #[error("{from} has to be {expected}")]
    WrongText { from: String, expected: &'static str },
    #[error("{from} has to be a string, found {found}")]
    NotAString { from: String, found: &'static str },
    #[error("the gateway did not forward a body")]
    NoBody,
    #[error("the gateway truncated the body")]
    TruncatedBody,
    #[error("the header `content-type` has to be `application/json` in UTF-8")]
    NotJson,
    #[error("the body has a `content-encoding`")]
    EncodedBody,
    #[error("the body is not valid JSON: {0}")]
    InvalidBody(String),
    #[error("the request has no claims")]
    NoClaims,
    #[error("the claims cannot be decoded")]
    InvalidClaims,
    #[error("the request has no client certificate")]
    NoCertificate,
    #[error("the client certificate cannot be decoded")]
    InvalidCertificate,
}

impl ExtractError {
    /// Whether the value is absent or unknown, rather than ambiguous or not readable.
    pub(crate) fn means_unknown(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::PatternMismatch(_)
                | Self::NotInMap { .. }
                | Self::NoClaims
                | Self::NoCertificate
        )
    }
}
