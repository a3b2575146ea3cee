//! How a verb ends: with an exit code, or with a sentence for the user.

use std::process::ExitCode;

use mandate_core::diagnostics::Diagnostics;

/// What a verb ends with: an exit code, or a sentence for the user.
pub type CommandResult = Result<ExitCode, CliError>;

/// Why a verb could not do its work. Ends in exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Content that cannot be used; shown with its places.
    #[error("{0}")]
    Diagnostics(Diagnostics),
    #[error("{0}")]
    Message(String),
}

impl CliError {
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// Everything that is wrong, a line each.
    pub fn from_messages(wrong: &[String]) -> Self {
        Self::Message(wrong.join("\nerror: "))
    }

    /// What could not be done, and the system's word on why.
    pub fn with_cause(what: impl std::fmt::Display, error: &dyn std::fmt::Display) -> Self {
        Self::Message(format!("{what}: {error}"))
    }
}
