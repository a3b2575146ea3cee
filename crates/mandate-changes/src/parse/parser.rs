//! The parser of a file of changes, and the steps that every part of it takes: reading a table, a string or an
//! expression, and reporting what is wrong. Rules are read in `change_file`, their edits in `edits`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::expression::{Expression, ExpressionKind};
use crate::value_source::ValueSource;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::json::{quoted, quoted_list};
use mandate_core::schema::{EntityTypeId, Schema, Unresolved};
use mandate_core::suggestion::closest;

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) struct ChangeParser<'r> {
    pub source: &'r Arc<SourceText>,
    pub schema: &'r Schema,
    pub diagnostics: &'r mut Diagnostics,
}

impl ChangeParser<'_> {
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
                self.report(value.span(), format!("has to be an array, found {}", toml_type_name(other)));
                &[]
            }
        }
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
                let message = format!("unknown key {}", quoted(key.get_ref()));
                let message = match closest(key.get_ref(), keys) {
                    Some(meant) => format!("{message}: did you mean `{meant}`?"),
                    None => format!("{message}: expected one of {}", quoted_list(keys)),
                };
                self.report(key.span(), message);
            }
        }
    }

    /// The entity type that a text names.
    pub fn entity_type(&mut self, value: &Value<'_>) -> Option<EntityTypeId> {
        let name = self.string(value)?;
        let error = match self.schema.resolve_entity_type(name) {
            Ok(entity_type) => return Some(entity_type),
            Err(Unresolved::Unknown) => format!("the schema has no entity type {}", quoted(name)),
            Err(Unresolved::Ambiguous) => {
                format!("{} is in several namespaces: write it with its namespace", quoted(name))
            }
        };
        self.report(value.span(), error);
        None
    }

    /// An expression; booleans and whole numbers stand for themselves.
    pub fn expression(&mut self, value: &Value<'_>) -> Option<Expression> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(bool) => bool.to_string(),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                number.map_or_else(|_| "a number beyond 64 bits".to_owned(), |number| number.to_string())
            }
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                let found = toml_type_name(value.get_ref());
                self.report(value.span(), format!("{found} is not allowed here: write an expression"));
                return None;
            }
        };
        let kind = ExpressionKind::parse(&text, self.schema);
        let kind = kind.map_err(|error| self.report(value.span(), error)).ok()?;
        Some(Expression { text, span: self.span(value.span()), kind })
    }

    /// Where a value comes from: an expression, `{ optional = … }` or `{ first = [ … ] }`.
    pub fn value_source(&mut self, value: &Value<'_>) -> Option<ValueSource> {
        let DeValue::Table(table) = value.get_ref() else {
            let alternatives = vec![self.expression(value)?];
            return Some(ValueSource { alternatives, optional: false });
        };
        self.reject_unknown_keys(table, &["first", "optional"]);
        match (table.get("first"), table.get("optional")) {
            (Some(first), None) => {
                let items = self.items(first).iter();
                let found: Vec<_> = items.map(|item| self.expression(item)).collect();
                let alternatives = found.into_iter().collect::<Option<Vec<_>>>()?;
                (!alternatives.is_empty()).then_some(ValueSource { alternatives, optional: false })
            }
            (None, Some(optional)) => {
                Some(ValueSource { alternatives: vec![self.expression(optional)?], optional: true })
            }
            (Some(_), Some(_)) | (None, None) => {
                self.report(
                    value.span(),
                    "a value is an expression, `{ optional = … }` or `{ first = [ … ] }`",
                );
                None
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
