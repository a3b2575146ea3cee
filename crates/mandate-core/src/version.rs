//! Versions: numbers for a version of an entity, a policy set or a snapshot, each used once in a process.
//! They say nothing about content; `digest.rs` names content, the same on every machine.
//!
//! The counter is the only global state of the engine. A counter in the snapshot would not do: snapshots
//! branch (refused policies, test cases), and two branches would give the same version to different content.

use std::sync::atomic::{AtomicU64, Ordering};

/// The version of one entity, of one set of policies, or of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of an entity that does not exist.
    pub const ABSENT: Self = Self(0);

    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// A version that was never used before.
    pub fn new_unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
