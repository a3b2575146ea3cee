//! The file of a store: its tables, how it is opened, and what redb's errors mean to people.

use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition};

use crate::error::StoreError;
use crate::position::LogPosition;

/// The format that this version writes and reads. Another format has another number.
pub const FORMAT: u64 = 1;

/// How much of the file redb keeps in memory, in bytes. Entities are in memory anyway.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The format of the file, under [`FORMAT_KEY`].
pub const FORMAT_TABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
pub const FORMAT_KEY: &str = "format";

/// Where the log begins and ends, under `base` and `head`.
pub const MARKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("marks");

/// By type and id: the sequence of the last change, and the entity in Cedar's JSON format.
pub const ENTITIES: TableDefinition<'_, (&str, &str), (u64, &str)> = TableDefinition::new("entities");

/// By sequence and row: row 0 is the transaction, the others are its edits, one a line.
pub const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");

/// An error inside of the store, which does not know its path yet.
#[derive(Debug)]
pub enum Failure {
    Redb(redb::Error),
    /// What the file holds was not written by this program.
    Damaged(String),
    Conflict {
        expected: LogPosition,
        at: LogPosition,
    },
    NotThere(String),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl Failure {
    pub fn json(error: &serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }

    /// As an error for people. `action` is what was to be done with the store, such as `read`.
    pub fn at(self, action: &'static str, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Damaged(reason) | Self::Redb(redb::Error::Corrupted(reason)) => {
                StoreError::Damaged { path, reason }
            }
            Self::Redb(error) => StoreError::Io { action, path, reason: error.to_string() },
            Self::Conflict { expected, at } => StoreError::Conflict { expected, at },
            Self::NotThere(name) => StoreError::NotThere(name),
        }
    }
}

/// What is checked when a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The beginning. What was damaged since is noticed when it is read, or not.
    Header,
    /// The checksum of every page, which reads the whole file.
    EveryPage,
}

/// Opens a store that is there.
///
/// # Errors
/// It is missing, in use, of another format, not a store, or the system refuses.
pub fn open(path: &Path, check: Check) -> Result<Database, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    let database = builder(check).open(path).map_err(|error| open_error(error, path))?;
    let format = read_format(&database).map_err(|failure| failure.at("read", path))?;
    match format {
        Some(FORMAT) => Ok(database),
        Some(found) => Err(StoreError::Format { path: path.to_owned(), found }),
        None => Err(not_a_store(path, "it is a database of another program".to_owned())),
    }
}

/// Opens or makes the file of a store. A new one has no tables yet.
///
/// # Errors
/// As for [`open`].
pub fn create(path: &Path) -> Result<Database, StoreError> {
    builder(Check::Header).create(path).map_err(|error| open_error(error, path))
}

/// A database on another storage than a file.
#[cfg(test)]
pub fn with_backend(
    path: &Path,
    backend: impl redb::StorageBackend,
    check: Check,
) -> Result<Database, StoreError> {
    builder(check).create_with_backend(backend).map_err(|error| open_error(error, path))
}

fn builder(check: Check) -> Builder {
    let mut builder = Builder::new();
    builder.set_check_integrity_on_open(check == Check::EveryPage);
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn read_format(database: &Database) -> Result<Option<u64>, Failure> {
    let read = database.begin_read()?;
    match read.open_table(FORMAT_TABLE) {
        Ok(table) => Ok(table.get(FORMAT_KEY)?.map(|format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_error(error: DatabaseError, path: &Path) -> StoreError {
    let path: PathBuf = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path),
        DatabaseError::UpgradeRequired(found) => {
            not_a_store(&path, format!("its file has version {found} of redb"))
        }
        DatabaseError::Storage(StorageError::Corrupted(reason)) => not_a_store(&path, reason),
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            not_a_store(&path, error.to_string())
        }
        error => StoreError::Io { action: "open", path, reason: error.to_string() },
    }
}

fn not_a_store(path: &Path, reason: String) -> StoreError {
    StoreError::NotAStore { path: path.to_owned(), reason }
}
