//! The sidecar under load while its content changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::numbers::ratio;
use crate::process;
use crate::results::{Bound, CHECKED, Results, bad, p99s, rates};
use crate::setup::{Setup, Target};
use crate::shot::questions;
use crate::world::{self, FEW, World};

/// A thousand changed entities a second: a hundred consents of customers that are asked about, ten
/// times a second.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn changes(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let entities = setup.folder.join("entities-changing");
    let changing = world_in_two_files(&entities)?;
    let server = setup.mandate("changing", &setup.policies(0)?, &entities, &[])?;
    let target = Target::new("changing", server, &questions(FEW));
    let work = |step: u64| {
        let text: String = (0..100).map(|n| world::lines_of(n, step.is_multiple_of(2))).collect();
        let written = changing.with_extension("new");
        fs::write(&written, text)?;
        fs::rename(written, &changing)
    };
    let (quiet, busy) = setup.measure_while(&target, work, Duration::from_millis(100))?;
    let what = "while 1,000 entities a second change";
    let note = "100 consents in one file, 10 times a second; of its own quiet throughput; 16 connections";
    results.bar(what, ratio(&rates(&busy), &rates(&quiet)), "", Bound::AtLeast(0.85), note);
    results.bar("wrong or failed meanwhile", bad(&busy), "", Bound::AtMost(0.0), CHECKED);
    Ok(())
}

/// Writes the small world; a hundred of its customers are in a file of their own, whose path is returned.
fn world_in_two_files(entities: &Path) -> io::Result<PathBuf> {
    World { customers: FEW }.write(entities)?;
    let file = entities.join("customers.ndjson");
    let text = fs::read_to_string(&file)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (moved, stay) = lines.split_at(300.min(lines.len()));
    fs::write(&file, stay.concat())?;
    let changing = entities.join("changing.ndjson");
    fs::write(&changing, moved.concat())?;
    Ok(changing)
}

/// Another version of the policies every second.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn reloads(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let policies = setup.folder.join("policies-changing");
    world::write_policies(&setup.pack, &policies, 0)?;
    let note = "guardrails off; of its own quiet throughput; 16 connections";
    while_policies_change(setup, results, &policies, "off", ["while policies reload every second", note])
}

/// Another version of the policies every second, each proven before it serves; the solver shares the
/// sidecar's core.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn proofs(setup: &Setup, results: &mut Results) -> io::Result<()> {
    if !process::has_solver() {
        return Ok(());
    }
    let policies = setup.folder.join("policies-proven");
    world::write_policies(&setup.pack, &policies, 0)?;
    let guardrails = policies.join("guardrails");
    fs::create_dir_all(&guardrails)?;
    for file in fs::read_dir(setup.pack.join("guardrails"))? {
        let file = file?;
        fs::copy(file.path(), guardrails.join(file.file_name()))?;
    }
    let what = "while every guardrail is proven every second";
    let note = "the pack's claims; the solver shares the sidecar's core; of its own quiet throughput; 16 connections";
    while_policies_change(setup, results, &policies, "enforce", [what, note])
}

fn while_policies_change(
    setup: &Setup,
    results: &mut Results,
    policies: &Path,
    guardrails: &str,
    [what, note]: [&str; 2],
) -> io::Result<()> {
    let options = ["--guardrails", guardrails];
    let name = format!("guardrails {guardrails}");
    let server = setup.mandate(&name, policies, &setup.entities(FEW)?, &options)?;
    let target = Target::new(&name, server, &questions(FEW));
    let work = |step: u64| {
        let written = policies.join("others.new");
        fs::write(&written, format!("// version {step}\n"))?;
        fs::rename(written, policies.join("others.cedar"))
    };
    let (quiet, busy) = setup.measure_while(&target, work, Duration::from_secs(1))?;
    results.bar(what, ratio(&rates(&busy), &rates(&quiet)), "", Bound::AtLeast(0.85), note);
    results.bar("p99 meanwhile, of quiet", ratio(&p99s(&busy), &p99s(&quiet)), " ×", Bound::AtMost(2.0), "");
    results.bar("wrong or failed meanwhile", bad(&busy), "", Bound::AtMost(0.0), CHECKED);
    Ok(())
}
