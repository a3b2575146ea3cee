//! Fuzzes paths of HTTP requests; see `entries::paths`.

#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::paths(data));
