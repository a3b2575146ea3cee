//! The bytes of a packed entity: how values, uids and texts are written and read. `packed.rs` says in which
//! order they stand. What cannot be read is an error, never a default: a made-up value could permit a
//! request.

use smol_str::SmolStr;

use crate::schema::{EntityTypeId, EntityUid, EntityUidRef, Extension, Schema};
use crate::value::{Record, Value};

/// The bytes of an entity cannot be decoded: they were changed, or belong to another schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored bytes of an entity cannot be decoded")]
pub struct CorruptEntity;

type Result<T> = std::result::Result<T, CorruptEntity>;

// The byte before a value says what it is.
const FALSE: u8 = 0;
const TRUE: u8 = 1;
const LONG: u8 = 2;
const STRING: u8 = 3;
const ENTITY: u8 = 4;
const SET: u8 = 5;
const RECORD: u8 = 6;
const IP: u8 = 7;
const DECIMAL: u8 = 8;
const DATE_TIME: u8 = 9;
const DURATION: u8 = 10;

/// Writes the parts of an entity, one after the other.
pub struct Packer<'s> {
    pub bytes: Vec<u8>,
    schema: &'s Schema,
}

impl<'s> Packer<'s> {
    pub fn new(schema: &'s Schema) -> Self {
        Self { bytes: Vec::with_capacity(256), schema }
    }

    pub fn text(&mut self, text: &str) {
        self.varint(text.len());
        self.bytes.extend(text.as_bytes());
    }

    pub fn parents(&mut self, parents: &[EntityUid]) {
        self.varint(parents.len());
        for parent in parents {
            self.uid(parent);
        }
    }

    pub fn record(&mut self, record: &Record) {
        let known = |name: &SmolStr| self.schema.symbol(name);
        let members: Vec<_> = record.iter().filter_map(|(name, value)| Some((known(name)?, value))).collect();
        self.varint(members.len());
        for (symbol, value) in members {
            self.varint(symbol);
            self.value(value);
        }
    }

    /// Tags have names that the schema does not know.
    pub fn tags(&mut self, tags: &Record) {
        self.varint(tags.iter().count());
        for (name, value) in tags.iter() {
            self.text(name);
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
            Value::Entity(uid) => {
                self.bytes.push(ENTITY);
                self.uid(uid);
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
                self.bytes.push(match extension {
                    Extension::Ip => IP,
                    Extension::Decimal => DECIMAL,
                    Extension::DateTime => DATE_TIME,
                    Extension::Duration => DURATION,
                });
                self.text(text);
            }
        }
    }

    fn uid(&mut self, uid: &EntityUid) {
        self.varint(usize::from(uid.entity_type.as_u16()));
        self.text(&uid.id);
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.push(low_byte(number) | 0x80);
            number >>= 7;
        }
        self.bytes.push(low_byte(number));
    }
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7F
}

/// Reads what [`Packer`] wrote, from the front.
#[derive(Clone)]
pub struct Unpacker<'a> {
    bytes: &'a [u8],
    /// Numbers of entity types are below this one.
    entity_types: usize,
}

