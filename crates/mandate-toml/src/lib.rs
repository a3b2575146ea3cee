//! The steps that every reader of content in TOML takes: parsing a file, reading a table, a string or an array, and
//! reporting what is wrong with its place. What the tables mean is known to `mandate-routes` and `mandate-changes`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::json::{quoted, quoted_list};
use mandate_core::suggestion::closest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The longest file, in bytes.
const MAX_FILE_BYTES: usize = 512 * 1024;

/// A value and its place.
pub type Value<'i> = Spanned<DeValue<'i>>;

/// Reads one file. What is wrong with it is added to the diagnostics.
pub struct TomlReader<'r> {
    pub source: &'r Arc<SourceText>,
    pub diagnostics: &'r mut Diagnostics,
}

impl<'r> TomlReader<'r> {
    /// The table of the whole file; `None` if it is too long, or not TOML.
    pub fn parse(&mut self) -> Option<Spanned<DeTable<'r>>> {
        let source = self.source;
        if source.text.len() > MAX_FILE_BYTES {
            self.report(0..0, format!("the file is longer than {MAX_FILE_BYTES} bytes"));
            return None;
        }
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        for error in &errors {
            self.report(error.span().unwrap_or_default(), format!("not valid TOML: {}", error.message()));
        }
        errors.is_empty().then_some(table)
    }

    pub fn report(&mut self, span: Range<usize>, message: impl fmt::Display) {
        self.diagnostics.push(Diagnostic::error(message.to_string()).at(self.span(span)));
    }

    pub fn span(&self, span: Range<usize>) -> SourceSpan {
        SourceSpan::new(self.source, span.start, span.len())
    }

    pub fn table<'v, 'i>(&mut self, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.report(value.span(), format!("has to be a table, found {}", type_name(other)));
                None
            }
        }
    }

    pub fn string<'v>(&mut self, value: &'v Value<'_>) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            other => {
                self.report(value.span(), format!("has to be a string, found {}", type_name(other)));
                None
            }
        }
    }

    /// The items of an array, which has to have some.
    pub fn items<'v, 'i>(&mut self, value: &'v Value<'i>) -> &'v [Value<'i>] {
        match value.get_ref() {
            DeValue::Array(items) => {
                if items.is_empty() {
                    self.report(value.span(), "the array has to have at least one item");
                }
                items
            }
            other => {
                self.report(value.span(), format!("has to be an array, found {}", type_name(other)));
                &[]
            }
        }
    }

    /// The value of a key that the table, which is `around`, has to have.
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
                let message = format!("unknown key {}", quoted(key.get_ref()));
                let message = match closest(key.get_ref(), keys) {
                    Some(meant) => format!("{message}: did you mean `{meant}`?"),
                    None => format!("{message}: expected one of {}", quoted_list(keys)),
                };
                self.report(key.span(), message);
            }
        }
    }
}

/// What kind of value this is, with its article, for messages.
pub fn type_name(value: &DeValue<'_>) -> &'static str {
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
