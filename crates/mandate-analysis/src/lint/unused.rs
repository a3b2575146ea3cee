//! Entity types that no decision can read, and actions that are always denied.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Finding, Rule};
use mandate_core::display;
use mandate_core::fault::SourceText;
use mandate_core::policies::{Candidates, Policies};
use mandate_core::schema::{ActionId, ActionInfo, Declarations, Kind, RecordType, Schema, Type};

/// What the schema declares in vain.
pub fn findings(policies: &Policies, text: &Arc<SourceText>) -> Vec<Finding> {
    let schema = policies.schema();
    let declared = Declarations::of(schema, text);
    let read = readable_types(schema);
    let types = schema.kinds().filter(|(kind, _)| !read.contains(kind)).map(|(kind, _)| Finding {
        rule: Rule::UnusedEntityType,
        policy: None,
        place: declared.kinds.get(&kind).cloned(),
        message: format!("no decision can read a `{}`", display::kind_name(kind, schema)),
        help: "remove it from the schema, or name it where it belongs".to_owned(),
    });
    let actions = schema.actions().filter_map(|(id, action)| {
        let (message, help) = unused(id, action, policies)?;
        let place = declared.actions.get(&id).cloned();
        Some(Finding { rule: Rule::UnusedAction, policy: None, place, message, help: help.to_owned() })
    });
    types.chain(actions).collect()
}

/// The types that a decision can read: those of principals, resources and contexts, and whatever is
/// above these or in their attributes and tags.
fn readable_types(schema: &Schema) -> BTreeSet<Kind> {
    let mut open: Vec<Kind> = Vec::new();
    for (_, action) in schema.actions() {
        open.extend(action.principals.iter().chain(&action.resources));
        collect_record_types(&action.context, &mut open);
    }
    let mut read = BTreeSet::new();
    while let Some(kind) = open.pop() {
        if read.insert(kind) {
            let info = schema.kind(kind);
            open.extend(&info.parents);
            collect_record_types(&info.attributes, &mut open);
            info.tags.iter().for_each(|ty| collect_types(ty, &mut open));
        }
    }
    read
}

fn collect_record_types(record: &RecordType, found: &mut Vec<Kind>) {
    record.iter().for_each(|(_, attribute)| collect_types(&attribute.ty, found));
}

fn collect_types(ty: &Type, found: &mut Vec<Kind>) {
    match ty {
        Type::Entity(kind) => found.push(*kind),
        Type::Set(element) => collect_types(element, found),
        Type::Record(record) => collect_record_types(record, found),
        Type::Bool | Type::Long | Type::String | Type::Extension(_) => {}
    }
}

/// What is wrong with an action that is always denied, or that nobody can ask for, and what to do.
fn unused(id: ActionId, action: &ActionInfo, policies: &Policies) -> Option<(String, &'static str)> {
    let (schema, name) = (policies.schema(), &action.name);
    let pairs = action
        .principals
        .iter()
        .flat_map(|principal| action.resources.iter().map(move |resource| (id, *principal, *resource)));
    let mut environments = pairs.peekable();
    if environments.peek().is_none() {
        let mut others = schema.actions().filter(|(other, _)| *other != id);
        let groups = others.any(|(_, other)| other.entities.iter().any(|entity| *entity.uid() == action.uid));
        let message = format!("`{name}` applies to nothing, and no action is in it");
        return (!groups).then_some((message, "say what it applies to with `appliesTo`, or remove it"));
    }
    let mut candidates = environments.filter_map(|it| policies.candidates(it)).flat_map(Candidates::all);
    let permitted = candidates.any(|candidate| !candidate.info.forbids);
    let message = format!("no permit takes `{name}`, so it is always denied");
    (!permitted).then_some((message, "write a permit for it, or remove it from the schema"))
}
