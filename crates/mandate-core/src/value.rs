//! Values of attributes and contexts: read from JSON by their type, compared by meaning, and turned
//! into Cedar's own when a decision needs them.

use std::fmt::Write as _;
use std::sync::Arc;

use smol_str::SmolStr;

use super::cedar;
use super::fault::Faults;
use super::json::{Json, Object, legible, listed, quoted};
use super::schema::{EntityRef, Extension, Kind, Name, RecordType, Schema, Type, Unresolved};

/// A value in canonical form: equal values are equal here, whatever their text looked like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Bool(bool),
    Long(i64),
    String(SmolStr),
    Entity(EntityRef),
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
    pub fn overlaid(&self, over: &Self) -> Self {
        if over.0.is_empty() {
            return self.clone();
        }
        Self::new(self.0.iter().chain(over.0.iter()).cloned())
    }

    /// About how many bytes the record takes.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| size_of_val(name) + name.len() + value.size()).sum()
    }

    /// Every entity that stands in the record, at any depth.
    pub fn for_each_entity<'a>(&'a self, found: &mut impl FnMut(Name<'a>)) {
        self.0.iter().for_each(|(_, value)| value.for_each_entity(found));
    }
}

impl Value {
    fn size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::String(text) | Self::Extension(_, text) => text.len(),
                Self::Entity(entity) => entity.id.len(),
                Self::Set(items) => items.iter().map(Self::size).sum(),
                Self::Record(record) => record.size(),
                Self::Bool(_) | Self::Long(_) => 0,
            }
    }

    fn for_each_entity<'a>(&'a self, found: &mut impl FnMut(Name<'a>)) {
        match self {
            Self::Entity(entity) => found(entity.name()),
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
    Stored,
    /// What callers send: an entity may be a plain string, a type name may leave out its namespace,
    /// and attributes that the schema does not know are ignored.
    Caller,
}

/// A value that does not fit its type: where inside what was read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Dotted, with indices in brackets: `roles[2].id`; empty for the value itself.
    pub path: String,
    pub message: String,
}

/// Reads values by their types and collects everything that does not fit.
pub struct ValueReader<'s> {
    schema: &'s Schema,
    dialect: Dialect,
    longest_id: usize,
    /// How many values may still be read.
    affordable: usize,
    /// How many bytes of text may still be read.
    affordable_text: usize,
    path: String,
    /// What did not fit, the first [`Faults::KEPT`] of it.
    pub misfits: Vec<Misfit>,
}

/// The most members that an object of a caller's may have, and the most values that are read of one
/// part of a question: it can be read again for every item of a batch.
pub const MOST_MEMBERS: usize = 256;

/// The most bytes of text that are read of one part of a question, for the same reason.
pub const MOST_TEXT: usize = 64 * 1024;

impl<'s> ValueReader<'s> {
    /// A reader whose paths begin with `root`.
    pub fn new(schema: &'s Schema, dialect: Dialect, root: &str) -> Self {
        Self {
            schema,
            dialect,
            longest_id: usize::MAX,
            affordable: usize::MAX,
            affordable_text: usize::MAX,
            path: root.to_owned(),
            misfits: Vec::new(),
        }
    }

    /// A reader of what a caller sends, whose entities' ids have at most so many bytes.
    pub fn of_caller(schema: &'s Schema, longest_id: usize) -> Self {
        let (affordable, affordable_text) = (MOST_MEMBERS, MOST_TEXT);
        Self { longest_id, affordable, affordable_text, ..Self::new(schema, Dialect::Caller, "") }
    }

