//! `mandate test`: the command, once or on every change. One run of the suites is in `run.rs`.

mod coverage;
mod json;
mod junit;
mod lcov;
mod mutate;
mod run;
mod watch;

use clap::Args;

use super::format::FormatArgument;
use crate::config::ContentArguments;
use crate::error::CommandResult;
use run::{RunArguments, run_once};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    run: RunArguments,
    /// Run again whenever policies, entities or suites change, until interrupted
    #[arg(long, conflicts_with = "format")]
    watch: bool,
}

impl Arguments {
    pub fn format(&self) -> FormatArgument {
        self.run.format
    }
}

pub fn run(arguments: Arguments) -> CommandResult {
    let Arguments { content, mut run, watch } = arguments;
    run.solver = content.solver(run.solver)?;
    let content_paths = content.content_paths()?;
    if run.suites.is_empty() {
        run.suites.push(content_paths.policies.join("tests"));
    }
    if watch { watch::run_on_changes(&run, &content_paths) } else { run_once(&run, &content_paths) }
}
