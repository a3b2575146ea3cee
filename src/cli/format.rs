//! The option `--format` of the commands that report what they found: text for people, one JSON document for
//! programs, annotations for GitHub.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::report;
use crate::config::on_github;
use crate::error::CliError;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, Severity};
use mandate_pdp::Report;

#[derive(Args, Debug, Clone, Copy)]
pub struct FormatArgument {
    /// Output format [default: text; also annotations if GITHUB_ACTIONS is `true`]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: with excerpts, in colour on a terminal
    Text,
    /// One JSON document
    Json,
    /// GitHub annotations
    Github,
}

impl FormatArgument {
    pub const JSON: Self = Self { format: Some(Format::Json) };

    /// Prints text, if people read the output.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print_text(self, text: &str) -> Result<(), CliError> {
        match self.format {
            Some(Format::Text) | None => report::print(text),
            Some(Format::Json | Format::Github) => Ok(()),
        }
    }

    /// Prints what the text says for programs, if they read the output: as JSON or as annotations.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print_data(self, json: &impl Serialize, diagnostics: &Diagnostics) -> Result<(), CliError> {
        match self.format {
            Some(Format::Json) => report::print_json(json),
            Some(Format::Github) => report::print(&report::render_github(diagnostics)),
            None if on_github() => report::print(&report::render_github(diagnostics)),
            Some(Format::Text) | None => Ok(()),
        }
    }

    /// Prints for programs why a command failed. People read it on standard error.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print_failure(self, failure: &CliError) -> Result<(), CliError> {
        let diagnostics = match failure {
            CliError::Diagnostics(diagnostics) => diagnostics.clone(),
            CliError::File { .. }
            | CliError::System { .. }
            | CliError::SolverNotFound(_)
            | CliError::Solver(_)
            | CliError::Json(_)
            | CliError::Denied(_)
            | CliError::Message(_) => Diagnostic::error(failure.to_string()).into(),
        };
        self.print_data(&DiagnosticsJson::of(&diagnostics), &diagnostics)
    }
}

/// Diagnostics as JSON.
#[derive(Serialize)]
pub struct DiagnosticsJson {
    ok: bool,
    error_count: usize,
    errors: Vec<Report>,
    warnings: Vec<Report>,
}

impl DiagnosticsJson {
    pub fn of(diagnostics: &Diagnostics) -> Self {
        let of = |severity| {
            let of_severity = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity);
            of_severity.map(Report::from).collect()
        };
        Self {
            ok: !diagnostics.has_errors(),
            error_count: diagnostics.error_count(),
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
        }
    }
}
