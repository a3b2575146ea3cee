//! Tries against maps, and which nodes an edit makes.

use std::collections::{BTreeMap, HashSet};

use super::*;

/// Ordered by hash, then by name; the version tells a replaced entry from the one before.
#[derive(Debug, Clone, PartialEq)]
struct Item {
    hash: u32,
    name: u32,
    version: usize,
}

impl Entry for Item {
    fn hash(&self) -> u64 {
        u64::from(self.hash) << 32
    }

    fn cmp_within_hash(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

type Model = BTreeMap<(u32, u32), usize>;

/// Numbers that look random and are the same in every run (splitmix).
fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    u32::try_from((mixed ^ (mixed >> 27)) >> 32).unwrap()
}

fn edit(hash: u32, name: u32, version: Option<usize>) -> Edit<Item> {
    Edit { entry: Item { hash, name, version: version.unwrap_or(0) }, is_insert: version.is_some() }
}

fn apply(trie: &Trie<Item>, model: &mut Model, mut edits: Vec<Edit<Item>>) -> Trie<Item> {
    for Edit { entry, is_insert } in &edits {
        if *is_insert {
            model.insert((entry.hash, entry.name), entry.version);
        } else {
            model.remove(&(entry.hash, entry.name));
        }
    }
    edits.sort_by(Edit::cmp_place);
    trie.with_edits(&edits)
}

#[track_caller]
fn check(trie: &Trie<Item>, model: &Model) {
    let of_model =
        |((hash, name), version): (&(u32, u32), &usize)| Item { hash: *hash, name: *name, version: *version };
    let expected: Vec<Item> = model.iter().map(of_model).collect();
    assert_eq!(trie.len(), expected.len());
    assert_eq!(trie.iter().cloned().collect::<Vec<_>>(), expected);
    for item in &expected {
        assert_eq!(trie.get(item.hash(), |entry| entry.name == item.name), Some(item));
        assert_eq!(trie.get(item.hash(), |_| false), None);
    }
    for at in (0..expected.len()).step_by(97) {
        let Item { name, .. } = expected[at];
        let rest: Vec<Item> =
            trie.iter_from(expected[at].hash(), |entry| entry.name <= name).cloned().collect();
        assert_eq!(rest, expected[at + 1..], "after {:?}", expected[at]);
    }
    // From hashes that nothing has, before, in and behind each part of the trie.
    for n in 0..256_usize {
        let hash = expected.get(n).map_or(0, |item| item.hash) ^ (1 << (n % 32));
        let rest = trie.iter_from(u64::from(hash) << 32, |_| false).cloned().collect::<Vec<_>>();
        assert_eq!(rest, expected[expected.partition_point(|item| item.hash < hash)..], "from {hash:x}");
    }
}

/// A trie with so many entries of different hashes.
fn filled(count: u32, state: &mut u64) -> (Trie<Item>, Model) {
    let mut model = Model::new();
    let edits = (0..count).map(|name| edit(random(state), name, Some(0))).collect();
    (apply(&Trie::default(), &mut model, edits), model)
}

fn nodes(node: &Node<Item>, found: &mut HashSet<*const ()>) {
    match node {
        Node::Leaf(entries) => _ = found.insert(entries.as_ptr().cast()),
        Node::Branch(branch) => {
            found.insert(Arc::as_ptr(branch).cast());
            branch.children.iter().for_each(|child| nodes(child, found));
        }
    }
}

#[test]
fn random_edits_at_every_size_are_those_of_a_map() {
    // Few hashes collide often, many rarely; sizes grow over several levels and shrink to nothing again.
    let spread = |hashes: u32| move |random: u32| (random % hashes).wrapping_mul(u32::MAX / hashes);
    // Most hashes begin alike, which leaves out branches; the others are outside of these.
    let alike = |random: u32| if random.is_multiple_of(50) { random } else { 0xABCD_E000 | (random % 0x1FF) };
    for (seed, hash) in
        [(1, &spread(40) as &dyn Fn(u32) -> u32), (2, &spread(5_000)), (3, &spread(u32::MAX)), (4, &alike)]
    {
        let (mut state, mut model) = (seed, Model::new());
        let mut trie = Trie::default();
        let mut earlier = Vec::new();
        for (round, size) in [1, 70, 3_000, 10, 2_000, 0, 3_000, 0].into_iter().enumerate() {
            let mut edits: Vec<Edit<Item>> = Vec::new();
            let keys: Vec<(u32, u32)> = model.keys().copied().collect();
            for (hash, name) in
                keys.into_iter().filter(|_| !random(&mut state).is_multiple_of(8) || size == 0)
            {
                edits.push(edit(hash, name, None));
            }
            for _ in 0..size {
                let hash = hash(random(&mut state));
                edits.push(edit(hash, random(&mut state) % 5, Some(round)));
            }
            earlier.push((trie.clone(), model.clone()));
            trie = apply(&trie, &mut model, edits);
            check(&trie, &model);
        }
        assert!(matches!(trie.root, Node::Leaf(_)), "an empty trie is one leaf");
        for (trie, model) in &earlier {
            check(trie, model);
        }
    }
}

#[test]
fn colliding_hashes_stay_in_one_sorted_leaf() {
    let (mut trie, mut model) = filled(500, &mut 5);
    trie = apply(&trie, &mut model, (0..300).rev().map(|name| edit(0xABCD_EF01, name, Some(1))).collect());
    check(&trie, &model);
    trie = apply(&trie, &mut model, (0..300).step_by(3).map(|name| edit(0xABCD_EF01, name, None)).collect());
    check(&trie, &model);
}

#[test]
fn edits_of_one_entry_count_in_their_order() {
    let (trie, mut model) = filled(100, &mut 6);
    let edits = vec![edit(7, 1, Some(1)), edit(7, 1, None), edit(7, 1, Some(2)), edit(7, 1, Some(3))];
    let trie = apply(&trie, &mut model, edits);
    assert_eq!(trie.get(7 << 32, |_| true).map(|item| item.version), Some(3));
    let trie = apply(&trie, &mut model, vec![edit(7, 1, Some(4)), edit(7, 1, None), edit(9, 9, None)]);
    check(&trie, &model);
}

#[test]
fn an_edit_makes_new_nodes_on_its_path_only() {
    let (before, mut model) = filled(20_000, &mut 7);
    let (mut old, mut new) = (HashSet::new(), HashSet::new());
    nodes(&before.root, &mut old);
    let after = apply(&before, &mut model, vec![edit(0x1234_5678, 0, Some(1))]);
    nodes(&after.root, &mut new);
    let fresh = new.difference(&old).count();
    assert!(old.len() > 500 && (2..=5).contains(&fresh), "{fresh} new nodes beside {}", old.len());
}

#[test]
fn no_edits_share_everything() {
    let (before, _) = filled(2_000, &mut 8);
    let (mut old, mut new) = (HashSet::new(), HashSet::new());
    nodes(&before.root, &mut old);
    nodes(&before.with_edits(&[]).root, &mut new);
    assert_eq!(old, new);
}

#[test]
fn entries_take_no_room_but_their_own() {
    assert_eq!((size_of::<Node<Item>>(), size_of::<Trie<Item>>()), (16, 24));
}
