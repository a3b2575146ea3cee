//! The persistent index of entities: a trie over the hash of their names, with small sorted leaves.
//! A version with some edits shares all that they do not touch, so it costs what the edits cost. A
//! decision's entities are a few cache lines away, among millions as among dozens.
//!
//! It is our own because what is stored is a pointer and a version: general persistent maps take twice
//! the memory around them, and cannot be built from millions of entries at once.

use std::sync::Arc;

use triomphe::ThinArc;

use super::StoredEntity;
use crate::schema::EntityUidRef;
use crate::version::Version;

/// All entities by name. Cloning is cheap.
#[derive(Clone)]
pub struct EntityTrie {
    root: Node,
    len: usize,
}

#[derive(Clone)]
enum Node {
    /// Sorted by hash.
    Leaf(ThinArc<(), StoredEntity>),
    /// One child for each value of the next bits of the hash.
    Branch(Arc<[Node; FANOUT]>),
}

const BITS: u32 = 4;
const FANOUT: usize = 1 << BITS;

/// The most entries of a leaf, as long as hashes can tell them apart.
const MAX_LEAF_ENTRIES: usize = 64;

/// What happens to one entity.
pub enum TrieEdit<'a> {
    /// It comes, or is replaced.
    Upsert(StoredEntity),
    /// It goes.
    Remove(u32, EntityUidRef<'a>),
}

impl TrieEdit<'_> {
    fn uid_hash(&self) -> u32 {
        match self {
            TrieEdit::Upsert(stored) => stored.uid_hash,
            TrieEdit::Remove(uid_hash, _) => *uid_hash,
        }
    }

    fn uid(&self) -> EntityUidRef<'_> {
        match self {
            TrieEdit::Upsert(stored) => stored.entity.uid(),
            TrieEdit::Remove(_, uid) => *uid,
        }
    }
}

impl Default for EntityTrie {
    fn default() -> Self {
        Self { root: leaf(&[]), len: 0 }
    }
}

impl EntityTrie {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The entity of a name, whose hash begins with the hash.
    pub fn get(&self, uid_hash: u32, uid: EntityUidRef<'_>) -> Option<&StoredEntity> {
        let (mut node, mut depth) = (&self.root, 0);
        while let Node::Branch(children) = node {
            node = children.get(child_index(uid_hash, depth))?;
            depth += 1;
        }
        let Node::Leaf(entries) = node else { return None };
        find(&entries.slice, uid_hash, depth, uid)
    }

    /// This index after some edits, in their order.
    pub fn with_edits(&self, mut edits: Vec<TrieEdit<'_>>) -> Self {
        edits.sort_by_key(TrieEdit::uid_hash);
        let mut growth = 0;
        let root = apply_edits(&self.root, &edits, 0, &mut growth);
        Self { root, len: self.len.saturating_add_signed(growth) }
    }

    /// All entities, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &StoredEntity> {
        let mut open = vec![&self.root];
        let mut entries = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(stored) = entries.next() {
                    return Some(stored);
                }
                match open.pop()? {
                    Node::Leaf(leaf) => entries = leaf.slice.iter(),
                    Node::Branch(children) => open.extend(children.iter()),
                }
            }
        })
    }
}

fn leaf(entries: &[StoredEntity]) -> Node {
    Node::Leaf(ThinArc::from_header_and_iter((), entries.iter().cloned()))
}

/// Looks where the hash would stand if hashes were spread evenly, which they nearly are, and goes on
/// from there.
fn find<'a>(
    entries: &'a [StoredEntity],
    uid_hash: u32,
    depth: u32,
    uid: EntityUidRef<'_>,
) -> Option<&'a StoredEntity> {
    // What the branches did not use of the hash, as a fraction of its range.
    let fraction = u64::from(uid_hash.checked_shl(BITS * depth).unwrap_or(0));
    let guess = usize::try_from((fraction * entries.len() as u64) >> u32::BITS).unwrap_or_default();
    let (before, after) = entries.split_at_checked(guess)?;
    let before = before.iter().rev().take_while(|stored| stored.uid_hash >= uid_hash);
    let after = after.iter().take_while(|stored| stored.uid_hash <= uid_hash);
    before.chain(after).find(|stored| stored.uid_hash == uid_hash && stored.entity.has_uid(uid))
}

