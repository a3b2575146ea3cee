//! Who is in what: the hierarchy from above, and the entities by type. A trie over hashes that are the
//! same on every machine, edited by sorted batches as the index of names is; so walks can stop at a
//! member and go on after it elsewhere.

use std::cmp::Ordering;
use std::sync::Arc;

use triomphe::ThinArc;

use super::Entity;
use crate::digest::Digest;
use crate::schema::{EntityTypeId, EntityUidRef, Schema};

/// All edges of the hierarchy, by parent, type of the member, and member. Cloning is cheap.
#[derive(Clone)]
pub struct MemberIndex(Node);

/// That an entity is in another, or, above all parents, that it is there.
#[derive(Clone)]
pub struct Edge {
    /// 32 bits of the parent's hash, 8 of the type's and 24 of the member's: what collides is told apart
    /// by names.
    key: u64,
    entity: Entity,
}

/// What happens to one edge.
pub struct EdgeEdit {
    edge: Edge,
    is_insert: bool,
}

#[derive(Clone)]
enum Node {
    /// Sorted by place.
    Leaf(ThinArc<(), Edge>),
    Branch(Arc<[Node; FANOUT]>),
}

const BITS: u32 = 4;
const FANOUT: usize = 1 << BITS;

/// The most edges of a leaf, as long as keys can tell them apart.
const MAX_LEAF_ENTRIES: usize = 64;

impl Default for MemberIndex {
    fn default() -> Self {
        Self(leaf(&[]))
    }
}

impl EdgeEdit {
    /// What happens to the edges of an entity that is inserted or removed.
    pub fn for_entity(entity: &Entity, is_insert: bool, schema: &Schema) -> impl Iterator<Item = Self> {
        let member = member_bits(entity.uid(), schema);
        let above = entity.parents().map(|parent| parent_bits(Some(parent), schema));
        above.chain([parent_bits(None, schema)]).map(move |parent| {
            let edge = Edge { key: parent | member, entity: entity.clone() };
            Self { edge, is_insert }
        })
    }
}

impl MemberIndex {
    /// These edges after some edits. What goes goes first.
    pub fn with_edits(&self, mut edits: Vec<EdgeEdit>) -> Self {
        edits.sort_unstable_by(|a, b| a.edge.cmp_key(&b.edge).then(a.is_insert.cmp(&b.is_insert)));
        Self(apply_edits(&self.0, &edits, 0))
    }

    /// The entities of a type that are directly in one, or all of the type, after one of them; in an
    /// order that is the same on every machine.
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
        let edges = self.edges_after((from, after)).take_while(move |edge| edge.key <= last);
        let entities =
            edges.map(|edge| &edge.entity).filter(move |entity| entity.uid().entity_type == entity_type);
        entities.filter(move |entity| parent.is_none_or(|of| entity.parents().any(|other| other == of)))
    }

    /// The edges after a place, in order.
    fn edges_after(
        &self,
        (key, name): (u64, Option<EntityUidRef<'_>>),
    ) -> impl Iterator<Item = &Edge> + use<'_> {
        let (mut node, mut depth, mut open) = (&self.0, 0, Vec::new());
        let mut edges = loop {
            match node {
                Node::Leaf(leaf) => {
                    let before = |edge: &Edge| match name {
                        Some(name) => edge.key < key || (edge.key == key && edge.entity.uid() <= name),
                        None => edge.key < key,
                    };
                    let (_, rest) = leaf.slice.split_at(leaf.slice.partition_point(before));
                    break rest.iter();
                }
                Node::Branch(children) => {
                    let mut rest = children.iter();
                    let Some(child) = rest.nth(child_index(key, depth)) else { break [].iter() };
                    open.push(rest);
                    (node, depth) = (child, depth + 1);
                }
            }
        };
        std::iter::from_fn(move || {
            loop {
                if let Some(edge) = edges.next() {
                    return Some(edge);
                }
                match open.last_mut()?.next() {
                    Some(Node::Leaf(leaf)) => edges = leaf.slice.iter(),
                    Some(Node::Branch(children)) => open.push(children.iter()),
                    None => drop(open.pop()),
                }
            }
        })
    }
}

