//! The types of values, as a schema declares them. Values themselves are in `value.rs`.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::uid::EntityTypeId;
use crate::reason::Reason;

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Bool,
    Long,
    String,
    Entity(EntityTypeId),
    Set(Box<Type>),
    Record(RecordType),
    Extension(Extension),
}

/// Cedar's extension types; a value is the text that its constructor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extension {
    Ip,
    Decimal,
    DateTime,
    Duration,
}

impl Extension {
    /// The constructor's name, as it stands in JSON after `__extn.fn`.
    pub fn constructor(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Decimal => "decimal",
            Self::DateTime => "datetime",
            Self::Duration => "duration",
        }
    }
}

/// The attributes of an entity, a record or a context.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordType(BTreeMap<SmolStr, Attribute>);

/// One attribute of a record type.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    pub ty: Type,
    pub required: bool,
    /// The `@reason`: the sentence for a denial because a clause on this attribute does not hold.
    pub reason: Option<Reason>,
    /// The text of the `@clock`, which `ActionDef::clocks` has understood.
    pub clock: Option<SmolStr>,
    /// Whether it has `@valid_until`; `EntityTypeDef::valid_until` names it then.
    pub is_valid_until: bool,
}

impl FromIterator<(SmolStr, Attribute)> for RecordType {
    fn from_iter<I: IntoIterator<Item = (SmolStr, Attribute)>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl RecordType {
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Attribute)> {
        self.0.iter()
    }
}

impl RecordType {
    /// Calls `found` for each attribute, also for those of records in it.
    pub fn each_attribute<'t>(&'t self, found: &mut dyn FnMut(&'t SmolStr, &'t Attribute)) {
        for (name, attribute) in self.iter() {
            found(name, attribute);
            attribute.ty.each_attribute(found);
        }
    }
}

impl Type {
    /// Calls `found` for each attribute of records in this type.
    pub fn each_attribute<'t>(&'t self, found: &mut dyn FnMut(&'t SmolStr, &'t Attribute)) {
        match self {
            Self::Record(record) => record.each_attribute(found),
            Self::Set(element) => element.each_attribute(found),
            Self::Bool | Self::Long | Self::String | Self::Entity(_) | Self::Extension(_) => {}
        }
    }
}

/// An attribute of a context that tells the time at which the question is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockAttribute {
    pub name: SmolStr,
    pub granularity: Granularity,
}

/// How exactly a clock attribute tells the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// To so many seconds, which divide a day.
    Seconds(i64),
    /// The day of the week, as an entity of this enumerated type.
    Weekday(EntityTypeId),
}
