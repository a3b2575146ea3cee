//! One entity in one allocation: its name, parents, attributes and tags as bytes, because millions of
//! them have to fit. Equal bytes are equal entities. What the bytes mean needs the schema, whose
//! numbers stand for kinds and attributes' names; they are never written anywhere.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;
use triomphe::ThinArc;

use super::Origin;
use crate::digest::Digest;
use crate::schema::{EntityTypeId, EntityUid, EntityUidRef, Extension, Schema};
use crate::value::{Record, Value};

/// An entity as people write it, to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityData {
    pub uid: EntityUid,
    pub attributes: Record,
    pub tags: Record,
    /// What it is directly in; sorted, without repetition.
    pub parents: Vec<EntityUid>,
}

/// An entity as it is stored.
#[derive(Clone)]
pub struct Entity(ThinArc<Header, u8>);

#[derive(Clone, Copy)]
struct Header {
    entity_type: EntityTypeId,
    origin: Origin,
}

impl Entity {
    /// Packs an entity that was read by this schema.
    pub fn pack(entity: &EntityData, origin: Origin, schema: &Schema) -> Self {
        let mut packer = Packer { bytes: Vec::with_capacity(256), schema };
        packer.text(&entity.uid.id);
        packer.varint(entity.parents.len());
        entity.parents.iter().for_each(|parent| packer.uid(parent));
        packer.record(&entity.attributes);
        packer.varint(entity.tags.iter().count());
        for (name, value) in entity.tags.iter() {
            packer.text(name);
            packer.value(value);
        }
        let head = Header { entity_type: entity.uid.entity_type, origin };
        Self(ThinArc::from_header_and_slice(head, &packer.bytes))
    }

    /// The entity as people write it.
    pub fn unpack(&self, schema: &Schema) -> EntityData {
        let parents = self.parents().map(EntityUidRef::to_owned).collect();
        let (attributes, tags) = self.attributes_and_tags(schema);
        EntityData { uid: self.uid().to_owned(), attributes, tags, parents }
    }

    pub fn attributes_and_tags(&self, schema: &Schema) -> (Record, Record) {
        let mut rest = self.skip_to_attributes();
        let attributes = rest.record(schema);
        let tags = (0..rest.varint()).map(|_| (SmolStr::new(rest.text()), rest.value(schema)));
        (attributes, tags.collect())
    }

