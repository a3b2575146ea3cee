//! Many customers: how long they take to load, the memory that they take, and how soon a change counts.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::load;
use crate::numbers::{float, median};
use crate::process::{self, Server};
use crate::results::{Bound, Results};
use crate::setup::Setup;
use crate::shot::{Shot, decision};
use crate::world::{self, World};

/// Starts the sidecar with the many customers, on both cores: how long it takes, how much memory it
/// keeps, and how soon a change among them counts.
pub fn large(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (policies, entities) = (setup.policies(0)?, setup.entities(setup.customers)?);
    let changing = entities.join("changing.ndjson");
    let more = 3_333.min(setup.customers);
    write_changing(&changing, setup.customers, more, 0)?;
    let server = start(setup, &policies, &entities)?;
    let stored = World { customers: setup.customers }.entities();
    let size = format!("{} customers, {stored} entities, NDJSON", setup.customers);
    let took = server.ready_after.as_secs_f64();
    results.bar("load, cold start to ready", took, " s", Bound::AtMost(15.0), &size);
    std::thread::sleep(Duration::from_secs(2));
    let mebibytes = |name| float(server.memory(name)) / 1024.0 / 1024.0;
    let peak = format!("peak while loading {:.0} MiB", mebibytes("VmHWM"));
    results.bar("memory after loading", mebibytes("VmRSS"), " MiB", Bound::AtMost(1024.0), &peak);

    let write = |step| write_changing(&changing, setup.customers, more, step);
    let times = times_of_changes(server.port, setup.customers, write)?;
    let note = format!("file of {} entities among all these; median of {}", 3 * more, times.len());
    let what = "a changed consent: file complete to first answer by it";
    results.bar(what, median(&times), " ms", Bound::AtMost(250.0), &note);
    Ok(())
}

fn start(setup: &Setup, policies: &Path, entities: &Path) -> io::Result<Server> {
    process::unpin(2)?;
    let port = process::free_port()?;
    let mut command = Command::new(&setup.mandate);
    command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg("--policies").arg(policies).arg("--entities").arg(entities).args(["--guardrails", "off"]);
    Server::start(&mut command, port, &setup.folder.join("large.log"), Duration::from_mins(10))
}

/// How long each change takes until an answer is by it, in milliseconds.
fn times_of_changes(port: u16, customer: u64, write: impl Fn(u64) -> io::Result<()>) -> io::Result<Vec<f64>> {
    let question = World { customers: u64::MAX }.questions(1, |_| customer).pop();
    let question = question.ok_or_else(|| io::Error::other("no question"))?;
    let mut shot = Shot::evaluation(&question);
    let mut times = Vec::new();
    for step in 1..=11 {
        write(step)?;
        let begun = Instant::now();
        shot.expected = decision(step % 2 == 0 && question.permitted);
        while !shot.is_answered_by(&load::one(port, &shot.bytes)?) {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other("the change is never seen"));
            }
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Customers beyond the world's own, in a file of their own; in odd steps the first has lost its
/// consents.
fn write_changing(file: &Path, first: u64, count: u64, step: u64) -> io::Result<()> {
    let mut text: String = (first + 1..first + count).map(|n| world::lines_of(n, false)).collect();
    text +=
        &if step % 2 == 1 { world::customer_without_consents(first) } else { world::lines_of(first, false) };
    let written = file.with_extension("new");
    fs::write(&written, text)?;
    fs::rename(written, file)
}
