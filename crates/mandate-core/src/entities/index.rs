//! The persistent index of entities: a trie over the hash of their names, with small sorted leaves.
//! A version with some edits shares all that they do not touch, so it costs what the edits cost. A
//! decision's entities are a few cache lines away, among millions as among dozens.
//!
//! It is our own because what is stored is a pointer and a stamp: general persistent maps take twice
//! the memory around them, and cannot be built from millions of entries at once.

use std::sync::Arc;

use triomphe::ThinArc;

use super::Stored;
use crate::schema::Name;
use crate::stamp::Stamp;

/// All entities by name. Cloning is cheap.
#[derive(Clone)]
pub struct Index {
    root: Node,
    len: usize,
}

#[derive(Clone)]
enum Node {
    /// Sorted by tag.
    Leaf(ThinArc<(), Stored>),
    /// One child for each value of the next bits of the tag.
    Branch(Arc<[Node; FAN]>),
}

const BITS: u32 = 4;
const FAN: usize = 1 << BITS;

/// The most entries of a leaf, as long as tags can tell them apart.
const LARGEST_LEAF: usize = 64;

/// What happens to one entity.
pub enum Edit<'a> {
    /// It comes, or is replaced.
    Put(Stored),
    /// It goes.
    Remove(u32, Name<'a>),
}

impl Edit<'_> {
    fn tag(&self) -> u32 {
        match self {
            Edit::Put(stored) => stored.tag,
            Edit::Remove(tag, _) => *tag,
        }
    }

    fn name(&self) -> Name<'_> {
        match self {
            Edit::Put(stored) => stored.entity.name(),
            Edit::Remove(_, name) => *name,
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { root: leaf(&[]), len: 0 }
    }
}

impl Index {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The entity of a name, whose hash begins with the tag.
    pub fn get(&self, tag: u32, name: Name<'_>) -> Option<&Stored> {
        let (mut node, mut depth) = (&self.root, 0);
        while let Node::Branch(children) = node {
            node = children.get(child(tag, depth))?;
            depth += 1;
        }
        let Node::Leaf(entries) = node else { return None };
        find(&entries.slice, tag, depth, name)
    }

    /// This index after some edits, in their order.
    pub fn edited(&self, mut edits: Vec<Edit<'_>>) -> Self {
        edits.sort_by_key(Edit::tag);
        let mut growth = 0;
        let root = edited(&self.root, &edits, 0, &mut growth);
        Self { root, len: self.len.saturating_add_signed(growth) }
    }

    /// All entities, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Stored> {
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

fn leaf(entries: &[Stored]) -> Node {
    Node::Leaf(ThinArc::from_header_and_iter((), entries.iter().cloned()))
}

/// Looks where the tag would stand if tags were spread evenly, which they nearly are, and goes on
/// from there.
fn find<'a>(entries: &'a [Stored], tag: u32, depth: u32, name: Name<'_>) -> Option<&'a Stored> {
    // What the branches did not use of the tag, as a fraction of its range.
    let fraction = u64::from(tag.checked_shl(BITS * depth).unwrap_or(0));
    let guess = usize::try_from((fraction * entries.len() as u64) >> u32::BITS).unwrap_or_default();
    let (before, after) = entries.split_at_checked(guess)?;
    let before = before.iter().rev().take_while(|stored| stored.tag >= tag);
    let after = after.iter().take_while(|stored| stored.tag <= tag);
    before.chain(after).find(|stored| stored.tag == tag && stored.entity.is(name))
}

fn edited(node: &Node, edits: &[Edit<'_>], depth: u32, growth: &mut isize) -> Node {
    if edits.is_empty() {
        return node.clone();
    }
    match node {
        Node::Leaf(entries) => {
            let merged = merged(&entries.slice, edits);
            *growth += merged.len().cast_signed() - entries.slice.len().cast_signed();
            built(&merged, depth)
        }
        Node::Branch(children) => {
            let mut rest = edits;
            let children = each_child(|n| {
                let (mine, others) =
                    rest.split_at(rest.partition_point(|edit| child(edit.tag(), depth) <= n));
                rest = others;
                children.get(n).map_or_else(|| leaf(&[]), |child| edited(child, mine, depth + 1, growth))
            });
            small_again(&children).unwrap_or_else(|| Node::Branch(Arc::new(children)))
        }
    }
}

fn each_child(node: impl FnMut(usize) -> Node) -> [Node; FAN] {
    std::array::from_fn(node)
}

/// The number of the child at a depth that a tag leads to.
fn child(tag: u32, depth: u32) -> usize {
    tag.rotate_left(BITS * (depth + 1)) as usize % FAN
}

/// A node of entries that are sorted by tag.
fn built(entries: &[Stored], depth: u32) -> Node {
    if entries.len() <= LARGEST_LEAF || BITS * depth >= u32::BITS {
        return leaf(entries);
    }
    let mut rest = entries;
    Node::Branch(Arc::new(each_child(|n| {
        let (mine, others) = rest.split_at(rest.partition_point(|stored| child(stored.tag, depth) <= n));
        rest = others;
        built(mine, depth + 1)
    })))
}

/// One leaf instead of a branch of which little is left.
fn small_again(children: &[Node; FAN]) -> Option<Node> {
    let mut entries = Vec::new();
    for child in children {
        let Node::Leaf(leaf) = child else { return None };
        if entries.len() + leaf.slice.len() > LARGEST_LEAF / 2 {
            return None;
        }
        entries.extend(leaf.slice.iter().cloned());
    }
    Some(leaf(&entries))
}

/// A leaf's entries with edits, all sorted by tag.
fn merged(entries: &[Stored], edits: &[Edit<'_>]) -> Vec<Stored> {
    let mut merged: Vec<Stored> = Vec::with_capacity(entries.len() + edits.len());
    let mut left = entries;
    for of_tag in edits.chunk_by(|a, b| a.tag() == b.tag()) {
        let Some(tag) = of_tag.first().map(Edit::tag) else { continue };
        let (before, rest) = left.split_at(left.partition_point(|stored| stored.tag < tag));
        let (same, rest) = rest.split_at(rest.partition_point(|stored| stored.tag == tag));
        left = rest;
        merged.extend(before.iter().cloned());
        let first = merged.len();
        merged.extend(same.iter().cloned());
        for edit in of_tag {
            make(edit, &mut merged, first);
        }
    }
    merged.extend(left.iter().cloned());
    merged
}

/// Makes one edit among the entries of its tag, which begin at `first`.
fn make(edit: &Edit<'_>, entries: &mut Vec<Stored>, first: usize) {
    let at = entries.iter().skip(first).position(|stored| stored.entity.is(edit.name())).map(|at| first + at);
    let there = at.and_then(|at| entries.get_mut(at));
    match (edit, there) {
        (Edit::Put(stored), Some(there)) => *there = stored.clone(),
        (Edit::Put(stored), None) => entries.push(stored.clone()),
        (Edit::Remove(..), Some(_)) => {
            at.map(|at| entries.remove(at));
        }
        (Edit::Remove(..), None) => {}
    }
}

impl Stored {
    /// An entity that comes with a stamp of its own.
    pub(super) fn new(entity: super::Entity, tag: u32, stamp: Stamp) -> Self {
        Self { entity, stamp, tag }
    }
}
