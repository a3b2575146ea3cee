//! The engine without a server: the time of a decision with few and with many policies, and the time to apply
//! one change to many entities.

use std::io;
use std::path::Path;

use crate::dataset::{Dataset, FEW_CUSTOMERS, mix};
use crate::in_process;
use crate::numbers::float;
use crate::process;
use crate::results::{Bound, Results};
use crate::setup::Setup;

/// Measures decisions and changes in this process.
pub fn engine(setup: &Setup, results: &mut Results) -> io::Result<()> {
    process::pin(process::LOAD_CORE)?;
    let few = setup.entities_folder(FEW_CUSTOMERS)?;
    let with_pack = nanos_per_decision(&setup.policies_folder(0)?, &few)?;
    let extra = setup.extra_policies;
    let with_extra = nanos_per_decision(&setup.policies_folder(extra)?, &few)?;
    let note = format!(
        "{with_pack:.0} ns with the pack's 24, {with_extra:.0} ns with {extra} more; gather and decide"
    );
    let what = "in-process decision with many policies, of few";
    results.require(what, with_extra / with_pack, " ×", Bound::AtMost(1.5), &note);
    let (micros, entities) = micros_per_change(setup)?;
    let note = format!("among {entities} entities");
    results.require("in-process apply of one change", micros, " µs", Bound::AtMost(50.0), &note);
    Ok(())
}

/// The time to gather and decide, in nanoseconds: the mean of all questions.
fn nanos_per_decision(policies: &Path, entities: &Path) -> io::Result<f64> {
    let questions = Dataset { customers: FEW_CUSTOMERS }.questions(2_000, mix);
    let snapshot = in_process::load_snapshot(policies, entities)?;
    let requests = in_process::requests(&snapshot, &questions)?;
    let decide_all = |_| {
        for request in &requests {
            std::hint::black_box(in_process::decide(&snapshot, request));
        }
    };
    Ok(in_process::median_nanos(50, decide_all) / float(requests.len() as u64))
}

/// The time to apply one change, in microseconds, and the number of entities.
fn micros_per_change(setup: &Setup) -> io::Result<(f64, usize)> {
    process::use_cores(2)?;
    let mut current =
        in_process::load_snapshot(&setup.policies_folder(0)?, &setup.entities_folder(setup.many_customers)?)?;
    process::pin(process::LOAD_CORE)?;
    let changes = in_process::consent_changes(&current, setup.many_customers, 512)?;
    let mut next = changes.iter().cycle();
    let micros = in_process::median_nanos(1_024, |_| {
        if let Some(change) = next.next()
            && let Ok(snapshot) = current.apply(change)
        {
            current = snapshot;
        }
    }) / 1e3;
    Ok((micros, current.entities().len()))
}
