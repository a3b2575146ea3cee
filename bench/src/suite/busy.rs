//! Throughput while entities change, while policies reload, and while guardrails are proven.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dataset::{self, Dataset, FEW_CUSTOMERS};
use crate::numbers::ratio;
use crate::prepared::evaluation_requests;
use crate::process;
use crate::results::{Bound, Results, p99s, rates, wrong_or_failed};
use crate::setup::{Setup, Target};

/// Throughput while 1,000 entities change per second: the consents of 100 customers, 10 times per second. The
/// questions are also about these customers.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn changes(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let entities = setup.folder.join("entities-changing");
    let changing_file = write_entities_in_two_files(&entities)?;
    let server = setup.start_mandate("changing", &setup.policies_folder(0)?, &entities, &[])?;
    let target = Target::new("changing", server, &evaluation_requests(FEW_CUSTOMERS));
    let work = |step: u64| {
        let text: String =
            (0..100).map(|n| dataset::customer_with_consents(n, step.is_multiple_of(2))).collect();
        let written = changing_file.with_extension("new");
        fs::write(&written, text)?;
        fs::rename(written, &changing_file)
    };
    let (quiet, busy) = setup.measure_while(&target, work, Duration::from_millis(100))?;
    let what = "while 1,000 entities a second change";
    let note = "100 consents in one file, 10 times a second; of its own quiet throughput; 16 connections";
    results.require(what, ratio(&rates(&busy), &rates(&quiet)), "", Bound::AtLeast(0.85), note);
    results.require_correct_answers(wrong_or_failed(&busy));
    Ok(())
}

/// Writes the small data set, with 100 of its customers in a second file. Returns the path of the second
/// file.
fn write_entities_in_two_files(entities: &Path) -> io::Result<PathBuf> {
    Dataset { customers: FEW_CUSTOMERS }.write(entities)?;
    let file = entities.join("customers.ndjson");
    let text = fs::read_to_string(&file)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // Each customer has three lines.
    let (changing, unchanging) = lines.split_at(300.min(lines.len()));
    fs::write(&file, unchanging.concat())?;
    let changing_file = entities.join("changing.ndjson");
    fs::write(&changing_file, changing.concat())?;
    Ok(changing_file)
}

/// Throughput while a policy file changes every second.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn reloads(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let policies = setup.folder.join("policies-changing");
    dataset::write_policies(&setup.pack, &policies, 0)?;
    let note = "guardrails off; of its own quiet throughput; 16 connections";
    measure_while_policies_change(
        setup,
        results,
        &policies,
        "off",
        ["while policies reload every second", note],
    )
}

/// Throughput while a policy file changes every second and the guardrails are proven for each change. The
/// solver shares the sidecar's core. Does nothing if there is no solver.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn proofs(setup: &Setup, results: &mut Results) -> io::Result<()> {
    if !process::has_solver() {
        return Ok(());
    }
    let policies = setup.folder.join("policies-proven");
    dataset::write_policies(&setup.pack, &policies, 0)?;
    let guardrails = policies.join("guardrails");
    fs::create_dir_all(&guardrails)?;
    // The claims only: the suites beside them state the pack's own routes.
    for file in fs::read_dir(setup.pack.join("guardrails"))? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "cedar") {
            fs::copy(file.path(), guardrails.join(file.file_name()))?;
        }
    }
    let what = "while every guardrail is proven every second";
    let note = "the pack's claims; the solver shares the sidecar's core; of its own quiet throughput; 16 connections";
    measure_while_policies_change(setup, results, &policies, "enforce", [what, note])
}

/// Loads a sidecar while a comment in a policy file changes every second.
fn measure_while_policies_change(
    setup: &Setup,
    results: &mut Results,
    policies: &Path,
    guardrails: &str,
    [what, note]: [&str; 2],
) -> io::Result<()> {
    let options = ["--guardrails", guardrails];
    let name = format!("guardrails {guardrails}");
    let server = setup.start_mandate(&name, policies, &setup.entities_folder(FEW_CUSTOMERS)?, &options)?;
    let target = Target::new(&name, server, &evaluation_requests(FEW_CUSTOMERS));
    let work = |step: u64| {
        let written = policies.join("others.new");
        fs::write(&written, format!("// version {step}\n"))?;
        fs::rename(written, policies.join("others.cedar"))
    };
    let (quiet, busy) = setup.measure_while(&target, work, Duration::from_secs(1))?;
    results.require(what, ratio(&rates(&busy), &rates(&quiet)), "", Bound::AtLeast(0.85), note);
    let p99 = ratio(&p99s(&busy), &p99s(&quiet));
    results.require("p99 meanwhile, of quiet", p99, " ×", Bound::AtMost(2.0), "");
    results.require_correct_answers(wrong_or_failed(&busy));
    Ok(())
}
