//! A store: the entities by name, and the log of the transactions that made them.
//!
//! A transaction is in the file with all its edits and the entities as they are afterwards, or not at all. The log is
//! append-only, but for `compact`, which forgets its beginning.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};

use crate::append::{Tables, edits_of_row};
use crate::edit::{Edit, NamedEdit};
use crate::entity_name::EntityName;
use crate::error::StoreError;
use crate::file::{
    self, Contents, ENTITIES, FORMAT, FORMAT_KEY, FORMAT_TABLE, Failure, FileIdentity, LOG, MARKS, REQUESTS,
};
use crate::marks::{BASE, HEAD, Head, from_json, mark, to_json};
use crate::position::{Epoch, LogPosition};
use crate::requests::transactions_of;
use crate::transaction::{Author, Hex, NewTransaction, Transaction, transaction_hash};

/// An entity of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntity {
    pub name: EntityName,
    /// The sequence of the transaction that changed it last.
    pub version: u64,
    /// In Cedar's JSON format.
    pub text: String,
}

/// An open store. Only one process has it open.
pub struct Store {
    path: PathBuf,
    /// The file that was opened first, if the store is one.
    file: Option<FileIdentity>,
    /// `None` once it could not be opened again.
    database: RwLock<Option<Database>>,
    /// Whether the disk failed since the file was opened. The database refuses everything then.
    failed: AtomicBool,
}

/// What a log has after a position: the sequences of transactions with their edits, and its end.
pub type LogTail = (Vec<(u64, Vec<Edit>)>, Head);

