//! Says in the log how far a long load has come. A short one says nothing.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mandate_core::entities::LoadProgress;

/// How often it is said.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Below so many bytes, a load is over before there is anything to say.
const MIN_LOGGED_BYTES: usize = 16 * 1024 * 1024;

/// Reads entities from texts of so many bytes, and tells how many were read meanwhile.
pub fn with_progress_log<T>(bytes: usize, read: impl FnOnce(&LoadProgress) -> T) -> T {
    let progress = LoadProgress::default();
    if bytes < MIN_LOGGED_BYTES {
        return read(&progress);
    }
    let begun = Instant::now();
    let megabytes = bytes / 1_000_000;
    tracing::info!(megabytes, "reading entities");
    let (done, wait) = channel::<()>();
    let count = &progress;
    let result = thread::scope(|scope| {
        // Without this thread nothing is told, and all is read.
        let _ = thread::Builder::new().spawn_scoped(scope, move || {
            while wait.recv_timeout(LOG_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                tracing::info!(entities = count.count(), "reading entities");
            }
        });
        // Dropped when all is read, also by a panic, so that the other thread ends.
        let _done = done;
        read(count)
    });
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(entities = progress.count(), took_ms, "entities read, checking that they hold together");
    result
}
