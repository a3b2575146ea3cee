//! The file of a store: its tables, how it is opened, and what redb's errors mean to people.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
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

/// By caller and key: the sequence of the first transaction that the request made.
pub const REQUESTS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("requests");

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
    /// The file could not be opened again after an error.
    Closed,
    /// The path leads to another file than the one that is open, or to none.
    Replaced,
}

/// Tells one file from another, whatever their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The file that a path leads to, if there is one.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl Failure {
    /// Whether the disk failed, so that the file has to be opened again.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, Self::Closed | Self::Redb(redb::Error::Io(_) | redb::Error::PreviousIo))
    }

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
            Self::Closed => {
                let reason = "it is closed after an error, and is opened again when it can be".to_owned();
                StoreError::Io { action, path, reason }
            }
            Self::Replaced => StoreError::Replaced(path),
        }
    }
}

/// Opens a store that is there.
///
/// # Errors
/// It is missing, in use, damaged, of another format, not a store, or the system refuses.
pub fn open(path: &Path) -> Result<Database, StoreError> {
    let database = builder().open(path).map_err(|error| open_error(error, path))?;
    match contents(&database, path)? {
        Contents::Store => Ok(database),
        Contents::Nothing => Err(not_a_store(path, "it is empty".to_owned())),
    }
}

/// Writes a file once more as it can be read, and waits until it is on the disk. After a failed write, a system may
/// count pages as written that are only in its memory.
///
/// # Errors
/// It cannot be read or written.
pub fn write_again(path: &Path) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let file = File::options().read(true).write(true).open(path)?;
        let (mut part, mut offset) = (vec![0; 1024 * 1024], 0);
        loop {
            let read = file.read_at(&mut part, offset)?;
            if read == 0 {
                return file.sync_all();
            }
            file.write_all_at(part.get(..read).unwrap_or_default(), offset)?;
            offset += read as u64;
        }
    };
    write().map_err(|error| StoreError::Io {
        action: "write to",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Opens the file of a store, or makes one, of which only its owner can read anything.
///
/// # Errors
/// As for [`open`], or no file can be made there.
pub fn create(path: &Path) -> Result<(Database, Contents), StoreError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| match error.kind() {
        // `open_error` would say that there is no store, and nobody asked for one that is there.
        ErrorKind::NotFound => {
            let reason = "its folder does not exist".to_owned();
            StoreError::Io { action: "make", path: path.to_owned(), reason }
        }
        _ => open_error(error.into(), path),
    })?;
    let backend = FileBackend::new(file).map_err(|error| open_error(error, path))?;
    let database = builder().create_with_backend(backend).map_err(|error| open_error(error, path))?;
    // A power failure must not lose the name of the file.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| open_error(error.into(), path))?;
    let contents = contents(&database, path)?;
    Ok((database, contents))
}

/// A database on another storage than a file.
#[cfg(test)]
pub fn with_backend(path: &Path, backend: impl redb::StorageBackend) -> Result<Database, StoreError> {
    builder().create_with_backend(backend).map_err(|error| open_error(error, path))
}

/// Checks every page when it opens a file: redb may panic when it reads a damaged one later.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_check_integrity_on_open(true).set_cache_size(CACHE_BYTES);
    builder
}

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// No tables: making the store was not finished.
    Nothing,
    Store,
}

fn contents(database: &Database, path: &Path) -> Result<Contents, StoreError> {
    let read = || -> Result<(Option<u64>, bool), Failure> {
        let read = database.begin_read()?;
        match read.open_table(FORMAT_TABLE) {
            Ok(table) => Ok((table.get(FORMAT_KEY)?.map(|format| format.value()), false)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok((None, read.list_tables()?.next().is_none())),
            Err(error) => Err(error.into()),
        }
    };
    match read().map_err(|failure| failure.at("read", path))? {
        (Some(FORMAT), _) => Ok(Contents::Store),
        (Some(found), _) => Err(StoreError::Format { path: path.to_owned(), found }),
        (None, true) => Ok(Contents::Nothing),
        (None, false) => Err(not_a_store(path, "it is a database of another program".to_owned())),
    }
}

fn open_error(error: DatabaseError, path: &Path) -> StoreError {
    let path: PathBuf = path.to_owned();
    match error {
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            StoreError::Missing(path)
        }
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path),
        DatabaseError::UpgradeRequired(found) => {
            not_a_store(&path, format!("its file has version {found} of redb"))
        }
        DatabaseError::Storage(StorageError::Corrupted(reason)) => not_a_store(&path, reason),
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            not_a_store(&path, error.to_string())
        }
        error => StoreError::Io { action: "open", path, reason: error.to_string() },
    }
}

fn not_a_store(path: &Path, reason: String) -> StoreError {
    StoreError::NotAStore { path: path.to_owned(), reason }
}
