//! The one writer: looks when something hints at a change, and puts the next snapshot in use.
//! Nothing else replaces a snapshot.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use super::Pdp;
use super::gate::{Gate, Gatekeeper, Verdict};
use super::generation::Generation;
use super::policy_track::PolicyTrack;
use super::status::{Track, TrackName, TrackStatus};
use mandate_core::fault::{Fault, Faults};
use mandate_sources::loader::{Accepted, LOADING_STACK, Loader, Locations, TrackResult};
use mandate_sources::watch::Watch;

/// After a hint, how long there has to be quiet before the look: one save is several events.
const QUIET: Duration = Duration::from_millis(10);

/// How long hints that never end can put off the look.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long files that are being written can put off the look, whatever they do.
const LONGEST_WAIT: Duration = Duration::from_millis(1_200);

/// How often to see whether the folders are still the ones that are watched.
const GLANCE: Duration = Duration::from_secs(1);

/// How soon a refused change is looked at again; doubled each time, up to the poll interval.
const RETRY: Duration = Duration::from_millis(100);

/// Instead of a poll interval, where there is to be none.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// What became of the content that a decision point starts with.
#[derive(Debug, Default)]
pub struct FirstLoad {
    pub warnings: Faults,
    pub took: Duration,
    /// What was proven of the policies.
    pub verdict: Option<Verdict>,
}

/// The running writer. Told to stop when it is dropped; it is not waited for, because it may be
/// reading from a disk that does not answer.
pub struct Reloader {
    wake: Wake,
}

/// Wakes the writer. Waking it again before it looked changes nothing.
#[derive(Clone)]
pub struct Wake {
    hints: SyncSender<()>,
    hint: Arc<AtomicBool>,
    force: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Wake {
    /// Something may have changed.
    pub fn look(&self) {
        self.hint.store(true, Ordering::Release);
        // A full channel wakes the writer already.
        let _ = self.hints.try_send(());
    }

    /// Read everything again, whatever metadata say.
    pub fn look_at_everything(&self) {
        self.force.store(true, Ordering::Release);
        self.look();
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.wake.stop.store(true, Ordering::Release);
        self.wake.look();
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
        locations: &Locations,
        gate: Gate,
        first: &FirstLoad,
        poll: Duration,
    ) -> std::io::Result<Self> {
        let (hints, hinted) = sync_channel(1);
        let wake = Wake { hints, hint: Arc::default(), force: Arc::default(), stop: Arc::default() };
        let roots = [locations.policies.clone(), locations.entities.clone()];
        pdp.first_load(&roots, first);
        let keeper = Gatekeeper::start(gate, wake.clone())?;
        let policies = PolicyTrack::start(pdp.clone(), keeper, first.verdict.as_ref(), &loader);
        let watch = watch(&roots, wake.clone());
        // Whatever changed between loading and watching.
        wake.look();
        let poll = if poll.is_zero() { NEVER } else { poll };
        let last_look = Instant::now();
        let mut writer =
            Writer { pdp, loader, policies, watch, poll, retry: RETRY, refused: false, last_look };
        let thread_wake = wake.clone();
        std::thread::Builder::new()
            .name("reload".into())
            .stack_size(LOADING_STACK)
            .spawn(move || writer.run(&hinted, &thread_wake))?;
        Ok(Self { wake })
    }

    pub fn wake(&self) -> &Wake {
        &self.wake
    }
}

fn watch(roots: &[PathBuf], wake: Wake) -> Option<Watch> {
    match Watch::new(roots, move || wake.look()) {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(%error, "no file events: changes are seen by polling only");
            None
        }
    }
}

struct Writer {
    pdp: Pdp,
    loader: Loader,
    policies: PolicyTrack,
    watch: Option<Watch>,
    poll: Duration,
    /// When to look again at what is refused.
    retry: Duration,
    refused: bool,
    last_look: Instant,
}

