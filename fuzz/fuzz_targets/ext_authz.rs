//! Fuzzes Envoy's `CheckRequest` messages; see `entries::ext_authz`.

#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::ext_authz(data));
