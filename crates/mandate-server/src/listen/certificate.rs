//! What a certificate says: until when, and of whom.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use mandate_routes::certificate::{Certificate, CertificateField};

/// When a certificate ends to be valid, in seconds since the epoch.
///
/// # Errors
/// It is no X.509 certificate, or one of the first version, which no client takes.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<i64, String> {
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
pub fn subject_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Some(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let names = [CertificateField::Uri, CertificateField::Dns]
        .into_iter()
        .flat_map(|field| certificate.values(field));
    let names: Vec<String> = names.collect();
    if names.is_empty() { certificate.values(CertificateField::CommonName) } else { names }
}
