//! Everything that is tested from outside: real processes, real files, real ports. One binary, so
//! that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::needless_pass_by_value, clippy::doc_markdown, reason = "callers read better")]
#![allow(clippy::print_stderr, reason = "what a test has to say beside its result")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are small")]

mod support;

mod authzen;
mod cli;
mod coverage;
mod diff;
mod entity_format;
mod envoy;
mod explain;
mod fmt;
mod fuzz;
mod gate;
mod house;
mod lint;
mod listen;
mod modules;
mod mutation;
mod openapi;
mod properties;
mod prove;
mod readme;
mod reload;
mod routes;
mod search;
mod serve;
mod store;
