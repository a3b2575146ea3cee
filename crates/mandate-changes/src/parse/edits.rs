//! The edits of one rule: `create`, `set`, `remove`, `join`, `leave` and `delete`. Each kind is an array of tables
//! in the file, and the places of the tables tell the order of all edits.

use smol_str::SmolStr;
use toml::de::{DeTable, DeValue};

use super::parser::ChangeParser;
use crate::edit::{AttributeSource, Edit, EditKind, NewId};
use crate::expression::Expression;
use crate::value_source::ValueSource;
use mandate_core::diagnostics::SourceSpan;
use mandate_toml::Value;

/// The key of a kind of edits.
#[derive(Clone, Copy)]
pub(super) enum EditKey {
    Create,
    Set,
    Remove,
    Join,
    Leave,
    Delete,
}

impl EditKey {
    pub const ALL: [Self; 6] = [Self::Create, Self::Set, Self::Remove, Self::Join, Self::Leave, Self::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Set => "set",
            Self::Remove => "remove",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Delete => "delete",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Create => &["type", "id", "attributes", "parents"],
            Self::Set | Self::Remove => &["entity", "attributes"],
            Self::Join | Self::Leave => &["entity", "parents"],
            Self::Delete => &["entity"],
        }
    }
}

impl ChangeParser<'_> {
    /// All edits of a rule that can be read, in the order in which they are written.
    pub(super) fn edits(&mut self, table: &DeTable<'_>) -> Vec<Edit> {
        let mut edits = Vec::new();
        for key in EditKey::ALL {
            let Some(value) = table.get(key.name()) else { continue };
            let DeValue::Array(items) = value.get_ref() else {
                let name = key.name();
                let message =
                    format!("`{name}` has to be an array of tables: write each edit as `[[change.{name}]]`");
                self.toml.report(value.span(), message);
                continue;
            };
            if items.is_empty() {
                self.toml.report(value.span(), format!("`{}` has no edits", key.name()));
            }
            edits.extend(items.iter().filter_map(|item| self.edit(key, item)));
        }
        edits.sort_by_key(|edit| edit.span.offset);
        edits
    }

    fn edit(&mut self, key: EditKey, value: &Value<'_>) -> Option<Edit> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, key.keys());
        let kind = match key {
            EditKey::Create => self.create(table, value)?,
            EditKey::Set => {
                let entity = self.entity(table, value);
                let attributes = self.toml.required(table, "attributes", value);
                let attributes = attributes.map(|attributes| self.some_attributes(attributes));
                EditKind::Set { entity: entity?, attributes: attributes? }
            }
            EditKey::Remove => {
                let entity = self.entity(table, value);
                let attributes = self.toml.required(table, "attributes", value);
                let attributes = attributes.map(|attributes| self.names(attributes));
                EditKind::Remove { entity: entity?, attributes: attributes? }
            }
            EditKey::Join => {
                let (entity, parents) = (self.entity(table, value), self.some_parents(table, value));
                EditKind::Join { entity: entity?, parents: parents? }
            }
            EditKey::Leave => {
                let (entity, parents) = (self.entity(table, value), self.some_parents(table, value));
                EditKind::Leave { entity: entity?, parents: parents? }
            }
            EditKey::Delete => EditKind::Delete { entity: self.entity(table, value)? },
        };
        Some(Edit { kind, span: self.toml.span(value.span()) })
    }

    fn create(&mut self, table: &DeTable<'_>, value: &Value<'_>) -> Option<EditKind> {
        let entity_type = self.toml.required(table, "type", value).and_then(|it| self.entity_type(it));
        let id = self.toml.required(table, "id", value).and_then(|id| self.new_id(id));
        let attributes = table.get("attributes").map_or_else(Vec::new, |it| self.attributes(it));
        let parents = table.get("parents").map_or_else(Vec::new, |it| self.parents(it));
        Some(EditKind::Create { entity_type: entity_type?, id: id?, attributes, parents })
    }

    fn new_id(&mut self, value: &Value<'_>) -> Option<NewId> {
        let DeValue::Table(table) = value.get_ref() else {
            if self.toml.string(value)? == "made" {
                return Some(NewId::Made);
            }
            self.toml
                .report(value.span(), "has to be `\"made\"` or a table: `{ value = \"context.device\" }`");
            return None;
        };
        let Some(expression) = table.get("value") else {
            return self.value_source(value).map(NewId::Value);
        };
        self.toml.reject_unknown_keys(table, &["value"]);
        let alternatives = vec![self.expression(expression)?];
        Some(NewId::Value(ValueSource { alternatives, optional: false }))
    }

    /// The entity that is edited.
    fn entity(&mut self, table: &DeTable<'_>, value: &Value<'_>) -> Option<Expression> {
        self.toml.required(table, "entity", value).and_then(|entity| self.expression(entity))
    }

    fn attributes(&mut self, value: &Value<'_>) -> Vec<AttributeSource> {
        let mut attributes = Vec::new();
        for (name, value) in self.toml.table(value).into_iter().flatten() {
            let span = self.toml.span(name.span());
            let source = self.value_source(value).unwrap_or_else(ValueSource::unreadable);
            attributes.push((SmolStr::new(name.get_ref()), span, source));
        }
        attributes
    }

    fn some_attributes(&mut self, value: &Value<'_>) -> Vec<AttributeSource> {
        if matches!(value.get_ref(), DeValue::Table(table) if table.is_empty()) {
            self.toml.report(value.span(), "`attributes` has to have at least one attribute");
        }
        self.attributes(value)
    }

    /// Names of attributes, with their places.
    fn names(&mut self, value: &Value<'_>) -> Vec<(SmolStr, SourceSpan)> {
        let mut names = Vec::new();
        for item in self.toml.items(value) {
            let name = self.toml.string(item).map(SmolStr::new);
            names.extend(name.map(|name| (name, self.toml.span(item.span()))));
        }
        names
    }

    fn parents(&mut self, value: &Value<'_>) -> Vec<ValueSource> {
        let mut parents = Vec::new();
        for item in self.toml.items(value) {
            parents.extend(self.value_source(item));
        }
        parents
    }

    fn some_parents(&mut self, table: &DeTable<'_>, value: &Value<'_>) -> Option<Vec<ValueSource>> {
        self.toml.required(table, "parents", value).map(|parents| self.parents(parents))
    }
}