    /// The attributes of a record type. What does not fit is left out and noted in `misfits`.
    pub fn record(&mut self, object: &Object<'_>, ty: &RecordType, required: Required) -> Record {
        let mut values = Vec::new();
        if !self.affords(object.len()) {
            return Record::default();
        }
        for (name, json) in object.iter() {
            match ty.get(name) {
                Some(attribute) => {
                    let value = self.at(Step::Member(name), |reader| reader.value(json, &attribute.ty));
                    values.extend(value.map(|value| (SmolStr::new(name), value)));
                }
                None if self.dialect == Dialect::Caller => {}
                None => self.at(Step::Member(name), |reader| {
                    reader.misfit("the schema does not know this attribute".to_owned());
                }),
            }
        }
        if required == Required::All {
            for (name, attribute) in ty.iter() {
                if attribute.required && object.get(name).is_none() {
                    let wanted = self.describe(&attribute.ty);
                    self.at(Step::Member(name), |reader| {
                        reader.misfit(format!("missing: it has to be {wanted}"));
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
                Some(Value::Record(self.record(object, record, Required::All)))
            }
            (Type::Entity(kind), json) => self.entity(json, *kind).map(Value::Entity),
            (Type::Extension(extension), json) => self.extension(json, *extension),
            (ty, json) => self.wrong(ty, json),
        }
    }

    fn set(&mut self, items: &[Json<'_>], element: &Type) -> Value {
        if !self.affords(items.len()) {
            return Value::Set(Arc::default());
        }
        let mut values = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            values.extend(self.at(Step::Index(n), |reader| reader.value(item, element)));
        }
        values.sort();
        values.dedup();
        Value::Set(values.into())
    }

    /// An entity of a known kind.
    fn entity(&mut self, json: &Json<'_>, kind: Kind) -> Option<EntityRef> {
        let entity = match json {
            Json::String(id) if self.dialect == Dialect::Caller => EntityRef { kind, id: SmolStr::new(id) },
            Json::Object(object) => self.entity_of_object(object)?,
            _ => return self.wrong(&Type::Entity(kind), json),
        };
        if entity.kind != kind {
            let (wanted, found) = (&self.schema.kind(kind).name, &self.schema.kind(entity.kind).name);
            self.misfit(format!("has to be an entity of type `{wanted}`, found one of type `{found}`"));
            return None;
        }
        self.known_id(&entity).then_some(entity)
    }

    /// An entity of any kind, as `{"type", "id"}`, with `__entity` around it or not.
    pub fn entity_of_object(&mut self, object: &Object<'_>) -> Option<EntityRef> {
        let object = match object.get("__entity") {
            Some(Json::Object(inner)) if object.len() == 1 => inner,
            Some(_) => return self.no_entity(),
            None => object,
        };
        let strict = self.dialect == Dialect::Stored;
        if strict && object.len() != 2 {
            return self.no_entity();
        }
        let (Some(name), Some(id)) =
            (object.get("type").and_then(Json::as_str), object.get("id").and_then(Json::as_str))
        else {
            return self.no_entity();
        };
        let kind = match self.dialect {
            Dialect::Stored => self.schema.kind_of_full_name(name).ok_or(Unresolved::Unknown),
            Dialect::Caller => self.schema.kind_named(name),
        };
        if let Ok(kind) = kind {
            return Some(EntityRef { kind, id: SmolStr::new(id) });
        }
        self.misfit(format!("the schema has no entity type {}", quoted(name)));
        None
    }

    fn no_entity(&mut self) -> Option<EntityRef> {
        self.misfit("an entity has to be an object with the strings `type` and `id`".to_owned());
        None
    }

    /// Whether an entity's id is one that its type allows; noted if not.
    pub fn known_id(&mut self, entity: &EntityRef) -> bool {
        let info = self.schema.kind(entity.kind);
        if entity.id.len() > self.longest_id {
            self.misfit(format!("the id is longer than {} bytes", self.longest_id));
            return false;
        }
        match &info.enumerated {
            Some(ids) if !ids.contains(&entity.id) => {
                self.misfit(format!(
                    "{} is no `{}`: it has to be one of {}",
                    quoted(&entity.id),
                    info.name,
                    listed(ids)
                ));
                false
            }
            _ => true,
        }
    }

    fn extension(&mut self, json: &Json<'_>, extension: Extension) -> Option<Value> {
        let Some(text) = extension_text(json, extension) else {
            return self.wrong(&Type::Extension(extension), json);
        };
        if cedar::constructed(extension, text).is_err() {
            self.misfit(format!("{} is no valid `{}`", quoted(text), extension.constructor()));
            return None;
        }
        Some(Value::Extension(extension, SmolStr::new(text)))
    }

    fn wrong<T>(&mut self, ty: &Type, json: &Json<'_>) -> Option<T> {
        let wanted = self.describe(ty);
        self.misfit(format!("has to be {wanted}, found {}", json.kind()));
        None
    }

    /// What a type wants, with its article, for messages.
    pub fn describe(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "a boolean".to_owned(),
            Type::Long => "a 64-bit whole number".to_owned(),
            Type::String => "a string".to_owned(),
            Type::Set(_) => "an array".to_owned(),
            Type::Record(_) => "an object".to_owned(),
            Type::Extension(extension) => format!("a string that `{}` can read", extension.constructor()),
            Type::Entity(kind) => match &self.schema.kind(*kind).enumerated {
                Some(ids) => format!("one of {}", listed(ids)),
                None => format!("an entity of type `{}`", self.schema.kind(*kind).name),
            },
        }
    }

    /// Reads something deeper; misfits found there carry the longer path.
    pub fn at<T>(&mut self, step: Step<'_>, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        match step {
            Step::Member(name) => {
                let first = self.path.is_empty() && self.dialect == Dialect::Stored;
                self.path.push_str(if first { "" } else { "." });
                self.path.push_str(name);
            }
            Step::Index(n) => {
                // Writing to a string does not fail.
                let _ = write!(self.path, "[{n}]");
            }
        }
        let value = read(self);
        self.path.truncate(length);
        value
    }

    pub fn misfit(&mut self, message: String) {
        // Nobody reads more, and finding the place of each costs.
        if self.misfits.len() < Faults::KEPT {
            // A path is made of what others wrote.
            self.misfits.push(Misfit { path: legible(&self.path, 256), message });
        }
    }

    fn text(&mut self, text: &str) -> Option<Value> {
        let left = self.affordable_text.checked_sub(text.len());
        self.affordable_text = left.unwrap_or(0);
        if left.is_none() {
            self.misfit(format!("too long: at most {MOST_TEXT} bytes of text are read in all"));
        }
        left.map(|_| Value::String(SmolStr::new(text)))
    }

    /// Takes so many values from what may be read; if that is too many, it is noted, and none is read.
    fn affords(&mut self, values: usize) -> bool {
        let left = self.affordable.checked_sub(values);
        self.affordable = left.unwrap_or(0);
        if left.is_none() {
            self.misfit(format!("has {values} members; at most {MOST_MEMBERS} values are read in all"));
        }
        left.is_some()
    }
}

/// A step of a path.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    Member(&'a str),
    Index(usize),
}

/// Whether attributes that the type requires have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    All,
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
