//! One entity in one allocation: its name, parents, attributes and tags as bytes, because millions of
//! them have to fit. Equal bytes are equal entities. What the bytes mean needs the schema, whose
//! numbers stand for kinds and attributes' names; they are never written anywhere.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;
use triomphe::ThinArc;

use super::Origin;
use crate::digest::Digest;
use crate::schema::{EntityRef, Extension, Kind, Name, Schema};
use crate::value::{Record, Value};

/// An entity as people write it, to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub name: EntityRef,
    pub attributes: Record,
    pub tags: Record,
    /// What it is directly in; sorted, without repetition.
    pub parents: Vec<EntityRef>,
}

/// An entity as it is stored.
#[derive(Clone)]
pub struct Entity(ThinArc<Head, u8>);

#[derive(Clone, Copy)]
struct Head {
    kind: Kind,
    origin: Origin,
}

impl Entity {
    /// Packs an entity that was read by this schema.
    pub fn pack(entity: &Description, origin: Origin, schema: &Schema) -> Self {
        let mut packer = Packer { bytes: Vec::with_capacity(256), schema };
        packer.text(&entity.name.id);
        packer.number(entity.parents.len());
        entity.parents.iter().for_each(|parent| packer.name(parent));
        packer.record(&entity.attributes);
        packer.number(entity.tags.iter().count());
        for (name, value) in entity.tags.iter() {
            packer.text(name);
            packer.value(value);
        }
        let head = Head { kind: entity.name.kind, origin };
        Self(ThinArc::from_header_and_slice(head, &packer.bytes))
    }

    /// The entity as people write it.
    pub fn describe(&self, schema: &Schema) -> Description {
        let parents = self.parents().map(Name::to_owned).collect();
        let (attributes, tags) = self.attributes_and_tags(schema);
        Description { name: self.name().to_owned(), attributes, tags, parents }
    }

    pub fn attributes_and_tags(&self, schema: &Schema) -> (Record, Record) {
        let mut rest = self.after_parents();
        let attributes = rest.record(schema);
        let tags = (0..rest.number()).map(|_| (SmolStr::new(rest.text()), rest.value(schema)));
        (attributes, tags.collect())
    }

    pub fn name(&self) -> Name<'_> {
        Name { kind: self.0.header.header.kind, id: Unpacker(&self.0.slice).text() }
    }

    /// Whether this is its name; quicker than to compare with [`Self::name`].
    pub(super) fn is(&self, name: Name<'_>) -> bool {
        let mut bytes = Unpacker(&self.0.slice);
        let length = bytes.number();
        self.0.header.header.kind == name.kind && bytes.take(length) == name.id.as_bytes()
    }

    pub fn origin(&self) -> Origin {
        self.0.header.header.origin
    }

    /// Whether the two are the same entity with the same content, wherever they come from.
    pub fn same_content(&self, other: &Self) -> bool {
        self.0.header.header.kind == other.0.header.header.kind && self.0.slice == other.0.slice
    }

    /// What it is directly in; sorted, without repetition.
    pub fn parents(&self) -> impl Iterator<Item = Name<'_>> {
        let mut bytes = Unpacker(&self.0.slice);
        bytes.text();
        (0..bytes.number()).map(move |_| bytes.name())
    }

    /// The entity that an attribute names, if the entity has it and it is one.
    pub fn entity_attribute(&self, name: &str, schema: &Schema) -> Option<Name<'_>> {
        let symbol = schema.symbol(name)?;
        let mut rest = self.after_parents();
        for _ in 0..rest.number() {
            if rest.number() == symbol {
                return (rest.byte() == ENTITY).then(|| rest.name());
            }
            rest.value_references(&mut |_| {});
        }
        None
    }

    /// Every entity that attributes and tags name, at any depth.
    pub fn for_each_reference<'a>(&'a self, found: &mut impl FnMut(Name<'a>)) {
        let mut rest = self.after_parents();
        rest.record_references(found);
        for _ in 0..rest.number() {
            rest.text();
            rest.value_references(found);
        }
    }

    /// The digest of the content: the same on every machine that has the same schema.
    pub(super) fn digest(&self, schema: &Schema) -> Digest {
        Digest::of([schema.kind(self.name().kind).name.as_bytes(), &self.0.slice])
    }

    fn after_parents(&self) -> Unpacker<'_> {
        let mut bytes = Unpacker(&self.0.slice);
        bytes.text();
        for _ in 0..bytes.number() {
            bytes.name();
        }
        bytes
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entity({:?})", self.name())
    }
}

