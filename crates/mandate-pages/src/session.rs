//! Who is signed in, and as what they may act. Sessions are in memory; what somebody may do is not part of them: it is
//! decided at each click, by the entities of then.

use std::sync::Arc;
use std::time::Duration;

use mandate_store::EntityName;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::secret::{ProofKey, sha256, unguessable};

/// The most sessions. The one that was used the longest time ago gives way.
const MAX_SESSIONS: u64 = 20_000;

/// How long a session lasts that nobody uses.
const IDLE: Duration = Duration::from_mins(30);

/// The longest time that a session lasts.
pub const LONGEST: Duration = Duration::from_hours(8);

/// Somebody who is signed in.
pub struct Session {
    /// What they are called, for themselves.
    pub name: String,
    /// The entities that they may act as, with full types. There is at least one.
    pub principals: Vec<EntityName>,
    /// Makes the tokens of their forms.
    pub key: ProofKey,
    /// Whether they can sign out here.
    pub can_end: bool,
}

impl Session {
    pub fn new(name: String, principals: Vec<EntityName>) -> Self {
        Self { name, principals, key: ProofKey::new(&unguessable()), can_end: true }
    }
}

/// All sessions.
pub struct Sessions {
    /// By the digest of the id: what is in memory lets nobody in.
    by_digest: Cache<[u8; 32], Arc<Session>>,
}

impl Sessions {
    pub fn new(lifetime: Duration) -> Self {
        let lifetime = lifetime.min(LONGEST);
        let sessions = Cache::builder().max_capacity(MAX_SESSIONS).time_to_live(lifetime).time_to_idle(IDLE);
        // A new session always finds a place.
        Self { by_digest: sessions.eviction_policy(EvictionPolicy::lru()).build() }
    }

    /// Begins a session, and gives its id.
    pub fn begin(&self, session: Session) -> String {
        let id = unguessable();
        self.by_digest.insert(sha256(id.as_bytes()), Arc::new(session));
        id
    }

    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.by_digest.get(&sha256(id.as_bytes()))
    }

    pub fn end(&self, id: &str) {
        self.by_digest.invalidate(&sha256(id.as_bytes()));
    }
}
