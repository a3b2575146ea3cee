//! What an edit of the files changes about the rules, in words.

use std::collections::BTreeMap;

use crate::change::Change;
use crate::changes::Changes;
use crate::edit::{Edit, EditKind, NewId};
use crate::value_source::ValueSource;
use mandate_core::content_change::{ContentChange, PartsById};
use mandate_core::display;
use mandate_core::schema::Schema;

impl Changes {
    /// What changed since another version of the changes, which may be of another schema; by id.
    pub fn changes_since(
        &self,
        schema: &Schema,
        before: &Self,
        schema_before: &Schema,
    ) -> Vec<ContentChange> {
        if before.digest() == self.digest() {
            return Vec::new();
        }
        let by_id = |changes: &Self, schema: &Schema| -> PartsById {
            changes.iter().map(|change| (change.id.clone(), parts(change, schema))).collect()
        };
        ContentChange::between(&by_id(before, schema_before), &by_id(self, schema))
    }
}

/// The parts of a rule by their names, in words. The order of the edits is a part, too.
fn parts(change: &Change, schema: &Schema) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for edit in &change.edits {
        let name = name(edit, schema);
        let same = order.iter().filter(|other| **other == name).count();
        let title = if same == 0 { name.clone() } else { format!("{name} ({})", same + 1) };
        for (part, value) in edit_parts(edit) {
            parts.insert(format!("{title}{part}"), value);
        }
        order.push(name);
    }
    parts.insert("edits".to_owned(), order.join(", "));
    parts
}

fn name(edit: &Edit, schema: &Schema) -> String {
    match &edit.kind {
        EditKind::Create { entity_type, .. } => {
            format!("create {}", display::entity_type(*entity_type, schema))
        }
        EditKind::Set { entity, .. } => format!("set {}", entity.text),
        EditKind::Remove { entity, .. } => format!("remove {}", entity.text),
        EditKind::Join { entity, .. } => format!("join {}", entity.text),
        EditKind::Leave { entity, .. } => format!("leave {}", entity.text),
        EditKind::Delete { entity } => format!("delete {}", entity.text),
    }
}

fn edit_parts(edit: &Edit) -> Vec<(String, String)> {
    let in_parents = |parents: &[ValueSource]| {
        let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
        (": parents".to_owned(), parents.join("; "))
    };
    match &edit.kind {
        EditKind::Create { id, attributes, parents, .. } => {
            let values = attributes.iter().map(|(name, _, source)| (format!(".{name}"), source.to_string()));
            let id = match id {
                NewId::Made => "made".to_owned(),
                NewId::Value(source) => source.to_string(),
            };
            values.chain([(": id".to_owned(), id), in_parents(parents)]).collect()
        }
        EditKind::Set { attributes, .. } => {
            attributes.iter().map(|(name, _, source)| (format!(".{name}"), source.to_string())).collect()
        }
        EditKind::Remove { attributes, .. } => {
            attributes.iter().map(|(name, _)| (format!(".{name}"), "removed".to_owned())).collect()
        }
        EditKind::Join { parents, .. } | EditKind::Leave { parents, .. } => vec![in_parents(parents)],
        EditKind::Delete { .. } => Vec::new(),
    }
}
