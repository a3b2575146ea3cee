//! Entities and values in Cedar's JSON format, written without an intermediate tree: there may be millions.

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::{Map, Value as JsonValue, json};

use crate::entities::EntityData;
use crate::schema::{EntityUid, Schema};
use crate::value::{Record, Value};

/// A value that is serialized in Cedar's JSON format, and the schema that names its types.
pub struct AsJson<'a, T>(pub &'a T, pub &'a Schema);

/// An entity in Cedar's JSON format.
pub fn entity_json(entity: &EntityData, schema: &Schema) -> JsonValue {
    json!(AsJson(entity, schema))
}

/// Named values as a caller would send them: entities of enumerated types as plain strings.
pub fn request_json(record: &Record, schema: &Schema) -> JsonValue {
    let members = record.iter().map(|(name, value)| {
        let json = match value {
            Value::Entity(entity) if schema.is_enumerated(entity.as_uid_ref()) => json!(entity.id),
            value => json!(AsJson(value, schema)),
        };
        (name.to_string(), json)
    });
    JsonValue::Object(members.collect::<Map<_, _>>())
}

impl Serialize for AsJson<'_, EntityData> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(entity, schema) = self;
        let has_tags = entity.tags.iter().next().is_some();
        let mut members = serializer.serialize_struct("Entity", if has_tags { 4 } else { 3 })?;
        members.serialize_field("uid", &AsJson(&entity.uid, schema))?;
        members.serialize_field("attrs", &AsJson(&entity.attributes, schema))?;
        members.serialize_field("parents", &Items(&entity.parents, schema))?;
        if has_tags {
            members.serialize_field("tags", &AsJson(&entity.tags, schema))?;
        }
        members.end()
    }
}

impl Serialize for AsJson<'_, EntityUid> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(uid, schema) = self;
        let mut members = serializer.serialize_struct("EntityUid", 2)?;
        members.serialize_field("type", schema.entity_type(uid.entity_type).name.as_str())?;
        members.serialize_field("id", uid.id.as_str())?;
        members.end()
    }
}

impl Serialize for AsJson<'_, Record> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(record, schema) = self;
        serializer.collect_map(record.iter().map(|(name, value)| (name.as_str(), AsJson(value, schema))))
    }
}

impl Serialize for AsJson<'_, Value> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, schema) = self;
        match value {
            Value::Bool(bool) => serializer.serialize_bool(*bool),
            Value::Long(long) => serializer.serialize_i64(*long),
            Value::String(text) => serializer.serialize_str(text),
            Value::Entity(uid) => wrapped(serializer, "__entity", &AsJson(uid, schema)),
            Value::Set(items) => Items(items, schema).serialize(serializer),
            Value::Record(record) => AsJson(record, schema).serialize(serializer),
            Value::Extension(extension, text) => {
                let call = ExtensionCall { function: extension.constructor(), argument: text };
                wrapped(serializer, "__extn", &call)
            }
        }
    }
}

/// An object with this one member.
fn wrapped<S: Serializer>(serializer: S, name: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut members = serializer.serialize_map(Some(1))?;
    members.serialize_entry(name, value)?;
    members.end()
}

#[derive(serde::Serialize)]
struct ExtensionCall<'a> {
    #[serde(rename = "fn")]
    function: &'a str,
    #[serde(rename = "arg")]
    argument: &'a str,
}

/// Items of a list.
struct Items<'a, T>(&'a [T], &'a Schema);

impl<'a, T> Serialize for Items<'a, T>
where
    AsJson<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| AsJson(item, self.1)))
    }
}