impl Writer {
    fn run(&mut self, hinted: &Receiver<()>, wake: &Wake) {
        loop {
            let due = if self.refused { self.retry } else { self.poll };
            match hinted.recv_timeout(due.saturating_sub(self.last_look.elapsed()).min(GLANCE)) {
                Ok(()) => self.wait_for_quiet(hinted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if wake.stop.load(Ordering::Acquire) {
                return;
            }
            let hint = wake.hint.swap(false, Ordering::AcqRel);
            if self.watch_again() || hint || self.last_look.elapsed() >= due {
                self.look_safely(wake.force.swap(false, Ordering::AcqRel));
                self.last_look = Instant::now();
            }
        }
    }

    /// One save is several events; and a file that is being written is waited for.
    fn wait_for_quiet(&self, hinted: &Receiver<()>) {
        let started = Instant::now();
        while hinted.recv_timeout(QUIET).is_ok() && started.elapsed() < PATIENCE {}
        while self.watch.as_ref().is_some_and(Watch::is_unfinished) && started.elapsed() < LONGEST_WAIT {
            let _ = hinted.recv_timeout(QUIET);
        }
    }

    /// Watches what the paths lead to now; true if that is not what they led to before.
    fn watch_again(&mut self) -> bool {
        let refreshed = self.watch.as_mut().is_some_and(Watch::refresh);
        self.pdp.0.status.watched(self.watch.as_ref().is_some_and(Watch::is_complete));
        refreshed
    }

    /// A defect in a look must not end the looking.
    fn look_safely(&mut self, force: bool) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.look(force))).is_err() {
            let fault = Fault::error("a defect of this program kept the change from being read");
            self.pdp.note(TrackName::Policies, Some(&Err(fault.into())), Duration::ZERO);
            self.refused = true;
            self.retry = (self.retry * 2).min(self.poll);
        }
    }

    /// Looks at both tracks: entities first, so that no policy holds up a revoked consent.
    fn look(&mut self, force: bool) {
        let started = Instant::now();
        let current = self.pdp.0.generation.load_full();
        let entities = self.loader.look_at_entities(current.snapshot(), force);
        if let Some(snapshot) = entities.snapshot {
            self.pdp.swap(current.with_snapshot(snapshot));
        }
        let entities_took = started.elapsed();
        let before = self.pdp.0.generation.load_full();
        let policies = self.policies.look(&mut self.loader, force);
        let current = self.pdp.0.generation.load_full();
        let new_schema = current.snapshot().schema().digest() != before.snapshot().schema().digest();
        // A new schema read the entities too, and took them.
        let accepted = Accepted { changed: true, ..Accepted::default() };
        let entities = if new_schema { Some(Ok(accepted)) } else { entities.result };
        let entities_refused = self.pdp.note(TrackName::Entities, entities.as_ref(), entities_took);
        // Of what is being proven, nothing can be said yet.
        let policies_refused = !self.policies.waits()
            && self.pdp.note(TrackName::Policies, policies.as_ref(), started.elapsed());
        let refused = [entities_refused, policies_refused];
        self.retry = match refused.contains(&true) {
            true => (self.retry * 2).min(self.poll),
            false if self.policies.waits() => self.retry,
            false => RETRY,
        };
        self.refused = refused.contains(&true);
    }
}

impl Pdp {
    /// Puts another snapshot in use. A sidecar leaves this to its [`Reloader`]; a program that embeds
    /// the decision point calls it from one place.
    pub fn swap(&self, generation: impl Into<Generation>) {
        let generation = generation.into();
        let (revision, snapshot) = (generation.revision().to_string(), generation.snapshot());
        let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
        self.0.metrics.serving(&generation);
        self.0.generation.store(Arc::new(generation));
        let mut tracks = (*self.0.status.tracks()).clone();
        tracks.since = SystemTime::now();
        self.0.status.write(tracks);
        tracing::info!(revision, policies, entities, "new content in use");
    }

    fn first_load(&self, [policies, entities]: &[PathBuf; 2], first: &FirstLoad) {
        let mut tracks = (*self.0.status.tracks()).clone();
        let track = |path: &PathBuf, warnings: &Faults| {
            let status = Some(TrackStatus::new(Ok(warnings), first.took));
            Track { source: Some(path.display().to_string()), accepted: status.clone(), last: status }
        };
        tracks.policies = track(policies, &first.warnings);
        tracks.entities = track(entities, &Faults::default());
        self.0.status.write(tracks);
    }

    /// Writes down what became of a change, and says whether it was refused.
    fn note(&self, name: TrackName, result: Option<&TrackResult>, took: Duration) -> bool {
        let mut tracks = (*self.0.status.tracks()).clone();
        let track = tracks.track(name);
        let refused_before = track.last.as_ref().is_some_and(TrackStatus::is_refused);
        let (status, changed) = match result {
            Some(Ok(accepted)) => (TrackStatus::new(Ok(&accepted.warnings), took), accepted.changed),
            Some(Err(faults)) => (TrackStatus::new(Err(faults), took), false),
            // What is in use is what is there again, after something else was refused.
            None if refused_before => {
                let warnings = track.accepted.as_ref().map(|accepted| accepted.warnings.clone());
                let status = TrackStatus::new(Ok(&Faults::default()), took);
                (TrackStatus { warnings: warnings.unwrap_or_default(), ..status }, false)
            }
            None => return false,
        };
        let refused = status.is_refused();
        if !changed && track.last.as_ref().is_some_and(|last| last.same_as(&status)) {
            return refused;
        }
        self.0.metrics.reloaded(name, !refused);
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
const LOGGED: usize = 10;

fn log_refusal(track: TrackName, faults: &Faults) {
    let track = track.as_str();
    tracing::error!(
        track,
        errors = faults.error_count(),
        "change refused, the last good content stays in use"
    );
    for fault in faults.iter().take(LOGGED) {
        tracing::error!(track, "{fault}");
    }
}
