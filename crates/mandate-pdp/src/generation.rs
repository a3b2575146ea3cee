//! A generation: a snapshot, and the routes and changes that belong to it, replaced together.

use std::fmt;
use std::sync::Arc;

use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::decision::{Decision, Suspension};
use mandate_core::digest::Digest;
use mandate_routes::Routes;
use mandate_sources::loader::LoadedContent;
use mandate_store::LogPosition;
use smol_str::SmolStr;

/// Names the content of a generation. Equal policies, schema, routes, changes and entities have the same
/// revision on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(SmolStr);

impl Revision {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that an answer depends on, as one immutable value. A request is routed and decided by the same
/// generation.
#[derive(Debug, Clone)]
pub struct Generation {
    snapshot: Snapshot,
    routes: Arc<Routes>,
    changes: Arc<Changes>,
    revision: Revision,
    /// Where the entities stand in the log of their store, if they come from one.
    position: Option<LogPosition>,
    /// The answer to every question while everything is denied.
    suspended: Option<Arc<Decision>>,
}

impl Generation {
    pub fn new(snapshot: Snapshot, routes: Arc<Routes>, changes: Arc<Changes>) -> Self {
        let (policies, schema) = (snapshot.policies().digest(), snapshot.schema().digest());
        let digests = [*policies, *schema, *routes.digest(), snapshot.entities().digest()];
        // Content without changes has the revision that it always had.
        let digests = digests.iter().chain((!changes.is_empty()).then(|| changes.digest()));
        let revision = Revision(Digest::of(digests.map(Digest::as_bytes)).short().into());
        Self { snapshot, routes, changes, revision, position: None, suspended: None }
    }

    /// This generation, with entities as they are at a position of the log.
    #[must_use]
    pub fn with_position(self, position: Option<LogPosition>) -> Self {
        Self { position, ..self }
    }

    /// This generation with other entities; the snapshot has to be of the same policies.
    #[must_use]
    pub(crate) fn with_entities(&self, snapshot: Snapshot) -> Self {
        let (routes, changes) = (Arc::clone(&self.routes), Arc::clone(&self.changes));
        Self { suspended: self.suspended.clone(), ..Self::new(snapshot, routes, changes) }
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Where the entities stand in the log of their store, if they come from one.
    pub fn position(&self) -> Option<LogPosition> {
        self.position
    }

    /// The answer to every question, if everything is denied.
    pub fn suspended(&self) -> Option<&Arc<Decision>> {
        self.suspended.as_ref()
    }

    /// This generation while everything is denied, or is not denied any more.
    #[must_use]
    pub(crate) fn with_suspension(self, suspension: Option<Suspension>) -> Self {
        Self { suspended: suspension.map(|suspension| Arc::new(Decision::suspended(suspension))), ..self }
    }
}

/// A generation of what a loader loaded.
impl From<LoadedContent> for Generation {
    fn from(loaded: LoadedContent) -> Self {
        Self::new(loaded.snapshot, loaded.routes, loaded.changes)
    }
}

/// A generation without routes and changes.
impl From<Snapshot> for Generation {
    fn from(snapshot: Snapshot) -> Self {
        Self::new(snapshot, Arc::default(), Arc::default())
    }
}