fn apply_edits(node: &Node, edits: &[TrieEdit<'_>], depth: u32, growth: &mut isize) -> Node {
    if edits.is_empty() {
        return node.clone();
    }
    match node {
        Node::Leaf(entries) => {
            let merged = merge_leaf(&entries.slice, edits);
            *growth += merged.len().cast_signed() - entries.slice.len().cast_signed();
            build_node(&merged, depth)
        }
        Node::Branch(children) => {
            let mut rest = edits;
            let children = each_child(|n| {
                let (mine, others) =
                    rest.split_at(rest.partition_point(|edit| child_index(edit.uid_hash(), depth) <= n));
                rest = others;
                children.get(n).map_or_else(|| leaf(&[]), |child| apply_edits(child, mine, depth + 1, growth))
            });
            collapse_if_small(&children).unwrap_or_else(|| Node::Branch(Arc::new(children)))
        }
    }
}

fn each_child(node: impl FnMut(usize) -> Node) -> [Node; FANOUT] {
    std::array::from_fn(node)
}

/// The number of the child at a depth that a hash leads to.
fn child_index(uid_hash: u32, depth: u32) -> usize {
    uid_hash.rotate_left(BITS * (depth + 1)) as usize % FANOUT
}

/// A node of entries that are sorted by hash.
fn build_node(entries: &[StoredEntity], depth: u32) -> Node {
    if entries.len() <= MAX_LEAF_ENTRIES || BITS * depth >= u32::BITS {
        return leaf(entries);
    }
    let mut rest = entries;
    Node::Branch(Arc::new(each_child(|n| {
        let (mine, others) =
            rest.split_at(rest.partition_point(|stored| child_index(stored.uid_hash, depth) <= n));
        rest = others;
        build_node(mine, depth + 1)
    })))
}

/// One leaf instead of a branch of which little is left.
fn collapse_if_small(children: &[Node; FANOUT]) -> Option<Node> {
    let mut entries = Vec::new();
    for child in children {
        let Node::Leaf(leaf) = child else { return None };
        if entries.len() + leaf.slice.len() > MAX_LEAF_ENTRIES / 2 {
            return None;
        }
        entries.extend(leaf.slice.iter().cloned());
    }
    Some(leaf(&entries))
}

/// A leaf's entries with edits, all sorted by hash.
fn merge_leaf(entries: &[StoredEntity], edits: &[TrieEdit<'_>]) -> Vec<StoredEntity> {
    let mut merged: Vec<StoredEntity> = Vec::with_capacity(entries.len() + edits.len());
    let mut left = entries;
    for same_hash in edits.chunk_by(|a, b| a.uid_hash() == b.uid_hash()) {
        let Some(uid_hash) = same_hash.first().map(TrieEdit::uid_hash) else { continue };
        let (before, rest) = left.split_at(left.partition_point(|stored| stored.uid_hash < uid_hash));
        let (same, rest) = rest.split_at(rest.partition_point(|stored| stored.uid_hash == uid_hash));
        left = rest;
        merged.extend(before.iter().cloned());
        let first = merged.len();
        merged.extend(same.iter().cloned());
        for edit in same_hash {
            apply_edit(edit, &mut merged, first);
        }
    }
    merged.extend(left.iter().cloned());
    merged
}

/// Makes one edit among the entries of its hash, which begin at `first`.
fn apply_edit(edit: &TrieEdit<'_>, entries: &mut Vec<StoredEntity>, first: usize) {
    let at =
        entries.iter().skip(first).position(|stored| stored.entity.has_uid(edit.uid())).map(|at| first + at);
    let there = at.and_then(|at| entries.get_mut(at));
    match (edit, there) {
        (TrieEdit::Upsert(stored), Some(there)) => *there = stored.clone(),
        (TrieEdit::Upsert(stored), None) => entries.push(stored.clone()),
        (TrieEdit::Remove(..), Some(_)) => {
            at.map(|at| entries.remove(at));
        }
        (TrieEdit::Remove(..), None) => {}
    }
}

impl StoredEntity {
    /// An entity that comes with a version of its own.
    pub(super) fn new(entity: super::Entity, uid_hash: u32, version: Version) -> Self {
        Self { entity, version, uid_hash }
    }
}
