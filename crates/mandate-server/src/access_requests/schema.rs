//! The JSON Schema of what a submission has to say besides the denial: what a requester may choose of a rule of requests.

use mandate_changes::RequestRule;
use mandate_core::schema::{EntityUidRef, Type};
use mandate_pdp::View;
use mandate_pdp::requestable::{Choice, choices, entity_choices};
use mandate_store::EntityName;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

/// The most entities that are listed.
const MAX_LISTED: usize = 1_000;

/// The schema of a rule, with what a subject may choose from; `None` if there is no such rule.
pub fn request_schema(view: &View<'_>, rule: &str, query: &str) -> Option<Value> {
    let rule = view.changes().request(&percent_decode_str(rule).decode_utf8().ok()?)?;
    let subject = query.split('&').find_map(|pair| pair.strip_prefix("subject="));
    let subject = subject.and_then(|subject| percent_decode_str(subject).decode_utf8().ok());
    let subject = subject.as_deref().and_then(|subject| subject_named(view, subject));
    let mut properties =
        Map::from_iter([("requested_until".to_owned(), json!({ "type": "string", "format": "date-time" }))]);
    let texts = rule.texts("en");
    for member in &rule.may_choose {
        let mut schema = member_schema(view, rule, member, subject.as_ref());
        if let (Some(schema), Some(text)) = (schema.as_object_mut(), texts.context.get(member.as_str())) {
            schema.insert("description".to_owned(), text.clone().into());
        }
        properties.insert(member.to_string(), schema);
    }
    Some(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": texts.title,
        "type": "object",
        "properties": { "requested_access": { "type": "object", "properties": properties } },
    }))
}

fn member_schema(view: &View<'_>, rule: &RequestRule, member: &str, subject: Option<&EntityName>) -> Value {
    let mut entities = entity_choices(rule, view.snapshot());
    if let Some(choice) = entities.find(|choice| choice.member == member) {
        return entity_schema(view, &choice, subject);
    }
    let schema = view.snapshot().schema();
    match schema.action(rule.ask).context_type.get(member).map(|attribute| &attribute.ty) {
        Some(Type::Bool) => json!({ "type": "boolean" }),
        Some(Type::Long) => json!({ "type": "integer" }),
        Some(Type::String) => json!({ "type": "string" }),
        Some(Type::Entity(entity_type)) => {
            let ids = schema.entity_type(*entity_type).enum_ids.clone().unwrap_or_default();
            json!({ "enum": ids })
        }
        Some(_) | None => json!({}),
    }
}

/// The ids of the entities that a subject may choose from.
fn entity_schema(view: &View<'_>, choice: &Choice, subject: Option<&EntityName>) -> Value {
    let Some(subject) = subject else { return json!({ "type": "string" }) };
    let found = choices(view.snapshot(), subject, choice, MAX_LISTED + 1);
    if found.len() > MAX_LISTED {
        return json!({ "type": "string" });
    }
    let ids: Vec<String> = found.into_iter().map(|name| name.id).collect();
    json!({ "type": "string", "enum": ids })
}

/// The subject of that name, if it is there.
fn subject_named(view: &View<'_>, name: &str) -> Option<EntityName> {
    let (entity_type, id) = mandate_core::display::parse_type_and_id(name).ok()?;
    let schema = view.snapshot().schema();
    let entity_type = schema.resolve_entity_type(entity_type).ok()?;
    let uid = EntityUidRef { entity_type, id };
    view.snapshot().entities().get(uid).map(|_| EntityName::new(uid, schema))
}
