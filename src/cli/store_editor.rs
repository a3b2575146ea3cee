//! A store that a command changes: every change is held to the rules of loading, on a snapshot of all its entities.

use std::sync::Arc;

use super::store_argument::StoreArgument;
use crate::error::CliError;
use mandate_core::Snapshot;
use mandate_core::entities::EntityChanges;
use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::PolicyFolder;
use mandate_store::{Author, CommitError, Head, LogPosition, Store};

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

    fn load(store: Store, policies: &PolicyFolder) -> Result<Self, CliError> {
        let store = Arc::new(store);
        let snapshot = Snapshot::new(Arc::clone(&policies.policies), &RequestConfig::default());
        let snapshot = snapshot.map_err(CliError::Diagnostics)?;
        let (snapshot, head) = mandate_store::load(&store, &snapshot).map_err(failed)?;
        Ok(Self { store, snapshot, head })
    }

    /// Commits a change. `author` is who makes it; the caller is the user of this process.
    ///
    /// # Errors
    /// The rules of loading refuse it, or the store cannot be written.
    pub fn commit(&self, author: Author, changes: EntityChanges) -> Result<Committed, CliError> {
        let author = Author { caller: format!("uid {}", rustix::process::getuid().as_raw()), ..author };
        let committed = mandate_store::commit(&self.store, (&self.snapshot, &self.head), author, changes);
        let (_, head) = committed.map_err(failed)?;
        let position = head.position();
        Ok(if head == self.head { Committed::Unchanged(position) } else { Committed::At(position) })
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

fn failed(error: CommitError) -> CliError {
    match error {
        CommitError::Refused(diagnostics) => CliError::Diagnostics(diagnostics),
        CommitError::Store(error) => CliError::message(error),
    }
}
