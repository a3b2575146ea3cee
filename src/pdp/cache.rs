//! The memory of decisions: a function's results by everything that the function reads. There is no
//! invalidation, because there is nothing to invalidate: what changed has another stamp, so another key.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::authz::decision::Decision;
use crate::authz::request::Request;
use crate::authz::stamp::Stamp;

/// Decisions by what they were made from, the least useful dropped first.
pub struct Cache(moka::sync::Cache<Key, Arc<Decision>>);

/// All that a decision reads, compared in full.
#[derive(PartialEq, Eq)]
struct Key {
    policies: Stamp,
    request: Request,
    entities: Box<[Stamp]>,
}

/// A key that is not owned, for looking up.
struct Lookup<'a> {
    policies: Stamp,
    request: &'a Request,
    entities: &'a [Stamp],
}

/// What one entry may take, in bytes, so that a number of entries is a bound of memory.
const ENTRY: usize = 1024;

/// The longest key that is remembered, in bytes: longer ones hardly come twice.
const LONGEST: usize = 16 * ENTRY;

impl Key {
    fn size(&self) -> usize {
        self.request.size() + size_of_val(&*self.entities)
    }

    fn lookup(&self) -> Lookup<'_> {
        Lookup { policies: self.policies, request: &self.request, entities: &self.entities }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lookup().hash(state);
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.policies.hash(state);
        self.request.hash(state);
        self.entities.hash(state);
    }
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.policies == key.policies && *self.entities == *key.entities && *self.request == key.request
    }
}

impl Cache {
    /// A cache of so many entries of at most [`ENTRY`] bytes; a longer one takes the place of several.
    pub fn new(entries: u64) -> Self {
        let weigher =
            |key: &Key, _: &Arc<Decision>| u32::try_from(1 + key.size() / ENTRY).unwrap_or(u32::MAX);
        Self(moka::sync::Cache::builder().max_capacity(entries).weigher(weigher).build())
    }

    pub fn get(&self, policies: Stamp, request: &Request, entities: &[Stamp]) -> Option<Arc<Decision>> {
        self.0.get(&Lookup { policies, request, entities })
    }

    pub fn insert(&self, policies: Stamp, request: Request, entities: Box<[Stamp]>, decision: Arc<Decision>) {
        let key = Key { policies, request, entities };
        if key.size() <= LONGEST {
            self.0.insert(key, decision);
        }
    }

    /// How many decisions are held.
    pub fn len(&self) -> u64 {
        // What was inserted a moment ago is counted only by this.
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}
