//! Fuzzes request bodies of the AuthZEN API; see `entries::authzen`.

#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::authzen(data));