    pub fn uid(&self) -> EntityUidRef<'_> {
        EntityUidRef { entity_type: self.0.header.header.entity_type, id: Unpacker(&self.0.slice).text() }
    }

    /// Whether this is its name; quicker than to compare with [`Self::name`].
    pub(super) fn has_uid(&self, name: EntityUidRef<'_>) -> bool {
        let mut bytes = Unpacker(&self.0.slice);
        let length = bytes.varint();
        self.0.header.header.entity_type == name.entity_type && bytes.take(length) == name.id.as_bytes()
    }

    pub fn origin(&self) -> Origin {
        self.0.header.header.origin
    }

    /// Whether the two are the same entity with the same content, wherever they come from.
    pub fn same_content(&self, other: &Self) -> bool {
        self.0.header.header.entity_type == other.0.header.header.entity_type && self.0.slice == other.0.slice
    }

    /// What it is directly in; sorted, without repetition.
    pub fn parents(&self) -> impl Iterator<Item = EntityUidRef<'_>> {
        let mut bytes = Unpacker(&self.0.slice);
        bytes.text();
        (0..bytes.varint()).map(move |_| bytes.uid())
    }

    /// The entity that an attribute names, if the entity has it and it is one.
    pub fn entity_attribute(&self, name: &str, schema: &Schema) -> Option<EntityUidRef<'_>> {
        let symbol = schema.symbol(name)?;
        let mut rest = self.skip_to_attributes();
        for _ in 0..rest.varint() {
            if rest.varint() == symbol {
                return (rest.byte() == ENTITY).then(|| rest.uid());
            }
            rest.visit_value_uids(&mut |_| {});
        }
        None
    }

    /// Every entity that attributes and tags name, at any depth.
    pub fn for_each_reference<'a>(&'a self, found: &mut impl FnMut(EntityUidRef<'a>)) {
        let mut rest = self.skip_to_attributes();
        rest.visit_record_uids(found);
        for _ in 0..rest.varint() {
            rest.text();
            rest.visit_value_uids(found);
        }
    }

    /// The digest of the content: the same on every machine that has the same schema.
    pub(super) fn digest(&self, schema: &Schema) -> Digest {
        Digest::of([schema.entity_type(self.uid().entity_type).name.as_bytes(), &self.0.slice])
    }

    fn skip_to_attributes(&self) -> Unpacker<'_> {
        let mut bytes = Unpacker(&self.0.slice);
        bytes.text();
        for _ in 0..bytes.varint() {
            bytes.uid();
        }
        bytes
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entity({:?})", self.uid())
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
    fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.push(low_byte(number) | 0x80);
            number >>= 7;
        }
        self.bytes.push(low_byte(number));
    }

    fn text(&mut self, text: &str) {
        self.varint(text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn uid(&mut self, name: &EntityUid) {
        self.varint(usize::from(name.entity_type.as_u16()));
        self.text(&name.id);
    }

    fn record(&mut self, record: &Record) {
        // What was read by the schema has only names that the schema has.
        let known = |name: &SmolStr| self.schema.symbol(name);
        let members: Vec<_> = record.iter().filter_map(|(name, value)| Some((known(name)?, value))).collect();
        self.varint(members.len());
        for (symbol, value) in members {
            self.varint(symbol);
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
                self.uid(name);
            }
            Value::Set(items) => {
                self.bytes.push(SET);
                self.varint(items.len());
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

    fn varint(&mut self) -> usize {
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
        let length = self.varint();
        std::str::from_utf8(self.take(length)).unwrap_or_default()
    }

    fn uid(&mut self) -> EntityUidRef<'a> {
        let entity_type = EntityTypeId::from_u16(u16::try_from(self.varint()).unwrap_or_default());
        EntityUidRef { entity_type, id: self.text() }
    }

    fn record(&mut self, schema: &Schema) -> Record {
        let read = |bytes: &mut Self| {
            let name = schema.symbol_name(bytes.varint()).cloned().unwrap_or_default();
            (name, bytes.value(schema))
        };
        // Symbols are numbered as their names are sorted, so the record is sorted as well.
        (0..self.varint()).map(|_| read(self)).collect()
    }

    fn value(&mut self, schema: &Schema) -> Value {
        match self.byte() {
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            LONG => Value::Long(i64::from_le_bytes(self.take(8).try_into().unwrap_or_default())),
            STRING => Value::String(SmolStr::new(self.text())),
            ENTITY => Value::Entity(self.uid().to_owned()),
            SET => Value::Set((0..self.varint()).map(|_| self.value(schema)).collect::<Arc<[Value]>>()),
            RECORD => Value::Record(self.record(schema)),
            other => {
                let number = usize::from(other.saturating_sub(EXTENSION));
                let extension = EXTENSIONS.get(number).copied().unwrap_or(Extension::Ip);
                Value::Extension(extension, SmolStr::new(self.text()))
            }
        }
    }

    fn visit_record_uids(&mut self, found: &mut impl FnMut(EntityUidRef<'a>)) {
        for _ in 0..self.varint() {
            self.varint();
            self.visit_value_uids(found);
        }
    }

    /// Passes over a value, and reports the entities in it.
    fn visit_value_uids(&mut self, found: &mut impl FnMut(EntityUidRef<'a>)) {
        match self.byte() {
            FALSE | TRUE => {}
            LONG => {
                self.take(8);
            }
            ENTITY => found(self.uid()),
            SET => (0..self.varint()).for_each(|_| self.visit_value_uids(found)),
            RECORD => self.visit_record_uids(found),
            _ => {
                self.text();
            }
        }
    }
}
