//! Whose turn it is to be read again: files whose metadata did not change, a few at each poll, so that reading
//! them takes a small share of the time, however large their folder is.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

/// How much is read again per second, on average. A digest of so much takes at most 1 % of a core.
const BYTES_PER_SECOND: u64 = 2_000_000;

/// What a file counts at least: opening it takes time, too.
const MIN_BYTES: u64 = 4_096;

/// Goes round the files of a folder in the order of their names.
pub(crate) struct Turns {
    /// The file that had the last turn.
    last: String,
    /// Up to here, the time is used up by what was read.
    used_up_to: Instant,
}

impl Turns {
    pub fn new(now: Instant) -> Self {
        Self { last: String::new(), used_up_to: now }
    }

    /// Gives the next files their turn: as many as the time since the last call allows, and each file once at
    /// most. The last of them may be larger; then the next ones wait longer.
    pub fn next<T>(
        &mut self,
        files: &BTreeMap<String, T>,
        length: impl Fn(&T) -> u64,
        now: Instant,
    ) -> Vec<String> {
        let last = self.last.clone();
        let rest = files.range::<String, _>((Bound::Excluded(&last), Bound::Unbounded));
        let mut turns = Vec::new();
        for (name, file) in rest.chain(files.range::<String, _>(..=&last)) {
            if self.used_up_to >= now {
                return turns;
            }
            self.used_up_to += time_to_read(length(file));
            self.last.clone_from(name);
            turns.push(name.clone());
        }
        // All had their turn. Time that is left over is not saved up.
        self.used_up_to = self.used_up_to.max(now);
        turns
    }
}

fn time_to_read(bytes: u64) -> Duration {
    Duration::from_micros(bytes.max(MIN_BYTES).saturating_mul(1_000_000) / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn folder(lengths: &[(&str, u64)]) -> BTreeMap<String, u64> {
        lengths.iter().map(|(name, length)| ((*name).to_owned(), *length)).collect()
    }

    #[test]
    fn a_small_folder_is_read_at_every_poll() {
        let files = folder(&[("a", 10), ("b", 20), ("c", 0)]);
        let mut now = Instant::now();
        let mut turns = Turns::new(now);
        for _ in 0..3 {
            now += SECOND;
            let mut names = turns.next(&files, |length| *length, now);
            names.sort();
            assert_eq!(names, ["a", "b", "c"]);
        }
        assert!(turns.next(&files, |length| *length, now).is_empty(), "no time has passed");
    }

    #[test]
    fn files_have_their_turns_by_name_and_a_large_one_makes_the_next_wait() {
        let megabyte = BYTES_PER_SECOND / 2;
        let files = folder(&[("a", megabyte), ("b", 10 * megabyte), ("c", megabyte), ("d", megabyte)]);
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let mut after = |seconds| turns.next(&files, |length| *length, start + seconds * SECOND).concat();
        // `a` takes half a second, `b` five seconds.
        assert_eq!((after(1), after(2), after(5)), ("ab".to_owned(), String::new(), String::new()));
        assert_eq!((after(6), after(7)), ("c".to_owned(), "da".to_owned()));
        assert_eq!(after(100), "bcda", "each file once at most");
    }

    #[test]
    fn the_last_file_may_be_gone() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let large = folder(&[("b", 10 * BYTES_PER_SECOND)]);
        assert_eq!(turns.next(&large, |length| *length, start + SECOND), ["b"]);
        let others = folder(&[("a", 1), ("c", 1)]);
        assert_eq!(turns.next(&others, |length| *length, start + 60 * SECOND), ["c", "a"]);
    }
}