// The byte before a value says what it is; an extension's value has EXTENSION plus its number.
const FALSE: u8 = 0;
const TRUE: u8 = 1;
const LONG: u8 = 2;
const STRING: u8 = 3;
const ENTITY: u8 = 4;
const SET: u8 = 5;
const RECORD: u8 = 6;
const EXTENSION: u8 = 7;

const EXTENSIONS: [Extension; 4] =
    [Extension::Ip, Extension::Decimal, Extension::DateTime, Extension::Duration];

struct Packer<'s> {
    bytes: Vec<u8>,
    schema: &'s Schema,
}

impl Packer<'_> {
    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.push(low_byte(number) | 0x80);
            number >>= 7;
        }
        self.bytes.push(low_byte(number));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn name(&mut self, name: &EntityRef) {
        self.number(usize::from(name.kind.number()));
        self.text(&name.id);
    }

    fn record(&mut self, record: &Record) {
        // What was read by the schema has only names that the schema has.
        let known = |name: &SmolStr| self.schema.symbol(name);
        let members: Vec<_> = record.iter().filter_map(|(name, value)| Some((known(name)?, value))).collect();
        self.number(members.len());
        for (symbol, value) in members {
            self.number(symbol);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(bool) => self.bytes.push(if *bool { TRUE } else { FALSE }),
            Value::Long(long) => {
                self.bytes.push(LONG);
                self.bytes.extend(long.to_le_bytes());
            }
            Value::String(text) => {
                self.bytes.push(STRING);
                self.text(text);
            }
            Value::Entity(name) => {
                self.bytes.push(ENTITY);
                self.name(name);
            }
            Value::Set(items) => {
                self.bytes.push(SET);
                self.number(items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Record(record) => {
                self.bytes.push(RECORD);
                self.record(record);
            }
            Value::Extension(extension, text) => {
                let number = EXTENSIONS.iter().position(|it| it == extension).unwrap_or_default();
                self.bytes.push(EXTENSION + low_byte(number));
                self.text(text);
            }
        }
    }
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7F
}

/// Reads what [`Packer`] wrote, from the front.
struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 || shift > usize::BITS - 7 {
                return number;
            }
        }
    }

    fn text(&mut self) -> &'a str {
        let length = self.number();
        std::str::from_utf8(self.take(length)).unwrap_or_default()
    }

    fn name(&mut self) -> Name<'a> {
        let kind = Kind::of_number(u16::try_from(self.number()).unwrap_or_default());
        Name { kind, id: self.text() }
    }

    fn record(&mut self, schema: &Schema) -> Record {
        let read = |bytes: &mut Self| {
            let name = schema.symbol_name(bytes.number()).cloned().unwrap_or_default();
            (name, bytes.value(schema))
        };
        // Symbols are numbered as their names are sorted, so the record is sorted as well.
        (0..self.number()).map(|_| read(self)).collect()
    }

    fn value(&mut self, schema: &Schema) -> Value {
        match self.byte() {
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            LONG => Value::Long(i64::from_le_bytes(self.take(8).try_into().unwrap_or_default())),
            STRING => Value::String(SmolStr::new(self.text())),
            ENTITY => Value::Entity(self.name().to_owned()),
            SET => Value::Set((0..self.number()).map(|_| self.value(schema)).collect::<Arc<[Value]>>()),
            RECORD => Value::Record(self.record(schema)),
            other => {
                let number = usize::from(other.saturating_sub(EXTENSION));
                let extension = EXTENSIONS.get(number).copied().unwrap_or(Extension::Ip);
                Value::Extension(extension, SmolStr::new(self.text()))
            }
        }
    }

    fn record_references(&mut self, found: &mut impl FnMut(Name<'a>)) {
        for _ in 0..self.number() {
            self.number();
            self.value_references(found);
        }
    }

    /// Passes over a value, and reports the entities in it.
    fn value_references(&mut self, found: &mut impl FnMut(Name<'a>)) {
        match self.byte() {
            FALSE | TRUE => {}
            LONG => {
                self.take(8);
            }
            ENTITY => found(self.name()),
            SET => (0..self.number()).for_each(|_| self.value_references(found)),
            RECORD => self.record_references(found),
            _ => {
                self.text();
            }
        }
    }
}
