//! Index from a parent to its direct members, and from an entity type to its entities. It is a trie like the
//! one that `store.rs` keeps the entities in, but over SHA-256 bits instead of a seeded hash: the order is
//! the same on every machine, so a search can stop at any member and another machine can continue after it.

use std::cmp::Ordering;

use super::packed::Entity;
use super::trie::{Edit, Entry, Trie};
use crate::digest::Digest;
use crate::parallel;
use crate::schema::{EntityTypeId, EntityUidRef, Schema};

/// All edges of the hierarchy, by parent, type of the member, and member. Cloning is cheap.
#[derive(Clone, Default)]
pub struct MemberIndex(Trie<Edge>);

/// One edge from a parent to a direct member. The edge from the root (parent bits 0) says that the entity
/// exists. An entity whose parents' hashes collide has one edge for both.
#[derive(Clone)]
pub struct Edge {
    /// Parent hash (32 bits), entity type hash (8 bits), member hash (24 bits). Keys may collide; comparing
    /// uids breaks the tie.
    key: u64,
    entity: Entity,
}

impl Entry for Edge {
    fn hash(&self) -> u64 {
        self.key
    }

    fn cmp_within_hash(&self, other: &Self) -> Ordering {
        self.entity.uid().cmp(&other.entity.uid())
    }
}

/// What happens to the edges of an entity that is inserted or removed.
pub fn edits_for_entity(
    entity: &Entity,
    is_insert: bool,
    schema: &Schema,
) -> impl Iterator<Item = Edit<Edge>> {
    let member = member_bits(entity.uid(), schema);
    let parents = entity.parents().map(|parent| parent_bits(Some(parent), schema));
    parents.chain([parent_bits(None, schema)]).map(move |parent| {
        let edge = Edge { key: parent | member, entity: entity.clone() };
        Edit { entry: edge, is_insert }
    })
}

impl MemberIndex {
    /// This index with the edits applied, which are in any order. Of edits of the same edge, removals are
    /// applied first.
    #[must_use]
    pub fn with_edits(&self, mut edits: Vec<Edit<Edge>>) -> Self {
        parallel::sort_by(&mut edits, |a, b| a.cmp_place(b).then(a.is_insert.cmp(&b.is_insert)));
        Self(self.0.with_edits(&edits))
    }

    /// The direct members of `parent` with this type, or all entities of the type if `parent` is `None`.
    /// Starts after `after`. The order is the same on every machine.
    pub fn members_of<'a, 'n: 'a>(
        &'a self,
        parent: Option<EntityUidRef<'n>>,
        entity_type: EntityTypeId,
        after: Option<EntityUidRef<'_>>,
        schema: &Schema,
    ) -> impl Iterator<Item = &'a Entity> + use<'a, 'n> {
        let parent_bits = parent_bits(parent, schema);
        let first = parent_bits | type_bits(entity_type, schema);
        let last = first | MEMBER_BITS;
        let from = after.map_or(first, |after| parent_bits | member_bits(after, schema));
        let is_skipped = |edge: &Edge| after.is_some_and(|after| edge.entity.uid() <= after);
        let edges = self.0.iter_from(from, is_skipped).take_while(move |edge| edge.key <= last);
        let entities =
            edges.map(|edge| &edge.entity).filter(move |entity| entity.uid().entity_type == entity_type);
        entities.filter(move |entity| parent.is_none_or(|of| entity.parents().any(|other| other == of)))
    }
}

/// The bits of a member's hash.
const MEMBER_BITS: u64 = (1 << 24) - 1;

/// The bits of a parent. The root (`None`) is 0: its edges list the entities of each type.
fn parent_bits(parent: Option<EntityUidRef<'_>>, schema: &Schema) -> u64 {
    parent.map_or(0, |uid| u64::from(hash(uid, schema)) << 32)
}

fn type_bits(entity_type: EntityTypeId, schema: &Schema) -> u64 {
    u64::from(schema.entity_type(entity_type).name_hash) << 24
}

fn member_bits(uid: EntityUidRef<'_>, schema: &Schema) -> u64 {
    type_bits(uid.entity_type, schema) | u64::from(hash(uid, schema)) & MEMBER_BITS
}

/// The first 32 bits of SHA-256: the same on every machine, and hard to collide on purpose.
fn hash(uid: EntityUidRef<'_>, schema: &Schema) -> u32 {
    let name = &schema.entity_type(uid.entity_type).name;
    let [a, b, c, d, ..] = Digest::of([name.as_bytes(), uid.id.as_bytes()]).to_bytes();
    u32::from_be_bytes([a, b, c, d])
}
