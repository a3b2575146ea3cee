//! A persistent trie over hashes, with small sorted leaves. An edited trie shares all untouched nodes with
//! the old one, so an edit costs what it touches; a lookup touches a few cache lines, however many entries
//! there are. It knows no entities: `store.rs` keeps entities in it by uid, `member_index.rs` edges by
//! parent.
//!
//! It is our own because the entries are small (a pointer and a number or two): general persistent maps take
//! twice the memory around them, and cannot be built from millions of entries at once.

mod difference;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;

use triomphe::ThinArc;

/// What a trie holds: it has a hash, and an order among the entries of one hash.
pub trait Entry: Clone {
    /// The hash, in the highest bits.
    fn hash(&self) -> u64;

    /// The order among entries of the same hash; entries that are equal here replace each other.
    fn cmp_within_hash(&self, other: &Self) -> Ordering;
}

/// Entries by hash. Cloning is cheap.
#[derive(Clone)]
pub struct Trie<E> {
    root: Node<E>,
    len: usize,
}

/// What happens to one entry.
pub struct Edit<E> {
    /// The entry to insert, or an entry that is equal to the one to remove.
    pub entry: E,
    pub is_insert: bool,
}

enum Node<E> {
    /// Sorted.
    Leaf(ThinArc<(), E>),
    Branch(Arc<Branch<E>>),
}

/// Entries whose hashes begin with the same bits. Branches with a single child are left out.
#[derive(Clone)]
struct Branch<E> {
    /// A hash that begins with these bits.
    hash: u64,
    /// How many digits of [`BITS`] bits come before the one that leads to a child.
    depth: u32,
    /// One child for each value of the next digit.
    children: [Node<E>; FANOUT],
}

const BITS: u32 = 4;
const FANOUT: usize = 1 << BITS;

/// The most entries of a leaf, unless their hashes are equal.
const MAX_LEAF_ENTRIES: usize = 32;

impl<E: Entry> Edit<E> {
    /// The order in which [`Trie::with_edits`] takes edits, but for edits of the same entry.
    pub fn cmp_place(&self, other: &Self) -> Ordering {
        cmp(&self.entry, &other.entry)
    }
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(entries.clone()),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
        }
    }
}

impl<E> Node<E> {
    /// The n-th child of this branch, or of a branch above it whose only child it is. `depth` is that of either.
    fn child_at(&self, depth: u32, n: usize) -> Option<&Self> {
        let Self::Branch(branch) = self else { return None };
        if depth == branch.depth {
            branch.children.get(n)
        } else {
            (n == digit(branch.hash, depth)).then_some(self)
        }
    }
}

impl<E> Branch<E> {
    /// The child that a hash with the bits of this branch leads to.
    fn child(&self, hash: u64) -> Option<&Node<E>> {
        self.children.get(digit(hash, self.depth))
    }

    /// How a hash compares with the bits that all hashes here begin with.
    fn cmp_start(&self, hash: u64) -> Ordering {
        start(hash, self.depth).cmp(&start(self.hash, self.depth))
    }
}

impl<E: Entry> Default for Trie<E> {
    fn default() -> Self {
        Self { root: leaf([]), len: 0 }
    }
}