impl Edge {
    /// By key, and only where keys collide by name: a name is elsewhere in memory.
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.entity.uid().cmp(&other.entity.uid()))
    }
}

/// The bits of a member.
const MEMBER_BITS: u64 = (1 << 24) - 1;

/// Of no parent, which stands above all, there is no hash.
fn parent_bits(parent: Option<EntityUidRef<'_>>, schema: &Schema) -> u64 {
    parent.map_or(0, |name| {
        hash([schema.entity_type(name.entity_type).name.as_bytes(), name.id.as_bytes()]) << 32
    })
}

fn type_bits(entity_type: EntityTypeId, schema: &Schema) -> u64 {
    u64::from(schema.entity_type(entity_type).name_hash) << 24
}

fn member_bits(name: EntityUidRef<'_>, schema: &Schema) -> u64 {
    let hash = hash([schema.entity_type(name.entity_type).name.as_bytes(), name.id.as_bytes()]);
    type_bits(name.entity_type, schema) | hash & MEMBER_BITS
}

/// 32 bits that nobody can choose and everybody computes alike.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let digest = Digest::of(parts);
    digest.as_bytes().iter().take(4).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

fn leaf(edges: &[Edge]) -> Node {
    Node::Leaf(ThinArc::from_header_and_iter((), edges.iter().cloned()))
}

/// The number of the child at a depth that a key leads to.
fn child_index(key: u64, depth: u32) -> usize {
    usize::from(key.rotate_left(BITS * (depth + 1)).to_le_bytes()[0]) % FANOUT
}

fn apply_edits(node: &Node, edits: &[EdgeEdit], depth: u32) -> Node {
    if edits.is_empty() {
        return node.clone();
    }
    match node {
        Node::Leaf(edges) => build_node(&merge_leaf(&edges.slice, edits), depth),
        Node::Branch(children) => {
            let mut rest = edits;
            let children: [Node; FANOUT] = std::array::from_fn(|n| {
                let (mine, others) =
                    rest.split_at(rest.partition_point(|edit| child_index(edit.edge.key, depth) <= n));
                rest = others;
                children.get(n).map_or_else(|| leaf(&[]), |child| apply_edits(child, mine, depth + 1))
            });
            collapse_if_small(&children).unwrap_or_else(|| Node::Branch(Arc::new(children)))
        }
    }
}

/// A node of sorted edges.
fn build_node(edges: &[Edge], depth: u32) -> Node {
    if edges.len() <= MAX_LEAF_ENTRIES || BITS * depth >= u64::BITS {
        return leaf(edges);
    }
    let mut rest = edges;
    Node::Branch(Arc::new(std::array::from_fn(|n| {
        let (mine, others) = rest.split_at(rest.partition_point(|edge| child_index(edge.key, depth) <= n));
        rest = others;
        build_node(mine, depth + 1)
    })))
}

/// One leaf instead of a branch of which little is left.
fn collapse_if_small(children: &[Node; FANOUT]) -> Option<Node> {
    let mut edges = Vec::new();
    for child in children {
        let Node::Leaf(leaf) = child else { return None };
        if edges.len() + leaf.slice.len() > MAX_LEAF_ENTRIES / 2 {
            return None;
        }
        edges.extend(leaf.slice.iter().cloned());
    }
    Some(leaf(&edges))
}

/// A leaf's edges with edits, all sorted.
fn merge_leaf(edges: &[Edge], edits: &[EdgeEdit]) -> Vec<Edge> {
    let mut merged: Vec<Edge> = Vec::with_capacity(edges.len() + edits.len());
    let mut left = edges;
    for EdgeEdit { edge, is_insert } in edits {
        let (before, rest) = left.split_at(left.partition_point(|other| other.cmp_key(edge).is_lt()));
        merged.extend(before.iter().cloned());
        left = rest.split_at(rest.partition_point(|other| other.cmp_key(edge).is_eq())).1;
        // An entity whose parents' hashes collide has one edge for both.
        if *is_insert && merged.last().is_none_or(|last| last.cmp_key(edge).is_ne()) {
            merged.push(edge.clone());
        }
    }
    merged.extend(left.iter().cloned());
    merged
}
