//! Reads values from JSON by their types, and reports everything that does not fit. It reads single values
//! and records; whole entities are read in `entities/parse.rs`, whole requests in `request.rs`.

use std::fmt::Write as _;
use std::sync::Arc;

use smol_str::SmolStr;

use super::values::{Record, Value};
use crate::diagnostics::Diagnostics;
use crate::extension::extension_value;
use crate::json::{Json, Object, escape_and_truncate, quoted, quoted_list};
use crate::schema::{EntityTypeId, EntityUid, Extension, RecordType, Schema, Type, Unresolved};

/// How strictly JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Cedar's entity format: full type names, no attributes that the schema does not declare.
    EntityFile,
    /// What callers send: an entity may be a plain string, a type name may leave out its namespace, and
    /// attributes that the schema does not declare are ignored.
    Request,
}

/// A value that does not fit its type: its path in the JSON that was read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct TypeMismatch {
    /// Dotted, with indices in brackets: `roles[2].id`; empty for the value itself.
    pub path: String,
    pub message: String,
}

/// Reads values by their types and collects the mismatches.
pub struct ValueReader<'s> {
    schema: &'s Schema,
    dialect: Dialect,
    max_id_bytes: usize,
    /// How many values may still be read.
    values_left: usize,
    /// How many bytes of text may still be read.
    text_bytes_left: usize,
    path: String,
    /// What did not fit; the first [`Diagnostics::MAX_KEPT`] are kept.
    pub mismatches: Vec<TypeMismatch>,
}

/// The most values in one part of a question (principal, resource, context …). It bounds the work of a batch,
/// which can read the same part again for each item.
pub const MAX_VALUES: usize = 256;

/// The most bytes of text in one part of a question, for the same reason.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

impl<'s> ValueReader<'s> {
    /// A reader whose paths begin with `root`.
    pub fn new(schema: &'s Schema, dialect: Dialect, root: &str) -> Self {
        Self {
            schema,
            dialect,
            max_id_bytes: usize::MAX,
            values_left: usize::MAX,
            text_bytes_left: usize::MAX,
            path: root.to_owned(),
            mismatches: Vec::new(),
        }
    }

    /// A reader of what a caller sends. Ids of entities have at most `max_id_bytes`.
    pub fn for_request(schema: &'s Schema, max_id_bytes: usize) -> Self {
        let (values_left, text_bytes_left) = (MAX_VALUES, MAX_TEXT_BYTES);
        Self { max_id_bytes, values_left, text_bytes_left, ..Self::new(schema, Dialect::Request, "") }
    }

    /// The attributes of a record type. Values that do not fit are left out and reported in `mismatches`.
    pub fn record(&mut self, object: &Object<'_>, ty: &RecordType, required: Completeness) -> Record {
        let mut values = Vec::new();
        if !self.take_values(object.len()) {
            return Record::default();
        }
        for (name, json) in object.iter() {
            match ty.get(name) {
                Some(attribute) => {
                    let value =
                        self.descend(PathStep::Member(name), |reader| reader.value(json, &attribute.ty));
                    values.extend(value.map(|value| (SmolStr::new(name), value)));
                }
                None if self.dialect == Dialect::Request => {}
                None => self.descend(PathStep::Member(name), |reader| {
                    reader.report_mismatch("the schema does not declare this attribute".to_owned());
                }),
            }
        }
        if required == Completeness::Full {
            for (name, attribute) in ty.iter() {
                if attribute.required && object.get(name).is_none() {
                    let wanted = self.expected(&attribute.ty);
                    self.descend(PathStep::Member(name), |reader| {
                        reader.report_mismatch(format!("missing: expected {wanted}"));
                    });
                }
            }
        }
        Record::new(values)
    }

