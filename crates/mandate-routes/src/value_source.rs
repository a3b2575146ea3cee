//! Where a value comes from in an HTTP request, as data. The values are read in `request_values`, and
//! converted in `extractor`.

use std::fmt;

use crate::certificate::CertificateField;
use crate::json_pointer::JsonPointer;
use mandate_core::json::Json;

#[derive(Debug, Clone)]
pub(crate) enum ValueSource {
    Constant(Json<'static>),
    /// The path segment at this index.
    Path(usize),
    Header(String),
    Claim(JsonPointer),
    Certificate(CertificateField),
    Extension(String),
    Body(JsonPointer),
}

impl ValueSource {
    /// Whether the gateway takes the value from the client's credentials.
    pub fn is_credential(&self) -> bool {
        match self {
            Self::Header(_) | Self::Claim(_) | Self::Certificate(_) => true,
            Self::Constant(_) | Self::Path(_) | Self::Extension(_) | Self::Body(_) => false,
        }
    }
}

/// Where the gateway passes on what it verified. It is the same for all routes of a file.
#[derive(Debug, Default)]
pub(crate) struct CredentialSources {
    pub claims: Option<ClaimsSource>,
    /// The header with the client's certificate. Without it, the certificate is the one that Envoy sends
    /// over gRPC.
    pub certificate_header: Option<String>,
}

/// Where the claims of a verified token are.
#[derive(Debug)]
pub(crate) enum ClaimsSource {
    /// A header with the payload, as JSON or as base64url of it.
    PayloadHeader(String),
    /// A header with the whole token, with or without `Bearer `. The gateway verified it.
    TokenHeader(String),
    /// An object in the gateway's metadata.
    Metadata(JsonPointer),
}

impl fmt::Display for ClaimsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PayloadHeader(name) | Self::TokenHeader(name) => {
                write!(f, "claims in the header `{name}`")
            }
            Self::Metadata(pointer) => write!(f, "claims in the metadata at `{pointer}`"),
        }
    }
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(_) => f.write_str("constant"),
            Self::Path(index) => write!(f, "segment {} of the path", index + 1),
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Claim(pointer) => write!(f, "claim `{pointer}`"),
            Self::Certificate(field) => write!(f, "certificate field `{}`", field.name()),
            Self::Extension(name) => write!(f, "context extension `{name}`"),
            Self::Body(pointer) => write!(f, "`{pointer}` in the body"),
        }
    }
}
