//! The one writer: looks when something hints at a change, and puts the next snapshot in use.
//! Nothing else replaces a snapshot.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use super::Pdp;
use super::generation::Generation;
use super::policy_lifecycle::PolicyLifecycle;
use super::proof_worker::{CompletedProof, ProofConfig, ProofWorker};
use super::status::{ReloadStatus, Track, TrackName};
use mandate_core::fault::{Fault, Faults};
use mandate_sources::loader::{Accepted, ContentPaths, LOADING_STACK_BYTES, Loader, ReloadResult};
use mandate_sources::watch::FolderWatcher;

/// After a hint, how long there has to be quiet before the look: one save is several events.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// How long hints that never end can put off the look.
const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// How long files that are being written can put off the look, whatever they do.
const MAX_WRITE_WAIT: Duration = Duration::from_millis(1_200);

/// How often to see whether the folders are still the ones that are watched.
const WATCH_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How soon a refused change is looked at again; doubled each time, up to the poll interval.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Instead of a poll interval, where there is to be none.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// What became of the content that a decision point starts with.
#[derive(Debug, Default)]
pub struct InitialLoadReport {
    pub warnings: Faults,
    pub took: Duration,
    /// What was proven of the policies.
    pub proof: Option<CompletedProof>,
}

/// The running writer. Told to stop when it is dropped; it is not waited for, because it may be
/// reading from a disk that does not answer.
pub struct Reloader {
    trigger: ReloadTrigger,
}

