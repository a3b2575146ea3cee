//! Which memberships the changes of the policy folder can make, for `mandate prove`: beside what is proven of
//! decisions, as text and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use mandate_changes::{Change, Changes, Membership};
use mandate_core::display;
use mandate_core::schema::{EntityTypeId, Schema};
use serde_json::{Value, json};

const PROVEN: &str =
    "What is proven holds for decisions on all entities that fit the schema, so also after every change";
const NOT_PROVEN: &str =
    "Not proven: that a change adds only memberships that the guardrails of its action allow";

/// Empty if there are no changes.
pub fn as_text(changes: &Changes, schema: &Schema) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut text = "\nmemberships that permitted actions can write, by changes.toml:\n".to_owned();
    for change in changes.iter() {
        let memberships = change.memberships();
        let parts = [("adds", &memberships.added), ("takes away", &memberships.removed)];
        let parts = parts.into_iter().filter(|(_, all)| !all.is_empty());
        let parts: Vec<String> = parts.map(|(word, all)| format!("{word} {}", listed(all, schema))).collect();
        let parts = if parts.is_empty() { "none".to_owned() } else { parts.join("; ") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}: {parts}", change.id);
    }
    let _ = writeln!(text, "  {PROVEN}.\n  {NOT_PROVEN}.");
    text
}

fn listed(memberships: &BTreeSet<Membership>, schema: &Schema) -> String {
    let name = |entity_type| display::entity_type(entity_type, schema);
    let all = memberships.iter().map(|it| format!("{} in {}", name(it.member), name(it.parent)));
    all.collect::<Vec<_>>().join(", ")
}

/// The changes, what is proven of what they write, and what is not.
pub fn as_json(changes: &Changes, schema: &Schema) -> Value {
    let changes: Vec<Value> = changes.iter().map(|change| change_json(change, schema)).collect();
    json!({ "changes": changes, "proven": PROVEN, "not_proven": NOT_PROVEN })
}

fn change_json(change: &Change, schema: &Schema) -> Value {
    let name = |entity_type: EntityTypeId| schema.entity_type(entity_type).name.as_str();
    let names = |types: &[EntityTypeId]| types.iter().map(|it| name(*it)).collect::<Vec<_>>();
    let memberships = |all: &BTreeSet<Membership>| -> Vec<Value> {
        all.iter().map(|it| json!({ "member": name(it.member), "parent": name(it.parent) })).collect()
    };
    json!({
        "change": change.id,
        "action": schema.action(change.action()).name,
        "principal": names(change.principal_types()),
        "resource": names(change.resource_types()),
        "adds": memberships(&change.memberships().added),
        "takes_away": memberships(&change.memberships().removed),
    })
}
