//! Watches the age of content. While a disk hangs, or newer content is refused, what is in use may be out of
//! date, and nothing else would show it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::publisher::Publisher;
use crate::status::StalenessStatus;
pub use crate::status::WhenStale;
use crate::track::TrackName;
use crate::trigger::StopFlag;

/// How often ages are compared with the limit.
const INTERVAL: Duration = Duration::from_millis(100);

/// How old the content in use may get.
#[derive(Debug, Clone, Copy)]
pub struct StalenessLimit {
    /// The longest time since the content in use was last found in its source.
    pub max_age: Duration,
    pub when_stale: WhenStale,
}

/// Starts the thread that watches.
///
/// # Errors
/// The system cannot start a thread.
pub(crate) fn start(limit: StalenessLimit, publisher: Arc<Publisher>, stop: StopFlag) -> io::Result<()> {
    let watch = move || {
        while !stop.is_set() {
            let stale = stale_tracks(limit, &publisher);
            // A copy is not served for longer, whatever happens to other content.
            let denies = |track: &TrackName| {
                limit.when_stale == WhenStale::Deny || publisher.reporter().is_restored(*track)
            };
            publisher.set_stale(stale.iter().any(denies));
            publisher.reporter().staleness(StalenessStatus {
                max_ms: u64::try_from(limit.max_age.as_millis()).unwrap_or(u64::MAX),
                when_stale: limit.when_stale,
                stale: stale.into_iter().map(TrackName::as_str).collect(),
            });
            std::thread::sleep(INTERVAL);
        }
    };
    std::thread::Builder::new().name("staleness".into()).spawn(watch).map(|_| ())
}

fn stale_tracks(limit: StalenessLimit, publisher: &Publisher) -> Vec<TrackName> {
    let is_stale = |track: &TrackName| publisher.reporter().confirmed_age(*track) > limit.max_age;
    TrackName::ALL.into_iter().filter(is_stale).collect()
}
