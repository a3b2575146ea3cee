//! From a store to a snapshot, and from changes that the rules of loading accept to edits of the store.

use std::sync::Arc;

use mandate_core::Snapshot;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::entities::EntityChanges;
use mandate_sources::loader::EntityLoader;

use crate::edit::{NamedEdit, edits_of, edits_of_all};
use crate::error::StoreError;
use crate::marks::Head;
use crate::position::LogPosition;
use crate::source::StoreSource;
use crate::store::Store;
use crate::transaction::Author;

/// Why the entities of a store cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// They do not fit the schema.
    #[error("{0}")]
    Refused(Diagnostics),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The entities of a store, in place of those of a snapshot, and the position at which they are so.
///
/// # Errors
/// The store cannot be read, or its entities do not fit the snapshot's schema.
pub fn load(store: &Arc<Store>, snapshot: &Snapshot) -> Result<(Snapshot, Head), LoadError> {
    let head = store.head()?;
    let mut loader = EntityLoader::new(Box::new(StoreSource::new(Arc::clone(store))));
    Ok((loader.load(snapshot).map_err(LoadError::Refused)?, head))
}

/// Appends all entities of a snapshot to an empty store, in one transaction.
///
/// # Errors
/// The store is not empty, or cannot be written.
pub fn take_in(store: &Store, snapshot: &Snapshot, author: Author) -> Result<Head, StoreError> {
    let head = store.head()?;
    let empty = LogPosition { sequence: 0, ..head.position() };
    store.append_one(empty, author, edits_of_all(snapshot))
}

/// What is left of a change on a snapshot: only what is not so already.
///
/// # Errors
/// The rules of loading refuse it.
pub fn prepare(
    snapshot: &Snapshot,
    mut changes: EntityChanges,
) -> Result<Option<PreparedChange>, Diagnostics> {
    changes.upserts.retain(|upsert| {
        let before = snapshot.entities().get(upsert.entity.uid());
        before.is_none_or(|before| !before.entity.same_content(&upsert.entity))
    });
    if changes.upserts.is_empty() && changes.removals.is_empty() {
        return Ok(None);
    }
    let next = snapshot.apply(&changes)?;
    // Only errors need them, and they keep the files in memory.
    changes.upserts.iter_mut().for_each(|upsert| upsert.span = None);
    Ok(Some(PreparedChange { next, changes }))
}

/// A change that the rules of loading accept.
pub struct PreparedChange {
    /// The entities afterwards.
    pub next: Snapshot,
    changes: EntityChanges,
}

impl PreparedChange {
    /// The edits that it comes to. They are made as they are taken: there may be millions.
    pub fn edits(&self) -> impl Iterator<Item = NamedEdit> {
        edits_of(&self.changes, self.next.schema())
    }
}
