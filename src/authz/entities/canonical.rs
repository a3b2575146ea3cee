//! The canonical form of an entity, for digests: the same bytes for the same meaning.

use smol_str::SmolStr;

use super::Entity;
use crate::authz::digest::Digest;
use crate::authz::schema::{EntityRef, Schema};
use crate::authz::value::{Record, Value};

/// The digest of one entity: of its name, attributes, tags and parents in canonical form.
pub(super) fn digest(entity: &Entity, schema: &Schema) -> Digest {
    let mut bytes = Vec::with_capacity(256);
    encode_name(&mut bytes, &entity.name, schema);
    encode_record(&mut bytes, &entity.attributes, schema);
    encode_record(&mut bytes, &entity.tags, schema);
    encode_length(&mut bytes, entity.parents.len());
    entity.parents.iter().for_each(|parent| encode_name(&mut bytes, parent, schema));
    Digest::of([bytes.as_slice()])
}

fn encode_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend((length as u64).to_le_bytes());
}

fn encode_text(bytes: &mut Vec<u8>, text: &str) {
    encode_length(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn encode_name(bytes: &mut Vec<u8>, name: &EntityRef, schema: &Schema) {
    encode_text(bytes, &schema.kind(name.kind).name);
    encode_text(bytes, &name.id);
}

fn encode_record(bytes: &mut Vec<u8>, record: &Record, schema: &Schema) {
    encode_length(bytes, record.iter().count());
    for (name, value) in record.iter() {
        encode_text(bytes, name);
        encode_value(bytes, value, schema);
    }
}

fn encode_value(bytes: &mut Vec<u8>, value: &Value, schema: &Schema) {
    let tagged = |bytes: &mut Vec<u8>, tag: u8, text: &SmolStr| {
        bytes.push(tag);
        encode_text(bytes, text);
    };
    match value {
        Value::Bool(bool) => bytes.extend([0, u8::from(*bool)]),
        Value::Long(long) => {
            bytes.push(1);
            bytes.extend(long.to_le_bytes());
        }
        Value::String(text) => tagged(bytes, 2, text),
        Value::Entity(name) => {
            bytes.push(3);
            encode_name(bytes, name, schema);
        }
        Value::Set(items) => {
            bytes.push(4);
            encode_length(bytes, items.len());
            items.iter().for_each(|item| encode_value(bytes, item, schema));
        }
        Value::Record(record) => {
            bytes.push(5);
            encode_record(bytes, record, schema);
        }
        Value::Extension(extension, text) => {
            bytes.push(6);
            encode_text(bytes, extension.constructor());
            encode_text(bytes, text);
        }
    }
}
