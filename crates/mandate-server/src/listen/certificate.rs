//! Reads the expiry and the names of a certificate. Handshakes are in `tls`; which names are allowed is
//! decided in `admission`.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::error::CertificateError;
use mandate_routes::certificate::{Certificate, CertificateField};

/// The expiry of a certificate, in seconds since the epoch.
///
/// # Errors
/// It is not an X.509 certificate, or of version 1 or 2, which clients do not accept.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<i64, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(certificate)?;
    if certificate.version() != X509Version::V3 {
        return Err(CertificateError::OldVersion);
    }
    Ok(certificate.validity().not_after.timestamp())
}

/// The names in a client certificate: its URIs, then its DNS names. If it has no subject alternative name of
/// any kind, the common name of its subject.
pub fn subject_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Some(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let fields = [CertificateField::Uri, CertificateField::Dns, CertificateField::CommonName];
    fields.into_iter().flat_map(|field| certificate.values(field)).collect()
}
