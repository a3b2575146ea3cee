//! The entities: a persistent index, so that a snapshot with one change shares the rest, and the
//! rules that every change has to keep. Nothing here is proportional to all entities, but for
//! wording one error.

mod draft;
mod index;
mod members;
mod packed;
mod read;
mod rules;

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use draft::Draft;
use index::{Edit, Index};
use members::Members;
pub use packed::{Description, Entity};
pub use read::{Progress, describe_json, read_file};

use super::digest::{Digest, SetDigest};
use super::fault::{Faults, Place};
use super::schema::{EntityRef, Kind, Name, Schema};
use super::stamp::Stamp;

/// Which of several sources an entity comes from. A source numbers them as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Origin(pub u32);

/// An entity on its way in, with the place that it was read from.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub entity: Entity,
    pub place: Option<Place>,
}

/// What is to change: entities that come or are replaced, and entities that go.
/// Both count at once; an entity in both lists stays, as it comes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub upsert: Vec<Incoming>,
    pub remove: Vec<EntityRef>,
}

/// An entity in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    pub entity: Entity,
    pub stamp: Stamp,
    /// The first bits of the hash of the name.
    tag: u32,
}

/// All entities. Cloning is cheap; a clone with a change shares what did not change.
#[derive(Clone, Default)]
pub struct Entities {
    index: Index,
    members: Members,
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
    pub fn get(&self, name: Name<'_>) -> Option<&Stored> {
        self.index.get(self.tag(name), name)
    }

    fn tag(&self, name: Name<'_>) -> u32 {
        // The upper half; shifting leaves no more than 32 bits.
        u32::try_from(self.hasher.hash_one(name) >> 32).unwrap_or_default()
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
        of: Option<Name<'n>>,
        kind: Kind,
        after: Option<Name<'_>>,
        schema: &Schema,
    ) -> impl Iterator<Item = &'a Entity> + use<'a, 'n> {
        self.members.of(of, kind, after, schema)
    }

    /// The digest of all entities, whatever files and order they came in.
    pub fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// These entities, but with some as they are given, whatever the rules say: to ask what would be.
    /// Their members stay as they were, which no decision reads.
    #[must_use]
    pub fn supposing(&self, entities: impl Iterator<Item = Entity>) -> Self {
        let put = |entity: Entity| {
            let tag = self.tag(entity.name());
            Edit::Put(Stored::new(entity, tag, Stamp::fresh()))
        };
        Self { index: self.index.edited(entities.map(put).collect()), ..self.clone() }
    }

    /// The entities with a change. Entities that the change leaves as they were keep their stamp.
    ///
    /// # Errors
    /// Every rule that the changed entities would break.
    pub fn apply(&self, change: &Change, schema: &Schema) -> Result<Self, Faults> {
        Draft::of(self, change, schema).finish()
    }
}
