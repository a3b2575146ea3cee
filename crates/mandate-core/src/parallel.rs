//! Work on many items, on as many threads as there are cores. It is for loading, not for requests: a decision
//! stays on the thread of its request.

use std::num::NonZero;
use std::thread;

/// With fewer items, threads cost more than they save.
const MIN_ITEMS_FOR_THREADS: usize = 4_096;

/// Splits the items into consecutive parts, works on the parts in parallel, and returns the results in the
/// order of the parts.
pub fn map_chunks<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    // Counting the cores takes longer than a small change.
    let threads = if items.len() < MIN_ITEMS_FOR_THREADS { 1 } else { cores() };
    if threads == 1 {
        return vec![work(items)];
    }
    thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(|| work(part))).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
