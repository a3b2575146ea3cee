//! Values of attributes and contexts: read from JSON by their type, compared by meaning, and turned
//! into Cedar's own when a decision needs them.

use std::fmt::Write as _;
use std::sync::Arc;

use smol_str::SmolStr;

use super::cedar;
use super::diagnostics::Diagnostics;
use super::json::{Json, Object, escape_and_truncate, quoted, quoted_list};
use super::schema::{EntityTypeId, EntityUid, EntityUidRef, Extension, RecordType, Schema, Type, Unresolved};

/// A value in canonical form: equal values are equal here, whatever their text looked like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Bool(bool),
    Long(i64),
    String(SmolStr),
    Entity(EntityUid),
    /// Sorted, without repetition.
    Set(Arc<[Value]>),
    Record(Record),
    /// The text that the extension's constructor takes.
    Extension(Extension, SmolStr),
}

/// Named values, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record(Arc<[(SmolStr, Value)]>);

/// A record of values whose names are sorted already, and each there once.
impl FromIterator<(SmolStr, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (SmolStr, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Record {
    /// A record of these values; of a name that comes twice, the last counts.
    pub fn new(values: impl IntoIterator<Item = (SmolStr, Value)>) -> Self {
        let mut values: Vec<(SmolStr, Value)> = values.into_iter().collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(values.into())
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find_map(|(n, value)| (n == name).then_some(value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// This record with another's values in place of its own.
    #[must_use]
    pub fn with_overrides(&self, over: &Self) -> Self {
        if over.0.is_empty() {
            return self.clone();
        }
        Self::new(self.0.iter().chain(over.0.iter()).cloned())
    }

    /// About how many bytes the record takes.
    pub fn estimated_bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| size_of_val(name) + name.len() + value.estimated_bytes()).sum()
    }

    /// Every entity that stands in the record, at any depth.
    pub fn for_each_entity<'a>(&'a self, found: &mut impl FnMut(EntityUidRef<'a>)) {
        self.0.iter().for_each(|(_, value)| value.for_each_entity(found));
    }
}

impl Value {
    fn estimated_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::String(text) | Self::Extension(_, text) => text.len(),
                Self::Entity(entity) => entity.id.len(),
                Self::Set(items) => items.iter().map(Self::estimated_bytes).sum(),
                Self::Record(record) => record.estimated_bytes(),
                Self::Bool(_) | Self::Long(_) => 0,
            }
    }

    fn for_each_entity<'a>(&'a self, found: &mut impl FnMut(EntityUidRef<'a>)) {
        match self {
            Self::Entity(entity) => found(entity.as_uid_ref()),
            Self::Set(items) => items.iter().for_each(|item| item.for_each_entity(found)),
            Self::Record(record) => record.for_each_entity(found),
            Self::Bool(_) | Self::Long(_) | Self::String(_) | Self::Extension(..) => {}
        }
    }
}

/// How strictly JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Cedar's entity format: full type names, no attribute that the schema does not know.
    EntityFile,
    /// What callers send: an entity may be a plain string, a type name may leave out its namespace,
    /// and attributes that the schema does not know are ignored.
    Request,
}

/// A value that does not fit its type: where inside what was read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeMismatch {
    /// Dotted, with indices in brackets: `roles[2].id`; empty for the value itself.
    pub path: String,
    pub message: String,
}

/// Reads values by their types and collects everything that does not fit.
pub struct ValueReader<'s> {
    schema: &'s Schema,
    dialect: Dialect,
    max_id_bytes: usize,
    /// How many values may still be read.
    values_left: usize,
    /// How many bytes of text may still be read.
    text_bytes_left: usize,
    path: String,
    /// What did not fit, the first [`Diagnostics::MAX_KEPT`] of it.
    pub mismatches: Vec<TypeMismatch>,
}

/// The most members that an object of a caller's may have, and the most values that are read of one
/// part of a question: it can be read again for every item of a batch.
pub const MAX_VALUES: usize = 256;

/// The most bytes of text that are read of one part of a question, for the same reason.
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

    /// A reader of what a caller sends, whose entities' ids have at most so many bytes.
    pub fn for_request(schema: &'s Schema, max_id_bytes: usize) -> Self {
        let (values_left, text_bytes_left) = (MAX_VALUES, MAX_TEXT_BYTES);
        Self { max_id_bytes, values_left, text_bytes_left, ..Self::new(schema, Dialect::Request, "") }
    }

    /// The attributes of a record type. What does not fit is left out and noted in `mismatches`.
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
                    reader.report_mismatch("the schema does not know this attribute".to_owned());
                }),
            }
        }
        if required == Completeness::Full {
            for (name, attribute) in ty.iter() {
                if attribute.required && object.get(name).is_none() {
                    let wanted = self.expected(&attribute.ty);
                    self.descend(PathStep::Member(name), |reader| {
                        reader.report_mismatch(format!("missing: it has to be {wanted}"));
                    });
                }
            }
        }
        Record::new(values)
    }

    /// One value; `None` when it does not fit.
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

    /// An entity of a known kind.
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
                "has to be an entity of type `{wanted}`, found one of type `{found}`"
            ));
            return None;
        }
        self.check_id(&entity).then_some(entity)
    }

    /// An entity of any kind, as `{"type", "id"}`, with `__entity` around it or not.
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
        self.report_mismatch("an entity has to be an object with the strings `type` and `id`".to_owned());
        None
    }

    /// Whether an entity's id is one that its type allows; noted if not.
    pub fn check_id(&mut self, entity: &EntityUid) -> bool {
        let info = self.schema.entity_type(entity.entity_type);
        if entity.id.len() > self.max_id_bytes {
            self.report_mismatch(format!("the id is longer than {} bytes", self.max_id_bytes));
            return false;
        }
        match &info.enum_ids {
            Some(ids) if !ids.contains(&entity.id) => {
                self.report_mismatch(format!(
                    "{} is no `{}`: it has to be one of {}",
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
        if cedar::extension_value(extension, text).is_err() {
            self.report_mismatch(format!("{} is no valid `{}`", quoted(text), extension.constructor()));
            return None;
        }
        Some(Value::Extension(extension, SmolStr::new(text)))
    }

    fn report_wrong_type<T>(&mut self, ty: &Type, json: &Json<'_>) -> Option<T> {
        let wanted = self.expected(ty);
        self.report_mismatch(format!("has to be {wanted}, found {}", json.describe()));
        None
    }

    /// What a type wants, with its article, for messages.
    pub fn expected(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "a boolean".to_owned(),
            Type::Long => "a 64-bit whole number".to_owned(),
            Type::String => "a string".to_owned(),
            Type::Set(_) => "an array".to_owned(),
            Type::Record(_) => "an object".to_owned(),
            Type::Extension(extension) => format!("a string that `{}` can read", extension.constructor()),
            Type::Entity(entity_type) => match &self.schema.entity_type(*entity_type).enum_ids {
                Some(ids) => format!("one of {}", quoted_list(ids)),
                None => format!("an entity of type `{}`", self.schema.entity_type(*entity_type).name),
            },
        }
    }

    /// Reads something deeper; mismatches found there carry the longer path.
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
        // Nobody reads more, and finding the place of each costs.
        if self.mismatches.len() < Diagnostics::MAX_KEPT {
            // A path is made of what others wrote.
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

    /// Takes so many values from what may be read; if that is too many, it is noted, and none is read.
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

/// Whether attributes that the type requires have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    Full,
    /// Only some are given; the rest comes from elsewhere.
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
