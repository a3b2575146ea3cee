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
mod proofs;
mod prove;
mod report;
mod route;
mod serve;
mod telemetry;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{Failure, Outcome};
use mandate_sources::loader::LOADING_STACK;

/// Decides who may: an authorization sidecar on Cedar policies and live entities.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
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
    let outcome = match arguments.verb {
        Verb::Serve(arguments) => serve::run(*arguments),
        Verb::Check(arguments) => with_room(|| check::run(arguments)),
        Verb::Decide(arguments) => with_room(|| decide::run(arguments)),
        Verb::Route(arguments) => with_room(|| route::run(arguments)),
        Verb::Test(arguments) => with_room(|| test::run(arguments)),
        Verb::Prove(arguments) => with_room(|| prove::run(arguments)),
        Verb::Diff(arguments) => with_room(|| diff::run(arguments)),
        Verb::Lint(arguments) => with_room(|| lint::run(arguments)),
        Verb::Fmt(arguments) => with_room(|| fmt::run(arguments)),
    };
    outcome.unwrap_or_else(|failure| {
        report::failure(&failure);
        ExitCode::from(1)
    })
}

/// Runs a verb that loads content, on a thread with room for it.
fn with_room(verb: impl FnOnce() -> Outcome + Send) -> Outcome {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(LOADING_STACK).spawn_scoped(scope, verb);
        let thread = thread.map_err(|error| Failure::message(format!("cannot start a thread: {error}")))?;
        // A panic was reported where it happened.
        thread.join().unwrap_or_else(|_| Err(Failure::message("ended by a defect of this program")))
    })
}
