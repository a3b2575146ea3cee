//! What the fuzzers look for, looked for on every run: mutations of `fuzz/corpus/`, and plain bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::pack;

#[path = "../../fuzz/entries.rs"]
mod entries;

/// What is put in anywhere.
const WORDS: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"1e999",
    b"-9223372036854775809",
    b"/",
    b"//",
    b"/../",
    b"%2f",
    b"%2e%2e",
    b"%",
    b"%zz",
    b";",
    b"?",
    b"#",
    b"\\",
    b"\0",
    b"\r\n",
    b"\xff",
    b" ",
    b"=",
    b"[[route]]\n",
    b"'",
    b"{}",
    b"\xc3\xa9",
    b"\n",
];

#[derive(Debug, Clone)]
enum Edit {
    Put(Index, &'static [u8]),
    Flip(Index, u8),
    Cut(Index, u8),
    Repeat(Index, u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), select(WORDS)).prop_map(|(at, word)| Edit::Put(at, word)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Edit::Flip(at, bits)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Edit::Cut(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let at = |at: &Index| at.index(bytes.len().max(1)).min(bytes.len());
        let until = |from: usize, length: u8| (from + usize::from(length)).min(bytes.len());
        match edit {
            Edit::Put(place, word) => {
                let place = at(place);
                bytes.splice(place..place, word.iter().copied());
            }
            Edit::Flip(place, bits) => {
                let place = at(place);
                bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= bits);
            }
            Edit::Cut(place, length) => {
                let from = at(place);
                bytes.drain(from..until(from, *length));
            }
            Edit::Repeat(place, length) => {
                let from = at(place);
                let part = bytes[from..until(from, *length)].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
    bytes
}

/// Calls an entry with mutations of its corpus.
fn survives(name: &str, cases: u32, entry: fn(&[u8])) {
    let files = std::fs::read_dir(pack("fuzz/corpus").join(name)).unwrap();
    let seeds: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        entry(seed);
    }
    let bytes = prop_oneof![
        9 => (select(seeds), vec(edit(), 0..8)).prop_map(|(seed, edits)| edited(seed, &edits)),
        1 => vec(any::<u8>(), 0..200),
    ];
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(bytes in bytes)| entry(&bytes));
}

#[test]
fn bodies_of_authzen() {
    survives("authzen", 2_000, entries::authzen);
}

#[test]
fn messages_of_envoy() {
    survives("ext_authz", 2_000, entries::ext_authz);
}

#[test]
fn files_of_routes() {
    survives("routes", 1_000, entries::routes);
}

#[test]
fn paths_of_requests() {
    survives("paths", 5_000, entries::paths);
}

#[test]
fn files_of_entities() {
    survives("entities", 500, entries::entities);
}