/// Wakes the writer. Waking it again before it looked changes nothing.
#[derive(Clone)]
pub struct ReloadTrigger {
    hints: SyncSender<()>,
    hint: Arc<AtomicBool>,
    force: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl ReloadTrigger {
    /// Something may have changed.
    pub fn request_poll(&self) {
        self.hint.store(true, Ordering::Release);
        // A full channel wakes the writer already.
        let _ = self.hints.try_send(());
    }

    /// Read everything again, whatever metadata say.
    pub fn request_full_poll(&self) {
        self.force.store(true, Ordering::Release);
        self.request_poll();
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.trigger.stop.store(true, Ordering::Release);
        self.trigger.request_poll();
    }
}

impl Reloader {
    /// Starts the writer: on file events, and every `poll` in case there are none; zero is never.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        pdp: Pdp,
        loader: Loader,
        content_paths: &ContentPaths,
        proof_config: ProofConfig,
        first: &InitialLoadReport,
        poll_interval: Duration,
    ) -> std::io::Result<Self> {
        let (hints, hinted) = sync_channel(1);
        let trigger =
            ReloadTrigger { hints, hint: Arc::default(), force: Arc::default(), stop: Arc::default() };
        let roots = [content_paths.policies.clone(), content_paths.entities.clone()];
        pdp.record_initial_load(&roots, first);
        let worker = ProofWorker::start(proof_config, trigger.clone())?;
        let policies = PolicyLifecycle::start(pdp.clone(), worker, first.proof.as_ref(), &loader);
        let watch = watch(&roots, trigger.clone());
        // Whatever changed between loading and watching.
        trigger.request_poll();
        let poll_interval = if poll_interval.is_zero() { NEVER } else { poll_interval };
        let last_poll = Instant::now();
        let mut writer = SnapshotWriter {
            pdp,
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
            .spawn(move || writer.run(&hinted, &thread_trigger))?;
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

struct SnapshotWriter {
    pdp: Pdp,
    loader: Loader,
    policies: PolicyLifecycle,
    watch: Option<FolderWatcher>,
    poll_interval: Duration,
    /// When to look again at what is refused.
    retry_interval: Duration,
    refused: bool,
    last_poll: Instant,
}

impl SnapshotWriter {
    fn run(&mut self, hinted: &Receiver<()>, trigger: &ReloadTrigger) {
        loop {
            let due = if self.refused { self.retry_interval } else { self.poll_interval };
            match hinted.recv_timeout(due.saturating_sub(self.last_poll.elapsed()).min(WATCH_CHECK_INTERVAL))
            {
                Ok(()) => self.wait_for_quiet(hinted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if trigger.stop.load(Ordering::Acquire) {
                return;
            }
            let hint = trigger.hint.swap(false, Ordering::AcqRel);
            if self.refresh_watches() || hint || self.last_poll.elapsed() >= due {
                self.poll_catching_panics(trigger.force.swap(false, Ordering::AcqRel));
                self.last_poll = Instant::now();
            }
        }
    }

    /// One save is several events; and a file that is being written is waited for.
    fn wait_for_quiet(&self, hinted: &Receiver<()>) {
        let started = Instant::now();
        while hinted.recv_timeout(DEBOUNCE).is_ok() && started.elapsed() < MAX_DEBOUNCE {}
        while self.watch.as_ref().is_some_and(FolderWatcher::has_unfinished_writes)
            && started.elapsed() < MAX_WRITE_WAIT
        {
            let _ = hinted.recv_timeout(DEBOUNCE);
        }
    }

    /// Watches what the paths lead to now; true if that is not what they led to before.
    fn refresh_watches(&mut self) -> bool {
        let refreshed = self.watch.as_mut().is_some_and(FolderWatcher::rewatch);
        self.pdp.0.status.watched(self.watch.as_ref().is_some_and(FolderWatcher::watches_all_roots));
        refreshed
    }

    /// A defect in a look must not end the looking.
    fn poll_catching_panics(&mut self, force: bool) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.poll(force))).is_err() {
            let fault = Fault::error("a defect of this program kept the change from being read");
            self.pdp.record_reload(TrackName::Policies, Some(&Err(fault.into())), Duration::ZERO);
            self.refused = true;
            self.retry_interval = (self.retry_interval * 2).min(self.poll_interval);
        }
    }

    /// Looks at both tracks: entities first, so that no policy holds up a revoked consent.
    fn poll(&mut self, force: bool) {
        let started = Instant::now();
        let current = self.pdp.0.generation.load_full();
        let entities = self.loader.poll_entities(current.snapshot(), force);
        if let Some(snapshot) = entities.snapshot {
            self.pdp.publish(current.with_snapshot(snapshot));
        }
        let entities_took = started.elapsed();
        let before = self.pdp.0.generation.load_full();
        let policies = self.policies.poll(&mut self.loader, force);
        let current = self.pdp.0.generation.load_full();
        let new_schema = current.snapshot().schema().digest() != before.snapshot().schema().digest();
        // A new schema read the entities too, and took them.
        let accepted = Accepted { changed: true, ..Accepted::default() };
        let entities = if new_schema { Some(Ok(accepted)) } else { entities.result };
        let entities_refused = self.pdp.record_reload(TrackName::Entities, entities.as_ref(), entities_took);
        // Of what is being proven, nothing can be said yet.
        let policies_refused = !self.policies.has_pending()
            && self.pdp.record_reload(TrackName::Policies, policies.as_ref(), started.elapsed());
        let refused = [entities_refused, policies_refused];
        self.retry_interval = match refused.contains(&true) {
            true => (self.retry_interval * 2).min(self.poll_interval),
            false if self.policies.has_pending() => self.retry_interval,
            false => MIN_RETRY_INTERVAL,
        };
        self.refused = refused.contains(&true);
    }
}

impl Pdp {
    /// Puts another snapshot in use. A sidecar leaves this to its [`Reloader`]; a program that embeds
    /// the decision point calls it from one place.
    pub fn publish(&self, generation: impl Into<Generation>) {
        let generation = generation.into();
        let (revision, snapshot) = (generation.revision().to_string(), generation.snapshot());
        let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
        self.0.metrics.record_generation(&generation);
        self.0.generation.store(Arc::new(generation));
        let mut tracks = (*self.0.status.tracks()).clone();
        tracks.since = SystemTime::now();
        self.0.status.write(tracks);
        tracing::info!(revision, policies, entities, "new content in use");
    }

    fn record_initial_load(&self, [policies, entities]: &[PathBuf; 2], first: &InitialLoadReport) {
        let mut tracks = (*self.0.status.tracks()).clone();
        let track = |path: &PathBuf, warnings: &Faults| {
            let status = Some(ReloadStatus::new(Ok(warnings), first.took));
            Track { source: Some(path.display().to_string()), accepted: status.clone(), last: status }
        };
        tracks.policies = track(policies, &first.warnings);
        tracks.entities = track(entities, &Faults::default());
        self.0.status.write(tracks);
    }

    /// Writes down what became of a change, and says whether it was refused.
    fn record_reload(&self, name: TrackName, result: Option<&ReloadResult>, took: Duration) -> bool {
        let mut tracks = (*self.0.status.tracks()).clone();
        let track = tracks.track(name);
        let refused_before = track.last.as_ref().is_some_and(ReloadStatus::is_refused);
        let (status, changed) = match result {
            Some(Ok(accepted)) => (ReloadStatus::new(Ok(&accepted.warnings), took), accepted.changed),
            Some(Err(faults)) => (ReloadStatus::new(Err(faults), took), false),
            // What is in use is what is there again, after something else was refused.
            None if refused_before => {
                let warnings = track.accepted.as_ref().map(|accepted| accepted.warnings.clone());
                let status = ReloadStatus::new(Ok(&Faults::default()), took);
                (ReloadStatus { warnings: warnings.unwrap_or_default(), ..status }, false)
            }
            None => return false,
        };
        let refused = status.is_refused();
        if !changed && track.last.as_ref().is_some_and(|last| last.same_as(&status)) {
            return refused;
        }
        self.0.metrics.count_reload(name, !refused);
        if let Some(Err(faults)) = result {
            log_refusal(name, faults);
        } else {
            tracing::info!(track = name.as_str(), took_ms = status.took_ms, "change accepted");
        }
        if !refused {
            track.accepted = Some(status.clone());
        }
        track.last = Some(status);
        self.0.status.write(tracks);
        refused
    }
}

/// How many faults of a refused change are logged; `/status` has more.
const MAX_LOGGED_ERRORS: usize = 10;

fn log_refusal(track: TrackName, faults: &Faults) {
    let track = track.as_str();
    tracing::error!(
        track,
        errors = faults.error_count(),
        "change refused, the last good content stays in use"
    );
    for fault in faults.iter().take(MAX_LOGGED_ERRORS) {
        tracing::error!(track, "{fault}");
    }
}
