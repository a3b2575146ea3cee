//! Terms: where one value of a question comes from in an HTTP request, and what is made of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::certificate::{Certificate, CertificateField};
use crate::http_request::{HttpRequest, RequestBody};
use mandate_core::json::{Json, quoted};

/// Where the gateway puts what it verified; a property of the file that holds the routes.
#[derive(Debug, Default)]
pub(super) struct CredentialSources {
    pub claims: Option<ClaimsSource>,
    /// The header in which the gateway passes its client's certificate on, in Envoy's form.
    pub certificate_header: Option<String>,
}

/// Where the claims of a verified token are.
#[derive(Debug)]
pub(super) enum ClaimsSource {
    /// In a header: the payload, as JSON or base64url of it.
    PayloadHeader(String),
    /// In a header: the whole token, after `Bearer ` or not. The gateway verified it.
    TokenHeader(String),
    /// In the gateway's metadata, at these keys.
    Metadata(Vec<String>),
}

/// One value: its source, and what is made of what is found there.
#[derive(Debug, Clone)]
pub(super) struct Extractor {
    pub source: ValueSource,
    /// Texts have to be of this form.
    pub pattern: Option<Pattern>,
    /// Texts stand for these values; any other is refused.
    pub map: Option<BTreeMap<String, Json<'static>>>,
    pub when_absent: WhenAbsent,
    pub text_type: TextType,
}

/// What counts where the source has nothing.
#[derive(Debug, Clone)]
pub(super) enum WhenAbsent {
    Deny,
    /// The value is left out.
    Omit,
    Default(Json<'static>),
}

/// What a text is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextType {
    String,
    Bool,
    Long,
}

#[derive(Debug, Clone)]
pub(super) enum ValueSource {
    Constant(Json<'static>),
    /// The segment at this index.
    Path(usize),
    Header(String),
    Claim(Pointer),
    Certificate(CertificateField),
    Extension(String),
    Body(Pointer),
}

/// A JSON pointer's keys (RFC 6901).
pub(super) type Pointer = Vec<String>;

/// A text around a hole; what stands in the hole is the value.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub before: String,
    pub after: String,
}

impl Pattern {
    fn capture<'t>(&self, text: &'t str) -> Option<&'t str> {
        let inside = text.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        (!inside.is_empty()).then_some(inside)
    }
}

/// Why a term has no value: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExtractError(String);

/// What is found in one request; what takes work is read once, and only if a route asks.
pub(super) struct RequestValues<'a> {
    request: &'a HttpRequest<'a>,
    segments: Vec<Cow<'a, str>>,
    credential_sources: &'a CredentialSources,
    body: OnceCell<Result<Json<'a>, ExtractError>>,
    claims: OnceCell<Result<Json<'static>, ExtractError>>,
    certificate: OnceCell<Result<Certificate, ExtractError>>,
}

impl Extractor {
    /// The value, if there is one and there may be none.
    ///
    /// # Errors
    /// There has to be one, and there is none that counts.
    pub fn value<'a>(&'a self, found: &RequestValues<'a>) -> Result<Option<Json<'a>>, ExtractError> {
        match (self.single_match(found)?, &self.when_absent) {
            (Some(value), _) => Ok(Some(value)),
            (None, WhenAbsent::Omit) => Ok(None),
            (None, WhenAbsent::Default(value)) => Ok(Some(value.clone())),
            (None, WhenAbsent::Deny) => Err(ExtractError(format!("the request has no {}", self.source))),
        }
    }

    /// The value, which has to be a text.
    ///
    /// # Errors
    /// There is none, or it is no text.
    pub fn text<'a>(&'a self, found: &RequestValues<'a>) -> Result<Cow<'a, str>, ExtractError> {
        match self.value(found)? {
            Some(Json::String(text)) => Ok(text),
            Some(other) => {
                Err(ExtractError(format!("{} has to be a string, found {}", self.source, other.describe())))
            }
            None => Err(ExtractError(format!("the request has no {}", self.source))),
        }
    }

