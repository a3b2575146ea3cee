//! The decision cache. A decision is a function of the policies, the request and the entities that were
//! gathered for it. All of these are compared before a cached decision is used, so nothing has to be
//! invalidated: content that changed has another version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use mandate_core::decision::Decision;
use mandate_core::request::Request;
use mandate_core::version::Version;

/// Decisions by request. When it is full, entries that are used least are dropped.
pub struct Cache(moka::sync::Cache<Request, Arc<CacheEntry>, RandomState>);

/// A decision, and the versions of what it was made from besides the request.
pub struct CacheEntry {
    decision: Arc<Decision>,
    policies: Version,
    entities: Box<[Version]>,
    /// The version of the last snapshot for which the entry was found valid. As long as that snapshot is in
    /// use, the entry is valid without gathering anything.
    last_valid_in: AtomicU64,
}

/// The bytes that one unit of capacity stands for, so that the number of entries bounds the memory.
const ENTRY_BYTES: usize = 1024;

/// The largest entry that is cached, in bytes. Larger requests hardly ever repeat.
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

    /// The decision, if the entry is known to be valid for this snapshot.
    pub fn if_valid_in(&self, snapshot: Version) -> Option<&Arc<Decision>> {
        (self.last_valid_in.load(Ordering::Relaxed) == snapshot.as_u64()).then_some(&self.decision)
    }

    /// The decision, if it was made from these versions. From then on the entry is known to be valid for the
    /// snapshot.
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
    /// A cache of `entries` entries of up to [`ENTRY_BYTES`] each. A larger entry counts as several.
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

    /// The number of cached decisions.
    pub fn len(&self) -> u64 {
        // moka counts recent insertions only when its pending tasks have run.
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

fn size(request: &Request, entry: &CacheEntry) -> usize {
    request.estimated_bytes() + size_of_val(&*entry.entities) + entry.decision.estimated_bytes()
}
