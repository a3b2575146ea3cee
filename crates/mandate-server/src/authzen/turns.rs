//! Searches and explanations take turns. Each uses a core for much longer than a decision, and decisions must
//! always find a free core. What they do is in `search` and `evaluation`.

use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests that may wait for a turn.
const MAX_WAITING: usize = 64;

/// The turns, shared by all requests.
#[derive(Debug)]
pub struct Turns {
    running: Semaphore,
    /// Requests that are running or waiting; if it is used up, a new one is rejected.
    running_or_waiting: Semaphore,
}

/// Permission to run one search, or to answer one request with explanations, until it is dropped.
#[derive(Debug)]
pub struct Turn<'t> {
    _running: SemaphorePermit<'t>,
    _running_or_waiting: SemaphorePermit<'t>,
}

/// As many requests are waiting as may wait.
#[derive(Debug, thiserror::Error)]
#[error("too many concurrent searches and explanations: try again")]
pub struct TooManyWaiting;

impl Turns {
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let running = cores.saturating_sub(1).max(1);
        Self { running: Semaphore::new(running), running_or_waiting: Semaphore::new(running + MAX_WAITING) }
    }

    /// Waits for a turn. A dropped future leaves the queue.
    ///
    /// # Errors
    /// Too many requests are waiting already.
    pub async fn acquire(&self) -> Result<Turn<'_>, TooManyWaiting> {
        let queued = self.running_or_waiting.try_acquire().map_err(|_| TooManyWaiting)?;
        // The semaphore is never closed, so this does not fail.
        let running = self.running.acquire().await.map_err(|_| TooManyWaiting)?;
        Ok(Turn { _running: running, _running_or_waiting: queued })
    }
}
