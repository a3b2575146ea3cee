//! `mandate-bench`: worlds to measure in, the limit, and the comparison over HTTP.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mandate_bench::load::{self, Shot};
use mandate_bench::world::{World, mix};
use mandate_bench::{limit, process};

#[derive(Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the entities of a world.
    World { folder: PathBuf, #[arg(long, default_value_t = 1_000)] customers: u64 },
    /// Serve the limit.
    Limit { #[arg(long)] listen: String },
    /// Load a server that is running.
    Load {
        port: u16,
        #[arg(long, default_value_t = 1_000)] customers: u64,
        #[arg(long, default_value_t = 2_000)] questions: u64,
        #[arg(long, default_value_t = 16)] connections: usize,
        #[arg(long, default_value_t = 3)] seconds: u64,
        #[arg(long)] core: Option<usize>,
        #[arg(long)] any: bool,
    },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Args::parse().verb {
        Verb::World { folder, customers } => World { customers }.write(&folder)?,
        Verb::Limit { listen } => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(limit::serve(&listen))?;
        }
        Verb::Load { port, customers, questions, connections, seconds, core, any } => {
            if let Some(core) = core { process::pin(core)?; }
            let mut shots: Vec<Shot> = World { customers }.questions(questions, mix).iter().map(Shot::evaluation).collect();
            if any { shots.iter_mut().for_each(|shot| shot.expected = b""); }
            let shots: Rc<[Shot]> = shots.into();
            load::run(port, &shots, connections, Duration::from_millis(300))?;
            let cpu = process::own_cpu();
            let round = load::run(port, &shots, connections, Duration::from_secs(seconds))?;
            let cpu = process::own_cpu() - cpu;
            #[expect(clippy::print_stdout)]
            {
                println!("{:.0}/s p50 {:.0} p99 {:.0} wrong {} failed {} own cpu {:.2}", round.rate(), round.micros(0.5), round.micros(0.99), round.wrong, round.failed, cpu.as_secs_f64() / round.elapsed.as_secs_f64());
            }
        }
    }
    Ok(())
}
