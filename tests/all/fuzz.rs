//! A short run of the fuzz targets: mutations of `fuzz/corpus/`, and random bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::repository_path;

#[path = "../../fuzz/entries.rs"]
mod entries;

/// Bytes that are inserted at random places: they have a meaning in one of the formats.
const TOKENS: &[&[u8]] = &[
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
    Insert(Index, &'static [u8]),
    /// Flips some bits of one byte.
    Flip(Index, u8),
    /// Removes so many bytes.
    Remove(Index, u8),
    /// Repeats so many bytes.
    Repeat(Index, u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), select(TOKENS)).prop_map(|(at, token)| Edit::Insert(at, token)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Edit::Flip(at, bits)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let at = |at: &Index| at.index(bytes.len().max(1)).min(bytes.len());
        let until = |from: usize, length: u8| (from + usize::from(length)).min(bytes.len());
        match edit {
            Edit::Insert(place, token) => {
                let place = at(place);
                bytes.splice(place..place, token.iter().copied());
            }
            Edit::Flip(place, bits) => {
                let place = at(place);
                bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= bits);
            }
            Edit::Remove(place, length) => {
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

/// Calls a fuzz target with its corpus and with mutations of it. The target panics on a defect.
fn check(name: &str, cases: u32, entry: fn(&[u8])) {
    let files = std::fs::read_dir(repository_path("fuzz/corpus").join(name)).unwrap();
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
fn any_authzen_body_is_handled() {
    check("authzen", 2_000, entries::authzen);
}

#[test]
fn any_envoy_message_is_handled() {
    check("ext_authz", 2_000, entries::ext_authz);
}

#[test]
fn any_route_file_is_handled() {
    check("routes", 1_000, entries::routes);
}

#[test]
fn any_request_path_is_handled() {
    check("paths", 5_000, entries::paths);
}

#[test]
fn any_entity_file_is_handled() {
    check("entities", 500, entries::entities);
}
