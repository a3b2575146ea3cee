//! The command line: parses the arguments and runs a command. Each command is a file of this module; their
//! options are in `config`. What the commands do is in the crates, which are wired together here.

#![allow(clippy::doc_markdown, reason = "doc comments of arguments are help texts, shown as they stand")]

mod change;
mod check;
mod consent;
mod decide;
mod decision_text;
mod diff;
mod entities;
mod explain;
mod fmt;
mod format;
mod guardrails;
mod lint;
mod proof_text;
mod prove;
mod question;
mod report;
mod route;
mod serve;
mod sidecar;
mod store_argument;
mod store_editor;
mod telemetry;
mod test;
mod would_change;
mod written_memberships;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{CliError, CommandResult};
use format::FormatArgument;
use mandate_sources::loader::LOADING_STACK_BYTES;

/// Authorization sidecar: decides requests with Cedar policies and entities that are kept up to date.
#[derive(Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve decisions over HTTP (AuthZEN, Envoy, forward auth), and reload policies and entities when they
    /// change
    Serve(Box<serve::Arguments>),
    /// Load policies and entities as `serve` does, and show all errors; exit 1 if there are any
    Check(check::Arguments),
    /// Decide one request, with reasons; exit 0 permit, 2 deny, 1 error
    Decide(decide::Arguments),
    /// Perform an action on the entities of a store, if the policies permit it; exit 0 committed, 2 deny, 1 error
    Change(change::Arguments),
    /// Ask for consent by link, review and end it, as either side; exit 0 done, 2 deny, 1 error
    Consent(Box<consent::Arguments>),
    /// Show the route that matches an HTTP request, and the resulting authorization request; exit 2 if none
    /// matches
    Route(route::Arguments),
    /// Run policy test suites; exit 1 if a case fails
    Test(test::Arguments),
    /// Prove the guardrails for all requests and all entities; exit 1 if one is not proven
    Prove(prove::Arguments),
    /// Compare two versions of the policies, for all requests and all entities, with an example of each
    /// difference; or two versions of the entities
    Diff(diff::Arguments),
    /// Find policies without effect, and unused types and actions; exit 1 if there are any
    Lint(lint::Arguments),
    /// Read and change the entities of a store: import, export, put, delete, get, log, verify, compact
    Entities(entities::Arguments),
    /// Format policy files (`*.cedar`, not schemas); exit 1 if one cannot be formatted
    Fmt(fmt::Arguments),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // If standard error is closed, the error cannot be reported.
            let _ = error.print();
            // `--help` exits with 0. For errors clap would exit with 2, which means a denial here.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let format = arguments.command.format();
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Change(arguments) => on_loading_stack(|| change::run(arguments)),
        Command::Consent(arguments) => on_loading_stack(|| consent::run(*arguments)),
        Command::Check(arguments) => on_loading_stack(|| check::run(arguments)),
        Command::Decide(arguments) => on_loading_stack(|| decide::run(arguments)),
        Command::Route(arguments) => on_loading_stack(|| route::run(arguments)),
        Command::Test(arguments) => on_loading_stack(|| test::run(arguments)),
        Command::Prove(arguments) => on_loading_stack(|| prove::run(arguments)),
        Command::Diff(arguments) => on_loading_stack(|| diff::run(arguments)),
        Command::Entities(arguments) => on_loading_stack(|| entities::run(arguments)),
        Command::Lint(arguments) => on_loading_stack(|| lint::run(arguments)),
        Command::Fmt(arguments) => on_loading_stack(|| fmt::run(arguments)),
    };
    outcome.unwrap_or_else(|failure| {
        report::print_error(&failure);
        if let Some(Err(unwritable)) = format.map(|format| format.print_failure(&failure)) {
            report::print_error(&unwritable);
        }
        ExitCode::from(1)
    })
}

impl Command {
    /// The format in which the command reports what it found, and a failure, too.
    fn format(&self) -> Option<FormatArgument> {
        match self {
            Self::Check(arguments) => Some(arguments.format),
            Self::Route(arguments) => arguments.format(),
            Self::Test(arguments) => Some(arguments.format()),
            Self::Prove(arguments) => arguments.format(),
            Self::Lint(arguments) => Some(arguments.format),
            Self::Fmt(arguments) => Some(arguments.format),
            Self::Serve(_)
            | Self::Change(_)
            | Self::Consent(_)
            | Self::Decide(_)
            | Self::Diff(_)
            | Self::Entities(_) => None,
        }
    }
}

/// Runs a command on a thread whose stack is large enough to load content.
fn on_loading_stack(command: impl FnOnce() -> CommandResult + Send) -> CommandResult {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(LOADING_STACK_BYTES).spawn_scoped(scope, command);
        let thread = thread.map_err(CliError::system("cannot start a thread"))?;
        // The panic itself was already printed to standard error.
        thread.join().unwrap_or_else(|_| {
            Err(CliError::message("internal error: the command panicked (a bug in mandate)"))
        })
    })
}
