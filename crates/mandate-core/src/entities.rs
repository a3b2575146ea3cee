//! The entities: a persistent index, so that a snapshot with one change shares the rest, and the
//! rules that every change has to keep. Nothing here is proportional to all entities, but for
//! wording one error.

mod member_index;
mod packed;
mod parse;
mod rules;
mod transaction;
mod trie;

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use member_index::MemberIndex;
pub use packed::{Entity, EntityData};
pub use parse::{LoadProgress, parse_entity_file, parse_entity_json};
use transaction::Transaction;
use trie::{EntityTrie, TrieEdit};

use super::diagnostics::{Diagnostics, SourceSpan};
use super::digest::{Digest, SetDigest};
use super::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};
use super::version::Version;

/// Which of several sources an entity comes from. A source numbers them as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Origin(pub u32);

/// An entity on its way in, with the place that it was read from.
#[derive(Debug, Clone)]
pub struct EntityUpsert {
    pub entity: Entity,
    pub span: Option<SourceSpan>,
}

/// What is to change: entities that come or are replaced, and entities that go.
/// Both count at once; an entity in both lists stays, as it comes.
#[derive(Debug, Clone, Default)]
pub struct EntityChanges {
    pub upserts: Vec<EntityUpsert>,
    pub removals: Vec<EntityUid>,
}

/// An entity in the store.
#[derive(Debug, Clone)]
pub struct StoredEntity {
    pub entity: Entity,
    pub version: Version,
    /// The first bits of the hash of the name.
    uid_hash: u32,
}

/// All entities. Cloning is cheap; a clone with a change shares what did not change.
#[derive(Clone, Default)]
pub struct Entities {
    index: EntityTrie,
    members: MemberIndex,
    digest: SetDigest,
    /// Seeded by chance, so that nobody can choose names that collide.
    hasher: RandomState,
}

impl fmt::Debug for Entities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entities({})", self.len())
    }
}

impl Entities {
    pub fn get(&self, uid: EntityUidRef<'_>) -> Option<&StoredEntity> {
        self.index.get(self.uid_hash(uid), uid)
    }

    fn uid_hash(&self, uid: EntityUidRef<'_>) -> u32 {
        // The upper half; shifting leaves no more than 32 bits.
        u32::try_from(self.hasher.hash_one(uid) >> 32).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entities, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.index.iter().map(|stored| &stored.entity)
    }

    /// The entities of a type that are directly in one, or all of the type, after one of them; in an
    /// order that is the same on every machine that has the same schema.
    pub fn members<'a, 'n: 'a>(
        &'a self,
        parent: Option<EntityUidRef<'n>>,
        entity_type: EntityTypeId,
        after: Option<EntityUidRef<'_>>,
        schema: &Schema,
    ) -> impl Iterator<Item = &'a Entity> + use<'a, 'n> {
        self.members.members_of(parent, entity_type, after, schema)
    }

    /// The digest of all entities, whatever files and order they came in.
    pub fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// These entities, but with some as they are given, whatever the rules say: to ask what would be.
    /// Their members stay as they were, which no decision reads.
    #[must_use]
    pub fn with_unchecked(&self, entities: impl Iterator<Item = Entity>) -> Self {
        let put = |entity: Entity| {
            let uid_hash = self.uid_hash(entity.uid());
            TrieEdit::Upsert(StoredEntity::new(entity, uid_hash, Version::new_unique()))
        };
        Self { index: self.index.with_edits(entities.map(put).collect()), ..self.clone() }
    }

    /// The entities with a change. Entities that the change leaves as they were keep their version.
    ///
    /// # Errors
    /// Every rule that the changed entities would break.
    pub fn apply(&self, change: &EntityChanges, schema: &Schema) -> Result<Self, Diagnostics> {
        Transaction::stage(self, change, schema).commit()
    }
}
