//! The parser of a route file, and the steps that every part of it takes: reading a table, a string or a
//! header name, and reporting what is wrong. Routes are read in `route_file`, their values in `extractors`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::identity_sources::IdentitySources;
use crate::json_pointer::JsonPointer;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::json::{quoted, quoted_list};
use mandate_core::schema::Schema;

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) struct RouteParser<'r> {
    pub source: &'r Arc<SourceText>,
    pub schema: &'r Schema,
    /// `None`: a principal may come from anywhere.
    pub identity_sources: Option<&'r IdentitySources>,
    pub diagnostics: &'r mut Diagnostics,
}

impl RouteParser<'_> {
    pub fn report(&mut self, span: Range<usize>, message: impl fmt::Display) {
        self.diagnostics.push(Diagnostic::error(message.to_string()).at(self.span(span)));
    }

    /// Reports what several routes have in common, such as their principal, only for the first of them.
    pub fn report_once(&mut self, diagnostic: Diagnostic) {
        let at = |it: &Diagnostic| it.span.as_ref().map(|span| (span.source.path.clone(), span.offset));
        let is_known = |it: &Diagnostic| it.message == diagnostic.message && at(it) == at(&diagnostic);
        if !self.diagnostics.iter().any(is_known) {
            self.diagnostics.push(diagnostic);
        }
    }

    pub fn span(&self, span: Range<usize>) -> SourceSpan {
        SourceSpan::new(self.source, span.start, span.len())
    }

    pub fn table<'v, 'i>(&mut self, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.report(value.span(), format!("has to be a table, found {}", toml_type_name(other)));
                None
            }
        }
    }

    pub fn string<'v>(&mut self, value: &'v Value<'_>) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            other => {
                self.report(value.span(), format!("has to be a string, found {}", toml_type_name(other)));
                None
            }
        }
    }

    /// The name of a header, in lower case.
    pub fn header(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.string(value)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            self.report(value.span(), format!("{} is not a valid header name", quoted(text)));
            return None;
        }
        Some(text.to_ascii_lowercase())
    }

    pub fn pointer(&mut self, value: &Value<'_>) -> Option<JsonPointer> {
        let text = self.string(value)?;
        JsonPointer::parse(text).map_err(|error| self.report(value.span(), error)).ok()
    }

    pub fn required<'v, 'i>(
        &mut self,
        table: &'v DeTable<'i>,
        key: &str,
        around: &Value<'_>,
    ) -> Option<&'v Value<'i>> {
        let value = table.get(key);
        if value.is_none() {
            self.report(around.span(), format!("`{key}` is missing"));
        }
        value
    }

    pub fn reject_unknown_keys(&mut self, table: &DeTable<'_>, keys: &[&str]) {
        for (key, _) in table {
            if !keys.contains(&key.get_ref().as_ref()) {
                let message =
                    format!("unknown key {}: expected one of {}", quoted(key.get_ref()), quoted_list(keys));
                self.report(key.span(), message);
            }
        }
    }
}

/// What kind of value this is, with its article, for messages.
pub(super) fn toml_type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
