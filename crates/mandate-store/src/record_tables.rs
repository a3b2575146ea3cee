//! The tables of records in the file, and how records are found in them.

use std::collections::{BTreeMap, BTreeSet};

use mandate_core::digest::Digest;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::entity_name::EntityName;
use crate::file::Failure;
use crate::marks::{from_json, to_json};
use crate::record::{COUNTED, Record};

/// By kind and id.
const RECORDS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("records");

/// By kind, index, key and id of the record that has the key.
const RECORD_KEYS: TableDefinition<'_, (&str, &str, &str, &str), ()> = TableDefinition::new("record-keys");

/// How many records have a key of a counted index, by kind, index and key.
const RECORD_COUNTS: TableDefinition<'_, (&str, &str, &str), u64> = TableDefinition::new("record-counts");

/// Whether the records with a key of an index are counted.
fn is_counted(index: &str) -> bool {
    index.starts_with(COUNTED)
}

/// The tables of records while something is appended.
pub struct RecordTables<'t> {
    records: Table<'t, (&'static str, &'static str), &'static [u8]>,
    keys: Table<'t, (&'static str, &'static str, &'static str, &'static str), ()>,
    counts: Table<'t, (&'static str, &'static str, &'static str), u64>,
}

impl<'t> RecordTables<'t> {
    pub fn open(write: &'t WriteTransaction) -> Result<Self, Failure> {
        let (records, keys) = (write.open_table(RECORDS)?, write.open_table(RECORD_KEYS)?);
        Ok(Self { records, keys, counts: write.open_table(RECORD_COUNTS)? })
    }

    /// Puts a record, and gives the one that it replaces.
    pub fn put(&mut self, record: &Record) -> Result<Option<Record>, Failure> {
        let (kind, id) = (record.kind.as_str(), record.id.as_str());
        let before = self.records.insert((kind, id), to_json(record)?.as_slice())?;
        let before: Option<Record> = before.map(|before| from_json(before.value())).transpose()?;
        for (index, key) in before.iter().flat_map(|before| &before.keys) {
            if !record.keys.iter().any(|kept| (&kept.0, &kept.1) == (index, key)) {
                self.keys.remove((kind, index.as_str(), key.as_str(), id))?;
                self.count((kind, index, key), |count| count.saturating_sub(1))?;
            }
        }
        for (index, key) in &record.keys {
            if self.keys.insert((kind, index.as_str(), key.as_str(), id), ())?.is_none() {
                self.count((kind, index, key), |count| count + 1)?;
            }
        }
        Ok(before)
    }

    fn count(
        &mut self,
        (kind, index, key): (&str, &str, &str),
        next: impl FnOnce(u64) -> u64,
    ) -> Result<(), Failure> {
        if !is_counted(index) {
            return Ok(());
        }
        let count = self.counts.get((kind, index, key))?.map_or(0, |count| count.value());
        self.counts.insert((kind, index, key), next(count))?;
        Ok(())
    }
}

/// The record of that kind and id.
pub fn record(read: &ReadTransaction, kind: &str, id: &str) -> Result<Option<Record>, Failure> {
    let records = match read.open_table(RECORDS) {
        // A store that was made before there was this table.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        records => records?,
    };
    records.get((kind, id))?.map(|record| from_json(record.value())).transpose()
}

/// The ids of the records that have a key, at most so many, after an id.
pub fn ids_with_key(
    read: &ReadTransaction,
    (kind, index, key): (&str, &str, &str),
    after: &str,
    limit: usize,
) -> Result<Vec<String>, Failure> {
    let keys = match read.open_table(RECORD_KEYS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        keys => keys?,
    };
    let mut ids = Vec::new();
    for row in keys.range((kind, index, key, after)..)? {
        let (found, _) = row?;
        let (found_kind, found_index, found_key, id) = found.value();
        if (found_kind, found_index, found_key) != (kind, index, key) || ids.len() >= limit {
            break;
        }
        if id != after || after.is_empty() {
            ids.push(id.to_owned());
        }
    }
    Ok(ids)
}

/// The ids of the last records that have a key, at most so many, the last first.
pub fn last_ids_with_key(
    read: &ReadTransaction,
    (kind, index, key): (&str, &str, &str),
    limit: usize,
) -> Result<Vec<String>, Failure> {
    let keys = match read.open_table(RECORD_KEYS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        keys => keys?,
    };
    // Nothing is between a key and the same key with a zero at its end.
    let after = format!("{key}\0");
    let range = keys.range((kind, index, key, "")..(kind, index, after.as_str(), ""))?;
    range.rev().take(limit).map(|row| Ok(row?.0.value().3.to_owned())).collect()
}

/// How many records have a key of a counted index.
pub fn count(read: &ReadTransaction, (kind, index, key): (&str, &str, &str)) -> Result<u64, Failure> {
    let counts = match read.open_table(RECORD_COUNTS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
        counts => counts?,
    };
    Ok(counts.get((kind, index, key))?.map_or(0, |count| count.value()))
}

/// The records that are not found by their keys, or are found by others, or are not counted rightly.
pub fn records_not_found(read: &ReadTransaction) -> Result<Vec<EntityName>, Failure> {
    type Key = (String, String, String, String);
    let records = match read.open_table(RECORDS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        records => records?,
    };
    let (mut expected, mut counts) = (BTreeSet::<Key>::new(), BTreeMap::new());
    for row in records.range::<(&str, &str)>(..)? {
        let Record { kind, id, keys, .. } = from_json(row?.1.value())?;
        for (index, key) in keys {
            if expected.insert((kind.clone(), index.clone(), key.clone(), id.clone())) && is_counted(&index) {
                *counts.entry((kind.clone(), index, key)).or_insert(0_u64) += 1;
            }
        }
    }
    let mut found = BTreeSet::<Key>::new();
    for row in read.open_table(RECORD_KEYS)?.range::<(&str, &str, &str, &str)>(..)? {
        let row = row?;
        let (kind, index, key, id) = row.0.value();
        found.insert((kind.into(), index.into(), key.into(), id.into()));
    }
    let name = |kind: &str, id: &str| EntityName { entity_type: format!("@{kind}"), id: id.to_owned() };
    let mut wrong: BTreeSet<EntityName> =
        expected.symmetric_difference(&found).map(|(kind, _, _, id)| name(kind, id)).collect();
    for row in read.open_table(RECORD_COUNTS)?.range::<(&str, &str, &str)>(..)? {
        let (key, count) = row?;
        let (kind, index, of) = key.value();
        let counted = counts.remove(&(kind.to_owned(), index.to_owned(), of.to_owned())).unwrap_or_default();
        if counted != count.value() {
            wrong.insert(name(kind, of));
        }
    }
    wrong.extend(counts.into_keys().map(|(kind, _, of)| name(&kind, &of)));
    Ok(wrong.into_iter().collect())
}

/// The names and digests of all records.
pub fn digests(read: &ReadTransaction) -> Result<Vec<(EntityName, Digest)>, Failure> {
    let records = match read.open_table(RECORDS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        records => records?,
    };
    let mut found = Vec::new();
    for row in records.range::<(&str, &str)>(..)? {
        let record: Record = from_json(row?.1.value())?;
        found.push((record.name(), record.digest()?));
    }
    Ok(found)
}
