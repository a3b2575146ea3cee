//! All entities of a snapshot: lookup by uid, members of an entity, and ancestors. It is a value that never
//! changes; `apply.rs` makes the next one from a change.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::fmt;
use std::hash::BuildHasher;
use std::iter;

use foldhash::quality::RandomState;

use super::member_index::MemberIndex;
use super::packed::Entity;
use super::parts::{Part, PartVersions};
use super::trie::{Edit, Entry, Trie};
use crate::digest::{Digest, SetDigest};
use crate::moment::Moment;
use crate::parallel;
use crate::reachable::extend_with_reachable;
use crate::schema::{EntityTypeId, EntityUidRef, Schema};
use crate::version::Version;

/// An entity in the store.
#[derive(Debug, Clone)]
pub struct StoredEntity {
    pub entity: Entity,
    pub version: Version,
    /// The first bits of the hash of the uid.
    uid_hash: u32,
}

/// Entities by uid.
#[derive(Clone, Default)]
pub(super) struct EntityIndex {
    entities: Trie<StoredEntity>,
    parts: PartVersions,
}

/// All entities. Cloning is cheap; a clone with a change shares everything else with the original.
#[derive(Clone, Default)]
pub struct Entities {
    pub(super) index: EntityIndex,
    pub(super) members: MemberIndex,
    pub(super) digest: SetDigest,
    /// Randomly seeded, so that nobody can choose uids whose hashes collide.
    hasher: RandomState,
}

impl fmt::Debug for Entities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entities({})", self.len())
    }
}

impl Entities {
    pub fn get(&self, uid: EntityUidRef<'_>) -> Option<&StoredEntity> {
        self.get_by_hash(self.uid_hash(uid), uid)
    }

    /// The entity with this uid, and the part of all entities that the uid belongs to.
    pub(crate) fn look_up(&self, uid: EntityUidRef<'_>) -> (Option<&StoredEntity>, Part) {
        let hash = self.uid_hash(uid);
        (self.get_by_hash(hash, uid), Part::of_hash(hash))
    }

    /// The version of a part. If it is the same in other entities, so are all entities of the part.
    pub fn part_version(&self, part: Part) -> Version {
        self.index.parts.get(part)
    }

    pub fn len(&self) -> usize {
        self.index.entities.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entities, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.index.entities.iter().map(|stored| &stored.entity)
    }

    /// The direct members of `parent` with this type, or all entities of the type if `parent` is `None`.
    /// Starts after `after`. The order is the same on every machine that has the same schema.
    pub fn members<'a, 'n: 'a>(
        &'a self,
        parent: Option<EntityUidRef<'n>>,
        entity_type: EntityTypeId,
        after: Option<EntityUidRef<'_>>,
        schema: &Schema,
    ) -> impl Iterator<Item = &'a Entity> + use<'a, 'n> {
        self.members.members_of(parent, entity_type, after, schema)
    }

    /// Everything that an entity is in, directly or not: each once, nearest first.
    pub fn ancestors(&self, uid: EntityUidRef<'_>) -> Vec<EntityUidRef<'_>> {
        let parents = |uid: EntityUidRef<'_>| self.parents(uid).map(Ok::<_, Infallible>);
        let mut ancestors = Vec::new();
        let Ok(_) = extend_with_reachable(&mut ancestors, parents(uid), |uid| Some(parents(uid)));
        ancestors
    }

    /// An entity, and everything that it is in.
    pub fn with_ancestors<'a>(&'a self, uid: EntityUidRef<'a>) -> impl Iterator<Item = EntityUidRef<'a>> {
        iter::once(uid).chain(self.ancestors(uid))
    }

    /// The direct parents of an entity; none if it is not stored.
    pub fn parents<'a>(&'a self, uid: EntityUidRef<'_>) -> impl Iterator<Item = EntityUidRef<'a>> + use<'a> {
        self.get(uid).into_iter().flat_map(|stored| stored.entity.parents())
    }

    /// The direct parents that have not ended when a request is asked (`@valid_until`).
    pub fn parents_at<'a>(
        &'a self,
        uid: EntityUidRef<'_>,
        asked_at: Option<Moment>,
        schema: &'a Schema,
    ) -> impl Iterator<Item = EntityUidRef<'a>> + use<'a> {
        let has_ended = move |parent: EntityUidRef<'_>| {
            let end = asked_at.and_then(|_| self.get(parent)?.entity.try_end(schema).ok()?);
            end.zip(asked_at).is_some_and(|(end, asked_at)| end <= asked_at)
        };
        self.parents(uid).filter(move |parent| !has_ended(*parent))
    }

    /// The digest of all entities: independent of their files and their order.
    pub fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// A hypothetical store: these entities replace the stored ones, without a check of the rules. Lists of
    /// members stay as they were; decisions do not read them.
    #[must_use]
    pub fn with_unchecked(&self, entities: impl Iterator<Item = Entity>) -> Self {
        let insert = |entity: Entity| {
            let uid_hash = self.uid_hash(entity.uid());
            Edit { entry: StoredEntity::new(entity, uid_hash, Version::new_unique()), is_insert: true }
        };
        Self { index: self.index.with_edits(entities.map(insert).collect()), ..self.clone() }
    }

    pub(super) fn uid_hash(&self, uid: EntityUidRef<'_>) -> u32 {
        let [a, b, c, d, ..] = self.hasher.hash_one(uid).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// The entity with this uid, whose hash is `uid_hash`.
    pub(super) fn get_by_hash(&self, uid_hash: u32, uid: EntityUidRef<'_>) -> Option<&StoredEntity> {
        self.index.entities.get(trie_hash(uid_hash), |stored| stored.entity.has_uid(uid))
    }
}