    /// One value; `None` if it does not fit, which is reported.
    pub fn value(&mut self, json: &Json<'_>, ty: &Type) -> Option<Value> {
        match (ty, json) {
            (Type::Bool, Json::Bool(bool)) => Some(Value::Bool(*bool)),
            (Type::Long, Json::Long(long)) => Some(Value::Long(*long)),
            (Type::String, Json::String(text)) => self.text(text),
            (Type::Set(element), Json::Array(items)) => Some(self.set(items, element)),
            (Type::Record(record), Json::Object(object)) => {
                Some(Value::Record(self.record(object, record, Completeness::Full)))
            }
            (Type::Entity(entity_type), json) => self.entity(json, *entity_type).map(Value::Entity),
            (Type::Extension(extension), json) => self.extension(json, *extension),
            (ty, json) => self.report_wrong_type(ty, json),
        }
    }

    fn set(&mut self, items: &[Json<'_>], element: &Type) -> Value {
        if !self.take_values(items.len()) {
            return Value::Set(Arc::default());
        }
        let mut values = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            values.extend(self.descend(PathStep::Index(n), |reader| reader.value(item, element)));
        }
        values.sort();
        values.dedup();
        Value::Set(values.into())
    }

    /// An entity of a known type.
    fn entity(&mut self, json: &Json<'_>, entity_type: EntityTypeId) -> Option<EntityUid> {
        let entity = match json {
            Json::String(id) if self.dialect == Dialect::Request => {
                EntityUid { entity_type, id: SmolStr::new(id) }
            }
            Json::Object(object) => self.entity_uid_from_object(object)?,
            _ => return self.report_wrong_type(&Type::Entity(entity_type), json),
        };
        if entity.entity_type != entity_type {
            let (wanted, found) = (
                &self.schema.entity_type(entity_type).name,
                &self.schema.entity_type(entity.entity_type).name,
            );
            self.report_mismatch(format!(
                "expected an entity of type `{wanted}`, found one of type `{found}`"
            ));
            return None;
        }
        self.check_id(&entity).then_some(entity)
    }

    /// An entity of any type, as `{"type", "id"}`, with `__entity` around it or not.
    pub fn entity_uid_from_object(&mut self, object: &Object<'_>) -> Option<EntityUid> {
        let object = match object.get("__entity") {
            Some(Json::Object(inner)) if object.len() == 1 => inner,
            Some(_) => return self.report_not_an_entity(),
            None => object,
        };
        let strict = self.dialect == Dialect::EntityFile;
        if strict && object.len() != 2 {
            return self.report_not_an_entity();
        }
        let (Some(name), Some(id)) =
            (object.get("type").and_then(Json::as_str), object.get("id").and_then(Json::as_str))
        else {
            return self.report_not_an_entity();
        };
        let entity_type = match self.dialect {
            Dialect::EntityFile => self.schema.entity_type_by_full_name(name).ok_or(Unresolved::Unknown),
            Dialect::Request => self.schema.resolve_entity_type(name),
        };
        if let Ok(entity_type) = entity_type {
            return Some(EntityUid { entity_type, id: SmolStr::new(id) });
        }
        self.report_mismatch(format!("the schema has no entity type {}", quoted(name)));
        None
    }

    fn report_not_an_entity(&mut self) -> Option<EntityUid> {
        self.report_mismatch("expected an entity: an object with the strings `type` and `id`".to_owned());
        None
    }

    /// Whether the type of an entity allows its id; reported if not.
    pub fn check_id(&mut self, entity: &EntityUid) -> bool {
        let info = self.schema.entity_type(entity.entity_type);
        if entity.id.len() > self.max_id_bytes {
            self.report_mismatch(format!("the id is longer than {} bytes", self.max_id_bytes));
            return false;
        }
        match &info.enum_ids {
            Some(ids) if !ids.contains(&entity.id) => {
                self.report_mismatch(format!(
                    "{} is not a valid `{}`: expected one of {}",
                    quoted(&entity.id),
                    info.name,
                    quoted_list(ids)
                ));
                false
            }
            _ => true,
        }
    }