impl<E: Entry> Trie<E> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The entry of this hash that is the wanted one.
    pub fn get(&self, hash: u64, is_wanted: impl Fn(&E) -> bool) -> Option<&E> {
        let (mut node, mut depth) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(entries) => return find(&entries.slice, hash, depth, is_wanted),
                // Other hashes may lead there as well; they are not in the leaf.
                Node::Branch(branch) => (node, depth) = (branch.child(hash)?, branch.depth + 1),
            }
        }
    }

    /// This trie with the edits applied, which are sorted by [`Edit::cmp_place`]. Edits of the same entry are
    /// applied in their order.
    #[must_use]
    pub fn with_edits(&self, edits: &[Edit<E>]) -> Self {
        debug_assert!(edits.is_sorted_by(|a, b| a.cmp_place(b).is_le()), "edits are sorted");
        let mut growth = 0;
        let root = apply_edits(&self.root, edits, &mut growth);
        Self { root, len: self.len.saturating_add_signed(growth) }
    }

    /// All entries, sorted.
    pub fn iter(&self) -> Iter<'_, E> {
        self.iter_from(0, |_| false)
    }

    /// The entries from a hash on, sorted. Of the entries with this very hash, those at the front that
    /// `is_skipped` are left out.
    pub fn iter_from(&self, hash: u64, is_skipped: impl Fn(&E) -> bool) -> Iter<'_, E> {
        let is_before = |entry: &E| entry.hash() < hash || (entry.hash() == hash && is_skipped(entry));
        let (mut node, mut open) = (&self.root, Vec::new());
        let entries = loop {
            match node {
                Node::Leaf(leaf) => {
                    let (_, rest) = leaf.slice.split_at(leaf.slice.partition_point(is_before));
                    break rest.iter();
                }
                Node::Branch(branch) => {
                    let mut children = branch.children.iter();
                    let child = match branch.cmp_start(hash) {
                        Ordering::Less => None,
                        Ordering::Equal => children.nth(digit(hash, branch.depth)),
                        Ordering::Greater => break [].iter(),
                    };
                    open.push(children);
                    let Some(child) = child else { break [].iter() };
                    node = child;
                }
            }
        };
        Iter { open, entries }
    }
}

/// Iterates over entries in their order.
pub struct Iter<'a, E> {
    /// What is left of the branches on the path to the current leaf, the root first.
    open: Vec<std::slice::Iter<'a, Node<E>>>,
    /// What is left of the current leaf.
    entries: std::slice::Iter<'a, E>,
}

impl<'a, E> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            match self.open.last_mut()?.next() {
                Some(Node::Leaf(leaf)) => self.entries = leaf.slice.iter(),
                Some(Node::Branch(branch)) => self.open.push(branch.children.iter()),
                None => drop(self.open.pop()),
            }
        }
    }
}

/// By hash; only if hashes are equal, the entries themselves are compared, which may cost a cache miss.
fn cmp<E: Entry>(a: &E, b: &E) -> Ordering {
    a.hash().cmp(&b.hash()).then_with(|| a.cmp_within_hash(b))
}

fn leaf<E>(entries: impl IntoIterator<Item = E, IntoIter: ExactSizeIterator>) -> Node<E> {
    Node::Leaf(ThinArc::from_header_and_iter((), entries.into_iter()))
}

/// Interpolation search: hashes are spread almost evenly, so the first guess is close, and the scan starts
/// there.
fn find<E: Entry>(entries: &[E], hash: u64, depth: u32, is_wanted: impl Fn(&E) -> bool) -> Option<&E> {
    // The part of the hash that the branches did not use, as a fraction of its range.
    let fraction = hash.checked_shl(BITS * depth).unwrap_or(0) >> 32;
    let guess = usize::try_from((fraction * entries.len() as u64) >> 32).unwrap_or(usize::MAX);
    let (before, after) = entries.split_at(guess.min(entries.len()));
    let before = before.iter().rev().take_while(|entry| entry.hash() >= hash);
    let after = after.iter().take_while(|entry| entry.hash() <= hash);
    before.chain(after).find(|entry| entry.hash() == hash && is_wanted(entry))
}

/// The digit of a hash at a depth.
fn digit(hash: u64, depth: u32) -> usize {
    usize::from(hash.rotate_left(BITS * (depth + 1)).to_le_bytes()[0]) % FANOUT
}

/// The digits of a hash before a depth.
fn start(hash: u64, depth: u32) -> u64 {
    hash & !u64::MAX.checked_shr(BITS * depth).unwrap_or(0)
}

/// How many digits two hashes have in common at their beginning; `None` if they are equal.
fn common_digits(a: u64, b: u64) -> Option<u32> {
    (a != b).then(|| (a ^ b).leading_zeros() / BITS)
}

