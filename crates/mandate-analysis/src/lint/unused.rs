//! The rules about the schema: entity types that no decision can read, and actions that are always denied.
//! None of them needs the solver.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::finding::Finding;
use super::rule::{Rule, SchemaRule};
use mandate_core::diagnostics::SourceText;
use mandate_core::display;
use mandate_core::policies::{CandidatePolicies, Effect, Policies};
use mandate_core::schema::{ActionDef, ActionId, Declarations, EntityTypeId, RecordType, Schema, Type};

/// The entity types and actions that the schema declares and nothing uses.
pub fn findings(policies: &Policies, text: &Arc<SourceText>) -> Vec<Finding> {
    let schema = policies.schema();
    let declared = Declarations::of(schema, text);
    let read = readable_types(schema);
    let types = schema.entity_types().filter(|(entity_type, _)| !read.contains(entity_type)).map(
        |(entity_type, _)| Finding {
            rule: Rule::Schema(SchemaRule::UnusedEntityType),
            policy: None,
            span: declared.entity_types.get(&entity_type).cloned(),
            message: format!("no decision can read a `{}`", display::entity_type(entity_type, schema)),
            help: "remove it from the schema, or use it in an action, an attribute or a parent type"
                .to_owned(),
        },
    );
    let actions = schema.actions().filter_map(|(id, action)| {
        let (message, help) = unused(id, action, policies)?;
        let span = declared.actions.get(&id).cloned();
        let rule = Rule::Schema(SchemaRule::UnusedAction);
        Some(Finding { rule, policy: None, span, message, help: help.to_owned() })
    });
    types.chain(actions).collect()
}

/// The types that a decision can read: those of principals, resources and contexts, their parent types, and
/// the types in their attributes and tags.
fn readable_types(schema: &Schema) -> BTreeSet<EntityTypeId> {
    let mut open: Vec<EntityTypeId> = Vec::new();
    for (_, action) in schema.actions() {
        open.extend(action.principal_types.iter().chain(&action.resource_types));
        collect_record_types(&action.context_type, &mut open);
    }
    let mut read = BTreeSet::new();
    while let Some(entity_type) = open.pop() {
        if read.insert(entity_type) {
            let info = schema.entity_type(entity_type);
            open.extend(&info.parent_types);
            collect_record_types(&info.attributes, &mut open);
            info.tag_type.iter().for_each(|ty| collect_types(ty, &mut open));
        }
    }
    read
}

fn collect_record_types(record: &RecordType, found: &mut Vec<EntityTypeId>) {
    record.iter().for_each(|(_, attribute)| collect_types(&attribute.ty, found));
}

fn collect_types(ty: &Type, found: &mut Vec<EntityTypeId>) {
    match ty {
        Type::Entity(entity_type) => found.push(*entity_type),
        Type::Set(element) => collect_types(element, found),
        Type::Record(record) => collect_record_types(record, found),
        Type::Bool | Type::Long | Type::String | Type::Extension(_) => {}
    }
}

/// The message and the help for an action that is always denied, or that applies to nothing.
fn unused(id: ActionId, action: &ActionDef, policies: &Policies) -> Option<(String, &'static str)> {
    let (schema, name) = (policies.schema(), &action.name);
    let pairs = action
        .principal_types
        .iter()
        .flat_map(|principal| action.resource_types.iter().map(move |resource| (id, *principal, *resource)));
    let mut environments = pairs.peekable();
    if environments.peek().is_none() {
        let mut others = schema.actions().filter(|(other, _)| *other != id);
        let groups =
            others.any(|(_, other)| other.self_and_groups.iter().any(|entity| *entity.uid() == action.uid));
        let message = format!("`{name}` applies to nothing, and no action is a member of it");
        return (!groups).then_some((message, "add `appliesTo`, or remove it"));
    }
    let mut candidates =
        environments.filter_map(|it| policies.candidates(it)).flat_map(CandidatePolicies::all);
    let permitted = candidates.any(|candidate| candidate.info.effect == Effect::Permit);
    let message = format!("no permit applies to `{name}`, so it is always denied");
    (!permitted).then_some((message, "write a permit for it, or remove it from the schema"))
}
