//! Entities and values as people write them, `Customer::contoso` or `Autopilot::Customer::"contoso"`, and
//! in Cedar's JSON format.

use serde_json::{Map, Value as JsonValue, json};

use crate::entities::Description;
use crate::json::quoted;
use crate::schema::{ActionId, EntityRef, Kind, Name, Schema, Unresolved};
use crate::value::{Record, Value};

/// The type and the id of a written entity.
///
/// # Errors
/// The text has no `::`, or its quotes do not close.
pub fn split(text: &str) -> Result<(&str, &str), String> {
    let malformed = || format!("{} is no entity: write `Type::id` or `Type::\"id\"`", quoted(text));
    if let Some((kind, rest)) = text.split_once("::\"") {
        let id = rest.strip_suffix('"').ok_or_else(malformed)?;
        return Ok((kind, id));
    }
    // A namespace is part of the type; without quotes, an id cannot hold `::`.
    let (kind, id) = text.rsplit_once("::").ok_or_else(malformed)?;
    if kind.is_empty() { Err(malformed()) } else { Ok((kind, id)) }
}

/// The entity that a text names.
///
/// # Errors
/// The text is malformed, or the schema has no such type.
pub fn entity(text: &str, schema: &Schema) -> Result<EntityRef, String> {
    let (kind, id) = split(text)?;
    match schema.kind_named(kind) {
        Ok(kind) => Ok(EntityRef { kind, id: id.into() }),
        Err(Unresolved::Unknown) => Err(format!("the schema has no entity type {}", quoted(kind))),
        Err(Unresolved::Ambiguous) => Err(format!("{} stands in several namespaces", quoted(kind))),
    }
}

/// An entity as people write it, in as few words as it can be read back from.
pub fn written(entity: Name<'_>, schema: &Schema) -> String {
    let kind = kind_name(entity.kind, schema);
    let text = format!("{kind}::{}", entity.id);
    let plain = entity.id.chars().all(|c| c.is_alphanumeric() || "-_.@".contains(c));
    if plain && !entity.id.is_empty() { text } else { format!("{kind}::\"{}\"", entity.id) }
}

/// A type's name, without its namespace where no other has it.
pub fn kind_name(kind: Kind, schema: &Schema) -> &str {
    let full = schema.kind(kind).name.as_str();
    let short = full.rsplit("::").next().unwrap_or(full);
    if schema.kind_named(short) == Ok(kind) { short } else { full }
}

/// An action's name, without its namespace where no other has it.
pub fn action(action: ActionId, schema: &Schema) -> String {
    let uid = &schema.action(action).uid;
    let short: &str = uid.eid().as_ref();
    if schema.action_named(short) == Ok(action) { short.to_owned() } else { uid.to_string() }
}

/// An entity with what it is in and what is known of it.
pub fn described(entity: &Description, schema: &Schema) -> String {
    let mut text = written(entity.name.name(), schema);
    let parents: Vec<String> = entity.parents.iter().map(|parent| written(parent.name(), schema)).collect();
    if !parents.is_empty() {
        text = format!("{text} in {}", parents.join(", "));
    }
    for values in [&entity.attributes, &entity.tags].map(|values| record(values, schema)) {
        if !values.is_empty() {
            text = format!("{text} {{ {values} }}");
        }
    }
    text
}

/// Named values as people write them, without brackets around them.
pub fn record(record: &Record, schema: &Schema) -> String {
    let members: Vec<String> =
        record.iter().map(|(name, value)| format!("{name}: {}", self::value(value, schema))).collect();
    members.join(", ")
}

/// A value as people write it.
pub fn value(value: &Value, schema: &Schema) -> String {
    match value {
        Value::Bool(bool) => bool.to_string(),
        Value::Long(long) => long.to_string(),
        Value::String(text) => json!(text).to_string(),
        Value::Entity(entity) if schema.enumerates(entity.name()) => entity.id.to_string(),
        Value::Entity(entity) => written(entity.name(), schema),
        Value::Set(items) => {
            let items: Vec<String> = items.iter().map(|item| self::value(item, schema)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Record(members) => format!("{{ {} }}", record(members, schema)),
        Value::Extension(extension, text) => format!("{}({})", extension.constructor(), json!(text)),
    }
}

/// An entity in Cedar's JSON format.
pub fn entity_json(entity: &Description, schema: &Schema) -> JsonValue {
    let parents: Vec<JsonValue> = entity.parents.iter().map(|parent| name_json(parent, schema)).collect();
    let uid = name_json(&entity.name, schema);
    let attrs = record_json(&entity.attributes, schema);
    if entity.tags.iter().next().is_none() {
        return json!({ "uid": uid, "attrs": attrs, "parents": parents });
    }
    json!({ "uid": uid, "attrs": attrs, "parents": parents, "tags": record_json(&entity.tags, schema) })
}

fn name_json(name: &EntityRef, schema: &Schema) -> JsonValue {
    json!({ "type": schema.kind(name.kind).name, "id": name.id })
}

fn record_json(record: &Record, schema: &Schema) -> JsonValue {
    let members = record.iter().map(|(name, value)| (name.to_string(), value_json(value, schema)));
    JsonValue::Object(members.collect::<Map<_, _>>())
}

/// Named values as a caller would send them: what the schema enumerates as plain strings.
pub fn caller_json(record: &Record, schema: &Schema) -> JsonValue {
    let members = record.iter().map(|(name, value)| {
        let json = match value {
            Value::Entity(entity) if schema.enumerates(entity.name()) => json!(entity.id),
            value => value_json(value, schema),
        };
        (name.to_string(), json)
    });
    JsonValue::Object(members.collect::<Map<_, _>>())
}

fn value_json(value: &Value, schema: &Schema) -> JsonValue {
    match value {
        Value::Bool(bool) => json!(bool),
        Value::Long(long) => json!(long),
        Value::String(text) => json!(text),
        Value::Entity(entity) => json!({ "__entity": name_json(entity, schema) }),
        Value::Set(items) => items.iter().map(|item| value_json(item, schema)).collect(),
        Value::Record(record) => record_json(record, schema),
        Value::Extension(extension, text) => {
            json!({ "__extn": { "fn": extension.constructor(), "arg": text } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[track_caller]
    fn check(text: &str, kind: &str, id: &str) {
        assert_eq!(split(text), Ok((kind, id)));
    }

    #[test]
    fn namespaces_and_quotes() {
        check("Customer::contoso", "Customer", "contoso");
        check("Autopilot::Customer::contoso", "Autopilot::Customer", "contoso");
        check("Autopilot::Customer::\"a::b\"", "Autopilot::Customer", "a::b");
        check("TenantUser::admin@contoso", "TenantUser", "admin@contoso");
        check("Customer::", "Customer", "");
    }

    #[test]
    fn what_is_no_entity() {
        for text in ["contoso", "::contoso", "Customer::\"contoso", ""] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