impl Store {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// It is missing or damaged, another process uses it, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::new(path, file::open(path)?, FileIdentity::of(path)))
    }

    fn new(path: &Path, database: Database, file: Option<FileIdentity>) -> Self {
        let (path, database) = (path.to_owned(), RwLock::new(Some(database)));
        Self { path, file, database, failed: AtomicBool::new(false) }
    }

    /// Opens a store, or makes an empty one with an epoch of its own.
    ///
    /// # Errors
    /// As for [`Self::open`], or no file can be made there.
    pub fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        let (database, contents) = file::create(path)?;
        let store = Self::new(path, database, FileIdentity::of(path));
        if contents == Contents::Nothing {
            store.initialize().map_err(|failure| failure.at("make", path))?;
        }
        Ok(store)
    }

    /// A store on another storage than a file.
    #[cfg(test)]
    pub fn with_backend(path: &Path, backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let is_new = backend.len().is_ok_and(|length| length == 0);
        let store = Self::new(path, file::with_backend(path, backend)?, None);
        if is_new {
            store.initialize().map_err(|failure| failure.at("make", path))?;
        }
        Ok(store)
    }

    fn initialize(&self) -> Result<(), Failure> {
        let none = Head { epoch: Epoch::random(), sequence: 0, hash: Hex::zeros(), sum: [0; 32] };
        self.with_database(|database| {
            let write = database.begin_write()?;
            write.open_table(FORMAT_TABLE)?.insert(FORMAT_KEY, FORMAT)?;
            write.open_table(ENTITIES)?;
            write.open_table(LOG)?;
            write.open_table(REQUESTS)?;
            let mut marks = write.open_table(MARKS)?;
            for mark in [BASE, HEAD] {
                marks.insert(mark, to_json(&none)?.as_slice())?;
            }
            drop(marks);
            Ok(write.commit()?)
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file again, after an error of the disk. What can be read of it then is on the disk: a system may
    /// forget to write what it could not write once, and still show it.
    ///
    /// # Errors
    /// It cannot be written or opened; it can be tried again later.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The file is locked until it is closed.
        *open = None;
        self.check_file().map_err(|failure| failure.at("use", &self.path))?;
        file::write_again(&self.path)?;
        *open = Some(file::open(&self.path)?);
        self.failed.store(false, Ordering::Release);
        Ok(())
    }

    /// Opens the file again, if the disk has failed.
    ///
    /// # Errors
    /// As for [`Self::reopen`].
    pub fn reopen_if_failed(&self) -> Result<(), StoreError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.reopen()
    }

    /// Checks that the path still leads to the file that was opened: what is written to a file without a name is lost
    /// with the process.
    fn check_file(&self) -> Result<(), Failure> {
        if self.file.is_some() && self.file != FileIdentity::of(&self.path) {
            return Err(Failure::Replaced);
        }
        Ok(())
    }

    /// Runs on the database, which needs no other lock meanwhile: only [`Self::reopen`] takes it alone.
    fn with_database<T>(&self, run: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let open = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let done = open.as_ref().ok_or(Failure::Closed).and_then(run);
        if done.as_ref().is_err_and(Failure::is_of_disk) {
            self.failed.store(true, Ordering::Release);
        }
        done
    }

    /// Runs on the database alone.
    pub(crate) fn with_database_mut<T>(
        &mut self,
        run: impl FnOnce(&mut Database) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let open = self.database.get_mut().unwrap_or_else(PoisonError::into_inner);
        run(open.as_mut().ok_or(Failure::Closed)?)
    }

    /// The end of the log of a file that is still in its place.
    ///
    /// # Errors
    /// The store cannot be read, or its file was moved, removed or replaced.
    pub fn checked_head(&self) -> Result<Head, StoreError> {
        self.check_file().map_err(|failure| failure.at("use", &self.path))?;
        self.head()
    }

    /// The end of the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        self.read(|read| mark(&read.open_table(MARKS)?, HEAD))
    }

    /// What came before the first transaction that the log still has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn base(&self) -> Result<Head, StoreError> {
        self.read(|read| mark(&read.open_table(MARKS)?, BASE))
    }

    /// The entity of that name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn entity(&self, name: &EntityName) -> Result<Option<StoredEntity>, StoreError> {
        self.read(|read| {
            let entity = read.open_table(ENTITIES)?.get(name.as_key())?;
            Ok(entity.map(|entity| {
                let (version, text) = entity.value();
                StoredEntity { name: name.clone(), version, text: text.to_owned() }
            }))
        })
    }

    /// Calls `found` with each entity in Cedar's JSON format, in the order of names, and gives the position at which they
    /// are so.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn each_text(&self, mut found: impl FnMut(&str)) -> Result<Head, StoreError> {
        self.read(|read| {
            for row in read.open_table(ENTITIES)?.range::<(&str, &str)>(..)? {
                found(row?.1.value().1);
            }
            mark(&read.open_table(MARKS)?, HEAD)
        })
    }

    /// The first transaction after a sequence that the log still has; `None` at its end.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn transaction_after(&self, sequence: u64) -> Result<Option<Transaction>, StoreError> {
        self.read(|read| {
            let base = mark(&read.open_table(MARKS)?, BASE)?;
            let next = sequence.max(base.sequence).saturating_add(1);
            let text = read.open_table(LOG)?.get((next, 0))?;
            text.map(|text| from_json(text.value())).transpose()
        })
    }

    /// Calls `found` for each edit of a transaction, in their order: there may be millions.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn each_edit(&self, sequence: u64, mut found: impl FnMut(Edit)) -> Result<(), StoreError> {
        self.read(|read| {
            for row in read.open_table(LOG)?.range((sequence, 1)..=(sequence, u32::MAX))? {
                edits_of_row(row?.1.value())?.into_iter().for_each(&mut found);
            }
            Ok(())
        })
    }

    /// The edits of all transactions after a position, and the end that they lead to.
    ///
    /// # Errors
    /// The store cannot be read, or its log does not continue the position: it is another one, or an older copy of it,
    /// or has forgotten what came next.
    pub fn edits_after(&self, position: LogPosition) -> Result<LogTail, StoreError> {
        let found = self.read(|read| {
            let marks = read.open_table(MARKS)?;
            let (base, head) = (mark(&marks, BASE)?, mark(&marks, HEAD)?);
            let continues = (base.sequence..=head.sequence).contains(&position.sequence);
            if head.epoch != position.epoch || !continues {
                return Ok(Err(head.position()));
            }
            let mut transactions = Vec::new();
            for sequence in position.sequence + 1..=head.sequence {
                let mut edits = Vec::new();
                for row in read.open_table(LOG)?.range((sequence, 1)..=(sequence, u32::MAX))? {
                    edits.extend(edits_of_row(row?.1.value())?);
                }
                transactions.push((sequence, edits));
            }
            Ok(Ok((transactions, head)))
        })?;
        found.map_err(|at| StoreError::OtherLog { path: self.path.clone(), at, position })
    }

    /// The hash of the transaction at a position; `None` if the log does not have it, or not any more.
    ///
    /// # Errors
    /// The store cannot be read, or the position is of another log.
    pub fn hash_at(&self, position: LogPosition) -> Result<Option<Hex>, StoreError> {
        let (base, head) = (self.base()?, self.head()?);
        if position.epoch != head.epoch {
            return Err(StoreError::OtherEpoch(position, head.position()));
        }
        if position.sequence == base.sequence {
            return Ok(Some(base.hash));
        }
        self.read(|read| {
            let transaction = read.open_table(LOG)?.get((position.sequence, 0))?;
            Ok(transaction.map(|transaction| transaction_hash(transaction.value())))
        })
    }

    /// The transactions that a request of a caller made; none if the log has no request with this key.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn request(&self, caller: &str, key: &str) -> Result<Vec<Transaction>, StoreError> {
        self.read(|read| transactions_of(read, caller, key))
    }

    /// Appends transactions, all of them or none. They are on the disk when this returns. If it fails, `attempted` is
    /// the end that the log has if they are in the file nevertheless.
    ///
    /// # Errors
    /// The log is not at the expected position, an entity to delete is not there, or the file cannot be written.
    pub fn append(
        &self,
        expected: LogPosition,
        transactions: Vec<NewTransaction>,
        attempted: &mut Option<Head>,
    ) -> Result<Head, StoreError> {
        let append = |tables: &mut Tables<'_>| {
            transactions.into_iter().try_for_each(|new| tables.append(new, std::iter::empty()))
        };
        self.write(expected, append, attempted)
    }

    /// Appends one transaction of any number of edits.
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub fn append_one(
        &self,
        expected: LogPosition,
        author: Author,
        edits: impl IntoIterator<Item = NamedEdit>,
    ) -> Result<Head, StoreError> {
        let new = NewTransaction { author, ..NewTransaction::default() };
        self.write(expected, |tables| tables.append(new, edits), &mut None)
    }

    /// Forgets the transactions up to a sequence. The entities stay, and so does the position.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget_until(&self, sequence: u64) -> Result<(), StoreError> {
        let forget = |database: &Database| -> Result<(), Failure> {
            let write = database.begin_write()?;
            {
                let mut log = write.open_table(LOG)?;
                let sequence = end_of_whole_requests(&log, sequence)?;
                let Some(last) = log.get((sequence, 0))?.map(|row| row.value().to_vec()) else {
                    return Ok(());
                };
                let mut marks = write.open_table(MARKS)?;
                let hash = transaction_hash(&last);
                let base = Head { sequence, hash, ..mark(&marks, BASE)? };
                marks.insert(BASE, to_json(&base)?.as_slice())?;
                log.retain_in(..=(sequence, u32::MAX), |_, _| false)?;
                write.open_table(REQUESTS)?.retain(|_, first| first > sequence)?;
            }
            Ok(write.commit()?)
        };
        self.with_database(forget).map_err(|failure| failure.at("write to", &self.path))
    }

    /// Gives space that is not used any more back to the file system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn shrink(&mut self) -> Result<(), StoreError> {
        let compacted = self.with_database_mut(|database| Ok(database.compact()?));
        compacted.map(|_| ()).map_err(|failure| failure.at("compact", &self.path))
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let found = self.with_database(|database| read(&database.begin_read()?));
        found.map_err(|failure| failure.at("read", &self.path))
    }

    fn write(
        &self,
        expected: LogPosition,
        append: impl FnOnce(&mut Tables<'_>) -> Result<(), Failure>,
        attempted: &mut Option<Head>,
    ) -> Result<Head, StoreError> {
        let write = |database: &Database| -> Result<Head, Failure> {
            self.check_file()?;
            let write = database.begin_write()?;
            let head = {
                let mut tables = Tables::open(&write)?;
                if tables.head.position() != expected {
                    return Err(Failure::Conflict { expected, at: tables.head.position() });
                }
                append(&mut tables)?;
                tables.marks.insert(HEAD, to_json(&tables.head)?.as_slice())?;
                tables.head
            };
            *attempted = Some(head.clone());
            write.commit()?;
            Ok(head)
        };
        self.with_database(write).map_err(|failure| failure.at("write to", &self.path))
    }
}

/// The last transaction up to a sequence after which no request has more transactions: those of one request are
/// forgotten together.
fn end_of_whole_requests(
    log: &impl ReadableTable<(u64, u32), &'static [u8]>,
    sequence: u64,
) -> Result<u64, Failure> {
    let request = |sequence: u64| -> Result<Option<(String, String)>, Failure> {
        let Some(row) = log.get((sequence, 0))? else { return Ok(None) };
        let transaction: Transaction = from_json(row.value())?;
        Ok(transaction.request.map(|request| (transaction.author.caller, request.key)))
    };
    let mut end = sequence;
    if let Some(next) = request(sequence.saturating_add(1))? {
        while end > 0 && request(end)?.as_ref() == Some(&next) {
            end -= 1;
        }
    }
    Ok(end)
}
