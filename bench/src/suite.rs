//! The measurements of `mandate-bench http`: one function for each part of the tables.

mod busy;
mod grpc;
mod in_process;
mod large;
mod links;
mod series;
mod small;
mod store;
mod throughput;

use std::io;

use crate::results::Results;
use crate::setup::Setup;

/// The name of a part, and the function that measures it.
type Part = (&'static str, fn(&Setup, &mut Results) -> io::Result<()>);

const PARTS: &[Part] = &[
    ("load and memory", large::large),
    ("hits and misses, by policies and by customers", throughput::throughput),
    ("over gRPC", grpc::over_grpc),
    ("while entities change", busy::changes),
    ("while policies reload", busy::reloads),
    ("while guardrails are proven", busy::proofs),
    ("changes committed", store::commits),
    ("while changes are committed", store::decisions),
    ("from click to permit", links::acceptance),
    ("batches", small::batch),
    ("in process", in_process::engine),
    ("size and start", small::start),
    ("series for the plots", series::series),
];

/// Measures the parts whose name contains `only`. The empty text stands for all parts.
///
/// # Errors
/// A server does not start or cannot be reached.
pub fn run(setup: &Setup, only: &str, print_progress: &dyn Fn(&str)) -> io::Result<Results> {
    let mut results = Results::default();
    for (name, part) in PARTS.iter().filter(|(name, _)| name.contains(only)) {
        print_progress(name);
        part(setup, &mut results)?;
    }
    Ok(results)
}
