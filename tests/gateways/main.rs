//! Real gateways in front of a small upstream, with the configuration that `examples/` ships: each asks
//! a real sidecar about every request. A gateway that is not installed is said not to have been run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::needless_pass_by_value, clippy::doc_markdown, reason = "callers read better")]
#![allow(clippy::print_stderr, reason = "what a test has to say beside its result")]

mod cases;
mod client;
mod clients;
mod gateway;
mod reload;
#[allow(dead_code, reason = "shared with the other tests, which use more of it")]
#[path = "../all/support/mod.rs"]
mod support;
mod upstream;
