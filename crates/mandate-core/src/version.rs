//! Stamps: names for versions of content, never given twice in a process.
//!
//! The counter is the one piece of global state in the engine. It is here because a stamp that is
//! unique by construction makes a stale cache impossible, also where snapshots branch (a candidate
//! that was refused, a test case's variation), which a counter in the snapshot could not promise.

use std::sync::atomic::{AtomicU64, Ordering};

/// The version of one entity, of one set of policies, or of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// What stands for an entity that does not exist.
    pub const ABSENT: Self = Self(0);

    /// The number that the stamp is.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// A stamp that nothing had before.
    pub fn new_unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
