//! Changes by decision: how many are committed a second, and what they cost decisions.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataset::{Dataset, FEW_CUSTOMERS, customer_id, write_policies};
use crate::load;
use crate::numbers::{median, ratio};
use crate::prepared::{PreparedRequest, evaluation_requests, expected_decision};
use crate::results::{Bound, Results, p99s, rates, wrong_or_failed};
use crate::setup::{Setup, Target};

/// Changes of so many callers are in flight at once.
const CALLERS: usize = 128;

/// The changes of one request while decisions are measured; 100 requests a second make 1,000 changes.
const CHANGES_AT_ONCE: u64 = 10;

/// Changes that are committed a second, compared with a loop that writes a page and waits for the disk.
///
/// # Errors
/// The server does not start, or a file cannot be written.
pub fn commits(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let requests: Rc<[PreparedRequest]> = (0..FEW_CUSTOMERS).map(request_consent).collect();
    let target = start(setup, "commits", &requests, "")?;
    target.load_once(CALLERS, setup.round_length / 2)?;
    let (mut bare, mut committed) = (Vec::new(), Vec::new());
    for _ in 0..setup.rounds {
        bare.push(writes_and_syncs(&setup.folder, setup.round_length)?);
        committed.push(target.load_once(CALLERS, setup.round_length)?);
    }
    let note =
        "128 callers, each waits for its answer; one core; everything is on the disk before it is answered";
    results.require("changes committed a second", median(&rates(&committed)), "", Bound::AtLeast(0.0), note);
    let what = "of a loop that writes 4 KiB and syncs";
    results.require(what, ratio(&rates(&committed), &bare), " ×", Bound::AtLeast(5.0), "same disk, in turn");
    results.require("p99 of a change", median(&p99s(&committed)) / 1e3, " ms", Bound::AtMost(1_000.0), "");
    results.require_correct_answers(wrong_or_failed(&committed));
    Ok(())
}

/// Throughput of decisions while 1,000 changes a second are decided and committed.
///
/// # Errors
/// The server does not start, or a change fails.
pub fn decisions(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let target = start(setup, "deciding", &evaluation_requests(FEW_CUSTOMERS), "")?;
    let port = target.server.port;
    let work = |step: u64| {
        let customers = (0..CHANGES_AT_ONCE).map(|n| step * CHANGES_AT_ONCE + n);
        let changes: Vec<String> = customers.map(|n| consent_body(n % FEW_CUSTOMERS)).collect();
        let body = format!("{{\"changes\":[{}]}}", changes.join(","));
        let request = PreparedRequest::post("/access/v1/changes/batch", &body, expected_decision(true));
        load::ask_once(port, &request.bytes).map(|_| ())
    };
    let (quiet, busy) = setup.measure_while(&target, work, Duration::from_millis(10))?;
    let what = "decisions while 1,000 changes a second are committed";
    let note = "10 changes in a request, 100 times a second; of its own quiet throughput; 16 connections";
    results.require(what, ratio(&rates(&busy), &rates(&quiet)), "", Bound::AtLeast(0.85), note);
    results.require_correct_answers(wrong_or_failed(&busy));
    Ok(())
}

/// A sidecar with a store that takes changes from everybody on this machine. `more` are further entities, one a line.
pub fn start(setup: &Setup, name: &str, requests: &Rc<[PreparedRequest]>, more: &str) -> io::Result<Target> {
    let (policies, entities) =
        (setup.folder.join(format!("policies-{name}")), setup.folder.join(format!("entities-{name}")));
    write_policies(&setup.pack, &policies, 0)?;
    allow_many_requests(&policies)?;
    Dataset { customers: FEW_CUSTOMERS }.write(&entities)?;
    if !more.is_empty() {
        std::fs::write(entities.join("more.ndjson"), more)?;
    }
    let store = setup.folder.join(format!("{name}.redb")).display().to_string();
    let options = ["--store", &store, "--demo-sign-in"];
    Ok(Target::new(name, setup.start_mandate(name, &policies, &entities, &options)?, requests))
}

/// Lets a few partners have any number of requests that wait. An older pack has no such limit.
fn allow_many_requests(policies: &Path) -> io::Result<()> {
    let rules = policies.join("consent.changes.toml");
    let Ok(text) = std::fs::read_to_string(&rules) else { return Ok(()) };
    std::fs::write(rules, text.replace("open_at_most = 1000", "open_at_most = 1000000000"))
}

/// A partner asks a customer for consent, which creates an entity each time.
fn consent_body(customer: u64) -> String {
    format!(
        r#"{{"subject":{{"type":"Oem","id":"oem-{}"}},"action":{{"name":"requestConsent"}},"resource":{{"type":"Customer","id":"{}"}},"context":{{"delegatedAdministration":false}}}}"#,
        customer % 20,
        customer_id(customer)
    )
}

fn request_consent(customer: u64) -> PreparedRequest {
    PreparedRequest::post("/access/v1/changes", &consent_body(customer), expected_decision(true))
}

/// How often a page was written to a file and synced, a second.
fn writes_and_syncs(folder: &Path, length: Duration) -> io::Result<f64> {
    let path = folder.join("bare");
    let mut file = File::create(&path)?;
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < length {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