    /// The one value of the source that fits the pattern, as what it stands for.
    fn single_match<'a>(&'a self, found: &RequestValues<'a>) -> Result<Option<Json<'a>>, ExtractError> {
        let all = found.values(&self.source)?;
        let any = !all.is_empty();
        let mut fitting = all.into_iter().filter_map(|value| self.captured(value));
        match (fitting.next(), fitting.next()) {
            (Some(value), None) => self.converted(value).map(Some),
            (Some(_), Some(_)) => {
                Err(ExtractError(format!("the request has several values for {}", self.source)))
            }
            (None, _) if any => {
                Err(ExtractError(format!("{} is not of the form that the route takes", self.source)))
            }
            (None, _) => Ok(None),
        }
    }

    fn captured<'a>(&self, value: Json<'a>) -> Option<Json<'a>> {
        let Some(pattern) = &self.pattern else { return Some(value) };
        match value {
            Json::String(Cow::Borrowed(text)) => {
                pattern.capture(text).map(|text| Json::String(Cow::Borrowed(text)))
            }
            Json::String(Cow::Owned(text)) => {
                pattern.capture(&text).map(|text| Json::String(Cow::Owned(text.to_owned())))
            }
            _ => None,
        }
    }

    fn converted<'a>(&'a self, value: Json<'a>) -> Result<Json<'a>, ExtractError> {
        let Json::String(text) = &value else {
            let unknown =
                || ExtractError(format!("{} has to be a string, found {}", self.source, value.describe()));
            return if self.map.is_some() { Err(unknown()) } else { Ok(value) };
        };
        if let Some(map) = &self.map {
            let unknown = || {
                ExtractError(format!("{} is {}, which the route does not know", self.source, quoted(text)))
            };
            return map.get(text.as_ref()).cloned().ok_or_else(unknown);
        }
        // Only texts of HTTP itself are read as something else: JSON says itself what a value is.
        if !matches!(self.source, ValueSource::Path(_) | ValueSource::Header(_) | ValueSource::Extension(_)) {
            return Ok(value);
        }
        let unfit = |wanted| ExtractError(format!("{} has to be {wanted}", self.source));
        match self.text_type {
            TextType::String => Ok(value),
            TextType::Bool => text.parse().map(Json::Bool).map_err(|_| unfit("`true` or `false`")),
            TextType::Long => text.parse().map(Json::Long).map_err(|_| unfit("a 64-bit whole number")),
        }
    }
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

    /// All values of a source. None is no error here; what is there and cannot be read is.
    fn values(&self, source: &'a ValueSource) -> Result<Vec<Json<'a>>, ExtractError> {
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
                let claims = self.claims.get_or_init(|| self.read_claims()).as_ref();
                let found =
                    resolve_pointer(claims.map_err(Clone::clone)?, pointer).map_err(|why| why.of(source))?;
                found.cloned().into_iter().collect()
            }
            ValueSource::Body(pointer) => {
                let body = self.body.get_or_init(|| self.read_body()).as_ref();
                let found =
                    resolve_pointer(body.map_err(Clone::clone)?, pointer).map_err(|why| why.of(source))?;
                found.cloned().into_iter().collect()
            }
            ValueSource::Certificate(field) => {
                self.certificate_values(*field)?.into_iter().map(|value| text(Cow::Owned(value))).collect()
            }
        })
    }

    /// The value of a header that came at most once.
    fn header(&self, name: &str) -> Result<Option<&'a str>, ExtractError> {
        let mut values = self.request.headers.iter().filter(|(key, _)| *key == name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => match std::str::from_utf8(value) {
                // Who sends nothing says nothing.
                Ok(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
                Err(_) => Err(ExtractError(format!("the header `{name}` is not UTF-8"))),
            },
            (Some(_), Some(_)) => {
                Err(ExtractError(format!("the request has the header `{name}` several times")))
            }
        }
    }

    fn read_body(&self) -> Result<Json<'a>, ExtractError> {
        match self.request.body {
            RequestBody::None => Err(ExtractError("the gateway passed no body on".to_owned())),
            RequestBody::Partial => Err(ExtractError("the gateway cut the body off".to_owned())),
            RequestBody::Complete(bytes) => {
                let read = Json::parse_with_max_depth(bytes, self.request.depth);
                read.map_err(|error| ExtractError(format!("the body is not valid JSON: {error}")))
            }
        }
    }

    fn read_claims(&self) -> Result<Json<'static>, ExtractError> {
        let none = || ExtractError("the request has no claims".to_owned());
        let read = |json: &[u8]| Json::parse(json).ok().map(Json::into_owned);
        let unreadable = || ExtractError("the claims cannot be read".to_owned());
        let decoded = |payload: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok();
            bytes.and_then(|bytes| read(&bytes)).ok_or_else(unreadable)
        };
        match &self.credential_sources.claims {
            None => Err(none()),
            Some(ClaimsSource::PayloadHeader(header)) => match self.header(header)?.ok_or_else(none)? {
                payload if payload.starts_with('{') => read(payload.as_bytes()).ok_or_else(unreadable),
                payload => decoded(payload),
            },
            Some(ClaimsSource::TokenHeader(header)) => {
                let value = self.header(header)?.ok_or_else(none)?;
                let (scheme, rest) = value.split_at_checked("bearer ".len()).unwrap_or_default();
                let token = if scheme.eq_ignore_ascii_case("bearer ") { rest.trim() } else { value };
                match token.split('.').collect::<Vec<_>>().as_slice() {
                    [_, payload, _] => decoded(payload),
                    _ => Err(unreadable()),
                }
            }
            Some(ClaimsSource::Metadata(keys)) => {
                let mut at = keys.iter();
                let found = at.next().and_then(|first| self.request.metadata.get(first));
                let found = at.try_fold(found, |json, key| Some(json?.as_object()?.get(key))).flatten();
                found.cloned().map(Json::into_owned).ok_or_else(none)
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
        let given = given.ok_or_else(|| ExtractError("the request has no client certificate".to_owned()))?;
        Certificate::parse(given)
            .ok_or_else(|| ExtractError("the client certificate cannot be read".to_owned()))
    }
}

