//! The memory of decisions. A decision is a function of the policies, the request and the entities
//! that were gathered for it, and all of these are compared in full before it is given again. There
//! is no invalidation, because there is nothing to invalidate: what changed has another stamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use mandate_core::decision::Decision;
use mandate_core::request::Request;
use mandate_core::version::Version;

/// Decisions by their requests, the least useful dropped first.
pub struct Cache(moka::sync::Cache<Request, Arc<CacheEntry>, RandomState>);

/// A decision, and what it was made from besides the request.
pub struct CacheEntry {
    decision: Arc<Decision>,
    policies: Version,
    entities: Box<[Version]>,
    /// The snapshot in which this was last seen to hold. As long as that one is in use, nothing has
    /// to be gathered to know that it still does.
    last_valid_in: AtomicU64,
}

/// What one entry may take, in bytes, so that a number of entries is a bound of memory.
const ENTRY_BYTES: usize = 1024;

/// The longest entry that is remembered, in bytes: longer ones hardly come twice.
const MAX_ENTRY_BYTES: usize = 16 * ENTRY_BYTES;

impl CacheEntry {
    pub fn new(decision: Arc<Decision>, snapshot: Version, policies: Version, entities: &[Version]) -> Self {
        Self {
            decision,
            policies,
            entities: entities.into(),
            last_valid_in: AtomicU64::new(snapshot.as_u64()),
        }
    }

    /// The decision, if it was seen to hold in this snapshot.
    pub fn if_valid_in(&self, snapshot: Version) -> Option<&Arc<Decision>> {
        (self.last_valid_in.load(Ordering::Relaxed) == snapshot.as_u64()).then_some(&self.decision)
    }

    /// The decision, if it was made from these policies and entities; it is seen to hold from now on.
    pub fn revalidate(
        &self,
        snapshot: Version,
        policies: Version,
        entities: &[Version],
    ) -> Option<Arc<Decision>> {
        if self.policies != policies || *self.entities != *entities {
            return None;
        }
        self.last_valid_in.store(snapshot.as_u64(), Ordering::Relaxed);
        Some(Arc::clone(&self.decision))
    }
}

impl Cache {
    /// A cache of so many entries of at most [`ENTRY_BYTES`] bytes; a longer one takes the place of several.
    pub fn new(entries: u64) -> Self {
        let weigher = |request: &Request, entry: &Arc<CacheEntry>| {
            u32::try_from(1 + size(request, entry) / ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder().max_capacity(entries).weigher(weigher);
        Self(cache.build_with_hasher(RandomState::default()))
    }

    pub fn get(&self, request: &Request) -> Option<Arc<CacheEntry>> {
        self.0.get(request)
    }

    pub fn insert(&self, request: Request, entry: CacheEntry) {
        if size(&request, &entry) <= MAX_ENTRY_BYTES {
            self.0.insert(request, Arc::new(entry));
        }
    }

    /// How many decisions are held.
    pub fn len(&self) -> u64 {
        // What was inserted a moment ago is counted only by this.
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

fn size(request: &Request, entry: &CacheEntry) -> usize {
    request.estimated_bytes() + size_of_val(&*entry.entities) + entry.decision.estimated_bytes()
}
