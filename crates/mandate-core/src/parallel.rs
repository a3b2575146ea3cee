//! Work on many items, on as many threads as there are cores. It is for loading, not for requests: a decision
//! stays on the thread of its request.

use std::cmp::Ordering;
use std::num::NonZero;
use std::thread;

/// With fewer items, threads cost more than they save.
const MIN_ITEMS_FOR_THREADS: usize = 4_096;

/// Splits the items into consecutive parts, works on the parts in parallel, and returns the results in the
/// order of the parts.
pub fn map_chunks<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let Some(length) = part_length(items.len()) else { return vec![work(items)] };
    thread::scope(|scope| {
        let running: Vec<_> = items.chunks(length).map(|part| scope.spawn(|| work(part))).collect();
        running.into_iter().map(result_of).collect()
    })
}

/// Sorts items; those that are equal stay in their order.
pub fn sort_by<T: Send>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering + Sync) {
    if let Some(length) = part_length(items.len()) {
        thread::scope(|scope| {
            for part in items.chunks_mut(length) {
                scope.spawn(|| part.sort_by(&compare));
            }
        });
    }
    // Of parts that are sorted, this only merges them.
    items.sort_by(compare);
}

/// Does two pieces of work on `count` items each.
pub fn join<A: Send, B>(count: usize, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
    if part_length(count).is_none() {
        return (a(), b());
    }
    thread::scope(|scope| {
        let a = scope.spawn(a);
        let b = b();
        (result_of(a), b)
    })
}

/// How many of so many items are for each thread; `None` if one thread does them all.
fn part_length(count: usize) -> Option<usize> {
    // Counting the cores takes longer than a small change.
    let threads = if count < MIN_ITEMS_FOR_THREADS { 1 } else { cores() };
    (threads > 1).then(|| count.div_ceil(threads))
}

fn result_of<R>(thread: thread::ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_items_are_sorted_like_few() {
        for count in [0, 1, 100, 50_001_u64] {
            let numbers = (0..count).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50, n));
            let mut sorted: Vec<(u64, u64)> = numbers.collect();
            sort_by(&mut sorted, |a, b| a.0.cmp(&b.0));
            // Equal ones in their order.
            assert!(sorted.is_sorted() && sorted.len() as u64 == count, "{count}");
        }
    }

    #[test]
    fn both_results_are_returned() {
        for count in [1, 100_000] {
            assert_eq!(join(count, || 1, || "two"), (1, "two"));
        }
    }
}
