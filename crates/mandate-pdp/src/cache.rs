//! The decision cache. A decision is a function of the policies, the request and the entities that were
//! gathered for it. All of these are compared before a cached decision is used, so nothing has to be
//! invalidated: content that changed has another version. The comparison is made in the cheapest way that is certain: the
//! same snapshot, the same parts of the entities, or the same entities. Entities that end at times of their own bound the
//! time for which a decision is used.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::moment::Moment;
use mandate_core::request::Request;
use mandate_core::slice::{LookUp, Slice};
use mandate_core::version::Version;

/// Decisions by request. When it is full, entries that are used least are dropped.
pub struct Cache(moka::sync::Cache<CacheKey, Arc<CacheEntry>, RandomState>);

/// A request, whenever it is asked: an entry says itself for which time it holds.
pub struct CacheKey(pub Request);

/// A decision, and the versions of what it was made from besides the request.
pub struct CacheEntry {
    decision: Arc<Decision>,
    policies: Version,
    entities: Box<[CachedLookUp]>,
    /// When it holds, if entities end at times of their own.
    period: Option<Period>,
    /// The version of the last snapshot for which the entry was found valid. As long as that snapshot is in
    /// use, the entry is valid without gathering anything.
    last_valid_in: AtomicU64,
}

/// A look-up that the decision was made from.
struct CachedLookUp {
    found: LookUp,
    /// A version of the part in which exactly this was found. Threads replace it by others of which the same is true, so
    /// it does not matter which of them a reader sees.
    part_version: AtomicU64,
}

/// A time from the moment of a decision until the first of its entities ends. A clock that is set back is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    from: Moment,
    until: Option<Moment>,
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.timeless().hash(state);
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.timeless() == other.timeless()
    }
}

impl Eq for CacheKey {}

impl CacheKey {
    /// Everything but the time at which the request is asked.
    fn timeless(&self) -> impl Hash + PartialEq {
        let Request {
            action,
            principal,
            resource,
            context,
            asked_at: _,
            principal_properties,
            resource_properties,
        } = &self.0;
        (*action, principal, resource, context, principal_properties, resource_properties)
    }
}

/// The bytes that one unit of capacity stands for, so that the number of entries bounds the memory.
const ENTRY_BYTES: usize = 1024;

/// The largest entry that is cached, in bytes. Larger requests hardly ever repeat.
const MAX_ENTRY_BYTES: usize = 16 * ENTRY_BYTES;

impl CacheEntry {
    /// An entry for the decision on a request, made on a snapshot and what was gathered from it.
    pub fn new(decision: Arc<Decision>, request: &Request, snapshot: &Snapshot, slice: &Slice<'_>) -> Self {
        let period = request.asked_at.map(|from| Period { from, until: slice.next_end() });
        let cached = |found: &LookUp| {
            let part_version = snapshot.entities().part_version(found.part).as_u64();
            CachedLookUp { found: *found, part_version: AtomicU64::new(part_version) }
        };
        Self {
            decision,
            policies: snapshot.policies().version(),
            entities: slice.look_ups().iter().map(cached).collect(),
            period,
            last_valid_in: AtomicU64::new(snapshot.version().as_u64()),
        }
    }

    /// The decision, if it holds at this time, and neither the policies nor the parts of the entities that it was made
    /// from have changed.
    pub fn if_valid_in(&self, snapshot: &Snapshot, asked_at: Option<Moment>) -> Option<&Arc<Decision>> {
        let is_last = self.last_valid_in.load(Ordering::Relaxed) == snapshot.version().as_u64();
        let is_valid = self.holds_at(asked_at) && (is_last || self.is_unchanged_in(snapshot));
        is_valid.then_some(&self.decision)
    }

    fn is_unchanged_in(&self, snapshot: &Snapshot) -> bool {
        let entities = snapshot.entities();
        let is_unchanged = |it: &CachedLookUp| {
            entities.part_version(it.found.part).as_u64() == it.part_version.load(Ordering::Relaxed)
        };
        let unchanged =
            self.policies == snapshot.policies().version() && self.entities.iter().all(is_unchanged);
        if unchanged {
            self.last_valid_in.store(snapshot.version().as_u64(), Ordering::Relaxed);
        }
        unchanged
    }

    /// When an entity that the decision may depend on ends.
    pub fn next_end(&self) -> Option<Moment> {
        self.period.and_then(|period| period.until)
    }

