//! Appending to the log: edits change the entities, and become rows of a transaction.

use std::time::SystemTime;

use mandate_core::digest::{Digest, SetDigest};
use redb::{Table, WriteTransaction};

use crate::edit::{Edit, NamedEdit};
use crate::entity_name::entity_digest;
use crate::file::{ENTITIES, Failure, LOG, MARKS, REQUESTS};
use crate::marks::{HEAD, Head, from_json, mark, to_json};
use crate::record_tables::RecordTables;
use crate::requests::remember;
use crate::transaction::{Hex, NewTransaction, Transaction, time_text, transaction_hash};

/// Edits are kept in rows of about so many bytes: with the last edit, a row should fit a page of the database, whose
/// sizes are powers of two.
const ROW_BYTES: usize = 60 * 1024;

/// The tables while something is appended.
pub struct Tables<'t> {
    entities: Table<'t, (&'static str, &'static str), (u64, &'static str)>,
    log: Table<'t, (u64, u32), &'static [u8]>,
    requests: Table<'t, (&'static str, &'static str), u64>,
    /// Opened with the first record: most transactions have none.
    records: Option<RecordTables<'t>>,
    write: &'t WriteTransaction,
    pub marks: Table<'t, &'static str, &'static [u8]>,
    pub head: Head,
}

impl<'t> Tables<'t> {
    pub fn open(write: &'t WriteTransaction) -> Result<Self, Failure> {
        let marks = write.open_table(MARKS)?;
        let head = mark(&marks, HEAD)?;
        let (entities, log) = (write.open_table(ENTITIES)?, write.open_table(LOG)?);
        let requests = write.open_table(REQUESTS)?;
        Ok(Self { entities, log, requests, records: None, write, marks, head })
    }

    /// Appends a transaction of these edits, besides its own: there may be millions.
    pub fn append(
        &mut self,
        new: NewTransaction,
        more_edits: impl IntoIterator<Item = NamedEdit>,
    ) -> Result<(), Failure> {
        let NewTransaction { author, request, created, edits } = new;
        let sequence = self.head.sequence + 1;
        let mut rows = EditRows { next: Vec::new(), count: 0, digest: EditsDigest::default() };
        let (mut sum, mut count) = (SetDigest::from_bytes(&self.head.sum), 0);
        for edit in edits.into_iter().chain(more_edits) {
            self.apply(sequence, &edit, &mut sum)?;
            rows.add(&edit.edit, sequence, &mut self.log)?;
            count += 1;
        }
        rows.end(sequence, &mut self.log)?;
        if let Some(request) = &request {
            remember(&mut self.requests, &author.caller, request, sequence)?;
        }
        let transaction = Transaction {
            sequence,
            epoch: self.head.epoch,
            previous: self.head.hash.clone(),
            time: time_text(SystemTime::now()),
            author,
            request,
            created,
            edits: count,
            edits_digest: rows.digest.hex(),
            entities: Hex::of_set(&sum),
        };
        let text = to_json(&transaction)?;
        self.log.insert((sequence, 0), text.as_slice())?;
        self.head =
            Head { sequence, hash: transaction_hash(&text), sum: sum.to_bytes(), ..self.head.clone() };
        Ok(())
    }

    fn apply(&mut self, sequence: u64, edit: &NamedEdit, sum: &mut SetDigest) -> Result<(), Failure> {
        let NamedEdit { name, edit } = edit;
        let before = match edit {
            Edit::Put(entity) => {
                sum.add(&entity_digest(name, entity.get()));
                self.entities.insert(name.as_key(), (sequence, entity.get()))?
            }
            Edit::Delete(_) => self.entities.remove(name.as_key())?,
            Edit::Record(record) => {
                sum.add(&record.digest()?);
                let tables = match &mut self.records {
                    Some(tables) => tables,
                    records => records.insert(RecordTables::open(self.write)?),
                };
                if let Some(before) = tables.put(record)? {
                    sum.remove(&before.digest()?);
                }
                return Ok(());
            }
        };
        match before {
            Some(before) => sum.remove(&entity_digest(name, before.value().1)),
            None if matches!(edit, Edit::Delete(_)) => {
                return Err(Failure::NotThere(format!("{}::\"{}\"", name.entity_type, name.id)));
            }
            None => {}
        }
        Ok(())
    }
}

/// Collects edits in rows of the log.
struct EditRows {
    next: Vec<u8>,
    count: u32,
    digest: EditsDigest,
}

impl EditRows {
    fn add(
        &mut self,
        edit: &Edit,
        sequence: u64,
        log: &mut Table<'_, (u64, u32), &'static [u8]>,
    ) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.next, edit).map_err(|error| Failure::json(&error))?;
        self.next.push(b'\n');
        if self.next.len() >= ROW_BYTES { self.end(sequence, log) } else { Ok(()) }
    }

    fn end(&mut self, sequence: u64, log: &mut Table<'_, (u64, u32), &'static [u8]>) -> Result<(), Failure> {
        if !self.next.is_empty() {
            self.count += 1;
            self.digest.add(&self.next);
            log.insert((sequence, self.count), self.next.as_slice())?;
            self.next.clear();
        }
        Ok(())
    }
}

/// The digest of the rows of edits: each row is hashed with the digest of those before.
pub struct EditsDigest(Digest);

impl Default for EditsDigest {
    fn default() -> Self {
        Self(Digest::of([]))
    }
}

impl EditsDigest {
    pub fn add(&mut self, row: &[u8]) {
        self.0 = Digest::of([self.0.as_bytes(), row]);
    }

    pub fn hex(&self) -> Hex {
        self.0.into()
    }
}

pub fn edits_of_row(row: &[u8]) -> Result<Vec<Edit>, Failure> {
    row.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(from_json).collect()
}
