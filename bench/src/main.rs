//! The command line of `mandate-bench`. Its verbs run a benchmark, serve a limit, or write test data.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mandate_bench::dataset::{self, Dataset};
use mandate_bench::numbers::number;
use mandate_bench::prepared::evaluation_requests;
use mandate_bench::setup::Setup;
use mandate_bench::{compare, grpc, instructions, limit, load, peers, plot, process, suite};

#[derive(Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the entities of a generated data set
    #[command(alias = "world")]
    Entities {
        folder: PathBuf,
        #[arg(long, default_value_t = 1_000)]
        customers: u64,
    },
    /// Write the pack's policies, and more policies that match no question
    Policies {
        folder: PathBuf,
        /// The number of additional policies
        #[arg(long, default_value_t = 0)]
        more: u64,
        #[arg(long, default_value = "policies")]
        pack: PathBuf,
    },
    /// Serve the limit over HTTP: parse each request and answer a constant
    Limit {
        #[arg(long)]
        listen: String,
    },
    /// Serve the limit over gRPC: parse each check and answer a constant
    Grpc {
        #[arg(long)]
        listen: String,
    },
    /// Load a sidecar that serves the entities of the verb `entities`, for example under a profiler
    Load {
        port: u16,
        #[arg(long, default_value_t = 1_000)]
        customers: u64,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Draw the plots again from the results in a folder
    Plot {
        #[arg(default_value = "docs/performance")]
        folder: PathBuf,
    },
    /// Compare Mandate with other authorization servers that are installed, and print the table
    Peers {
        /// A short run, to see that everything works; the numbers mean nothing
        #[arg(long)]
        quick: bool,
        /// The sidecar under test
        #[arg(long, default_value = "target/dist/mandate")]
        mandate: PathBuf,
    },
    /// Compare two binaries of Mandate with each other and with the limit
    Compare(compare::Arguments),
    /// Count the instructions of single operations, and compare them with their budgets; needs valgrind
    Instructions(instructions::Arguments),
    /// Do one operation many times; `instructions` runs this under valgrind
    #[command(hide = true)]
    Operation { name: String },
    /// Compare Mandate with the limit, and print the tables
    Http {
        /// A short run, to see that everything works; the numbers mean nothing
        #[arg(long)]
        quick: bool,
        /// The sidecar under test
        #[arg(long, default_value = "target/dist/mandate")]
        mandate: PathBuf,
        /// Write results and plots to docs/performance, and the tables into docs/performance.md
        #[arg(long)]
        write: bool,
        /// Measure only the parts whose name contains this
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true,
            conflicts_with = "write"
        )]
        only: String,
    },
}

fn setup(folder: &Path, mandate: PathBuf, quick: bool) -> Setup {
    let (rounds, round_length) =
        if quick { (1, Duration::from_millis(300)) } else { (7, Duration::from_secs(2)) };
    let (many_customers, extra_policies) = if quick { (5_000, 500) } else { (1_000_000, 10_000) };
    Setup {
        mandate,
        pack: "policies".into(),
        folder: folder.to_owned(),
        rounds,
        round_length,
        many_customers,
        extra_policies,
    }
}

fn main() -> ExitCode {
    match run(Args::parse().verb) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                print_to_stderr(&format!("error: {failure}"));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            print_to_stderr(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error>;

/// Runs a verb. Returns the requirements that the measurements do not meet.
fn run(verb: Verb) -> Result<Vec<String>, Error> {
    match verb {
        Verb::Entities { folder, customers } => Dataset { customers }.write(&folder)?,
        Verb::Policies { folder, more, pack } => dataset::write_policies(&pack, &folder, more)?,
        Verb::Limit { listen } => runtime()?.block_on(limit::serve(&listen))?,
        Verb::Grpc { listen } => runtime()?.block_on(grpc::serve(&listen))?,
        Verb::Load { port, customers, seconds } => load(port, customers, seconds)?,
        Verb::Plot { folder } => plot::from_results(&folder)?,
        Verb::Http { quick, mandate, write, only } => http(quick, mandate, write, &only)?,
        Verb::Peers { quick, mandate } => {
            let folder = tempfile::tempdir()?;
            print(&peers::run(&setup(folder.path(), mandate, quick), &print_to_stderr)?);
        }
        Verb::Compare(arguments) => return compare(&arguments),
        Verb::Instructions(arguments) => return instructions(&arguments),
        Verb::Operation { name } => print(&instructions::operation(&name)?.to_string()),
    }
    Ok(Vec::new())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn load(port: u16, customers: u64, seconds: u64) -> io::Result<()> {
    process::pin(process::LOAD_CORE)?;
    let round = load::run(port, &evaluation_requests(customers), 16, Duration::from_secs(seconds))?;
    let (rate, p99) = (number(round.rate()), number(round.micros(0.99)));
    let (wrong, failed) = (round.wrong, round.failed);
    print(&format!("{rate} requests/s, p99 {p99} µs, {wrong} wrong, {failed} failed\n"));
    Ok(())
}

fn compare(arguments: &compare::Arguments) -> Result<Vec<String>, Error> {
    let comparison = compare::run(arguments, &print_progress)?;
    match arguments.format {
        compare::Format::Table => print(&comparison.table()),
        compare::Format::Json => print(&(serde_json::to_string_pretty(&comparison)? + "\n")),
    }
    Ok(comparison.failures(arguments.least))
}

fn instructions(arguments: &instructions::Arguments) -> Result<Vec<String>, Error> {
    let counts = instructions::run(arguments, &print_progress)?;
    print(&counts.table());
    for hint in counts.hints() {
        print_to_stderr(&hint);
    }
    Ok(counts.failures())
}

fn http(quick: bool, mandate: PathBuf, write: bool, only: &str) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let setup = setup(folder.path(), mandate, quick);
    let mut results = suite::run(&setup, only, &print_progress)?;
    results.describe_machine(&setup.mandate);
    print(&results.tables());
    if write {
        results.write(Path::new("docs/performance"), Path::new("docs/performance.md"))?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "standard output is for results")]
fn print(text: &str) {
    print!("{text}");
}

fn print_progress(part: &str) {
    print_to_stderr(&format!("… {part}"));
}

#[expect(clippy::print_stderr, reason = "standard error is for progress and errors")]
fn print_to_stderr(text: &str) {
    eprintln!("{text}");
}
