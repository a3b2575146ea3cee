//! Follows the entities: each change is applied to the snapshot in use.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mandate_sources::loader::EntityLoader;
use mandate_sources::source::Reread;

use crate::entity_log::EntityChangeSummary;
use crate::poll_loop::{Polled, Track};
use crate::publisher::Publisher;
use crate::track::TrackName;

/// The loader of the entities. Only the thread that holds it can replace the entities in use.
pub(crate) type SharedEntityLoader = Arc<Mutex<EntityLoader>>;

/// Follows the entities.
pub(crate) struct EntityTrack {
    pub loader: SharedEntityLoader,
    pub publisher: Arc<Publisher>,
}

impl Track for EntityTrack {
    const NAME: TrackName = TrackName::Entities;

    fn poll(&mut self, reread: Reread) -> Polled {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let current = self.publisher.current();
        let polled = loader.poll(current.snapshot(), reread);
        let (mut result, mut next) = (polled.result, polled.snapshot);
        if let Some(snapshot) = &next
            && let Err(diagnostics) = self.publisher.publish_entities(snapshot)
        {
            (result, next) = (Some(Err(diagnostics)), None);
        }
        let took = started.elapsed();
        // The change is in use by now, so the summary delays nobody.
        let summary = next.map(|next| EntityChangeSummary::new(current.snapshot(), &next, &loader));
        let refused = self.publisher.reporter().reload(Self::NAME, result.as_ref(), took, summary.as_ref());
        Polled::of(result.as_ref(), refused)
    }
}
