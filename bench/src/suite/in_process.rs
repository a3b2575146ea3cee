//! The engine without a server: decisions by number of policies, and one change among many entities.

use std::io;
use std::path::Path;

use crate::inside;
use crate::numbers::float;
use crate::process;
use crate::results::{Bound, Results};
use crate::setup::Setup;
use crate::world::{FEW, World, mix};

/// Decisions by number of policies, and one change among many entities.
pub fn in_process(setup: &Setup, results: &mut Results) -> io::Result<()> {
    process::pin(process::LOAD_CORE)?;
    let few = setup.entities(FEW)?;
    let pack = nanos_a_decision(&setup.policies(0)?, &few)?;
    let others = nanos_a_decision(&setup.policies(setup.policies)?, &few)?;
    let more = setup.policies;
    let note = format!("{pack:.0} ns with the pack's 24, {others:.0} ns with {more} more; gather and decide");
    let what = "in-process decision with many policies, of few";
    results.bar(what, others / pack, " ×", Bound::AtMost(1.5), &note);
    let (micros, entities) = micros_a_change(setup)?;
    let note = format!("among {entities} entities");
    results.bar("in-process apply of one change", micros, " µs", Bound::AtMost(50.0), &note);
    Ok(())
}

fn nanos_a_decision(policies: &Path, entities: &Path) -> io::Result<f64> {
    let questions = World { customers: FEW }.questions(2_000, mix);
    let snapshot = inside::load(policies, entities)?;
    let requests = inside::requests(&snapshot, &questions)?;
    let all = |_| {
        for request in &requests {
            std::hint::black_box(inside::decide(&snapshot, request));
        }
    };
    Ok(inside::median_nanos(50, all) / float(requests.len() as u64))
}

/// Also the number of entities.
fn micros_a_change(setup: &Setup) -> io::Result<(f64, usize)> {
    process::unpin(2)?;
    let mut current = inside::load(&setup.policies(0)?, &setup.entities(setup.customers)?)?;
    process::pin(process::LOAD_CORE)?;
    let changes = inside::changes(&current, setup.customers, 512)?;
    let mut next = changes.iter().cycle();
    let micros = inside::median_nanos(1_024, |_| {
        if let Some(change) = next.next()
            && let Ok(snapshot) = current.apply(change)
        {
            current = snapshot;
        }
    }) / 1e3;
    Ok((micros, current.entities().len()))
}
