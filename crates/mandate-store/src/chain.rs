//! The chain of the transactions of a log: each follows the one before, and its edits are those that were appended.

use std::collections::HashMap;
use std::fmt;

use mandate_core::digest::{Digest, SetDigest};

use crate::append::{EditsDigest, edits_of_row};
use crate::edit::{Edit, NamedEdit};
use crate::entity_name::{EntityName, entity_digest};
use crate::marks::{Head, from_json};
use crate::requests::RequestName;
use crate::transaction::{Hex, Transaction, transaction_hash};

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogError {
    pub place: LogPlace,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    File,
    Transaction(u64),
    Entity(EntityName),
    Head,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            LogPlace::File => f.write_str("the file: ")?,
            LogPlace::Transaction(sequence) => write!(f, "transaction {sequence}: ")?,
            LogPlace::Entity(name) if name.entity_type.starts_with('@') => {
                write!(f, "record {} {}: ", name.entity_type.trim_start_matches('@'), name.id)?;
            }
            LogPlace::Entity(name) => write!(f, "entity {}::\"{}\": ", name.entity_type, name.id)?,
            LogPlace::Head => f.write_str("the end of the log: ")?,
        }
        f.write_str(&self.reason)
    }
}

/// The log up to some row. Nothing can be said about what comes after the first error.
pub struct Chain {
    /// What the next transaction has to follow.
    before: Head,
    open: Option<OpenTransaction>,
    /// What the transactions wrote last under each name; `None` if they deleted it.
    pub written: HashMap<EntityName, Option<Digest>>,
    /// The sum of all entities, if the log is complete.
    sum: SetDigest,
    pub complete: bool,
    pub transactions: u64,
    /// The first transaction of each request that has a key.
    pub requests: HashMap<RequestName, u64>,
}

/// The transaction whose edits are being read.
struct OpenTransaction {
    transaction: Transaction,
    digest: EditsDigest,
    edits: u64,
}

impl Chain {
    pub fn after(base: Head) -> Self {
        Self {
            complete: base.sequence == 0,
            before: base,
            open: None,
            written: HashMap::new(),
            sum: SetDigest::default(),
            transactions: 0,
            requests: HashMap::new(),
        }
    }

    pub fn row(&mut self, (sequence, row): (u64, u32), bytes: &[u8]) -> Result<(), LogError> {
        if row == 0 {
            self.end_of_transaction()?;
            return self.begin(sequence, bytes);
        }
        let open = self.open.as_mut().filter(|open| open.transaction.sequence == sequence);
        let Some(open) = open else { return wrong(sequence, "its edits are there, and it is not") };
        open.digest.add(bytes);
        let edits = edits_of_row(bytes)
            .ok()
            .and_then(|edits| edits.into_iter().map(NamedEdit::new).collect::<Result<Vec<_>, _>>().ok());
        let Some(edits) = edits else { return wrong(sequence, "its edits cannot be read") };
        open.edits += edits.len() as u64;
        for edit in edits {
            self.edit(edit);
        }
        Ok(())
    }

    fn begin(&mut self, sequence: u64, bytes: &[u8]) -> Result<(), LogError> {
        let next = self.before.sequence + 1;
        if sequence != next {
            return wrong(next, format!("it is missing: after {} follows {sequence}", next - 1));
        }
        let Ok(transaction) = from_json::<Transaction>(bytes) else {
            return wrong(sequence, "it cannot be read");
        };
        if (transaction.sequence, transaction.epoch) != (sequence, self.before.epoch) {
            return wrong(sequence, format!("in its place is transaction {}", transaction.position()));
        }
        if transaction.previous != self.before.hash {
            return wrong(sequence, format!("it does not follow transaction {} as that is now", next - 1));
        }
        self.transactions += 1;
        if let Some(request) = &transaction.request {
            let name = (transaction.author.caller.clone(), request.key.clone());
            self.requests.entry(name).or_insert(sequence);
        }
        self.before = Head { sequence, hash: transaction_hash(bytes), ..self.before.clone() };
        self.open = Some(OpenTransaction { transaction, digest: EditsDigest::default(), edits: 0 });
        Ok(())
    }

    fn edit(&mut self, NamedEdit { name, edit }: NamedEdit) {
        let digest = match edit {
            Edit::Put(entity) => Some(entity_digest(&name, entity.get())),
            Edit::Delete(_) => None,
            Edit::Record(record) => record.digest().ok(),
        };
        if let Some(digest) = &digest {
            self.sum.add(digest);
        }
        if let Some(Some(before)) = self.written.insert(name, digest) {
            self.sum.remove(&before);
        }
    }

    fn end_of_transaction(&mut self) -> Result<(), LogError> {
        let Some(OpenTransaction { transaction, digest, edits }) = self.open.take() else { return Ok(()) };
        if transaction.edits_digest != digest.hex() || transaction.edits != edits {
            return wrong(transaction.sequence, "its edits are not those that were appended");
        }
        if self.complete && transaction.entities != Hex::of_set(&self.sum) {
            return wrong(transaction.sequence, "its edits do not lead to the entities that it names");
        }
        Ok(())
    }

    pub fn end(&mut self, head: &Head) -> Result<(), LogError> {
        self.end_of_transaction()?;
        let last = self.before.sequence;
        let reason = if last != head.sequence {
            format!("it is transaction {last}, and transaction {} was appended", head.sequence)
        } else if self.before.hash != head.hash {
            format!("transaction {last} is not the one that was appended")
        } else {
            return Ok(());
        };
        Err(LogError { place: LogPlace::Head, reason })
    }
}

fn wrong(sequence: u64, reason: impl Into<String>) -> Result<(), LogError> {
    Err(LogError { place: LogPlace::Transaction(sequence), reason: reason.into() })
}
