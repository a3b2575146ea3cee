//! The state behind `/status`: the reload thread writes it, requests for `/status` read it without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::generation::Generation;
use crate::status::{ContentStatus, GuardrailStatus, ReloadStatus, SchemaStatus, Status, timestamp};
use crate::track::TrackName;

/// The state that `/status` is made from.
pub(crate) struct StatusBoard {
    started: SystemTime,
    tracks: ArcSwap<Tracks>,
    guardrails: ArcSwap<GuardrailStatus>,
    last_warning: AtomicU64,
    watched: AtomicBool,
}

#[derive(Debug, Clone)]
pub(crate) struct Tracks {
    pub since: SystemTime,
    pub policies: Track,
    pub entities: Track,
}

impl Tracks {
    pub fn track(&mut self, name: TrackName) -> &mut Track {
        match name {
            TrackName::Policies => &mut self.policies,
            TrackName::Entities => &mut self.entities,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    pub source: Option<String>,
    /// The last accepted change, with its warnings.
    pub accepted: Option<ReloadStatus>,
    pub last: Option<ReloadStatus>,
}

impl StatusBoard {
    pub fn new() -> Self {
        let tracks =
            Tracks { since: SystemTime::now(), policies: Track::default(), entities: Track::default() };
        Self {
            started: SystemTime::now(),
            tracks: ArcSwap::from_pointee(tracks),
            guardrails: ArcSwap::default(),
            last_warning: AtomicU64::new(0),
            watched: AtomicBool::new(true),
        }
    }

    pub fn tracks(&self) -> Arc<Tracks> {
        self.tracks.load_full()
    }

    pub fn write(&self, tracks: Tracks) {
        self.tracks.store(Arc::new(tracks));
    }

    /// Updates the guardrail status. Only the reload thread calls this, so no update is lost.
    pub fn guardrails(&self, change: impl FnOnce(&mut GuardrailStatus)) {
        let mut guardrails = GuardrailStatus::clone(&self.guardrails.load());
        change(&mut guardrails);
        self.guardrails.store(Arc::new(guardrails));
    }

    pub fn read(&self, generation: &Generation) -> Status {
        let snapshot = generation.snapshot();
        let tracks = self.tracks.load();
        let content = |digest: String, count, track: &Track| ContentStatus {
            digest,
            count,
            source: track.source.clone(),
            last_reload: track.last.clone(),
        };
        let (policies, schema) = (snapshot.policies(), snapshot.schema());
        Status {
            version: env!("CARGO_PKG_VERSION"),
            revision: generation.revision().to_string(),
            since: timestamp(tracks.since),
            started: timestamp(self.started),
            watched: self.watched.load(Ordering::Relaxed),
            schema: SchemaStatus {
                digest: schema.digest().to_string(),
                entity_types: schema.entity_types().count(),
                actions: schema.actions().count(),
                source: tracks.policies.source.clone(),
            },
            policies: content(policies.digest().to_string(), policies.len(), &tracks.policies),
            entities: content(
                snapshot.entities().digest().to_string(),
                snapshot.entities().len(),
                &tracks.entities,
            ),
            guardrails: GuardrailStatus::clone(&self.guardrails.load()),
        }
    }

    /// Records whether file events arrive, and logs a warning when they stop.
    pub fn watched(&self, watched: bool) {
        if self.watched.swap(watched, Ordering::Relaxed) && !watched {
            tracing::warn!("a folder cannot be watched: changes in it are found by polling only");
        }
    }

    /// Whether a warning that callers can provoke may be logged now: at most one a second.
    pub fn may_log_warning(&self) -> bool {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let last = self.last_warning.swap(now, Ordering::Relaxed);
        last != now
    }
}