    fn extension(&mut self, json: &Json<'_>, extension: Extension) -> Option<Value> {
        let Some(text) = extension_text(json, extension) else {
            return self.report_wrong_type(&Type::Extension(extension), json);
        };
        if extension_value(extension, text).is_err() {
            self.report_mismatch(format!("{} is not a valid `{}`", quoted(text), extension.constructor()));
            return None;
        }
        Some(Value::Extension(extension, SmolStr::new(text)))
    }

    fn report_wrong_type<T>(&mut self, ty: &Type, json: &Json<'_>) -> Option<T> {
        let wanted = self.expected(ty);
        self.report_mismatch(format!("expected {wanted}, found {}", json.describe()));
        None
    }

    /// What a type expects, with its article, for messages.
    pub fn expected(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "a boolean".to_owned(),
            Type::Long => "a 64-bit whole number".to_owned(),
            Type::String => "a string".to_owned(),
            Type::Set(_) => "an array".to_owned(),
            Type::Record(_) => "an object".to_owned(),
            Type::Extension(extension) => format!("a valid `{}` string", extension.constructor()),
            Type::Entity(entity_type) => match &self.schema.entity_type(*entity_type).enum_ids {
                Some(ids) => format!("one of {}", quoted_list(ids)),
                None => format!("an entity of type `{}`", self.schema.entity_type(*entity_type).name),
            },
        }
    }

    /// Reads a member or an item; mismatches found there have its path.
    pub fn descend<T>(&mut self, step: PathStep<'_>, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        match step {
            PathStep::Member(name) => {
                let first = self.path.is_empty() && self.dialect == Dialect::EntityFile;
                self.path.push_str(if first { "" } else { "." });
                self.path.push_str(name);
            }
            PathStep::Index(n) => {
                // Writing to a string does not fail.
                let _ = write!(self.path, "[{n}]");
            }
        }
        let value = read(self);
        self.path.truncate(length);
        value
    }

    pub fn report_mismatch(&mut self, message: String) {
        // Nobody reads more, and locating each one in the text is slow.
        if self.mismatches.len() < Diagnostics::MAX_KEPT {
            // A path contains text from the caller.
            self.mismatches.push(TypeMismatch { path: escape_and_truncate(&self.path, 256), message });
        }
    }

    fn text(&mut self, text: &str) -> Option<Value> {
        let left = self.text_bytes_left.checked_sub(text.len());
        self.text_bytes_left = left.unwrap_or(0);
        if left.is_none() {
            self.report_mismatch(format!("too long: at most {MAX_TEXT_BYTES} bytes of text are read in all"));
        }
        left.map(|_| Value::String(SmolStr::new(text)))
    }

    /// Takes `values` from those that may still be read. If that is too many, reports it and returns false.
    fn take_values(&mut self, values: usize) -> bool {
        let left = self.values_left.checked_sub(values);
        self.values_left = left.unwrap_or(0);
        if left.is_none() {
            self.report_mismatch(format!(
                "has {values} members; at most {MAX_VALUES} values are read in all"
            ));
        }
        left.is_some()
    }
}

/// A step of a path.
#[derive(Debug, Clone, Copy)]
pub enum PathStep<'a> {
    Member(&'a str),
    Index(usize),
}

/// Whether attributes that the type requires must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    Full,
    /// Only some are given; the others come from elsewhere.
    Partial,
}

fn extension_text<'j>(json: &'j Json<'_>, extension: Extension) -> Option<&'j str> {
    let object = match json {
        Json::String(text) => return Some(text),
        Json::Object(object) if object.len() == 1 => object.get("__extn")?.as_object()?,
        Json::Object(object) => object,
        _ => return None,
    };
    let fits = object.len() == 2 && object.get("fn").and_then(Json::as_str) == Some(extension.constructor());
    object.get("arg").filter(|_| fits).and_then(Json::as_str)
}
