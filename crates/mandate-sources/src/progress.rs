//! Logs the progress of long loads. Short loads log nothing.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mandate_core::entities::LoadProgress;

/// The interval between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Loads of fewer bytes log nothing.
const MIN_LOGGED_BYTES: usize = 16 * 1024 * 1024;

/// Calls `read` for texts of `bytes` bytes in all, and logs its progress meanwhile.
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
        // If the thread cannot be started, nothing is logged.
        let _ = thread::Builder::new().spawn_scoped(scope, move || {
            while wait.recv_timeout(LOG_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                tracing::info!(entities = count.count(), "reading entities");
            }
        });
        // Dropped at the end of `read`, even if it panics, so that the thread ends.
        let _done = done;
        read(count)
    });
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(entities = progress.count(), took_ms, "entities read, checking their relations");
    result
}
