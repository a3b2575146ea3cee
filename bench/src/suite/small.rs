//! Batches of questions, the size of the program, and the time to start with the pack.

use std::fs;
use std::io;

use crate::dataset::{Dataset, FEW_CUSTOMERS, mix};
use crate::numbers::{float, median};
use crate::prepared::PreparedRequest;
use crate::process;
use crate::results::{Bound, Results, rates, samples_of};
use crate::setup::{Setup, Target};

/// Throughput of one connection that sends batches of 1,000 questions.
pub fn batch(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let server = setup.start_mandate(
        "batch",
        &setup.policies_folder(0)?,
        &setup.entities_folder(FEW_CUSTOMERS)?,
        &[],
    )?;
    let request = PreparedRequest::evaluations(&Dataset { customers: FEW_CUSTOMERS }.questions(1_000, mix));
    let target = Target { name: "batch".to_owned(), server, requests: [request].into() };
    let samples = setup.measure(&[target], 1)?;
    let rate = median(&rates(samples_of(&samples, "batch"))) * 1_000.0;
    let (what, note) = ("decisions a second in batches of 1,000", "one core, one connection, hits");
    results.require(what, rate, "", Bound::AtLeast(250_000.0), note);
    Ok(())
}

/// The size of the program, and the time that it takes to start with the pack as it ships.
pub fn start(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let size = fs::metadata(&setup.mandate)?.len();
    results.require("size of the program", float(size) / 1e6, " MB", Bound::AtMost(25.0), "");
    let time = median(&times_to_ready(setup, &[])?);
    let note = "one core, guardrails off; median of 11";
    results.require("start to ready with the sample pack", time, " ms", Bound::AtMost(50.0), note);
    if process::has_solver() {
        let time = median(&times_to_ready(setup, &["--guardrails", "enforce"])?);
        let note = "the 16 claims of the pack; one core, shared with the solver; median of 11";
        results.require("the same, guardrails proven first", time, " ms", Bound::AtMost(1_000.0), note);
    }
    Ok(())
}

/// The times of eleven starts, in milliseconds.
fn times_to_ready(setup: &Setup, options: &[&str]) -> io::Result<Vec<f64>> {
    let entities = setup.pack.with_file_name("entities");
    let time = |_| {
        let server = setup.start_mandate("start", &setup.pack, &entities, options)?;
        Ok(server.ready_after.as_secs_f64() * 1e3)
    };
    (0..11).map(time).collect()
}
