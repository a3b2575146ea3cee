//! Tests with real gateways in front of a small upstream. Each gateway has its configuration from `examples/` and
//! asks a real sidecar about every request. If a gateway is not installed, the output says that its tests did not run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::needless_pass_by_value, clippy::doc_markdown, reason = "calls are easier to read")]
#![allow(clippy::print_stderr, reason = "tests print why they did not run")]

mod cases;
mod client;
mod clients;
mod gateway;
mod reload;
#[allow(dead_code, reason = "shared with the other tests, which use more of it")]
#[path = "../all/support/mod.rs"]
mod support;
mod upstream;
