//! Where two versions of a trie differ. Nodes that both share are skipped, so the comparison costs what was
//! edited between them.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Entry, FANOUT, Iter, Node, Trie, cmp, common_digits};

impl<E: Entry> Trie<E> {
    /// Calls `found` for every entry that differs in a later version of this trie, as it was and as it is.
    /// Some entries that do not differ are among them.
    pub fn for_each_unshared<'a>(
        &'a self,
        later: &'a Self,
        mut found: impl FnMut(Option<&'a E>, Option<&'a E>),
    ) {
        compare(Some(&self.root), Some(&later.root), &mut found);
    }
}

fn compare<'a, E: Entry>(
    before: Option<&'a Node<E>>,
    after: Option<&'a Node<E>>,
    found: &mut impl FnMut(Option<&'a E>, Option<&'a E>),
) {
    match (before, after) {
        (Some(Node::Branch(one)), Some(Node::Branch(other))) => {
            if Arc::ptr_eq(one, other) {
                return;
            }
            let same = common_digits(one.hash, other.hash).unwrap_or(u32::MAX);
            let depth = one.depth.min(other.depth).min(same);
            for n in 0..FANOUT {
                let child = |node: Option<&'a Node<E>>| node.and_then(|node| node.child_at(depth, n));
                compare(child(before), child(after), found);
            }
        }
        (Some(Node::Leaf(one)), Some(Node::Leaf(other))) if one.as_ptr() == other.as_ptr() => {}
        _ => pair(entries(before), entries(after), found),
    }
}

fn entries<E>(node: Option<&Node<E>>) -> Iter<'_, E> {
    match node {
        None => Iter { open: Vec::new(), entries: [].iter() },
        Some(Node::Leaf(leaf)) => Iter { open: Vec::new(), entries: leaf.slice.iter() },
        Some(Node::Branch(branch)) => Iter { open: vec![branch.children.iter()], entries: [].iter() },
    }
}

/// Pairs the entries of two sorted lists that are equal.
fn pair<'a, E: Entry>(
    before: Iter<'a, E>,
    after: Iter<'a, E>,
    found: &mut impl FnMut(Option<&'a E>, Option<&'a E>),
) {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(before), Some(after)) => cmp(*before, *after),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        found(before.next_if(|_| order.is_le()), after.next_if(|_| order.is_ge()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Edit;
    use super::*;

    /// Hashes, each with a version.
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Item(u32, usize);

    impl Entry for Item {
        fn hash(&self) -> u64 {
            u64::from(self.0) << 32
        }

        fn cmp_within_hash(&self, _: &Self) -> Ordering {
            Ordering::Equal
        }
    }

    /// Numbers spread over all hashes, sorted.
    fn spread(count: u32) -> Vec<u32> {
        let mut hashes: Vec<u32> = (0..count).map(|n| n.wrapping_mul(0x9E37_79B9)).collect();
        hashes.sort_unstable();
        hashes
    }

    fn edited(trie: &Trie<Item>, hashes: &[u32], version: Option<usize>) -> Trie<Item> {
        let edit = |hash| Edit { entry: Item(hash, version.unwrap_or(0)), is_insert: version.is_some() };
        trie.with_edits(&hashes.iter().copied().map(edit).collect::<Vec<_>>())
    }

    /// The differences, and how many entries were looked at.
    fn differences(before: &Trie<Item>, after: &Trie<Item>) -> (Vec<[Option<Item>; 2]>, usize) {
        let (mut differences, mut looked_at) = (Vec::new(), 0);
        before.for_each_unshared(after, |before, after| {
            looked_at += 1;
            differences.extend((before != after).then(|| [before.copied(), after.copied()]));
        });
        (differences, looked_at)
    }

    #[test]
    fn one_edit_among_many_entries_looks_at_one_leaf() {
        let hashes = spread(20_000);
        let before = edited(&Trie::default(), &hashes, Some(1));
        assert_eq!(differences(&before, &before.clone()), (Vec::new(), 0));
        let after = edited(&before, &hashes[7_000..7_001], Some(2));
        let (found, looked_at) = differences(&before, &after);
        let hash = hashes[7_000];
        assert_eq!(found, [[Some(Item(hash, 1)), Some(Item(hash, 2))]]);
        assert!(looked_at <= 64, "{looked_at}");
    }

    /// The branch that both have in common is the root of one, and below the root of the other.
    #[test]
    fn an_edit_outside_of_a_branch_leaves_the_branch_shared() {
        let alike: Vec<u32> = (0..20_000).map(|n| 0x1230_0000 | n).collect();
        let before = edited(&Trie::default(), &alike, Some(1));
        let after = edited(&before, &[7, 0x1239_0000, 0xFFFF_FFFF], Some(2));
        let (found, looked_at) = differences(&before, &after);
        assert_eq!(found, [7, 0x1239_0000, 0xFFFF_FFFF].map(|hash| [None, Some(Item(hash, 2))]));
        assert_eq!(looked_at, 3);
        let (found, _) = differences(&after, &edited(&after, &[7, 0xFFFF_FFFF], None));
        assert_eq!(found, [7, 0xFFFF_FFFF].map(|hash| [Some(Item(hash, 2)), None]));
    }

    /// Tries of all sizes, so that leaves are compared with branches in both directions.
    #[test]
    fn all_that_comes_goes_and_changes_is_found() {
        for count in [0, 1, 40, 70, 3_000] {
            let hashes = spread(count);
            let before = edited(&Trie::default(), &hashes, Some(1));
            for kept in [0, 1, 30, 65, 2_900].into_iter().filter(|kept| *kept <= hashes.len()) {
                let (changed, removed) = hashes.split_at(kept);
                let after = edited(&edited(&before, removed, None), changed, Some(2));
                let came = differences(&after, &before).0;
                let expected: Vec<_> = hashes
                    .iter()
                    .map(|hash| [Some(Item(*hash, 1)), changed.contains(hash).then_some(Item(*hash, 2))])
                    .collect();
                assert_eq!(differences(&before, &after).0, expected, "{count} {kept}");
                assert_eq!(came, expected.into_iter().map(|[one, other]| [other, one]).collect::<Vec<_>>());
            }
        }
    }
}
