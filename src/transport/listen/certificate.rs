//! What a certificate says: until when, and of whom.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

/// When a certificate ends to be valid, in seconds since the epoch.
///
/// # Errors
/// It is no X.509 certificate, or one of the first version, which no client takes.
pub fn expires(certificate: &CertificateDer<'_>) -> Result<i64, String> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("it is no X.509 certificate: {error}"))?;
    if certificate.version() != X509Version::V3 {
        return Err(
            "it is X.509 of an old version: issue it with extensions, such as `subjectAltName`".to_owned()
        );
    }
    Ok(certificate.validity().not_after.timestamp())
}

/// The names that a client's certificate has: its URIs, then its host names; only where it has none of
/// these, the common name of its subject.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let general = alternative.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris =
        general.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let hosts = general
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(host) = name { Some(*host) } else { None });
    let mut names: Vec<String> = uris.chain(hosts).map(str::to_owned).collect();
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_owned));
    }
    names
}
