//! One file of changes: its `[[change]]` tables. The edits of a rule are read in `edits`; the common steps are in
//! `parser`.

use std::sync::Arc;

use mandate_toml::{TomlReader, Value};
use toml::de::{DeTable, DeValue};

use super::edits::EditKey;
use super::parser::ChangeParser;
use crate::change::Change;
use crate::memberships::Memberships;
use crate::request_rule::RequestRule;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::display;
use mandate_core::json::{quoted, quoted_list};
use mandate_core::schema::{ActionId, EntityTypeId, Schema, Unresolved};

/// The rules of a file: changes, and requests. What is wrong with it is added to the diagnostics.
pub(crate) fn parse_file(
    source: &Arc<SourceText>,
    schema: &Schema,
    diagnostics: &mut Diagnostics,
) -> (Vec<Change>, Vec<RequestRule>) {
    let mut toml = TomlReader { source, diagnostics };
    let Some(table) = toml.parse() else { return (Vec::new(), Vec::new()) };
    let mut parser = ChangeParser { toml, schema };
    (parser.file(table.get_ref()), parser.requests(table.get_ref()))
}

impl ChangeParser<'_> {
    fn file(&mut self, table: &DeTable<'_>) -> Vec<Change> {
        self.toml.reject_unknown_keys(table, &["change", "request"]);
        let Some(changes) = table.get("change") else { return Vec::new() };
        let DeValue::Array(items) = changes.get_ref() else {
            let message = "`change` has to be an array of tables: write each change as `[[change]]`";
            self.toml.report(changes.span(), message);
            return Vec::new();
        };
        items.iter().filter_map(|change| self.change(change)).collect()
    }

    /// A rule; `None` if it is not known which requests it is for.
    fn change(&mut self, value: &Value<'_>) -> Option<Change> {
        let table = self.toml.table(value)?;
        let mut keys = vec!["action", "principal", "resource"];
        keys.extend(EditKey::ALL.map(EditKey::name));
        self.toml.reject_unknown_keys(table, &keys);
        let action = self.toml.required(table, "action", value).and_then(|action| self.action(action));
        let edits = self.edits(table);
        if !EditKey::ALL.iter().any(|key| table.get(key.name()).is_some()) {
            let edits = quoted_list(EditKey::ALL.map(EditKey::name));
            self.toml.report(value.span(), format!("the change makes no edit: add at least one of {edits}"));
        }
        let action = action?;
        let info = self.schema.action(action);
        let mut types = |key: &str, all: &[EntityTypeId]| match table.get(key) {
            Some(types) => self.types(types, all, &info.name),
            None => all.to_vec(),
        };
        let principal_types = types("principal", &info.principal_types);
        let resource_types = types("resource", &info.resource_types);
        let mut id = display::action(action, self.schema);
        let only = [("principal", " by ", &principal_types), ("resource", " on ", &resource_types)];
        for (_, word, types) in only.into_iter().filter(|(key, ..)| table.get(*key).is_some()) {
            let names: Vec<&str> = types.iter().map(|it| display::entity_type(*it, self.schema)).collect();
            id = id + word + &names.join(", ");
        }
        let (span, memberships) = (self.toml.span(value.span()), Memberships::default());
        Some(Change { id, span, action, principal_types, resource_types, edits, memberships })
    }

    pub fn action(&mut self, value: &Value<'_>) -> Option<ActionId> {
        let (name, schema) = (self.toml.string(value)?, self.schema);
        let message = match schema.resolve_action(name) {
            Ok(action) if schema.action(action).principal_types.is_empty() => {
                format!("{} is a group of actions, which nobody asks for: name an action", quoted(name))
            }
            Ok(action) => return Some(action),
            Err(Unresolved::Unknown) => {
                let all = quoted_list(schema.actions().map(|(_, info)| &info.name));
                format!("the schema has no action {}: expected one of {all}", quoted(name))
            }
            Err(Unresolved::Ambiguous) => {
                format!("{} is in several namespaces: write it with its namespace", quoted(name))
            }
        };
        self.toml.report(value.span(), message);
        None
    }

    /// Some of the types that an action applies to, in the order of the schema.
    pub fn types(&mut self, value: &Value<'_>, all: &[EntityTypeId], action: &str) -> Vec<EntityTypeId> {
        let mut types = Vec::new();
        for item in self.toml.items(value) {
            let Some(found) = self.entity_type(item) else { continue };
            if all.contains(&found) {
                types.push(found);
                continue;
            }
            let names = quoted_list(all.iter().map(|it| display::entity_type(*it, self.schema)));
            let found = quoted(display::entity_type(found, self.schema));
            let message =
                format!("`{action}` does not apply to the entity type {found}: expected one of {names}");
            self.toml.report(item.span(), message);
        }
        types.sort();
        types.dedup();
        types
    }
}
