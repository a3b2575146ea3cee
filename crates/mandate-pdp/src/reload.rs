//! The reload thread: polls when an event hints at a change, and at intervals, and publishes what it finds.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mandate_core::diagnostics::Diagnostic;
use mandate_sources::loader::{Accepted, ContentPaths, LOADING_STACK_BYTES, Loader};
use mandate_sources::watch::FolderWatcher;

use crate::policy_lifecycle::PolicyLifecycle;
use crate::proof_worker::{ProofConfig, ProofWorker};
use crate::publisher::Publisher;
use crate::report::InitialLoadReport;
use crate::track::TrackName;
use crate::trigger::{ReloadTrigger, Requested};

/// How long no event may arrive before a poll: saving one file causes several events.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// How long a stream of events can delay a poll.
const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// How long files that are still being written can delay a poll.
const MAX_WRITE_WAIT: Duration = Duration::from_millis(1_200);

/// How often to check whether the paths still lead to the folders that are watched.
const WATCH_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How soon a refused change is tried again; doubled each time, up to the poll interval.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The poll interval that stands for "never".
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The running reload thread. It is told to stop when this is dropped, and not waited for: it may be
/// reading from a disk that does not answer.
pub struct Reloader {
    trigger: ReloadTrigger,
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.trigger.request_stop();
    }
}

impl Reloader {
    /// Starts the thread. It polls on file events, and every `poll_interval` in case there are none; zero
    /// means never.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        publisher: Publisher,
        loader: Loader,
        content_paths: &ContentPaths,
        proof_config: ProofConfig,
        first: &InitialLoadReport,
        poll_interval: Duration,
    ) -> std::io::Result<Self> {
        let (trigger, woken) = ReloadTrigger::new();
        let roots = [content_paths.policies.clone(), content_paths.entities.clone()];
        publisher.reporter().initial_load(&roots, first);
        let worker = ProofWorker::start(proof_config, trigger.clone())?;
        let policies = PolicyLifecycle::start(worker, &publisher, first.proof.as_ref(), &loader);
        let watch = watch(&roots, trigger.clone());
        // Content may have changed between loading and watching.
        trigger.request_poll();
        let poll_interval = if poll_interval.is_zero() { NEVER } else { poll_interval };
        let last_poll = Instant::now();
        let mut writer = ContentReloader {
            publisher,
            loader,
            policies,
            watch,
            poll_interval,
            retry_interval: MIN_RETRY_INTERVAL,
            refused: false,
            last_poll,
        };
        let thread_trigger = trigger.clone();
        std::thread::Builder::new()
            .name("reload".into())
            .stack_size(LOADING_STACK_BYTES)
            .spawn(move || writer.run(&woken, &thread_trigger))?;
        Ok(Self { trigger })
    }

    pub fn trigger(&self) -> &ReloadTrigger {
        &self.trigger
    }
}

fn watch(roots: &[PathBuf], trigger: ReloadTrigger) -> Option<FolderWatcher> {
    match FolderWatcher::new(roots, move || trigger.request_poll()) {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(%error, "no file events: changes are seen by polling only");
            None
        }
    }
}

struct ContentReloader {
    publisher: Publisher,
    loader: Loader,
    policies: PolicyLifecycle,
    watch: Option<FolderWatcher>,
    poll_interval: Duration,
    /// After which time refused content is tried again.
    retry_interval: Duration,
    refused: bool,
    last_poll: Instant,
}

impl ContentReloader {
    fn run(&mut self, woken: &Receiver<()>, trigger: &ReloadTrigger) {
        loop {
            let due = if self.refused { self.retry_interval } else { self.poll_interval };
            let wait = due.saturating_sub(self.last_poll.elapsed()).min(WATCH_CHECK_INTERVAL);
            match woken.recv_timeout(wait) {
                Ok(()) => self.wait_for_quiet(woken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let requested = trigger.take();
            if requested == Requested::Stop {
                return;
            }
            if self.refresh_watches() || requested == Requested::Poll || self.last_poll.elapsed() >= due {
                self.poll_catching_panics(trigger.take_full());
                self.last_poll = Instant::now();
            }
        }
    }

    /// Waits until no more events arrive and no file is being written, but not forever.
    fn wait_for_quiet(&self, woken: &Receiver<()>) {
        let started = Instant::now();
        while woken.recv_timeout(DEBOUNCE).is_ok() && started.elapsed() < MAX_DEBOUNCE {}
        while self.watch.as_ref().is_some_and(FolderWatcher::has_unfinished_writes)
            && started.elapsed() < MAX_WRITE_WAIT
        {
            let _ = woken.recv_timeout(DEBOUNCE);
        }
    }

    /// Watches the folders that the paths lead to now. Returns whether these are other folders than before.
    fn refresh_watches(&mut self) -> bool {
        let refreshed = self.watch.as_mut().is_some_and(FolderWatcher::rewatch);
        self.publisher.reporter().watched(self.watch.as_ref().is_some_and(FolderWatcher::watches_all_roots));
        refreshed
    }

    /// A panic in one poll must not end the thread.
    fn poll_catching_panics(&mut self, force: bool) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.poll(force))).is_err() {
            let diagnostic = Diagnostic::error("a defect of this program kept the change from being read");
            self.publisher.reporter().reload(
                TrackName::Policies,
                Some(&Err(diagnostic.into())),
                Duration::ZERO,
            );
            self.refused = true;
            self.retry_interval = (self.retry_interval * 2).min(self.poll_interval);
        }
    }

    /// Polls both tracks: entities first, so that no policy edit delays a revoked consent.
    fn poll(&mut self, force: bool) {
        let started = Instant::now();
        let current = self.publisher.current();
        let entities = self.loader.poll_entities(current.snapshot(), force);
        if let Some(snapshot) = entities.snapshot {
            self.publisher.publish(current.with_snapshot(snapshot));
        }
        let entities_took = started.elapsed();
        let before = self.publisher.current();
        let policies = self.policies.poll(&mut self.loader, &mut self.publisher, force);
        let current = self.publisher.current();
        let new_schema = current.snapshot().schema().digest() != before.snapshot().schema().digest();
        // With a new schema the entities were read again and accepted, too.
        let accepted = Accepted { changed: true, ..Accepted::default() };
        let entities = if new_schema { Some(Ok(accepted)) } else { entities.result };
        let entities_refused =
            self.publisher.reporter().reload(TrackName::Entities, entities.as_ref(), entities_took);
        // While policies are being proven, nothing is known about them.
        let policies_refused = !self.policies.is_proving()
            && self.publisher.reporter().reload(TrackName::Policies, policies.as_ref(), started.elapsed());
        let refused = [entities_refused, policies_refused];
        self.retry_interval = match refused.contains(&true) {
            true => (self.retry_interval * 2).min(self.poll_interval),
            false if self.policies.is_proving() => self.retry_interval,
            false => MIN_RETRY_INTERVAL,
        };
        self.refused = refused.contains(&true);
    }
}
