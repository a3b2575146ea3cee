//! All that is measured over HTTP and beside it: one function for each part of the table.

mod busy;
mod grpc;
mod in_process;
mod large;
mod series;
mod small;
mod throughput;

use std::io;

use crate::results::Results;
use crate::setup::Setup;

type Part = (&'static str, fn(&Setup, &mut Results) -> io::Result<()>);

const PARTS: &[Part] = &[
    ("load and memory", large::large),
    ("hits and misses, by policies and by customers", throughput::throughput),
    ("over gRPC", grpc::over_grpc),
    ("while entities change", busy::changes),
    ("while policies reload", busy::reloads),
    ("while guardrails are proven", busy::proofs),
    ("batches", small::batch),
    ("in process", in_process::in_process),
    ("size and start", small::start),
    ("series for the plots", series::series),
];

/// Measures every part, or those whose name contains `only`.
///
/// # Errors
/// A server does not start, or what it should do cannot be asked of it.
pub fn run(setup: &Setup, only: &str, say: &dyn Fn(&str)) -> io::Result<Results> {
    let mut results = Results::default();
    for (name, part) in PARTS.iter().filter(|(name, _)| name.contains(only)) {
        say(name);
        part(setup, &mut results)?;
    }
    Ok(results)
}
