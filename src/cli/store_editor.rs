//! A store that a command changes: every change is held to the rules of loading, on a snapshot of all its entities.

use std::path::Path;
use std::sync::Arc;

use super::store_argument::StoreArgument;
use crate::error::CliError;
use mandate_core::Snapshot;
use mandate_core::entities::EntityChanges;
use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::PolicyFolder;
use mandate_store::{Author, Head, LoadError, LogPosition, Store, StoreError, prepare};

/// An open store, which no other process can change meanwhile, and its entities.
pub struct StoreEditor {
    store: Arc<Store>,
    pub snapshot: Snapshot,
    head: Head,
}

/// What became of a change.
pub enum Committed {
    At(LogPosition),
    /// Everything is so already, and was at this position.
    Unchanged(LogPosition),
}

impl StoreEditor {
    /// Opens a store by the schema of a policy folder.
    ///
    /// # Errors
    /// The store cannot be used, or its entities do not fit the schema.
    pub fn open(store: &StoreArgument, policies: &PolicyFolder) -> Result<Self, CliError> {
        Self::load(store.open()?, policies)
    }

    /// As [`Self::open`]; makes the store if there is none.
    ///
    /// # Errors
    /// As there.
    pub fn open_or_create(store: &StoreArgument, policies: &PolicyFolder) -> Result<Self, CliError> {
        Self::load(store.open_or_create()?, policies)
    }

    /// As [`Self::open`], for the file of a store.
    ///
    /// # Errors
    /// As there.
    pub fn open_file(path: &Path, policies: &PolicyFolder) -> Result<Self, CliError> {
        let store = Store::open(path).map_err(|error| match error {
            StoreError::InUse(_) => {
                CliError::message(format!("{error}; a sidecar that serves it is asked with `--sidecar ADDR`"))
            }
            error => CliError::message(error),
        })?;
        Self::load(store, policies)
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Where the entities stand in the log.
    pub fn position(&self) -> LogPosition {
        self.head.position()
    }

    fn load(store: Store, policies: &PolicyFolder) -> Result<Self, CliError> {
        let store = Arc::new(store);
        let snapshot = Snapshot::new(Arc::clone(&policies.policies), &RequestConfig::default());
        let snapshot = snapshot.map_err(CliError::Diagnostics)?;
        let (snapshot, head) = mandate_store::load(&store, &snapshot).map_err(failed)?;
        Ok(Self { store, snapshot, head })
    }

    /// Commits a change. `author` is who makes it; the caller is the user of this process. `written` is called for each
    /// edit.
    ///
    /// # Errors
    /// The rules of loading refuse it, or the store cannot be written.
    pub fn commit(
        &self,
        author: Author,
        changes: EntityChanges,
        mut written: impl FnMut(),
    ) -> Result<Committed, CliError> {
        let author = Author { caller: format!("uid {}", rustix::process::getuid().as_raw()), ..author };
        let before = self.head.position();
        let Some(prepared) = prepare(&self.snapshot, changes).map_err(CliError::Diagnostics)? else {
            return Ok(Committed::Unchanged(before));
        };
        let edits = prepared.edits().inspect(|_| written());
        let head = self.store.append_one(before, author, edits).map_err(CliError::message)?;
        Ok(Committed::At(head.position()))
    }
}

/// A line for people.
impl std::fmt::Display for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(position) => write!(f, "committed: {position}"),
            Self::Unchanged(position) => write!(f, "nothing changed: {position}"),
        }
    }
}

fn failed(error: LoadError) -> CliError {
    match error {
        LoadError::Refused(diagnostics) => CliError::Diagnostics(diagnostics),
        LoadError::Store(error) => CliError::message(error),
    }
}
