//! A log that changes are committed to, one after the other. The store of this machine is one.

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;
use std::sync::Arc;

use crate::edit::Edit;
use crate::entity_name::EntityName;
use crate::error::StoreError;
use crate::marks::Head;
use crate::position::LogPosition;
use crate::record::Record;
use crate::record_tables;
use crate::store::{Store, StoredEntity};
use crate::transaction::{NewTransaction, Transaction};

/// Where transactions are appended. Others may append, too, so that an append can come too late.
pub trait TransactionLog: Send + Sync {
    /// The end of the log. Makes a log usable again that an error had closed.
    ///
    /// # Errors
    /// It cannot be read.
    fn head(&self) -> Result<Head, StoreError>;

    /// Appends transactions, all of them or none. They are not lost any more when this returns.
    ///
    /// # Errors
    /// See [`AppendError`].
    fn append(&self, expected: LogPosition, transactions: Vec<NewTransaction>) -> Result<Head, AppendError>;

    /// What was committed after a position, as one change, and the end that it leads to.
    ///
    /// # Errors
    /// It cannot be read, or not by this schema.
    fn changes_after(
        &self,
        position: LogPosition,
        schema: &Schema,
    ) -> Result<(EntityChanges, Head), Diagnostics>;

    /// The transactions that a request of a caller made; none if the log has no request with this key.
    ///
    /// # Errors
    /// The log cannot be read.
    fn request(&self, caller: &str, key: &str) -> Result<Vec<Transaction>, StoreError>;

    /// The entity of that name, with its version.
    ///
    /// # Errors
    /// The log cannot be read.
    fn entity(&self, name: &EntityName) -> Result<Option<StoredEntity>, StoreError>;

    /// The record of that kind and id.
    ///
    /// # Errors
    /// The log cannot be read.
    fn record(&self, kind: &str, id: &str) -> Result<Option<Record>, StoreError>;

    /// The ids of at most so many records that have a key of an index, in order, after this id.
    ///
    /// # Errors
    /// The log cannot be read.
    fn records_with_key(
        &self,
        key: RecordKey<'_>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// The ids of the last records that have a key of an index, the last first.
    ///
    /// # Errors
    /// The log cannot be read.
    fn last_records_with_key(&self, key: RecordKey<'_>, limit: usize) -> Result<Vec<String>, StoreError>;

    /// How many records have a key of an index whose name begins with `#`.
    ///
    /// # Errors
    /// The log cannot be read.
    fn count_with_key(&self, key: RecordKey<'_>) -> Result<u64, StoreError>;
}

/// Where records are found: by a key of an index of their kind.
#[derive(Debug, Clone, Copy)]
pub struct RecordKey<'k> {
    pub kind: &'k str,
    pub index: &'k str,
    pub key: &'k str,
}

/// Why transactions were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Something else was appended before, and nothing of these.
    #[error("something else was committed before: the log is at {0}")]
    Conflict(LogPosition),
    /// Nothing was appended.
    #[error(transparent)]
    NotAppended(StoreError),
    /// Nobody can tell whether they were appended, until the log can be read again.
    #[error(transparent)]
    Unknown(StoreError),
}

impl TransactionLog for Store {
    fn head(&self) -> Result<Head, StoreError> {
        self.reopen_if_failed()?;
        self.checked_head()
    }

    fn append(&self, expected: LogPosition, transactions: Vec<NewTransaction>) -> Result<Head, AppendError> {
        self.reopen_if_failed().map_err(AppendError::NotAppended)?;
        let mut attempted = None;
        let error = match Self::append(self, expected, transactions, &mut attempted) {
            Ok(head) => return Ok(head),
            Err(StoreError::Conflict { at, .. }) => return Err(AppendError::Conflict(at)),
            Err(error @ StoreError::Io { .. }) => error,
            Err(error) => return Err(AppendError::NotAppended(error)),
        };
        // The error may have come before the commit or after it. The file knows; another head has another hash.
        match self.reopen().and_then(|()| Self::head(self)) {
            Err(_) => Err(AppendError::Unknown(error)),
            Ok(head) if Some(&head) == attempted.as_ref() => Ok(head),
            Ok(head) if head.position() == expected => Err(AppendError::NotAppended(error)),
            Ok(head) => Err(AppendError::Conflict(head.position())),
        }
    }

    fn changes_after(
        &self,
        position: LogPosition,
        schema: &Schema,
    ) -> Result<(EntityChanges, Head), Diagnostics> {
        let (transactions, head) =
            self.edits_after(position).map_err(|error| Diagnostic::error(error.to_string()))?;
        let mut changes = EntityChanges::default();
        for (sequence, edits) in transactions {
            let name = format!("transaction {sequence}");
            add_edits(&mut changes, edits, (self.path().display().to_string(), name), schema)?;
        }
        Ok((changes, head))
    }

    fn request(&self, caller: &str, key: &str) -> Result<Vec<Transaction>, StoreError> {
        self.reopen_if_failed()?;
        Self::request(self, caller, key)
    }

    fn entity(&self, name: &EntityName) -> Result<Option<StoredEntity>, StoreError> {
        self.reopen_if_failed()?;
        Self::entity(self, name)
    }

    fn record(&self, kind: &str, id: &str) -> Result<Option<Record>, StoreError> {
        self.reopen_if_failed()?;
        self.read(|read| record_tables::record(read, kind, id))
    }

    fn records_with_key(
        &self,
        RecordKey { kind, index, key }: RecordKey<'_>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.reopen_if_failed()?;
        self.read(|read| record_tables::ids_with_key(read, (kind, index, key), after, limit))
    }

    fn last_records_with_key(
        &self,
        RecordKey { kind, index, key }: RecordKey<'_>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.reopen_if_failed()?;
        self.read(|read| record_tables::last_ids_with_key(read, (kind, index, key), limit))
    }

    fn count_with_key(&self, RecordKey { kind, index, key }: RecordKey<'_>) -> Result<u64, StoreError> {
        self.reopen_if_failed()?;
        self.read(|read| record_tables::count(read, (kind, index, key)))
    }
}

/// Adds later edits to a change.
fn add_edits(
    changes: &mut EntityChanges,
    edits: Vec<Edit>,
    (path, name): (String, String),
    schema: &Schema,
) -> Result<(), Diagnostics> {
    for edit in edits {
        match edit {
            Edit::Put(entity) => {
                let (path, name) = (path.clone(), name.clone());
                let text = Arc::new(SourceText { path, name, text: format!("[{}]", entity.get()) });
                for upsert in parse_entity_file(&text, Origin::STORE, schema, &LoadProgress::default())? {
                    changes.upserts.retain(|before| before.entity.uid() != upsert.entity.uid());
                    changes.upserts.push(upsert);
                }
            }
            Edit::Delete(name) => {
                let entity_type = schema.entity_type_by_full_name(&name.entity_type).ok_or_else(|| {
                    let name = &name.entity_type;
                    Diagnostic::error(format!("the log deletes a `{name}`, and the schema has no such type"))
                })?;
                let uid = mandate_core::schema::EntityUid { entity_type, id: name.id.into() };
                changes.upserts.retain(|before| before.entity.uid() != uid.as_uid_ref());
                changes.removals.push(uid);
            }
            Edit::Record(_) => {}
        }
    }
    Ok(())
}