impl<'a> Unpacker<'a> {
    /// A reader that knows no schema, so it takes every number of an entity type.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, entity_types: usize::MAX }
    }

    /// A reader whose entity types are those of the schema.
    pub fn with_schema(bytes: &'a [u8], schema: &Schema) -> Self {
        Self { bytes, entity_types: schema.entity_type_count() }
    }

    pub fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.text_bytes()?).map_err(|_| CorruptEntity)
    }

    pub fn text_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.varint()?;
        self.take(length)
    }

    pub fn uid(&mut self) -> Result<EntityUidRef<'a>> {
        let number = self.varint()?;
        let known = u16::try_from(number).ok().filter(|_| number < self.entity_types);
        let entity_type = EntityTypeId::from_u16(known.ok_or(CorruptEntity)?);
        Ok(EntityUidRef { entity_type, id: self.text()? })
    }

    /// A record. Symbols are numbered in the order of their names, so the record is sorted as well.
    pub fn record(&mut self, schema: &Schema) -> Result<Record> {
        let mut least = 0;
        self.collect(no_member, |bytes| {
            let symbol = bytes.varint()?;
            let name = schema.symbol_name(symbol).filter(|_| symbol >= least).ok_or(CorruptEntity)?;
            least = symbol + 1;
            Ok((name.clone(), bytes.value(schema)?))
        })
    }

    pub fn tags(&mut self, schema: &Schema) -> Result<Record> {
        self.collect(no_member, |bytes| Ok((SmolStr::new(bytes.text()?), bytes.value(schema)?)))
    }

    pub fn value(&mut self, schema: &Schema) -> Result<Value> {
        let extension = |text: &str, extension| Value::Extension(extension, SmolStr::new(text));
        Ok(match self.byte()? {
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            LONG => Value::Long(i64::from_le_bytes(self.array()?)),
            STRING => Value::String(SmolStr::new(self.text()?)),
            ENTITY => Value::Entity(self.uid()?.to_owned()),
            SET => Value::Set(self.collect(|| Value::Bool(false), |bytes| bytes.value(schema))?),
            RECORD => Value::Record(self.record(schema)?),
            IP => extension(self.text()?, Extension::Ip),
            DECIMAL => extension(self.text()?, Extension::Decimal),
            DATE_TIME => extension(self.text()?, Extension::DateTime),
            DURATION => extension(self.text()?, Extension::Duration),
            _ => return Err(CorruptEntity),
        })
    }

    /// The entity that a value is; `None` if it is another value.
    pub fn entity_value(&mut self) -> Result<Option<EntityUidRef<'a>>> {
        if self.byte()? == ENTITY { self.uid().map(Some) } else { Ok(None) }
    }

    /// Skips to the value of an attribute, at the beginning of the attributes. Whether it is there.
    pub fn skip_to_attribute(&mut self, symbol: usize) -> Result<bool> {
        for _ in 0..self.varint()? {
            if self.varint()? == symbol {
                return Ok(true);
            }
            self.skip_value(&mut |_| {})?;
        }
        Ok(false)
    }

    /// The text of a value of the type `datetime`.
    pub fn date_time(&mut self) -> Result<&'a str> {
        if self.byte()? == DATE_TIME { self.text() } else { Err(CorruptEntity) }
    }

    /// Skips a record, and calls `found` for each entity in it.
    pub fn skip_record(&mut self, found: &mut impl FnMut(EntityUidRef<'a>)) -> Result<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            self.skip_value(found)?;
        }
        Ok(())
    }

    /// Skips a value, and calls `found` for each entity in it.
    pub fn skip_value(&mut self, found: &mut impl FnMut(EntityUidRef<'a>)) -> Result<()> {
        match self.byte()? {
            FALSE | TRUE => {}
            LONG => drop(self.array::<8>()?),
            ENTITY => found(self.uid()?),
            SET => {
                for _ in 0..self.varint()? {
                    self.skip_value(found)?;
                }
            }
            RECORD => self.skip_record(found)?,
            STRING | IP | DECIMAL | DATE_TIME | DURATION => drop(self.text_bytes()?),
            _ => return Err(CorruptEntity),
        }
        Ok(())
    }

    /// Items after their number. The number is known to the iterator, so the collection is allocated once;
    /// the fillers after an error are dropped with it.
    fn collect<T, C: FromIterator<T>>(
        &mut self,
        filler: impl Fn() -> T,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<C> {
        let count = self.varint()?;
        // Each item takes a byte or more.
        if count > self.bytes.len() {
            return Err(CorruptEntity);
        }
        let mut result = Ok(());
        let items = (0..count).map(|_| {
            let item = result.and_then(|()| read(self));
            item.unwrap_or_else(|error| {
                result = Err(error);
                filler()
            })
        });
        let items = items.collect();
        result.map(|()| items)
    }

    /// A number as [`Packer`] writes it, which has one form only.
    #[inline]
    pub fn varint(&mut self) -> Result<usize> {
        let first = self.byte()?;
        if first < 0x80 { Ok(usize::from(first)) } else { self.long_varint(first) }
    }

    fn long_varint(&mut self, first: u8) -> Result<usize> {
        let (mut number, mut shift) = (usize::from(first & 0x7F), 7);
        loop {
            let byte = self.byte()?;
            let bits = usize::from(byte & 0x7F);
            let shifted = bits.checked_shl(shift).ok_or(CorruptEntity)?;
            if byte == 0 || shifted >> shift != bits {
                return Err(CorruptEntity);
            }
            number |= shifted;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Nothing is left.
    pub fn end(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CorruptEntity) }
    }

    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.bytes.split_first().ok_or(CorruptEntity)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(CorruptEntity)?;
        self.bytes = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(CorruptEntity)?;
        self.bytes = rest;
        Ok(taken)
    }
}

fn no_member() -> (SmolStr, Value) {
    (SmolStr::default(), Value::Bool(false))
}

/// The parents of an entity. The first error is the last item.
pub struct Parents<'a> {
    bytes: Unpacker<'a>,
    left: usize,
    error: Option<CorruptEntity>,
}

impl<'a> Parents<'a> {
    /// The parents in the bytes of an entity, of which nothing was read yet.
    pub fn of(mut bytes: Unpacker<'a>) -> Self {
        match bytes.text_bytes().and_then(|_| bytes.varint()) {
            Ok(left) => Self { bytes, left, error: None },
            Err(error) => Self { bytes, left: 0, error: Some(error) },
        }
    }
}

impl<'a> Iterator for Parents<'a> {
    type Item = Result<EntityUidRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else { return self.error.take().map(Err) };
        let parent = self.bytes.uid();
        self.left = if parent.is_ok() { left } else { 0 };
        Some(parent)
    }
}
