//! The command line: one file a verb. The only place that reads arguments and the environment, and
//! the only one that wires the floors together.

#![allow(clippy::doc_markdown, reason = "doc comments of arguments are help texts, shown as they stand")]

mod check;
mod decide;
mod diff;
mod explain;
mod fmt;
mod gate;
mod lint;
mod proof_text;
mod prove;
mod report;
mod route;
mod serve;
mod telemetry;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{CliError, CommandResult};
use mandate_sources::loader::LOADING_STACK_BYTES;

/// Decides who may: an authorization sidecar on Cedar policies and live entities.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer questions over HTTP (AuthZEN), and follow every change of policies and entities
    Serve(Box<serve::Arguments>),
    /// Load policies and entities as `serve` would, and show everything that is wrong
    Check(check::Arguments),
    /// Answer one question, with reasons; exit 0 permit, 2 deny, 1 error
    Decide(decide::Arguments),
    /// Show which route takes an HTTP request, and the question that comes out; exit 2 if none
    Route(route::Arguments),
    /// Run policy test suites; exit 1 if a case fails
    Test(test::Arguments),
    /// Prove the guardrails for all requests and entities; exit 1 if one is not proven
    Prove(prove::Arguments),
    /// Show what an edit of policies changes, for all requests and entities, with examples
    Diff(diff::Arguments),
    /// Find policies that do nothing, types and actions that nothing uses; exit 1 if there are any
    Lint(lint::Arguments),
    /// Format policy files (`*.cedar`; Cedar has no form for schemas); exit 1 if one cannot be
    Fmt(fmt::Arguments),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // There is nowhere left to complain.
            let _ = error.print();
            // Help is no failure; and 2, which clap would give, is what a denial exits with.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Check(arguments) => on_loading_stack(|| check::run(arguments)),
        Command::Decide(arguments) => on_loading_stack(|| decide::run(arguments)),
        Command::Route(arguments) => on_loading_stack(|| route::run(arguments)),
        Command::Test(arguments) => on_loading_stack(|| test::run(arguments)),
        Command::Prove(arguments) => on_loading_stack(|| prove::run(arguments)),
        Command::Diff(arguments) => on_loading_stack(|| diff::run(arguments)),
        Command::Lint(arguments) => on_loading_stack(|| lint::run(arguments)),
        Command::Fmt(arguments) => on_loading_stack(|| fmt::run(arguments)),
    };
    outcome.unwrap_or_else(|failure| {
        report::print_error(&failure);
        ExitCode::from(1)
    })
}

/// Runs a verb that loads content, on a thread with room for it.
fn on_loading_stack(command: impl FnOnce() -> CommandResult + Send) -> CommandResult {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(LOADING_STACK_BYTES).spawn_scoped(scope, command);
        let thread = thread.map_err(CliError::system("cannot start a thread"))?;
        // A panic was reported where it happened.
        thread.join().unwrap_or_else(|_| {
            Err(CliError::message("internal error: the command panicked (a bug in mandate)"))
        })
    })
}
