//! Replaces the generation in use. There is one publisher for each decision point, and it is the only
//! code that can.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use event_listener::{Event, EventListener};
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::decision::Suspension;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::policies::Policies;
use mandate_routes::Routes;
use mandate_store::LogPosition;

use crate::generation::Generation;
use crate::report::Reporter;

/// How long the next changes wait at most for policies that wait.
const MAX_PASS: Duration = Duration::from_millis(20);

/// The generation in use. Everybody may load it; only the [`Publisher`] replaces it.
pub(crate) struct Published {
    generation: ArcSwap<Generation>,
    /// Wakes those who wait for a position of the log.
    replaced: Event,
}

impl Published {
    pub fn new(generation: Generation) -> Self {
        Self { generation: ArcSwap::from_pointee(generation), replaced: Event::new() }
    }

    /// Is woken when the next generation comes into use.
    pub fn listen(&self) -> EventListener {
        self.replaced.listen()
    }

    fn store(&self, generation: Arc<Generation>) {
        self.generation.store(generation);
        self.replaced.notify(usize::MAX);
    }

    pub fn load(&self) -> Guard<Arc<Generation>> {
        self.generation.load()
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
    /// Held while changes are decided and committed. The policies stay the same meanwhile; a suspension does not
    /// wait for it.
    commits: Mutex<()>,
    /// Whether policies wait for changes to be committed.
    policies_wait: AtomicBool,
}

/// While this is held, no change is being committed, and no other policies come into use.
pub(crate) type NoCommit<'a> = MutexGuard<'a, ()>;

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
        Self {
            published,
            reporter,
            suspensions: Mutex::default(),
            commits: Mutex::default(),
            policies_wait: AtomicBool::new(false),
        }
    }

    /// The generation in use.
    pub fn current(&self) -> Arc<Generation> {
        self.published.generation.load_full()
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
            let snapshot = current.snapshot().with_policies(policies)?;
            Ok(Generation::new(snapshot, routes, changes).with_position(current.position()))
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

    /// Puts entities in use that were committed at a position. No policies may come into use meanwhile.
    pub(crate) fn publish_committed(&self, _: &NoCommit<'_>, snapshot: &Snapshot, position: LogPosition) {
        let suspensions = self.suspensions.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.current().with_entities(snapshot.clone()).with_position(Some(position));
        let generation = Arc::new(generation.with_suspension(suspensions.first()));
        self.published.store(Arc::clone(&generation));
        self.reporter.committed(&generation, position);
    }

    /// Waits until no change is being committed, and keeps others from being.
    pub(crate) fn no_commit(&self) -> NoCommit<'_> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives policies that wait the time to come into use before the next changes are committed.
    pub(crate) fn let_policies_pass(&self) {
        let started = Instant::now();
        while self.policies_wait.load(Ordering::Acquire) && started.elapsed() < MAX_PASS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// As [`Self::no_commit`], but for no longer than this: a disk may hang.
    pub(crate) fn no_commit_within(&self, wait: Duration) -> Option<NoCommit<'_>> {
        let started = Instant::now();
        self.policies_wait.store(true, Ordering::Release);
        let found = loop {
            match self.commits.try_lock() {
                Ok(guard) => break Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => break Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if started.elapsed() > wait => break None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        self.policies_wait.store(false, Ordering::Release);
        found
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
            self.published.store(Arc::clone(&next));
            self.reporter.suspended(next.suspended().map(|decision| &**decision));
        }
    }

    fn replace<E>(&self, next: impl FnOnce(&Generation) -> Result<Generation, E>) -> Result<(), E> {
        let suspensions = self.suspensions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let generation = Arc::new(next(&before)?.with_suspension(suspensions.first()));
        self.reporter.serving(&generation);
        self.published.store(Arc::clone(&generation));
        self.reporter.published(&before, &generation);
        Ok(())
    }
}
