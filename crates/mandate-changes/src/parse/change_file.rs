//! One file of changes: its `[[change]]` tables. The edits of a rule are read in `edits`; the common steps are in
//! `parser`.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::edits::EditKey;
use super::parser::{ChangeParser, Value};
use crate::change::Change;
use crate::memberships::Memberships;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::display;
use mandate_core::json::{quoted, quoted_list};
use mandate_core::schema::{ActionId, EntityTypeId, Schema, Unresolved};

/// The longest file of changes, in bytes.
const MAX_FILE_BYTES: usize = 512 * 1024;

/// The rules of a file. What is wrong with it is added to the diagnostics.
pub(crate) fn parse_file(
    source: &Arc<SourceText>,
    schema: &Schema,
    diagnostics: &mut Diagnostics,
) -> Vec<Change> {
    let mut parser = ChangeParser { source, schema, diagnostics };
    if source.text.len() > MAX_FILE_BYTES {
        parser.report(0..0, format!("the file is longer than {MAX_FILE_BYTES} bytes"));
        return Vec::new();
    }
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        parser.report(error.span().unwrap_or_default(), format!("not valid TOML: {}", error.message()));
    }
    if errors.is_empty() { parser.file(table.get_ref()) } else { Vec::new() }
}

impl ChangeParser<'_> {
    fn file(&mut self, table: &DeTable<'_>) -> Vec<Change> {
        self.reject_unknown_keys(table, &["change"]);
        let Some(changes) = table.get("change") else { return Vec::new() };
        let DeValue::Array(items) = changes.get_ref() else {
            let message = "`change` has to be an array of tables: write each change as `[[change]]`";
            self.report(changes.span(), message);
            return Vec::new();
        };
        items.iter().filter_map(|change| self.change(change)).collect()
    }

    /// A rule; `None` if it is not known which requests it is for.
    fn change(&mut self, value: &Value<'_>) -> Option<Change> {
        let table = self.table(value)?;
        let mut keys = vec!["action", "principal", "resource"];
        keys.extend(EditKey::ALL.map(EditKey::name));
        self.reject_unknown_keys(table, &keys);
        let action = self.required(table, "action", value).and_then(|action| self.action(action));
        let edits = self.edits(table);
        if !EditKey::ALL.iter().any(|key| table.get(key.name()).is_some()) {
            let edits = quoted_list(EditKey::ALL.map(EditKey::name));
            self.report(value.span(), format!("the change makes no edit: add at least one of {edits}"));
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
        let (span, memberships) = (self.span(value.span()), Memberships::default());
        Some(Change { id, span, action, principal_types, resource_types, edits, memberships })
    }

    fn action(&mut self, value: &Value<'_>) -> Option<ActionId> {
        let (name, schema) = (self.string(value)?, self.schema);
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
        self.report(value.span(), message);
        None
    }

    /// Some of the types that an action applies to, in the order of the schema.
    fn types(&mut self, value: &Value<'_>, all: &[EntityTypeId], action: &str) -> Vec<EntityTypeId> {
        let mut types = Vec::new();
        for item in self.items(value) {
            let Some(found) = self.entity_type(item) else { continue };
            if all.contains(&found) {
                types.push(found);
                continue;
            }
            let names = quoted_list(all.iter().map(|it| display::entity_type(*it, self.schema)));
            let found = quoted(display::entity_type(found, self.schema));
            let message =
                format!("`{action}` does not apply to the entity type {found}: expected one of {names}");
            self.report(item.span(), message);
        }
        types.sort();
        types.dedup();
        types
    }
}
