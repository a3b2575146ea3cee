//! The names in a client's certificate. The gateway verified the certificate; it is only decoded here. Which
//! header it comes from is in `value_source`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mandate_core::json::quoted_list;
use percent_encoding::percent_decode_str;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

/// A field of a certificate that a route can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateField {
    /// The single name that the gateway took from the certificate.
    Principal,
    Subject,
    CommonName,
    Uri,
    Dns,
}

impl CertificateField {
    const ALL: [Self; 5] = [Self::Principal, Self::Subject, Self::CommonName, Self::Uri, Self::Dns];

    /// The name in route files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Subject => "subject",
            Self::CommonName => "cn",
            Self::Uri => "uri",
            Self::Dns => "dns",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// All names, for messages.
    pub fn all_names() -> String {
        quoted_list(Self::ALL.map(Self::name))
    }
}

/// The names in a certificate.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `None` if its text could be mistaken for another subject.
    subject: Option<String>,
    /// Empty if the certificate has any subject alternative name: then those are its names (RFC 6125).
    common_names: Vec<String>,
    uris: Vec<String>,
    dns: Vec<String>,
}

impl Certificate {
    /// Decodes a certificate in any form that gateways send: percent-encoded PEM (Envoy, nginx), base64 of
    /// DER with or without colons around it (RFC 9440, Caddy), or `x-forwarded-client-cert` with one `Cert`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = certificate_in_xfcc(text)?;
        let text = percent_decode_str(&text).decode_utf8().ok()?;
        let inside = match text.trim().strip_prefix("-----BEGIN CERTIFICATE-----") {
            // Several certificates are rejected: it would not be clear whose names are meant.
            Some(rest) => rest.strip_suffix("-----END CERTIFICATE-----").filter(|it| !it.contains('-'))?,
            None => text.trim().trim_matches(':'),
        };
        let base64: String = inside.split_ascii_whitespace().collect();
        Self::from_der(&STANDARD.decode(base64).ok()?)
    }

    /// Decodes a certificate in DER.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let alternatives = certificate.subject_alternative_name().ok()?;
        let common_names = subject.iter_common_name().filter(|_| alternatives.is_none());
        let common_names = common_names.map(|name| name.as_str().map(ToOwned::to_owned));
        let mut names = Self {
            subject: is_unambiguous(subject).then(|| subject.to_string()),
            common_names: common_names.collect::<Result<_, _>>().ok()?,
            ..Self::default()
        };
        for name in alternatives.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                _ => {}
            }
        }
        Some(names)
    }

    pub fn values(&self, field: CertificateField) -> Vec<String> {
        match field {
            CertificateField::Principal => Vec::new(),
            CertificateField::Subject => self.subject.iter().cloned().collect(),
            CertificateField::CommonName => self.common_names.clone(),
            CertificateField::Uri => self.uris.clone(),
            CertificateField::Dns => self.dns.clone(),
        }
    }
}

/// Whether no value of a subject has a character that could be mistaken for the end of the value.
fn is_unambiguous(subject: &X509Name<'_>) -> bool {
    let special = |c: char| ",+=\"\\<>;#/".contains(c) || c.is_control();
    subject.iter_attributes().all(|value| value.as_str().is_ok_and(|text| !text.contains(special)))
}

/// The only `Cert` of an `x-forwarded-client-cert` header; a text without `Cert` unchanged.
fn certificate_in_xfcc(text: &str) -> Option<Cow<'_, str>> {
    let mut certificates = text.split("Cert=\"").skip(1);
    match (certificates.next(), certificates.next()) {
        (None, _) => Some(Cow::Borrowed(text)),
        (Some(rest), None) => rest.split_once('"').map(|(inside, _)| Cow::Borrowed(inside)),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Certificate, CertificateField, certificate_in_xfcc};

    #[test]
    fn only_one_certificate_is_taken_from_a_header() {
        assert_eq!(certificate_in_xfcc("By=me;Cert=\"abc\";URI=x").as_deref(), Some("abc"));
        assert_eq!(certificate_in_xfcc(":abc:").as_deref(), Some(":abc:"));
        assert_eq!(certificate_in_xfcc("Cert=\"abc\",Cert=\"def\""), None);
        assert_eq!(certificate_in_xfcc("Cert=\"abc"), None);
    }

    #[test]
    fn texts_that_are_no_certificate_are_rejected() {
        for text in ["", "abc", "%ff", "-----BEGIN CERTIFICATE-----abc", "Cert=\"\""] {
            assert_eq!(Certificate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_found_by_their_names() {
        assert_eq!(CertificateField::from_name("cn"), Some(CertificateField::CommonName));
        assert_eq!(CertificateField::from_name("CN"), None);
        assert_eq!(CertificateField::all_names(), "`principal`, `subject`, `cn`, `uri`, `dns`");
    }
}
