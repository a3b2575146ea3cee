//! The state behind `/status`: the threads that follow content write it, requests for `/status` read it without a lock.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::generation::Generation;
use crate::status::{
    ChangesStatus, ContentStatus, EmergencyStatus, GuardrailStatus, ReloadStatus, RestoredStatus,
    RouteChangeStatus, RoutesStatus, SchemaStatus, StalenessStatus, Status, StoreStatus, SuspensionStatus,
    timestamp,
};
use crate::track::TrackName;

/// The state that `/status` is made from. Each track is written by the thread that follows it.
pub(crate) struct StatusBoard {
    started: SystemTime,
    /// When the generation came into use, in milliseconds since the epoch.
    since: AtomicU64,
    policies: TrackBoard,
    entities: TrackBoard,
    guardrails: ArcSwap<GuardrailStatus>,
    /// The last change of the routes.
    route_change: ArcSwapOption<RouteChangeStatus>,
    suspension: ArcSwapOption<SuspensionStatus>,
    staleness: ArcSwapOption<StalenessStatus>,
    ready_when_restored: AtomicBool,
    last_warning: AtomicU64,
}

/// The state of one track.
pub(crate) struct TrackBoard {
    state: ArcSwap<Track>,
    /// Why file events do not tell of every change.
    why_not_watched: ArcSwapOption<String>,
    /// All times are counted from here.
    clock: Instant,
    /// When the last completed look at the source began, in milliseconds.
    looked: AtomicU64,
    /// When the last look began that found the content in use in the source, in milliseconds.
    confirmed: AtomicU64,
    /// The copy that is in use until the source can be used.
    restored: ArcSwapOption<RestoredContent>,
}

/// The copy of a source that is in use.
#[derive(Debug, Clone)]
pub struct RestoredContent {
    pub folder: PathBuf,
    /// When its content was last found in the source.
    pub confirmed: SystemTime,
    age_at_start: Duration,
    start: Instant,
}

impl RestoredContent {
    /// A copy whose content was last found in the source at the time `confirmed`. It is `now`. Clocks can be set,
    /// so from now on its age is counted without them.
    pub fn new(folder: PathBuf, confirmed: SystemTime, now: SystemTime) -> Self {
        let age_at_start = now.duration_since(confirmed).unwrap_or_default();
        Self { folder, confirmed, age_at_start, start: Instant::now() }
    }

    /// How long ago its content was last found in the source.
    pub fn age(&self) -> Duration {
        self.age_at_start.saturating_add(self.start.elapsed())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    pub source: Option<String>,
    /// The last accepted change, with its warnings.
    pub accepted: Option<ReloadStatus>,
    pub last: Option<ReloadStatus>,
}

impl TrackBoard {
    fn new() -> Self {
        Self {
            state: ArcSwap::default(),
            why_not_watched: ArcSwapOption::empty(),
            clock: Instant::now(),
            looked: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            restored: ArcSwapOption::empty(),
        }
    }

    pub fn state(&self) -> Arc<Track> {
        self.state.load_full()
    }

    pub fn write(&self, track: Track) {
        self.state.store(Arc::new(track));
    }

    /// Records a look at the source that began then and has ended. `confirmed` is whether the source holds
    /// what is in use. Returns the copy that was in use until now, if the source is in use now.
    pub fn looked(&self, began: Instant, confirmed: bool) -> Option<Arc<RestoredContent>> {
        let began = milliseconds(began.saturating_duration_since(self.clock));
        self.looked.store(began, Ordering::Relaxed);
        if !confirmed {
            return None;
        }
        self.confirmed.store(began, Ordering::Relaxed);
        self.restored.swap(None)
    }

    /// Records that a copy is in use.
    pub fn set_restored(&self, restored: RestoredContent) {
        self.restored.store(Some(Arc::new(restored)));
    }

    /// The copy that is in use, if so.
    pub fn restored(&self) -> Option<Arc<RestoredContent>> {
        self.restored.load_full()
    }

    /// How long ago the last completed look at the source began.
    pub fn look_age(&self) -> Duration {
        self.age(&self.looked)
    }

    /// How long ago the content in use was last found in the source: it may be out of date by so much.
    pub fn confirmed_age(&self) -> Duration {
        self.restored().map_or_else(|| self.age(&self.confirmed), |restored| restored.age())
    }

    fn age(&self, since: &AtomicU64) -> Duration {
        self.clock.elapsed().saturating_sub(Duration::from_millis(since.load(Ordering::Relaxed)))
    }

    /// Records why file events do not tell of every change, if so. Returns whether that is new.
    pub fn set_why_not_watched(&self, why_not: Option<&str>) -> bool {
        let changed = self.why_not_watched.load().as_ref().map(|why| why.as_str()) != why_not;
        if changed {
            self.why_not_watched.store(why_not.map(|why| Arc::new(why.to_owned())));
        }
        changed
    }

    /// Whether file events tell of every change.
    pub fn is_watched(&self) -> bool {
        self.why_not_watched.load().is_none()
    }