/// Why it is not certain what a pointer leads to.
enum Ambiguous {
    Spelling,
    Several,
}

impl Ambiguous {
    fn of(&self, source: &ValueSource) -> ExtractError {
        ExtractError(match self {
            Self::Spelling => format!("{source} is there in another spelling"),
            Self::Several => format!("{source} is one of several"),
        })
    }
}

/// What a pointer leads to.
///
/// # Errors
/// A key is there in another spelling, or an index picks one of several: the service behind the gateway may
/// not tell upper from lower case, and acts on all of an array.
fn resolve_pointer<'j, 'a>(
    json: &'j Json<'a>,
    pointer: &[String],
) -> Result<Option<&'j Json<'a>>, Ambiguous> {
    let Some((key, rest)) = pointer.split_first() else { return Ok(Some(json)) };
    let next = match json {
        Json::Object(object) => {
            let wanted = case_folded(key);
            if object.iter().any(|(it, _)| it != key && case_folded(it) == wanted) {
                return Err(Ambiguous::Spelling);
            }
            object.get(key)
        }
        Json::Array(items) => match (key.parse::<usize>(), items.as_slice()) {
            (Ok(0), [only]) => Some(only),
            (Ok(index), _) if index < items.len() => return Err(Ambiguous::Several),
            _ => None,
        },
        _ => None,
    };
    next.map_or(Ok(None), |next| resolve_pointer(next, rest))
}

/// A key as decoders see it that do not tell upper from lower case. Two letters beyond ASCII fold to ASCII
/// ones, and lower case alone does not show that of the first.
fn case_folded(key: &str) -> String {
    key.chars().map(|c| if c == '\u{17f}' { 's' } else { c }).flat_map(char::to_lowercase).collect()
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(_) => f.write_str("constant"),
            Self::Path(index) => write!(f, "segment {} of the path", index + 1),
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Claim(pointer) => write!(f, "claim `{}`", pointer_text(pointer)),
            Self::Certificate(field) => write!(f, "client certificate's {}", field.name()),
            Self::Extension(name) => write!(f, "context extension `{name}`"),
            Self::Body(pointer) => write!(f, "`{}` in the body", pointer_text(pointer)),
        }
    }
}

fn pointer_text(pointer: &[String]) -> String {
    let keys = pointer.iter().map(|key| key.replace('~', "~0").replace('/', "~1"));
    keys.fold(String::new(), |text, key| text + "/" + &key)
}