    fn holds_at(&self, asked_at: Option<Moment>) -> bool {
        match (self.period, asked_at) {
            (None, None) => true,
            (Some(Period { from, until }), Some(at)) => from <= at && until.is_none_or(|until| at < until),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// The decision, if it was made from what is gathered from this snapshot, and holds at this time. From then on the
    /// entry is known to be valid for the snapshot.
    pub fn revalidate(
        &self,
        snapshot: &Snapshot,
        slice: &Slice<'_>,
        asked_at: Option<Moment>,
    ) -> Option<Arc<Decision>> {
        // Entities that were loaded anew may have a uid in another part, so the parts are compared as well.
        let is_same = self.entities.iter().map(|it| &it.found).eq(slice.look_ups());
        if self.policies != snapshot.policies().version() || !is_same || !self.holds_at(asked_at) {
            return None;
        }
        for CachedLookUp { found, part_version } in &self.entities {
            part_version.store(snapshot.entities().part_version(found.part).as_u64(), Ordering::Relaxed);
        }
        self.last_valid_in.store(snapshot.version().as_u64(), Ordering::Relaxed);
        Some(Arc::clone(&self.decision))
    }
}

impl Cache {
    /// A cache of `entries` entries of up to [`ENTRY_BYTES`] each. A larger entry counts as several.
    pub fn new(entries: u64) -> Self {
        let weigher = |key: &CacheKey, entry: &Arc<CacheEntry>| {
            u32::try_from(1 + size(&key.0, entry) / ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder().max_capacity(entries).weigher(weigher);
        Self(cache.build_with_hasher(RandomState::default()))
    }

    pub fn get(&self, key: &CacheKey) -> Option<Arc<CacheEntry>> {
        self.0.get(key)
    }

    pub fn insert(&self, key: CacheKey, entry: CacheEntry) {
        if size(&key.0, &entry) <= MAX_ENTRY_BYTES {
            self.0.insert(key, Arc::new(entry));
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

#[cfg(test)]
mod tests {
    use mandate_core::clock::Clock;
    use mandate_core::diagnostics::SourceText;
    use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
    use mandate_core::policies::Policies;
    use mandate_core::request::{Question, QuestionEntity};
    use mandate_core::schema::Schema;
    use mandate_core::snapshot::RequestConfig;

    use super::*;

    /// Eve is in a team until second 20.
    fn snapshot() -> Snapshot {
        let schema = "entity Team = { @valid_until end: datetime }; entity User in [Team];
            action view appliesTo { principal: User, resource: Team };";
        let schema = Schema::parse(&SourceText::new("s.cedarschema", schema)).unwrap().0;
        let policy = SourceText::new(
            "p.cedar",
            "@id(\"in\") permit (principal, action, resource) when { principal in resource };",
        );
        let policies = Policies::parse(&[policy], Arc::new(schema)).unwrap().0;
        let entities = r#"[
            { "uid": { "type": "Team", "id": "t" }, "attrs": { "end": "1970-01-01T00:00:20Z" }, "parents": [] },
            { "uid": { "type": "User", "id": "eve" }, "attrs": {}, "parents": [{ "type": "Team", "id": "t" }] }
        ]"#;
        let file = SourceText::new("e.json", entities);
        let upserts =
            parse_entity_file(&file, Origin(0), policies.schema(), &LoadProgress::default()).unwrap();
        let empty = Snapshot::new(Arc::new(policies), &RequestConfig::default()).unwrap();
        empty.apply(&EntityChanges { upserts, removals: Vec::new() }).unwrap()
    }

    fn request(snapshot: &Snapshot, second: i64) -> Request {
        let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
        let (principal, resource) = (named("User", "eve"), named("Team", "t"));
        let question =
            Question { principal, action: "view", action_properties: None, resource, context: None };
        snapshot.request_from_question(&question, Clock::At(Moment::from_unix_seconds(second))).unwrap()
    }

    /// The entry for the decision at a second.
    fn entry(snapshot: &Snapshot, second: i64) -> CacheEntry {
        let request = request(snapshot, second);
        let slice = snapshot.gather(&request);
        let decision = Arc::new(snapshot.decide(&request, &slice).unwrap());
        CacheEntry::new(decision, &request, snapshot, &slice)
    }

    #[test]
    fn an_entry_is_used_from_its_decision_until_an_entity_of_it_ends() {
        let snapshot = snapshot();
        // The same content, so that it has to be compared.
        let other = snapshot.apply(&EntityChanges::default()).unwrap();
        for (decided, asked, expected) in [
            (10, 10, Some(true)),
            (10, 19, Some(true)),
            (10, 20, None),
            (10, 9, None),
            (20, 20, Some(false)),
            (20, i64::MAX, Some(false)),
            // A clock that was set back.
            (20, 19, None),
        ] {
            let entry = entry(&snapshot, decided);
            let request = request(&snapshot, asked);
            let found = entry.if_valid_in(&snapshot, request.asked_at);
            assert_eq!(found.map(|decision| decision.is_permit()), expected, "{decided} {asked}");
            let slice = snapshot.gather(&request);
            let found = entry.revalidate(&other, &slice, request.asked_at);
            assert_eq!(found.map(|decision| decision.is_permit()), expected, "{decided} {asked}");
        }
    }

    #[test]
    fn a_request_has_one_entry_whenever_it_is_asked() {
        let (snapshot, cache) = (snapshot(), Cache::new(10));
        cache.insert(CacheKey(request(&snapshot, 10)), entry(&snapshot, 10));
        cache.insert(CacheKey(request(&snapshot, 30)), entry(&snapshot, 30));
        assert_eq!(cache.len(), 1);
        let found = cache.get(&CacheKey(request(&snapshot, 40))).unwrap();
        assert!(!found.decision.is_permit() && found.next_end().is_none());
    }
}
