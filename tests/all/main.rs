//! The integration tests. Most of them run the real program, on real files and ports. All are one
//! binary, because each test binary takes time to link.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::doc_markdown,
    reason = "helpers are easier to call and to describe"
)]
#![allow(clippy::print_stderr, reason = "a test prints why it did not run")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are small")]

mod support;

mod access_requests;
mod authzen;
mod changes;
mod cli;
mod clock;
mod coverage;
mod deny_all;
mod diff;
mod entity_format;
mod envoy;
mod explain;
mod fmt;
mod formats;
mod freshness;
mod fuzz;
mod guardrails;
mod house;
mod lint;
mod listen;
mod modules;
mod mutation;
mod not_read;
mod openapi;
mod policy_limits;
mod properties;
mod prove;
mod readme;
mod reasons;
mod reload;
mod restore;
mod routes;
mod search;
mod serve;
mod store;
mod store_file;
mod store_serving;
mod suite_errors;
mod suite_steps;
