//! `mandate-bench compare`: compares two binaries of Mandate with each other and with the limit. All three
//! get the same questions, in turn, in short rounds. `compare::load` sends them, `compare::report` computes
//! the ratios.

mod load;
mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::dataset::{self, Dataset, FEW_CUSTOMERS, mix};
use crate::gateway::GatewayRequest;
use crate::grpc::Check;
use crate::prepared::{PreparedRequest, evaluation_requests, with_any_answer};
use crate::process::Server;
use crate::results::Sample;
use crate::setup::{Setup, sample_round};
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
    /// Seconds for which each server is loaded in a round
    #[arg(long, default_value = "2", value_parser = parse_seconds)]
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

fn parse_seconds(text: &str) -> Result<Duration, String> {
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

/// Measures the parts whose name contains the text of `--only`.
///
/// # Errors
/// No name contains the text, or a server does not start or cannot be reached.
pub fn run(arguments: &Arguments, print_progress: &dyn Fn(&str)) -> io::Result<Comparison> {
    let plans = selected_plans(&arguments.only)?;
    let folder = tempfile::tempdir()?;
    let setup = setup(arguments, folder.path());
    let policies = folder.path().join("policies");
    dataset::copy_pack(&setup.pack, &policies)?;
    let entities = setup.entities_folder(FEW_CUSTOMERS)?;
    let mut parts = Vec::new();
    for (name, options, load) in plans {
        print_progress(name);
        let load = load();
        let start_sidecar = |which: &str, binary: &Path| {
            setup.start_sidecar(binary, &format!("{which} {name}"), [&policies, &entities], options)
        };
        let limit = if load.is_grpc() { setup.start_grpc_limit()? } else { setup.start_limit()? };
        let servers = [start_sidecar("old", &arguments.old)?, start_sidecar("new", &arguments.new)?, limit];
        parts.push(Part::new(name, load.questions_per_request(), measure(&setup, &servers, &load)?));
    }
    let [old, new] = [&arguments.old, &arguments.new].map(|path| path.display().to_string());
    Ok(Comparison { old, new, rounds: setup.rounds, seconds: setup.round_length.as_secs_f64(), parts })
}

/// The parts whose name contains the text.
fn selected_plans(text: &str) -> io::Result<Vec<&'static Plan>> {
    let plans: Vec<&Plan> = PLANS.iter().filter(|(name, ..)| name.contains(text)).collect();
    if plans.is_empty() {
        let names = PLANS.iter().map(|(name, ..)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(io::Error::other(format!("no part contains `{text}`: the parts are {names}")));
    }
    Ok(plans)
}

fn setup(arguments: &Arguments, folder: &Path) -> Setup {
    let rounds = usize::try_from(arguments.rounds).unwrap_or(usize::MAX);
    let (rounds, round_length) =
        if arguments.quick { (2, Duration::from_millis(300)) } else { (rounds, arguments.seconds) };
    Setup {
        mandate: arguments.new.clone(),
        pack: arguments.pack.clone(),
        folder: folder.to_owned(),
        rounds,
        round_length,
        many_customers: FEW_CUSTOMERS,
        extra_policies: 0,
    }
}

/// Warms up the old binary, the new one and the limit, and then loads each of them once per round. Every
/// second round has the reverse order, so that none of them gains if the machine gets slower or faster.
fn measure(setup: &Setup, servers: &[Server; 3], load: &Load) -> io::Result<[Vec<Sample>; 3]> {
    let load_once =
        |server: &Server, is_limit, length| sample_round(server, |port| load.run(port, is_limit, length));
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for (n, server) in servers.iter().enumerate() {
        load_once(server, n == 2, setup.round_length / 2)?;
    }
    for round in 0..setup.rounds {
        let mut order: Vec<_> = servers.iter().zip(&mut samples).enumerate().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (n, (server, samples)) in order {
            samples.push(load_once(server, n == 2, setup.round_length)?);
        }
    }
    Ok(samples)
}

fn evaluations() -> Load {
    let requests = evaluation_requests(FEW_CUSTOMERS);
    Load::Http {
        limit_requests: with_any_answer(&requests),
        requests,
        connections: 16,
        questions_per_request: 1,
    }
}

/// Envoy's checks, for the routes of the pack.
fn checks() -> Load {
    let questions = Dataset { customers: FEW_CUSTOMERS }.questions(2_000, mix);
    let checks: Rc<[Check]> = questions
        .iter()
        .filter_map(GatewayRequest::by_pack_routes)
        .map(|request| Check::new(&request))
        .collect();
    Load::Grpc { limit_checks: checks.iter().map(Check::with_any_answer).collect(), checks, in_flight: 16 }
}

/// The number of questions in a batch.
const BATCH_SIZE: usize = 1_000;

fn batches() -> Load {
    let questions = Dataset { customers: FEW_CUSTOMERS }.questions(4_000, mix);
    let requests: Rc<[PreparedRequest]> =
        questions.chunks(BATCH_SIZE).map(PreparedRequest::evaluations).collect();
    Load::Http {
        limit_requests: with_any_answer(&requests),
        requests,
        connections: 4,
        questions_per_request: BATCH_SIZE,
    }
}
