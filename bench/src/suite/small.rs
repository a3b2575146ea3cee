//! Batches of questions, the size of the program, and its start.

use std::fs;
use std::io;

use crate::numbers::{float, median};
use crate::process;
use crate::results::{Bound, Results, of, rates};
use crate::setup::{Setup, Target};
use crate::shot::Shot;
use crate::world::{FEW, World, mix};

/// One batch of 1,000 questions after the other.
pub fn batch(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let server = setup.mandate("batch", &setup.policies(0)?, &setup.entities(FEW)?, &[])?;
    let shot = Shot::evaluations(&World { customers: FEW }.questions(1_000, mix));
    let target = Target { name: "batch".to_owned(), server, shots: [shot].into() };
    let samples = setup.measure(&[target], 1)?;
    let rate = median(&rates(of(&samples, "batch"))) * 1_000.0;
    let (what, note) = ("decisions a second in batches of 1,000", "one core, one connection, hits");
    results.bar(what, rate, "", Bound::AtLeast(250_000.0), note);
    Ok(())
}

/// The sidecar with the pack as it ships.
pub fn start(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let size = fs::metadata(&setup.mandate)?.len();
    results.bar("size of the program", float(size) / 1e6, " MB", Bound::AtMost(25.0), "");
    let time = median(&times_to_ready(setup, &[])?);
    let note = "one core, guardrails off; median of 11";
    results.bar("start to ready with the sample pack", time, " ms", Bound::AtMost(50.0), note);
    if process::has_solver() {
        let time = median(&times_to_ready(setup, &["--guardrails", "enforce"])?);
        let note = "the 16 claims of the pack; one core, shared with the solver; median of 11";
        results.bar("the same, guardrails proven first", time, " ms", Bound::AtMost(1_000.0), note);
    }
    Ok(())
}

/// In milliseconds.
fn times_to_ready(setup: &Setup, options: &[&str]) -> io::Result<Vec<f64>> {
    let entities = setup.pack.with_file_name("entities");
    let time = |_| {
        let server = setup.mandate("start", &setup.pack, &entities, options)?;
        Ok(server.ready_after.as_secs_f64() * 1e3)
    };
    (0..11).map(time).collect()
}
