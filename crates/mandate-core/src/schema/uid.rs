//! Uids of entities, and the numbers of entity types and actions. They are only names: what they stand for is
//! in `tables.rs`, and which entities exist is in `entities/store.rs`.

use smol_str::SmolStr;

/// An entity type, as an index into its schema. Meaningless with any other schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityTypeId(pub(super) u16);

/// An action, as an index into its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionId(pub(super) u16);

/// The uid of an entity: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityUid {
    pub entity_type: EntityTypeId,
    pub id: SmolStr,
}

/// A borrowed [`EntityUid`], for example from a stored entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityUidRef<'a> {
    pub entity_type: EntityTypeId,
    pub id: &'a str,
}

impl EntityUid {
    pub fn as_uid_ref(&self) -> EntityUidRef<'_> {
        EntityUidRef { entity_type: self.entity_type, id: &self.id }
    }
}

impl EntityUidRef<'_> {
    pub fn to_owned(self) -> EntityUid {
        EntityUid { entity_type: self.entity_type, id: SmolStr::new(self.id) }
    }
}

impl EntityTypeId {
    pub fn as_u16(self) -> u16 {
        self.0
    }

    /// The inverse of [`Self::as_u16`], for the same schema.
    pub fn from_u16(number: u16) -> Self {
        Self(number)
    }
}
