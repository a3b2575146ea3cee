//! Replaces the generation in use. There is one publisher for each decision point, and it is the only
//! code that can.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::decision::Suspension;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::policies::Policies;
use mandate_routes::Routes;

use crate::generation::Generation;
use crate::report::Reporter;

/// The generation in use. Everybody may load it; only the [`Publisher`] replaces it.
pub(crate) struct Published(ArcSwap<Generation>);

impl Published {
    pub fn new(generation: Generation) -> Self {
        Self(ArcSwap::from_pointee(generation))
    }

    pub fn load(&self) -> Guard<Arc<Generation>> {
        self.0.load()
    }
}

/// Puts generations in use, one after the other. Requests in flight keep the one they began with.
///
/// Threads may share it. Each of policies, entities and suspensions has its own thread, and each call
/// replaces only its own part, so none undoes the change of another.
pub struct Publisher {
    published: Arc<Published>,
    reporter: Reporter,
    /// Held while the next generation is made from the one in use.
    suspensions: Mutex<Suspensions>,
}

/// Why everything is denied now.
#[derive(Clone, Default, PartialEq)]
struct Suspensions {
    deny_all: Option<Arc<str>>,
    stale: bool,
}

impl Suspensions {
    /// The one that answers show: an operator's word counts first.
    fn first(&self) -> Option<Suspension> {
        let deny_all = self.deny_all.clone().map(Suspension::DenyAll);
        deny_all.or(self.stale.then_some(Suspension::Stale))
    }
}

impl Publisher {
    pub(crate) fn new(published: Arc<Published>, reporter: Reporter) -> Self {
        reporter.serving(&published.load());
        Self { published, reporter, suspensions: Mutex::default() }
    }

    /// The generation in use.
    pub fn current(&self) -> Arc<Generation> {
        self.published.0.load_full()
    }

    /// Puts another generation in use, for all requests from now on.
    pub fn publish(&self, generation: impl Into<Generation>) {
        let generation = generation.into();
        let Ok(()) = self.replace::<std::convert::Infallible>(|_| Ok(generation));
    }

    /// Puts other policies, routes and changes in use.
    ///
    /// # Errors
    /// The policies belong to another schema than the entities.
    pub(crate) fn publish_policies(
        &self,
        policies: Arc<Policies>,
        routes: Arc<Routes>,
        changes: Arc<Changes>,
    ) -> Result<(), Diagnostics> {
        self.replace(|current| {
            Ok(Generation::new(current.snapshot().with_policies(policies)?, routes, changes))
        })
    }

    /// Puts the entities of a snapshot in use.
    ///
    /// # Errors
    /// The entities belong to another schema than the policies.
    pub(crate) fn publish_entities(&self, snapshot: &Snapshot) -> Result<(), Diagnostics> {
        self.replace(|current| {
            let snapshot = snapshot.with_policies(Arc::clone(current.snapshot().policies()))?;
            let (routes, changes) = (Arc::clone(current.routes()), Arc::clone(current.changes()));
            Ok(Generation::new(snapshot, routes, changes))
        })
    }

    /// Denies everything for this reason, or ends that.
    pub fn set_deny_all(&self, reason: Option<Arc<str>>) {
        self.suspend(|suspensions| suspensions.deny_all = reason);
    }

    /// Denies everything because content may be out of date, or ends that.
    pub(crate) fn set_stale(&self, stale: bool) {
        self.suspend(|suspensions| suspensions.stale = stale);
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    fn suspend(&self, change: impl FnOnce(&mut Suspensions)) {
        let mut suspensions = self.suspensions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = suspensions.clone();
        change(&mut suspensions);
        // Threads repeat what they found several times a second.
        if *suspensions == before {
            return;
        }
        let current = self.published.load();
        let next = Generation::clone(&current).with_suspension(suspensions.first());
        if next.suspended() != current.suspended() {
            let next = Arc::new(next);
            self.published.0.store(Arc::clone(&next));
            self.reporter.suspended(next.suspended().map(|decision| &**decision));
        }
    }

    fn replace<E>(&self, next: impl FnOnce(&Generation) -> Result<Generation, E>) -> Result<(), E> {
        let suspensions = self.suspensions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let generation = Arc::new(next(&before)?.with_suspension(suspensions.first()));
        self.reporter.serving(&generation);
        self.published.0.store(Arc::clone(&generation));
        self.reporter.published(&before, &generation);
        Ok(())
    }
}
