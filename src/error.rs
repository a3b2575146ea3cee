//! How a command ends: with an exit code, or with an error for the user. `cli::report` shows the error.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mandate_analysis::error::SolverError;
use mandate_core::diagnostics::Diagnostics;

/// How a command ends.
pub type CommandResult = Result<ExitCode, CliError>;

/// Why a command could not do its work. Ends in exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Content or configuration that cannot be used; shown with excerpts.
    #[error("{0}")]
    Diagnostics(Diagnostics),
    #[error("cannot {action} `{path}`: {error}")]
    File { action: &'static str, path: String, error: io::Error },
    /// A call to the operating system failed.
    #[error("{action}: {error}")]
    System { action: &'static str, error: io::Error },
    #[error(
        "there is no solver `{}`: install cvc5 (on Debian: apt-get install cvc5), or name it with --solver or CVC5",
        .0.display()
    )]
    SolverNotFound(PathBuf),
    #[error(transparent)]
    Solver(#[from] SolverError),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The policies do not permit what was asked for. Ends in exit code 2 where it is shown as an answer.
    #[error("denied: {0}")]
    Denied(String),
    /// Wrong arguments, or content that does not allow what was asked.
    #[error("{0}")]
    Message(String),
}

impl CliError {
    pub fn denial(reason: impl Display) -> Self {
        Self::Denied(reason.to_string())
    }

    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_))
    }

    pub fn message(text: impl Display) -> Self {
        Self::Message(text.to_string())
    }

    /// All of these, one per line.
    pub fn all(errors: &[impl Display]) -> Self {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Self::Message(lines.join("\nerror: "))
    }

    /// `action` is what could not be done with the file, such as `read`.
    pub fn file(action: &'static str, path: &Path, error: io::Error) -> Self {
        Self::File { action, path: path.display().to_string(), error }
    }

    /// `action` begins with `cannot`.
    pub fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { action, error }
    }
}
