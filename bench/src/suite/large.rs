//! The large data set: the time to load it, the memory that it takes, and the time until a change has effect.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::dataset::{self, Dataset};
use crate::load;
use crate::numbers::{float, median};
use crate::prepared::{PreparedRequest, expected_decision};
use crate::process::{self, Server};
use crate::results::{Bound, Results};
use crate::setup::Setup;

/// Starts the sidecar with the large data set, on both cores, and measures the start, the memory, and
/// changes.
pub fn large(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (policies, entities) = (setup.policies_folder(0)?, setup.entities_folder(setup.many_customers)?);
    let changing_file = entities.join("changing.ndjson");
    let changing_customers = 3_333.min(setup.many_customers);
    let write = |step| write_changing(&changing_file, setup.many_customers, changing_customers, step);
    write(0)?;
    let server = start(setup, &policies, &entities)?;
    let stored = Dataset { customers: setup.many_customers }.entities();
    let size = format!("{} customers, {stored} entities, NDJSON", setup.many_customers);
    let seconds = server.ready_after.as_secs_f64();
    results.require("load, cold start to ready", seconds, " s", Bound::AtMost(15.0), &size);
    std::thread::sleep(Duration::from_secs(2));
    let mebibytes = |name| float(server.memory(name)) / 1024.0 / 1024.0;
    let peak = format!("peak while loading {:.0} MiB", mebibytes("VmHWM"));
    results.require("memory after loading", mebibytes("VmRSS"), " MiB", Bound::AtMost(1024.0), &peak);

    let times = times_of_changes(server.port, setup.many_customers, write)?;
    let note =
        format!("file of {} entities among all these; median of {}", 3 * changing_customers, times.len());
    let what = "a changed consent: file complete to first answer by it";
    results.require(what, median(&times), " ms", Bound::AtMost(250.0), &note);
    Ok(())
}

fn start(setup: &Setup, policies: &Path, entities: &Path) -> io::Result<Server> {
    process::use_cores(2)?;
    let port = process::free_port()?;
    let mut command = Command::new(&setup.mandate);
    command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg("--policies").arg(policies).arg("--entities").arg(entities).args(["--guardrails", "off"]);
    Server::start(&mut command, port, &setup.folder.join("large.log"), Duration::from_mins(10))
}

/// The times from a complete file to the first answer that follows from it, in milliseconds. `write(step)`
/// writes the file: in odd steps `customer` has no consents, in even steps it has them again.
fn times_of_changes(port: u16, customer: u64, write: impl Fn(u64) -> io::Result<()>) -> io::Result<Vec<f64>> {
    let question = Dataset { customers: u64::MAX }.questions(1, |_| customer).pop();
    let question = question.ok_or_else(|| io::Error::other("no question"))?;
    let mut request = PreparedRequest::evaluation(&question);
    let mut times = Vec::new();
    for step in 1..=11 {
        write(step)?;
        let start = Instant::now();
        request.expected = expected_decision(step % 2 == 0 && question.permitted);
        while !request.is_answered_by(&load::ask_once(port, &request.bytes)?) {
            if start.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other("the change had no effect within 20 s"));
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Writes a file with `count` customers that are not in the data set, from number `first` on. In odd steps
/// the first customer is in none of its consents.
fn write_changing(file: &Path, first: u64, count: u64, step: u64) -> io::Result<()> {
    let mut text: String =
        (first + 1..first + count).map(|n| dataset::customer_with_consents(n, false)).collect();
    text += &if step % 2 == 1 {
        dataset::customer_without_consents(first)
    } else {
        dataset::customer_with_consents(first, false)
    };
    let written = file.with_extension("new");
    fs::write(&written, text)?;
    fs::rename(written, file)
}