impl EntityIndex {
    /// This index with edits, which are in any order.
    pub fn with_edits(&self, mut edits: Vec<Edit<StoredEntity>>) -> Self {
        parallel::sort_by(&mut edits, Edit::cmp_place);
        let mut parts = self.parts.clone();
        for edit in &edits {
            parts.renew(Part::of_hash(edit.entry.uid_hash));
        }
        Self { entities: self.entities.with_edits(&edits), parts }
    }

    /// The entries that differ in a later version of this index.
    pub fn for_each_unshared<'a>(
        &'a self,
        later: &'a Self,
        found: impl FnMut(Option<&'a StoredEntity>, Option<&'a StoredEntity>),
    ) {
        self.entities.for_each_unshared(&later.entities, found);
    }
}

impl StoredEntity {
    pub(super) fn new(entity: Entity, uid_hash: u32, version: Version) -> Self {
        Self { entity, version, uid_hash }
    }
}

impl Entry for StoredEntity {
    fn hash(&self) -> u64 {
        trie_hash(self.uid_hash)
    }

    fn cmp_within_hash(&self, other: &Self) -> Ordering {
        self.entity.uid().cmp(&other.entity.uid())
    }
}

/// 32 bits are enough, and keep an entry small.
fn trie_hash(uid_hash: u32) -> u64 {
    u64::from(uid_hash) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::SourceText;
    use crate::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};

    #[test]
    fn ancestors_are_each_found_once_the_nearest_first() {
        let schema = SourceText::new("s.cedarschema", "entity Team in [Team]; entity User in [Team];");
        let schema = Schema::parse(&schema).unwrap().0;
        let entity = |entity_type: &str, id: &str, parents: &[&str]| {
            let parents: Vec<String> =
                parents.iter().map(|id| format!(r#"{{"type":"Team","id":"{id}"}}"#)).collect();
            let parents = parents.join(",");
            format!(r#"{{"uid":{{"type":"{entity_type}","id":"{id}"}},"attrs":{{}},"parents":[{parents}]}}"#)
        };
        let lines = [
            entity("User", "eve", &["a", "b"]),
            entity("Team", "a", &["c"]),
            entity("Team", "b", &["c", "d"]),
            entity("Team", "c", &["d"]),
            entity("Team", "d", &[]),
        ];
        let file = SourceText::new("e.ndjson", lines.join("\n"));
        let upserts = parse_entity_file(&file, Origin(0), &schema, &LoadProgress::default()).unwrap();
        let entities = EntityChanges { upserts, removals: Vec::new() };
        let entities = Entities::default().apply(&entities, &schema).unwrap();
        let ancestors = |entity_type, id| -> Vec<&str> {
            let entity_type = schema.resolve_entity_type(entity_type).unwrap();
            entities.ancestors(EntityUidRef { entity_type, id }).into_iter().map(|uid| uid.id).collect()
        };
        assert_eq!(ancestors("User", "eve"), ["a", "b", "c", "d"]);
        assert!(ancestors("Team", "d").is_empty() && ancestors("Team", "absent").is_empty());
    }
}
