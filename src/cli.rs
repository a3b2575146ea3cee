//! The command line: one file a verb. The only place that reads arguments and the environment, and
//! the only one that wires the floors together.

#![allow(clippy::doc_markdown, reason = "doc comments of arguments are help texts, shown as they stand")]

mod check;
mod config;
mod decide;
mod report;
mod serve;
mod telemetry;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Serve(serve::Arguments),
    /// Load policies and entities as `serve` would, and show everything that is wrong
    Check(check::Arguments),
    /// Answer one question, with reasons; exit 0 permit, 2 deny, 1 error
    Decide(decide::Arguments),
    /// Run policy test suites; exit 1 if a case fails
    Test(test::Arguments),
}

/// What a verb ends with: an exit code, or a sentence for the user.
type Outcome = Result<ExitCode, Failure>;

/// Why a verb could not do its work. Ends in exit code 1.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Content that cannot be used; shown with its places.
    #[error("{0}")]
    Faults(crate::authz::fault::Faults),
    #[error("{0}")]
    Message(String),
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }
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
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Decide(arguments) => decide::run(arguments),
        Verb::Test(arguments) => test::run(arguments),
    };
    outcome.unwrap_or_else(|failure| {
        report::failure(&failure);
        ExitCode::from(1)
    })
}
