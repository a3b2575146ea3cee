//! Compares two binaries of Mandate: the same questions to the old one, to the new one, and to the limit,
//! in turn, in short rounds. `compare::load` asks, `compare::report` has the ratios.

mod load;
mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::gateway::GatewayRequest;
use crate::grpc::Check;
use crate::process::Server;
use crate::results::Sample;
use crate::setup::{Setup, sample};
use crate::shot::{Shot, for_the_limit, questions};
use crate::world::{self, FEW, World, mix};
use load::Load;
pub use report::Comparison;
use report::Part;

#[derive(Args)]
pub struct Arguments {
    /// The binary to compare with
    old: PathBuf,
    /// The binary under test
    #[arg(default_value = "target/dist/mandate")]
    new: PathBuf,
    /// Rounds of each part; in each round, every server is loaded once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long each server is loaded in a round
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Two very short rounds, to see that everything works; the numbers mean nothing
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Measure only the parts whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
    /// Exit with code 1 if the median of new/old is lower in any part
    #[arg(long, value_name = "RATIO")]
    pub least: Option<f64>,
    /// The policies and routes that both binaries serve
    #[arg(long, value_name = "FOLDER", default_value = "policies")]
    pack: PathBuf,
    /// How the results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.05..=600.0).contains(&seconds) {
        return Err("it has to be from 0.05 to 600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A part's name, the options that the sidecars are started with, and the load.
type Plan = (&'static str, &'static [&'static str], fn() -> Load);

const CACHE_OFF: &[&str] = &["--cache-entries", "0"];

const PLANS: &[Plan] = &[
    ("hits", &[], evaluations),
    ("cache off", CACHE_OFF, evaluations),
    ("gRPC hits", &[], checks),
    ("gRPC cache off", CACHE_OFF, checks),
    ("batches", &[], batches),
];

/// Measures the parts whose name contains the text that was asked for.
///
/// # Errors
/// No part has such a name, or a server does not start or cannot be reached.
pub fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> io::Result<Comparison> {
    let plans: Vec<&Plan> = PLANS.iter().filter(|(name, ..)| name.contains(&arguments.only)).collect();
    if plans.is_empty() {
        let names = PLANS.iter().map(|(name, ..)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(io::Error::other(format!(
            "no part contains `{}`: the parts are {names}",
            arguments.only
        )));
    }
    let folder = tempfile::tempdir()?;
    let setup = setup(arguments, folder.path());
    let policies = folder.path().join("policies");
    world::copy_pack(&setup.pack, &policies)?;
    let entities = setup.entities(FEW)?;
    let mut parts = Vec::new();
    for (name, options, load) in plans {
        say(name);
        let load = load();
        let sidecar = |which: &str, binary: &Path| {
            setup.sidecar(binary, &format!("{which} {name}"), [&policies, &entities], options)
        };
        let limit = if load.is_grpc() { setup.grpc_limit()? } else { setup.limit()? };
        let servers = [sidecar("old", &arguments.old)?, sidecar("new", &arguments.new)?, limit];
        parts.push(Part::new(name, load.questions(), measure(&setup, &servers, &load)?));
    }
    let [old, new] = [&arguments.old, &arguments.new].map(|path| path.display().to_string());
    Ok(Comparison { old, new, rounds: setup.rounds, seconds: setup.round.as_secs_f64(), parts })
}

fn setup(arguments: &Arguments, folder: &Path) -> Setup {
    let rounds = usize::try_from(arguments.rounds).unwrap_or(usize::MAX);
    let (rounds, round) =
        if arguments.quick { (2, Duration::from_millis(300)) } else { (rounds, arguments.seconds) };
    Setup {
        mandate: arguments.new.clone(),
        pack: arguments.pack.clone(),
        folder: folder.to_owned(),
        rounds,
        round,
        customers: FEW,
        policies: 0,
    }
}

/// Loads the old, the new and the limit in turn, after a warm-up of each. Every other round has the
/// reverse order, so that a machine that gets slower or faster is no advantage for any of them.
fn measure(setup: &Setup, servers: &[Server; 3], load: &Load) -> io::Result<[Vec<Sample>; 3]> {
    let once = |server: &Server, is_limit, length| sample(server, |port| load.run(port, is_limit, length));
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for (n, server) in servers.iter().enumerate() {
        once(server, n == 2, setup.round / 2)?;
    }
    for round in 0..setup.rounds {
        let mut turns: Vec<_> = servers.iter().zip(&mut samples).enumerate().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (n, (server, samples)) in turns {
            samples.push(once(server, n == 2, setup.round)?);
        }
    }
    Ok(samples)
}

fn evaluations() -> Load {
    let shots = questions(FEW);
    Load::Http { any: for_the_limit(&shots), shots, connections: 16, questions: 1 }
}

/// Checks by the pack's routes.
fn checks() -> Load {
    let questions = World { customers: FEW }.questions(2_000, mix);
    let checks: Rc<[Check]> =
        questions.iter().filter_map(GatewayRequest::pack).map(|request| Check::of(&request)).collect();
    Load::Grpc { any: checks.iter().map(Check::any_answer).collect(), checks, in_flight: 16 }
}

/// Questions in a request.
const BATCH: usize = 1_000;

fn batches() -> Load {
    let questions = World { customers: FEW }.questions(4_000, mix);
    let shots: Rc<[Shot]> = questions.chunks(BATCH).map(Shot::evaluations).collect();
    Load::Http { any: for_the_limit(&shots), shots, connections: 4, questions: BATCH }
}
