//! What an edit of the files changes about the rules, in words.

use std::collections::BTreeMap;

use crate::change::Change;
use crate::changes::Changes;
use crate::edit::{Edit, EditKind, NewId};
use crate::request_rule::RequestRule;
use crate::value_source::ValueSource;
use mandate_core::content_change::{ContentChange, PartsById};
use mandate_core::display;
use mandate_core::schema::{ActionId, EntityTypeId, Schema};

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
            let rules = changes.iter().map(|change| (change.id.clone(), parts(change, schema)));
            let requests = changes.requests().iter();
            let requests = requests.map(|rule| (format!("request {}", rule.id), request_parts(rule, schema)));
            rules.chain(requests).collect()
        };
        ContentChange::between(&by_id(before, schema_before), &by_id(self, schema))
    }
}

/// The parts of a rule of requests by their names, in words.
fn request_parts(rule: &RequestRule, schema: &Schema) -> BTreeMap<String, String> {
    let action = |action: ActionId| display::action(action, schema);
    let types = |types: &[EntityTypeId]| {
        let names: Vec<&str> = types.iter().map(|it| display::entity_type(*it, schema)).collect();
        names.join(", ")
    };
    let json = |value: &BTreeMap<String, serde_json::Value>| {
        let members: Vec<String> = value.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        members.join(", ")
    };
    let list = |actions: &[ActionId]| actions.iter().map(|it| action(*it)).collect::<Vec<_>>().join(", ");
    let mut parts = BTreeMap::from([
        ("ask", action(rule.ask)),
        ("by", types(&rule.requesters)),
        ("accept", action(rule.accept)),
        ("reviewer_resource", rule.reviewer_resource.to_string()),
        ("valid for", format!("{} s, at most {} s", rule.valid_for, rule.valid_for_at_most)),
        ("open at most", rule.open_at_most.to_string()),
        ("standing", rule.standing.to_string()),
        ("resolves", list(&rule.resolves)),
        ("context", json(&rule.context)),
        ("may choose", rule.may_choose.join(", ")),
        (
            "requires",
            rule.requires
                .iter()
                .map(|(it, members)| format!("{}: {}", display::entity_type(*it, schema), members.join(", ")))
                .collect::<Vec<_>>()
                .join("; "),
        ),
        ("languages", rule.texts.keys().cloned().collect::<Vec<_>>().join(", ")),
    ]);
    let optional = [
        ("offer", rule.offer),
        ("decline", rule.decline),
        ("withdraw", rule.withdraw),
        ("granted", rule.granted),
    ];
    parts.extend(optional.into_iter().filter_map(|(name, it)| it.map(|it| (name, action(it)))));
    let manage = rule.manage.iter().map(|(name, it)| format!("{name}: {}", action(*it)));
    parts.insert("manage", manage.collect::<Vec<_>>().join(", "));
    let mut parts: BTreeMap<String, String> =
        parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (language, texts) in &rule.texts {
        parts.insert(format!("texts in {language}"), format!("{texts:?}"));
    }
    parts
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
