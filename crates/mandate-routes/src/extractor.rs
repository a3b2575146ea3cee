//! Extractors: one value of a question, taken from a source of the request and converted as the schema
//! requires. The sources are read in `request_values`; extractors are parsed in `parse/extractors.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::extract_error::ExtractError;
use crate::request_values::RequestValues;
use crate::value_source::ValueSource;
use mandate_core::json::{Json, quoted};

/// One value: its source, and how it is converted.
#[derive(Debug, Clone)]
pub(crate) struct Extractor {
    pub source: ValueSource,
    /// The form that strings must have.
    pub pattern: Option<Pattern>,
    /// The values that strings stand for. Other strings are denied.
    pub map: Option<BTreeMap<String, Json<'static>>>,
    pub when_absent: WhenAbsent,
    pub text_type: TextType,
}

/// What happens if the source has no value.
#[derive(Debug, Clone)]
pub(crate) enum WhenAbsent {
    Deny,
    /// The attribute is left out.
    Omit,
    Default(Json<'static>),
}

/// The type that strings from the path, from headers and from extensions are parsed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextType {
    String,
    Bool,
    Long,
}

/// The text around a value, such as `spiffe://partners/{}`.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub before: String,
    pub after: String,
}

impl Pattern {
    fn capture<'t>(&self, text: &'t str) -> Option<&'t str> {
        let inside = text.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        (!inside.is_empty()).then_some(inside)
    }
}

impl Extractor {
    /// The extracted value; `None` only for optional extractors.
    ///
    /// # Errors
    /// The value is missing, ambiguous or invalid.
    pub fn value<'a>(&'a self, values: &RequestValues<'a>) -> Result<Option<Json<'a>>, ExtractError> {
        match (self.single_match(values)?, &self.when_absent) {
            (Some(value), _) => Ok(Some(value)),
            (None, WhenAbsent::Omit) => Ok(None),
            (None, WhenAbsent::Default(value)) => Ok(Some(value.clone())),
            (None, WhenAbsent::Deny) => Err(ExtractError::Missing(self.source.to_string())),
        }
    }

    /// The extracted value as a string.
    ///
    /// # Errors
    /// The value is missing, ambiguous, invalid or not a string.
    pub fn text<'a>(&'a self, values: &RequestValues<'a>) -> Result<Cow<'a, str>, ExtractError> {
        match self.value(values)? {
            Some(Json::String(text)) => Ok(text),
            Some(other) => Err(self.not_a_string(&other)),
            None => Err(ExtractError::Missing(self.source.to_string())),
        }
    }

    /// The only value of the source that matches the pattern, converted.
    fn single_match<'a>(&'a self, values: &RequestValues<'a>) -> Result<Option<Json<'a>>, ExtractError> {
        let all = values.all(&self.source)?;
        let any = !all.is_empty();
        let mut matching = all.into_iter().filter_map(|value| self.captured(value));
        match (matching.next(), matching.next()) {
            (Some(value), None) => self.converted(value).map(Some),
            (Some(_), Some(_)) => Err(ExtractError::SeveralValues(self.source.to_string())),
            (None, _) if any => Err(ExtractError::PatternMismatch(self.source.to_string())),
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
            Json::Null
            | Json::Bool(_)
            | Json::Long(_)
            | Json::OtherNumber
            | Json::Array(_)
            | Json::Object(_) => None,
        }
    }

    fn converted<'a>(&'a self, value: Json<'a>) -> Result<Json<'a>, ExtractError> {
        let Json::String(text) = &value else {
            return if self.map.is_some() { Err(self.not_a_string(&value)) } else { Ok(value) };
        };
        if let Some(map) = &self.map {
            return map.get(text.as_ref()).cloned().ok_or_else(|| ExtractError::NotInMap {
                from: self.source.to_string(),
                quoted: quoted(text),
            });
        }
        match self.source {
            ValueSource::Path(_) | ValueSource::Header(_) | ValueSource::Extension(_) => {}
            // JSON values already have a type.
            ValueSource::Constant(_)
            | ValueSource::Claim(_)
            | ValueSource::Certificate(_)
            | ValueSource::Body(_) => return Ok(value),
        }
        let wrong = |expected| ExtractError::WrongText { from: self.source.to_string(), expected };
        match self.text_type {
            TextType::String => Ok(value),
            TextType::Bool => text.parse().map(Json::Bool).map_err(|_| wrong("`true` or `false`")),
            TextType::Long => text.parse().map(Json::Long).map_err(|_| wrong("a 64-bit whole number")),
        }
    }

    fn not_a_string(&self, value: &Json<'_>) -> ExtractError {
        ExtractError::NotAString { from: self.source.to_string(), found: value.describe() }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_captures_what_stands_between_its_ends() {
        let pattern = Pattern { before: "urn:".to_owned(), after: ":x".to_owned() };
        assert_eq!(pattern.capture("urn:7:x"), Some("7"));
        for other in ["urn::x", "urn:x", "urn:7", "7:x", "xurn:7:x", "URN:7:x"] {
            assert_eq!(pattern.capture(other), None, "{other}");
        }
    }
}
