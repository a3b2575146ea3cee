//! Limits how many searches run at a time. A search uses a core for longer than a decision, and decisions
//! must always find a free core. What a search does is in `search`.

use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Searches that may wait until another one ends.
const MAX_WAITING_SEARCHES: usize = 64;

/// The limit, shared by all requests.
#[derive(Debug)]
pub struct SearchLimiter {
    running: Semaphore,
    /// Searches that are running or waiting; if it is used up, a new search is rejected.
    running_or_waiting: Semaphore,
}

/// Permission to run one search, until it is dropped.
#[derive(Debug)]
pub struct SearchPermit<'l> {
    _running: SemaphorePermit<'l>,
    _running_or_waiting: SemaphorePermit<'l>,
}

/// As many searches are waiting as may wait.
#[derive(Debug, thiserror::Error)]
#[error("too many concurrent searches: try again")]
pub struct TooManySearches;

impl SearchLimiter {
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let running = cores.saturating_sub(1).max(1);
        Self {
            running: Semaphore::new(running),
            running_or_waiting: Semaphore::new(running + MAX_WAITING_SEARCHES),
        }
    }

    /// Waits until a search may run. A dropped future leaves the queue.
    ///
    /// # Errors
    /// Too many searches are waiting already.
    pub async fn acquire(&self) -> Result<SearchPermit<'_>, TooManySearches> {
        let queued = self.running_or_waiting.try_acquire().map_err(|_| TooManySearches)?;
        // The semaphore is never closed, so this does not fail.
        let running = self.running.acquire().await.map_err(|_| TooManySearches)?;
        Ok(SearchPermit { _running: running, _running_or_waiting: queued })
    }
}