    fn content_status(&self, digest: String, count: usize) -> ContentStatus {
        let track = self.state.load();
        ContentStatus {
            digest,
            count,
            source: track.source.clone(),
            watched: self.is_watched(),
            why_not_watched: self.why_not_watched.load().as_deref().cloned(),
            look_age_ms: milliseconds(self.look_age()),
            confirmed_age_ms: milliseconds(self.confirmed_age()),
            restored: self.restored().map(|restored| RestoredStatus {
                from: restored.folder.display().to_string(),
                confirmed: timestamp(restored.confirmed),
            }),
            last_reload: track.last.clone(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl StatusBoard {
    pub fn new() -> Self {
        let board = Self {
            started: SystemTime::now(),
            since: AtomicU64::new(0),
            policies: TrackBoard::new(),
            entities: TrackBoard::new(),
            guardrails: ArcSwap::default(),
            route_change: ArcSwapOption::empty(),
            suspension: ArcSwapOption::empty(),
            staleness: ArcSwapOption::empty(),
            ready_when_restored: AtomicBool::new(true),
            last_warning: AtomicU64::new(0),
        };
        board.generation_replaced();
        board
    }

    pub fn track(&self, name: TrackName) -> &TrackBoard {
        match name {
            TrackName::Policies => &self.policies,
            TrackName::Entities => &self.entities,
        }
    }

    /// Another generation is in use from now on.
    pub fn generation_replaced(&self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.since.store(milliseconds(now), Ordering::Relaxed);
    }

    /// Records what an edit changed about the routes.
    pub fn set_route_change(&self, change: RouteChangeStatus) {
        self.route_change.store(Some(Arc::new(change)));
    }

    /// Records why everything is denied, if so.
    pub fn set_suspension(&self, suspension: Option<SuspensionStatus>) {
        self.suspension.store(suspension.map(Arc::new));
    }

    /// Records how old content may get, and which content is older.
    pub fn set_staleness(&self, staleness: StalenessStatus) {
        self.staleness.store(Some(Arc::new(staleness)));
    }

    /// Whether requests may be sent here while a copy is in use.
    pub fn set_ready_when_restored(&self, ready: bool) {
        self.ready_when_restored.store(ready, Ordering::Relaxed);
    }

    /// The tracks because of whose copies no requests should be sent here.
    pub fn not_ready_because_restored(&self) -> Vec<&'static str> {
        if self.ready_when_restored.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let restored = TrackName::ALL.into_iter().filter(|name| self.track(*name).restored().is_some());
        restored.map(TrackName::as_str).collect()
    }

    pub fn staleness(&self) -> Option<Arc<StalenessStatus>> {
        self.staleness.load_full()
    }

    /// Updates the guardrail status. Only the thread that follows the policies calls this, so no update is lost.
    pub fn guardrails(&self, change: impl FnOnce(&mut GuardrailStatus)) {
        let mut guardrails = GuardrailStatus::clone(&self.guardrails.load());
        change(&mut guardrails);
        self.guardrails.store(Arc::new(guardrails));
    }

    /// Why guardrails are not enforced; `None` if they are.
    pub fn guardrails_not_enforced(&self) -> Option<String> {
        self.guardrails.load().why.clone()
    }

    pub fn read(&self, generation: &Generation) -> Status {
        let snapshot = generation.snapshot();
        let (policies, entities, schema) = (snapshot.policies(), snapshot.entities(), snapshot.schema());
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(self.since.load(Ordering::Relaxed));
        Status {
            version: env!("CARGO_PKG_VERSION"),
            revision: generation.revision().to_string(),
            since: timestamp(since),
            started: timestamp(self.started),
            watched: self.policies.is_watched() && self.entities.is_watched(),
            suspended: self.suspension.load().as_deref().cloned(),
            staleness: self.staleness.load().as_deref().cloned(),
            schema: SchemaStatus {
                digest: schema.digest().to_string(),
                entity_types: schema.entity_types().count(),
                actions: schema.actions().count(),
                source: self.policies.state().source.clone(),
            },
            policies: self.policies.content_status(policies.digest().to_string(), policies.len()),
            entities: self.entities.content_status(entities.digest().to_string(), entities.len()),
            guardrails: GuardrailStatus {
                emergencies: EmergencyStatus::all(policies),
                ..GuardrailStatus::clone(&self.guardrails.load())
            },
            changes: ChangesStatus {
                digest: generation.changes().digest().to_string(),
                count: generation.changes().len(),
            },
            store: generation.position().map(|position| StoreStatus { position: position.to_string() }),
            routes: RoutesStatus {
                digest: generation.routes().digest().to_string(),
                count: generation.routes().len(),
                last_change: self.route_change.load().as_deref().cloned(),
            },
        }
    }

    /// Whether a warning that callers can provoke may be logged now: at most one a second.
    pub fn may_log_warning(&self) -> bool {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let last = self.last_warning.swap(now, Ordering::Relaxed);
        last != now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_copy_does_not_follow_the_clock_of_the_machine() {
        // The clock of this machine goes decades ahead of the one by which the copy was confirmed and restored.
        let confirmed = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let restored = |now| RestoredContent::new("copy".into(), confirmed, now);
        let minute = Duration::from_mins(1);
        let copy = restored(confirmed + minute);
        let age = copy.age();
        assert!(age >= minute && age < 2 * minute, "{age:?}");
        assert!(copy.age() > age);
        assert!(restored(confirmed - minute).age() < minute);
    }
}
