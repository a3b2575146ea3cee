//! The parser of a file of changes, and what every part of it reads: entity types, expressions and where values come
//! from. Rules are read in `change_file`, their edits in `edits`.

use mandate_toml::{TomlReader, Value, type_name};
use toml::de::DeValue;

use crate::expression::{Expression, ExpressionKind};
use crate::value_source::ValueSource;
use mandate_core::json::quoted;
use mandate_core::schema::{EntityTypeId, Schema, Unresolved};

pub(super) struct ChangeParser<'r> {
    pub toml: TomlReader<'r>,
    pub schema: &'r Schema,
}

impl ChangeParser<'_> {
    /// The entity type that a text names.
    pub fn entity_type(&mut self, value: &Value<'_>) -> Option<EntityTypeId> {
        let name = self.toml.string(value)?;
        let error = match self.schema.resolve_entity_type(name) {
            Ok(entity_type) => return Some(entity_type),
            Err(Unresolved::Unknown) => format!("the schema has no entity type {}", quoted(name)),
            Err(Unresolved::Ambiguous) => {
                format!("{} is in several namespaces: write it with its namespace", quoted(name))
            }
        };
        self.toml.report(value.span(), error);
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
                let found = type_name(value.get_ref());
                self.toml.report(value.span(), format!("{found} is not allowed here: write an expression"));
                return None;
            }
        };
        let kind = ExpressionKind::parse(&text, self.schema);
        let kind = kind.map_err(|error| self.toml.report(value.span(), error)).ok()?;
        Some(Expression { text, span: self.toml.span(value.span()), kind })
    }

    /// Where a value comes from: an expression, `{ optional = … }` or `{ first = [ … ] }`.
    pub fn value_source(&mut self, value: &Value<'_>) -> Option<ValueSource> {
        let DeValue::Table(table) = value.get_ref() else {
            let alternatives = vec![self.expression(value)?];
            return Some(ValueSource { alternatives, optional: false });
        };
        self.toml.reject_unknown_keys(table, &["first", "optional"]);
        match (table.get("first"), table.get("optional")) {
            (Some(first), None) => {
                let items = self.toml.items(first).iter();
                let found: Vec<_> = items.map(|item| self.expression(item)).collect();
                let alternatives = found.into_iter().collect::<Option<Vec<_>>>()?;
                (!alternatives.is_empty()).then_some(ValueSource { alternatives, optional: false })
            }
            (None, Some(optional)) => {
                Some(ValueSource { alternatives: vec![self.expression(optional)?], optional: true })
            }
            (Some(_), Some(_)) | (None, None) => {
                self.toml.report(
                    value.span(),
                    "a value is an expression, `{ optional = … }` or `{ first = [ … ] }`",
                );
                None
            }
        }
    }
}
