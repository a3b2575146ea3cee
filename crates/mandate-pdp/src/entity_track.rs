//! Follows the entities: each change is applied to the snapshot in use.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mandate_sources::loader::EntityLoader;

use crate::poll_loop::{Polled, SourceState, Track};
use crate::publisher::Publisher;
use crate::track::TrackName;

/// The loader of the entities. Whoever holds it is the only one that can replace the entities in use.
pub(crate) type SharedEntityLoader = Arc<Mutex<EntityLoader>>;

pub(crate) struct EntityTrack {
    pub loader: SharedEntityLoader,
    pub publisher: Arc<Publisher>,
}

impl Track for EntityTrack {
    const NAME: TrackName = TrackName::Entities;

    fn poll(&mut self, force: bool) -> Polled {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let current = self.publisher.current();
        let polled = loader.poll(current.snapshot(), force);
        let mut result = polled.result;
        if let Some(snapshot) = polled.snapshot
            && let Err(diagnostics) = self.publisher.publish_entities(&snapshot)
        {
            result = Some(Err(diagnostics));
        }
        let found_change =
            result.as_ref().is_some_and(|result| result.as_ref().map_or(true, |accepted| accepted.changed));
        let refused = self.publisher.reporter().reload(Self::NAME, result.as_ref(), started.elapsed());
        let state = if refused { SourceState::Refused } else { SourceState::InUse };
        Polled { found_change, state }
    }
}
