//! Fuzzes entity files; see `entries::entities`.

#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::entities(data));
