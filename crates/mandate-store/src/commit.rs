//! Changes that the rules of loading have accepted become transactions.

use std::sync::Arc;

use mandate_core::Snapshot;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::entities::EntityChanges;
use mandate_sources::loader::EntityLoader;

use crate::edit::edits_of;
use crate::error::StoreError;
use crate::marks::Head;
use crate::source::StoreSource;
use crate::store::Store;
use crate::transaction::Author;

/// Why a change was not committed. Nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The rules of loading refuse it.
    #[error("{0}")]
    Refused(Diagnostics),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The entities of a store, in place of those of a snapshot, and the position at which they are so.
///
/// # Errors
/// The store cannot be read, or its entities do not fit the snapshot's schema.
pub fn load(store: &Arc<Store>, snapshot: &Snapshot) -> Result<(Snapshot, Head), CommitError> {
    let head = store.head()?;
    let mut loader = EntityLoader::new(Box::new(StoreSource::new(Arc::clone(store))));
    Ok((loader.load(snapshot).map_err(CommitError::Refused)?, head))
}

/// Commits a change of a snapshot that is at this end of the log. If it changes nothing, there is no transaction.
///
/// # Errors
/// As for [`CommitError`].
pub fn commit(
    store: &Store,
    (snapshot, head): (&Snapshot, &Head),
    author: Author,
    mut changes: EntityChanges,
) -> Result<(Snapshot, Head), CommitError> {
    changes.upserts.retain(|upsert| {
        let before = snapshot.entities().get(upsert.entity.uid());
        before.is_none_or(|before| !before.entity.same_content(&upsert.entity))
    });
    if changes.upserts.is_empty() && changes.removals.is_empty() {
        return Ok((snapshot.clone(), head.clone()));
    }
    let next = snapshot.apply(&changes).map_err(CommitError::Refused)?;
    // Only errors need them, and they keep the files in memory.
    changes.upserts.iter_mut().for_each(|upsert| upsert.span = None);
    let edits = edits_of(&changes, snapshot.schema());
    let head = store.append_one(head.position(), author, edits)?;
    Ok((next, head))
}
