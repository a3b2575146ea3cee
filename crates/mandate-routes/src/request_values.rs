//! Reads values from one HTTP request, by source. The body, the claims and the certificate are decoded at
//! most once, and only if a route reads them. Conversion to the type of the schema is in `extractor`.

use std::borrow::Cow;
use std::cell::OnceCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::certificate::{Certificate, CertificateField};
use crate::extract_error::ExtractError;
use crate::http_request::{HttpRequest, RequestBody};
use crate::value_source::{ClaimsSource, CredentialSources, ValueSource};
use mandate_core::json::Json;

pub(crate) struct RequestValues<'a> {
    request: &'a HttpRequest<'a>,
    segments: Vec<Cow<'a, str>>,
    credential_sources: &'a CredentialSources,
    body: OnceCell<Result<Json<'a>, ExtractError>>,
    claims: OnceCell<Result<Json<'static>, ExtractError>>,
    certificate: OnceCell<Result<Certificate, ExtractError>>,
}

impl<'a> RequestValues<'a> {
    pub fn new(
        request: &'a HttpRequest<'a>,
        segments: Vec<Cow<'a, str>>,
        credential_sources: &'a CredentialSources,
    ) -> Self {
        let (body, claims, certificate) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { request, segments, credential_sources, body, claims, certificate }
    }

    /// All values of a source. An absent value is not an error; a value that cannot be decoded is.
    pub fn all(&self, source: &'a ValueSource) -> Result<Vec<Json<'a>>, ExtractError> {
        let text = |text: Cow<'a, str>| Json::String(text);
        Ok(match source {
            ValueSource::Constant(value) => vec![value.clone()],
            ValueSource::Path(index) => self.segments.get(*index).cloned().map(text).into_iter().collect(),
            ValueSource::Header(name) => {
                self.header(name)?.map(|value| text(Cow::Borrowed(value))).into_iter().collect()
            }
            ValueSource::Extension(name) => {
                let mut extensions = self.request.extensions.iter().filter(|(key, _)| key == name);
                extensions.next().map(|(_, value)| text(Cow::Borrowed(value))).into_iter().collect()
            }
            ValueSource::Claim(pointer) => {
                let claims = self.claims.get_or_init(|| self.read_claims()).as_ref().map_err(Clone::clone)?;
                let found =
                    pointer.resolve(claims).map_err(|why| ExtractError::Pointer(source.to_string(), why))?;
                found.cloned().into_iter().collect()
            }
            ValueSource::Body(pointer) => {
                let body = self.body.get_or_init(|| self.read_body()).as_ref().map_err(Clone::clone)?;
                let found =
                    pointer.resolve(body).map_err(|why| ExtractError::Pointer(source.to_string(), why))?;
                found.cloned().into_iter().collect()
            }
            ValueSource::Certificate(field) => {
                self.certificate_values(*field)?.into_iter().map(|value| text(Cow::Owned(value))).collect()
            }
        })
    }

    /// The value of a header; `None` if it is absent or empty. A repeated header is an error.
    fn header(&self, name: &str) -> Result<Option<&'a str>, ExtractError> {
        let mut values = self.request.headers.iter().filter(|(key, _)| *key == name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => match std::str::from_utf8(value) {
                Ok(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
                Err(_) => Err(ExtractError::HeaderNotUtf8(name.to_owned())),
            },
            (Some(_), Some(_)) => Err(ExtractError::RepeatedHeader(name.to_owned())),
        }
    }

    fn read_body(&self) -> Result<Json<'a>, ExtractError> {
        match self.request.body {
            RequestBody::None => Err(ExtractError::NoBody),
            RequestBody::Partial => Err(ExtractError::TruncatedBody),
            RequestBody::Complete(bytes) => {
                self.require_plain_json()?;
                let read = Json::parse_with_max_depth(bytes, self.request.depth);
                read.map_err(|error| ExtractError::InvalidBody(error.to_string()))
            }
        }
    }

    /// The service behind the gateway reads a body as its headers say. Only JSON in UTF-8 is read here, so
    /// nothing else may be said.
    fn require_plain_json(&self) -> Result<(), ExtractError> {
        let encoding = self.header("content-encoding")?;
        if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(ExtractError::EncodedBody);
        }
        let content_type = self.header("content-type")?;
        if content_type.is_some_and(is_json) { Ok(()) } else { Err(ExtractError::NotJson) }
    }

    fn read_claims(&self) -> Result<Json<'static>, ExtractError> {
        match &self.credential_sources.claims {
            None => Err(ExtractError::NoClaims),
            Some(ClaimsSource::PayloadHeader(header)) => {
                match self.header(header)?.ok_or(ExtractError::NoClaims)? {
                    payload if payload.starts_with('{') => parse_claims(payload.as_bytes()),
                    payload => decode_claims(payload),
                }
            }
            Some(ClaimsSource::TokenHeader(header)) => {
                let value = self.header(header)?.ok_or(ExtractError::NoClaims)?;
                let (scheme, rest) = value.split_at_checked("bearer ".len()).unwrap_or_default();
                let token = if scheme.eq_ignore_ascii_case("bearer ") { rest.trim() } else { value };
                match token.split('.').collect::<Vec<_>>().as_slice() {
                    [_, payload, _] => decode_claims(payload),
                    _ => Err(ExtractError::InvalidClaims),
                }
            }
            Some(ClaimsSource::Metadata(pointer)) => {
                let found = pointer.resolve_exactly(&self.request.metadata);
                found.cloned().map(Json::into_owned).ok_or(ExtractError::NoClaims)
            }
        }
    }

    fn certificate_values(&self, field: CertificateField) -> Result<Vec<String>, ExtractError> {
        if field == CertificateField::Principal {
            return Ok(self.request.peer.map(ToOwned::to_owned).into_iter().collect());
        }
        let certificate = self.certificate.get_or_init(|| self.read_certificate()).as_ref();
        certificate.map(|certificate| certificate.values(field)).map_err(Clone::clone)
    }

    fn read_certificate(&self) -> Result<Certificate, ExtractError> {
        let given = match &self.credential_sources.certificate_header {
            Some(header) => self.header(header)?,
            None => self.request.certificate,
        };
        let given = given.ok_or(ExtractError::NoCertificate)?;
        Certificate::parse(given).ok_or(ExtractError::InvalidCertificate)
    }
}

/// Whether a content type is `application/json` or `application/…+json`, in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/").unwrap_or_default();
    let is_token = subtype.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.+_".contains(&byte));
    let named = parts.filter_map(|part| part.split_once('='));
    let mut charsets = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    is_token
        && (subtype == "json" || subtype.ends_with("+json"))
        && charsets.all(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// Claims in base64url, with or without padding.
fn decode_claims(payload: &str) -> Result<Json<'static>, ExtractError> {
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('='));
    parse_claims(&bytes.map_err(|_| ExtractError::InvalidClaims)?)
}

fn parse_claims(json: &[u8]) -> Result<Json<'static>, ExtractError> {
    Json::parse(json).map(Json::into_owned).map_err(|_| ExtractError::InvalidClaims)
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn content_types_of_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON ; Charset=\"UTF-8\"",
            "application/json;odata=x",
            "application/merge-patch+json",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "json",
            "text/json",
            "application/jsonp",
            "application/json, text/plain",
            "application/x,y+json",
            "application/json; charset=utf-7",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset = utf-16",
            "application/xml; a=application/json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
