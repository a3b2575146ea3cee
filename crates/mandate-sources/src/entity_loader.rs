//! Applies the updates of an entity source to snapshots.

use super::change_result::{Accepted, ReloadResult};
use super::load_from::LoadFrom;
use super::source::{EntitySource, EntityUpdate, Origins, PollFor, Reread};
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::entities::{EntityChanges, Origin};
use mandate_core::schema::Schema;

/// Follows a source of entities, and remembers which of its updates are in use.
pub struct EntityLoader {
    source: Box<dyn EntitySource>,
    origins: Origins,
}

/// The result of polling the entities.
#[derive(Debug, Default)]
pub struct EntityPoll {
    /// The next snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// Whether a change was accepted; `None` if nothing changed.
    pub result: Option<ReloadResult>,
}

impl EntityLoader {
    pub fn new(source: Box<dyn EntitySource>) -> Self {
        Self { source, origins: Origins::default() }
    }

    /// Reads all entities by the schema of a snapshot, in place of those that it has.
    ///
    /// # Errors
    /// All diagnostics of the entities.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<Snapshot, Diagnostics> {
        self.load_from(LoadFrom::Source, snapshot)
    }

    pub(super) fn load_from(&mut self, from: LoadFrom, snapshot: &Snapshot) -> Result<Snapshot, Diagnostics> {
        let what = match from {
            LoadFrom::Source => PollFor::Snapshot,
            LoadFrom::SavedCopy => PollFor::SavedCopy,
        };
        let update = self.source.poll(what, snapshot.schema(), &mut self.origins)?;
        let Some((position, update)) = update else { return Err(no_snapshot()) };
        let snapshot = snapshot.apply(&as_change(update, snapshot))?;
        self.source.confirm(position);
        Ok(snapshot)
    }

    /// Reads all entities by a schema, only to find what is wrong with each.
    ///
    /// # Errors
    /// All diagnostics of the entities.
    pub fn check(&mut self, schema: &Schema) -> Result<(), Diagnostics> {
        self.source.poll(PollFor::Snapshot, schema, &mut self.origins).map(|_| ())
    }

    /// As [`EntitySource::origin_name`].
    pub fn origin_name(&self, origin: Origin) -> Option<&str> {
        self.source.origin_name(origin)
    }

    /// Looks for a change. Entities are read by the schema in use.
    pub fn poll(&mut self, current: &Snapshot, reread: Reread) -> EntityPoll {
        let mut poll = EntityPoll::default();
        poll.result = self.apply_changes(current, reread, &mut poll.snapshot).transpose();
        poll
    }

    fn apply_changes(
        &mut self,
        current: &Snapshot,
        reread: Reread,
        next: &mut Option<Snapshot>,
    ) -> Result<Option<Accepted>, Diagnostics> {
        let what = PollFor::Changes(reread);
        let polled = self.source.poll(what, current.schema(), &mut self.origins)?;
        let Some((position, update)) = polled else { return Ok(None) };
        let change = as_change(update, current);
        let changed = !change.upserts.is_empty() || !change.removals.is_empty();
        if changed {
            *next = Some(current.apply(&change)?);
        }
        self.source.confirm(position);
        Ok(Some(Accepted { changed, warnings: Diagnostics::default() }))
    }
}

/// An update as a change of a snapshot's entities.
pub fn as_change(update: EntityUpdate, current: &Snapshot) -> EntityChanges {
    match update {
        // An entity that is both removed and upserted ends up as upserted.
        EntityUpdate::Snapshot(upsert) => {
            let remove = current.entities().iter().map(|entity| entity.uid().to_owned()).collect();
            EntityChanges { upserts: upsert, removals: remove }
        }
        EntityUpdate::Changes(change) => change,
    }
}

/// A source broke its contract: [`PollFor::Snapshot`] always gets a snapshot.
fn no_snapshot() -> Diagnostics {
    Diagnostic::error("the source of the entities gave no snapshot").into()
}
