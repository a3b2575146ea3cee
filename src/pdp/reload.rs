//! The one writer: looks when something hints at a change, and puts the next snapshot in use.
//! Nothing else replaces a snapshot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::Pdp;
use super::status::{Track, TrackStatus};
use crate::authz::Snapshot;
use crate::authz::fault::Faults;
use crate::source::loader::{Loader, Locations, Reloaded, TrackResult};
use crate::source::watch::Watch;

/// After a hint, how long there has to be quiet before the look: one save is several events.
const QUIET: Duration = Duration::from_millis(10);

/// How long hints that never end can put off the look.
const PATIENCE: Duration = Duration::from_millis(100);

/// How soon a refused change is looked at again; doubled each time, up to the poll interval.
const RETRY: Duration = Duration::from_millis(100);

/// Instead of a poll interval, where there is to be none.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// What became of the content that a decision point starts with.
#[derive(Debug, Default)]
pub struct FirstLoad {
    pub warnings: Faults,
    pub took: Duration,
}

/// The running writer. Stops when it is dropped.
pub struct Reloader {
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the writer. Waking it again before it looked changes nothing.
#[derive(Clone)]
pub struct Wake {
    hints: SyncSender<()>,
    force: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Wake {
    /// Something may have changed.
    pub fn look(&self) {
        // A full channel holds a hint already.
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
        // The thread ends by itself; a panic in it was reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
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
        first: &FirstLoad,
        poll: Duration,
    ) -> std::io::Result<Self> {
        let (hints, hinted) = sync_channel(1);
        let wake = Wake { hints, force: Arc::default(), stop: Arc::default() };
        let roots = [locations.policies.clone(), locations.entities.clone()];
        pdp.first_load(&roots, first);
        let watch = watch(&roots, wake.clone());
        // Whatever changed between loading and watching.
        wake.look();
        let poll = if poll.is_zero() { NEVER } else { poll };
        let mut writer = Writer { pdp, loader, watch, poll, retry: poll };
        let thread_wake = wake.clone();
        let thread = std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || writer.run(&hinted, &thread_wake))?;
        Ok(Self { wake, thread: Some(thread) })
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
    watch: Option<Watch>,
    poll: Duration,
    retry: Duration,
}

impl Writer {
    fn run(&mut self, hinted: &Receiver<()>, wake: &Wake) {
        loop {
            match hinted.recv_timeout(self.retry.min(self.poll)) {
                Ok(()) => wait_for_quiet(hinted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if wake.stop.load(Ordering::Acquire) {
                return;
            }
            for path in self.watch.iter_mut().flat_map(Watch::refresh) {
                tracing::debug!(path = %path.display(), "cannot be watched for now");
            }
            self.look(wake.force.swap(false, Ordering::AcqRel));
        }
    }

    fn look(&mut self, force: bool) {
        let started = Instant::now();
        let current = self.pdp.0.snapshot.load_full();
        let Reloaded { snapshot, policies, entities } = self.loader.reload(&current, force);
        if let Some(snapshot) = snapshot {
            self.pdp.swap(snapshot);
        }
        let took = started.elapsed();
        let refused = [self.pdp.note("policies", policies, took), self.pdp.note("entities", entities, took)];
        self.retry = match refused.contains(&true) {
            true if self.retry >= self.poll => RETRY,
            true => self.retry * 2,
            false => self.poll,
        };
    }
}

fn wait_for_quiet(hinted: &Receiver<()>) {
    let started = Instant::now();
    while hinted.recv_timeout(QUIET).is_ok() && started.elapsed() < PATIENCE {}
}

impl Pdp {
    /// Puts another snapshot in use. A sidecar leaves this to its [`Reloader`]; a program that embeds
    /// the decision point calls it from one place.
    pub fn swap(&self, snapshot: Snapshot) {
        let revision = snapshot.revision().to_string();
        let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
        self.0.metrics.serving(&snapshot);
        self.0.snapshot.store(Arc::new(snapshot));
        let mut tracks = (*self.0.status.tracks()).clone();
        tracks.since = SystemTime::now();
        self.0.status.write(tracks);
        tracing::info!(revision, policies, entities, "new content in use");
    }

    fn first_load(&self, [policies, entities]: &[PathBuf; 2], first: &FirstLoad) {
        let mut tracks = (*self.0.status.tracks()).clone();
        let track = |path: &PathBuf, warnings: &Faults| Track {
            source: Some(path.display().to_string()),
            last: Some(TrackStatus::new(Ok(warnings), first.took)),
        };
        tracks.policies = track(policies, &first.warnings);
        tracks.entities = track(entities, &Faults::default());
        self.0.status.write(tracks);
    }

    /// Writes down what became of a change, and says whether it was refused.
    fn note(&self, name: &'static str, result: Option<TrackResult>, took: Duration) -> bool {
        let mut tracks = (*self.0.status.tracks()).clone();
        let track = if name == "policies" { &mut tracks.policies } else { &mut tracks.entities };
        let Some(result) = result else {
            return track.last.as_ref().is_some_and(TrackStatus::is_refused);
        };
        let status = TrackStatus::new(result.as_ref().map(|accepted| &accepted.warnings), took);
        let known = track.last.as_ref().is_some_and(|last| last.same_as(&status));
        if known && !result.as_ref().is_ok_and(|accepted| accepted.changed) {
            return status.is_refused();
        }
        self.0.metrics.reloaded(name, result.is_ok());
        match &result {
            Ok(_) => tracing::info!(track = name, took_ms = status.took_ms, "change accepted"),
            Err(faults) => log_refusal(name, faults),
        }
        let refused = status.is_refused();
        track.last = Some(status);
        self.0.status.write(tracks);
        refused
    }
}

/// How many faults of a refused change are logged; `/status` has more.
const LOGGED: usize = 10;

fn log_refusal(track: &'static str, faults: &Faults) {
    tracing::error!(
        track,
        errors = faults.error_count(),
        "change refused, the last good content stays in use"
    );
    for fault in faults.iter().take(LOGGED) {
        tracing::error!(track, "{fault}");
    }
}
