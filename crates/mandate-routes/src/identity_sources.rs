//! Where routes may take the principal from. An operator pins it outside the policy folder, so that no edit of
//! a route file can make a principal of what a client sends. The routes are checked as they are parsed.

use std::fmt;

use crate::extractor::{Extractor, WhenAbsent};
use crate::value_source::{ClaimsSource, CredentialSources, ValueSource};
use mandate_core::json::{Json, quoted, quoted_list};

/// What the principal of a route may be made of. Everything else is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentitySources {
    /// Headers with a name, with claims or with a certificate.
    pub headers: Vec<String>,
    /// JSON pointers into the claims.
    pub claims: Vec<String>,
    /// JSON pointers into the gateway's metadata, where the claims are.
    pub metadata: Vec<String>,
    /// Fields of the client's certificate.
    pub certificates: Vec<String>,
    /// Context extensions of Envoy.
    pub extensions: Vec<String>,
    /// Types and ids that a route file may name itself: as a constant, a `default` or in a `map`.
    pub constants: Vec<String>,
}

/// A part of a principal comes from where it must not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IdentityError {
    /// A source, the list that does not have it, and the names in that list.
    NotListed { source: String, list: &'static str, listed: Vec<String> },
    /// The client alone decides on the value.
    FromClient(String),
}

impl IdentitySources {
    /// Checks the type or the id of a principal.
    ///
    /// # Errors
    /// The first source that is not allowed.
    pub(crate) fn check(
        &self,
        extractor: &Extractor,
        credentials: &CredentialSources,
    ) -> Result<(), IdentityError> {
        self.check_source(&extractor.source, credentials)?;
        if let WhenAbsent::Default(value) = &extractor.when_absent {
            self.check_constant(value)?;
        }
        extractor.map.iter().flat_map(|map| map.values()).try_for_each(|value| self.check_constant(value))
    }

    fn check_source(
        &self,
        source: &ValueSource,
        credentials: &CredentialSources,
    ) -> Result<(), IdentityError> {
        match source {
            ValueSource::Constant(value) => self.check_constant(value),
            ValueSource::Header(name) => self.check_header(source, name),
            ValueSource::Claim(pointer) => {
                match &credentials.claims {
                    Some(claims @ (ClaimsSource::PayloadHeader(name) | ClaimsSource::TokenHeader(name))) => {
                        self.check_header(claims, name)?;
                    }
                    Some(claims @ ClaimsSource::Metadata(pointer)) => {
                        is_listed(claims, &pointer.to_string(), "metadata", &self.metadata)?;
                    }
                    None => {}
                }
                is_listed(source, &pointer.to_string(), "claims", &self.claims)
            }
            ValueSource::Certificate(field) => {
                if let Some(name) = &credentials.certificate_header {
                    self.check_header(&format_args!("a certificate in the header `{name}`"), name)?;
                }
                is_listed(source, field.name(), "certificates", &self.certificates)
            }
            ValueSource::Extension(name) => is_listed(source, name, "extensions", &self.extensions),
            ValueSource::Path(_) | ValueSource::Body(_) => Err(IdentityError::FromClient(source.to_string())),
        }
    }

    fn check_header(&self, source: &dyn fmt::Display, name: &str) -> Result<(), IdentityError> {
        let headers: Vec<String> = self.headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        is_listed(source, name, "headers", &headers)
    }

    fn check_constant(&self, value: &Json<'_>) -> Result<(), IdentityError> {
        let name = value.as_str().unwrap_or_default();
        is_listed(&format_args!("the constant {}", quoted(name)), name, "constants", &self.constants)
    }
}

fn is_listed(
    source: &dyn fmt::Display,
    name: &str,
    list: &'static str,
    listed: &[String],
) -> Result<(), IdentityError> {
    if listed.iter().any(|listed| listed == name) {
        return Ok(());
    }
    Err(IdentityError::NotListed { source: source.to_string(), list, listed: listed.to_vec() })
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed { source, list, listed } if listed.is_empty() => {
                write!(f, "comes from {source}, and `{list}` of `[identity-sources]` is empty")
            }
            Self::NotListed { source, list, listed } => {
                let listed = quoted_list(listed);
                write!(f, "comes from {source}: `{list}` of `[identity-sources]` has only {listed}")
            }
            Self::FromClient(source) => {
                write!(f, "comes from {source}, which the client decides on alone")
            }
        }
    }
}