/// `growth` counts the entries that the edits add, less those that they remove.
fn apply_edits<E: Entry>(node: &Node<E>, edits: &[Edit<E>], growth: &mut isize) -> Node<E> {
    let ([first, .., last] | [first @ last]) = edits else { return node.clone() };
    match node {
        Node::Leaf(entries) => {
            let merged = merge_leaf(&entries.slice, edits);
            *growth += merged.len().cast_signed() - entries.slice.len().cast_signed();
            if merged.len() > MAX_LEAF_ENTRIES { build_node(&merged) } else { leaf(merged) }
        }
        Node::Branch(branch) => {
            // Edits are sorted, so that what the first and the last have in common, all have.
            let outside = [first, last].map(|edit| common_digits(edit.entry.hash(), branch.hash));
            let depth =
                outside.into_iter().flatten().min().map_or(branch.depth, |depth| depth.min(branch.depth));
            let mut rest = edits;
            let children: [Node<E>; FANOUT] = std::array::from_fn(|n| {
                let is_mine = |edit: &Edit<E>| digit(edit.entry.hash(), depth) <= n;
                let (mine, others) = rest.split_at(rest.partition_point(is_mine));
                rest = others;
                match node.child_at(depth, n) {
                    Some(child) => apply_edits(child, mine, growth),
                    None => apply_edits(&leaf([]), mine, growth),
                }
            });
            collapse(&children)
                .unwrap_or_else(|| Node::Branch(Arc::new(Branch { hash: branch.hash, depth, children })))
        }
    }
}

/// A node of sorted entries.
fn build_node<E: Entry>(entries: &[E]) -> Node<E> {
    let ([first, .., last], true) = (entries, entries.len() > MAX_LEAF_ENTRIES) else {
        return leaf(entries.iter().cloned());
    };
    let hash = first.hash();
    let Some(depth) = common_digits(hash, last.hash()) else { return leaf(entries.iter().cloned()) };
    let mut rest = entries;
    let children = std::array::from_fn(|n| {
        let is_mine = |entry: &E| digit(entry.hash(), depth) <= n;
        let (mine, others) = rest.split_at(rest.partition_point(is_mine));
        rest = others;
        build_node(mine)
    });
    Node::Branch(Arc::new(Branch { hash, depth, children }))
}

/// The node that can stand for a branch with these children: the only child, or one leaf of few entries.
fn collapse<E: Entry>(children: &[Node<E>; FANOUT]) -> Option<Node<E>> {
    let mut filled =
        children.iter().filter(|child| !matches!(child, Node::Leaf(leaf) if leaf.slice.is_empty()));
    if let (Some(only), None) = (filled.next(), filled.next()) {
        return Some(only.clone());
    }
    let mut entries = Vec::new();
    for child in children {
        let Node::Leaf(leaf) = child else { return None };
        if entries.len() + leaf.slice.len() > MAX_LEAF_ENTRIES / 2 {
            return None;
        }
        entries.extend(leaf.slice.iter().cloned());
    }
    Some(leaf(entries))
}

/// The entries of a leaf with the edits applied; all are sorted.
fn merge_leaf<E: Entry>(entries: &[E], edits: &[Edit<E>]) -> Vec<E> {
    let mut merged: Vec<E> = Vec::with_capacity(entries.len() + edits.len());
    let mut left = entries;
    for Edit { entry, is_insert } in edits {
        let (before, rest) = left.split_at(left.partition_point(|other| cmp(other, entry).is_lt()));
        merged.extend(before.iter().cloned());
        left = rest.split_at(rest.partition_point(|other| cmp(other, entry).is_eq())).1;
        // An earlier edit inserted the same entry.
        merged.pop_if(|last| cmp(last, entry).is_eq());
        if *is_insert {
            merged.push(entry.clone());
        }
    }
    merged.extend(left.iter().cloned());
    merged
}
