//! Values and records in canonical form. They know nothing of JSON: `reader.rs` reads them, and `display.rs`
//! writes them.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::schema::{EntityUid, EntityUidRef, Extension};

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

/// For values whose names are sorted already, without repetition.
impl FromIterator<(SmolStr, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (SmolStr, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Record {
    /// A record of these values; if a name occurs twice, the last value counts.
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

    /// This record with the values of another, which replace its own of the same name.
    #[must_use]
    pub fn with_overrides(&self, over: &Self) -> Self {
        if over.0.is_empty() {
            return self.clone();
        }
        Self::new(self.0.iter().chain(over.0.iter()).cloned())
    }

    /// About how many bytes of memory the record takes.
    pub fn estimated_bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| size_of_val(name) + name.len() + value.estimated_bytes()).sum()
    }

    /// Calls `found` for every entity in the record, at any depth.
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
