//! Entities and values as people write them, `Customer::contoso` or `Autopilot::Customer::"contoso"`, and in
//! Cedar's JSON format. Entity files are read in `entities/parse.rs`, not here.

mod json;

use serde_json::json;

pub use json::{AsJson, entity_json, request_json};

use crate::entities::EntityData;
use crate::json::quoted;
use crate::schema::{ActionId, EntityTypeId, EntityUid, EntityUidRef, Schema, Unresolved};
use crate::value::{Record, Value};

/// Why a text does not name an entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UidError {
    #[error("{0} is not an entity: write `Type::id` or `Type::\"id\"`")]
    Malformed(String),
    #[error("the schema has no entity type {0}")]
    UnknownType(String),
    #[error("{0} is in several namespaces: write it with its namespace")]
    AmbiguousType(String),
}

/// For callers that only pass the message on.
impl From<UidError> for String {
    fn from(error: UidError) -> Self {
        error.to_string()
    }
}

/// The type and the id of an entity as people write it.
///
/// # Errors
/// The text has no `::`, or its quotes do not close.
pub fn parse_type_and_id(text: &str) -> Result<(&str, &str), UidError> {
    let malformed = || UidError::Malformed(quoted(text));
    if let Some((entity_type, rest)) = text.split_once("::\"") {
        let id = rest.strip_suffix('"').ok_or_else(malformed)?;
        return Ok((entity_type, id));
    }
    // A namespace is part of the type; without quotes, an id cannot contain `::`.
    let (entity_type, id) = text.rsplit_once("::").ok_or_else(malformed)?;
    if entity_type.is_empty() { Err(malformed()) } else { Ok((entity_type, id)) }
}

/// The entity that a text names. It need not exist.
///
/// # Errors
/// The text is malformed, or the schema has no such type.
pub fn parse_uid(text: &str, schema: &Schema) -> Result<EntityUid, UidError> {
    let (entity_type, id) = parse_type_and_id(text)?;
    match schema.resolve_entity_type(entity_type) {
        Ok(entity_type) => Ok(EntityUid { entity_type, id: id.into() }),
        Err(Unresolved::Unknown) => Err(UidError::UnknownType(quoted(entity_type))),
        Err(Unresolved::Ambiguous) => Err(UidError::AmbiguousType(quoted(entity_type))),
    }
}

/// An entity as people write it, in the shortest form that [`parse_uid`] can read back.
pub fn uid(entity: EntityUidRef<'_>, schema: &Schema) -> String {
    let entity_type = entity_type(entity.entity_type, schema);
    let text = format!("{entity_type}::{}", entity.id);
    let plain = entity.id.chars().all(|c| c.is_alphanumeric() || "-_.@".contains(c));
    if plain && !entity.id.is_empty() { text } else { format!("{entity_type}::\"{}\"", entity.id) }
}

/// A type's name, without its namespace if no other namespace has the name.
pub fn entity_type(entity_type: EntityTypeId, schema: &Schema) -> &str {
    let full = schema.entity_type(entity_type).name.as_str();
    let short = full.rsplit("::").next().unwrap_or(full);
    if schema.resolve_entity_type(short) == Ok(entity_type) { short } else { full }
}

/// An action's name, without its namespace if no other namespace has the name.
pub fn action(action: ActionId, schema: &Schema) -> String {
    let uid = &schema.action(action).uid;
    let short: &str = uid.eid().as_ref();
    if schema.resolve_action(short) == Ok(action) { short.to_owned() } else { uid.to_string() }
}

/// An entity with its parents, attributes and tags: `Customer::contoso in Consent::c1 { active: true }`.
pub fn entity(entity: &EntityData, schema: &Schema) -> String {
    let mut text = uid(entity.uid.as_uid_ref(), schema);
    let parents: Vec<String> = entity.parents.iter().map(|parent| uid(parent.as_uid_ref(), schema)).collect();
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

/// Named values as people write them, without braces around them.
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
        Value::Entity(entity) if schema.is_enumerated(entity.as_uid_ref()) => entity.id.to_string(),
        Value::Entity(entity) => uid(entity.as_uid_ref(), schema),
        Value::Set(items) => {
            let items: Vec<String> = items.iter().map(|item| self::value(item, schema)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Record(members) => format!("{{ {} }}", record(members, schema)),
        Value::Extension(extension, text) => format!("{}({})", extension.constructor(), json!(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_type_and_id;

    #[track_caller]
    fn check(text: &str, entity_type: &str, id: &str) {
        assert_eq!(parse_type_and_id(text), Ok((entity_type, id)));
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
    fn texts_that_name_no_entity() {
        for text in ["contoso", "::contoso", "Customer::\"contoso", ""] {
            assert!(parse_type_and_id(text).is_err(), "{text}");
        }
    }
}
