//! `mandate check`: loads the content as `serve` does, and shows all errors and warnings. It runs the suites among
//! the guardrails, but proves no claim; see `prove.rs`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::report::{self, counted};
use crate::config::{ContentArguments, colour, on_github};
use crate::error::{CliError, CommandResult};
use mandate_analysis::claims::Guardrails;
use mandate_analysis::guardrail_suite;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, Severity};
use mandate_pdp::{Generation, Report};
use mandate_sources::deny_all::{DENY_ALL_FILE, DenyAllFile};
use mandate_sources::loader::{ContentPaths, Loader};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    content: ContentArguments,
    /// Output format [default: text; also annotations if GITHUB_ACTIONS is `true`]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: with excerpts, in colour on a terminal
    Text,
    /// One JSON object
    Json,
    /// GitHub annotations
    Github,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let content_paths = arguments.content.content_paths()?;
    let (diagnostics, generation) = match load(&content_paths) {
        Ok((generation, warnings)) => (warnings, Some(generation)),
        Err(diagnostics) => (diagnostics, None),
    };
    let text = match arguments.format {
        Some(Format::Json) => as_json(&diagnostics, generation.as_ref())?,
        Some(Format::Github) => report::render_github(&diagnostics),
        None if on_github() => {
            as_text(&diagnostics, generation.as_ref()) + &report::render_github(&diagnostics)
        }
        Some(Format::Text) | None => as_text(&diagnostics, generation.as_ref()),
    };
    report::print(&text)?;
    Ok(ExitCode::from(u8::from(generation.is_none())))
}

/// Loads the content, parses the claims and runs the suites among the guardrails.
fn load(content_paths: &ContentPaths) -> Result<(Generation, Diagnostics), Diagnostics> {
    let mut loader = Loader::new(content_paths);
    let mut loaded = loader.load()?;
    let mut warnings = std::mem::take(&mut loaded.warnings);
    if let Some(warning) = deny_all_warning(&content_paths.policies) {
        warnings.push(warning);
    }
    let policies = loaded.snapshot.policies();
    let claims = Guardrails::parse(loader.guardrails(), policies.schema());
    let suites = guardrail_suite::run(loader.guardrails(), policies, &loaded.routes);
    match (claims, suites) {
        (Ok(guardrails), Ok(_)) => {
            warnings.extend(guardrails.warnings().clone());
            Ok((loaded.into(), warnings))
        }
        (claims, suites) => {
            warnings.extend(claims.err().unwrap_or_default());
            warnings.extend(suites.err().unwrap_or_default());
            Err(warnings)
        }
    }
}

/// A warning while every request is denied by the operator's file.
fn deny_all_warning(policies: &Path) -> Option<Diagnostic> {
    let path = policies.join(DENY_ALL_FILE);
    let problem = match DenyAllFile::find(policies) {
        DenyAllFile::Absent | DenyAllFile::NoFolder => return None,
        DenyAllFile::Present(_) => String::new(),
        DenyAllFile::Unreadable(error) => format!(", and cannot be read: {error}"),
    };
    let message = format!("`{}` is there{problem}: every request is denied", path.display());
    Some(Diagnostic::warning(message).help("remove the file to let the policies decide again"))
}

fn as_text(diagnostics: &Diagnostics, generation: Option<&Generation>) -> String {
    let mut text = String::new();
    if !diagnostics.is_empty() {
        text += &report::render_text(diagnostics, colour(&std::io::stdout()));
    }
    if let Some(generation) = generation {
        let snapshot = generation.snapshot();
        let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
        let counts = format!("{}, {}", counted(policies, "policy"), counted(entities, "entity"));
        let _ = writeln!(text, "ok: {counts}, revision {}", generation.revision());
    }
    text
}

fn as_json(diagnostics: &Diagnostics, generation: Option<&Generation>) -> Result<String, CliError> {
    let of = |severity| -> Vec<Report> {
        diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).map(Report::from).collect()
    };
    let body = json!({
        "ok": generation.is_some(),
        "revision": generation.map(|generation| generation.revision().as_str()),
        "policies": generation.map(|generation| generation.snapshot().policies().len()),
        "entities": generation.map(|generation| generation.snapshot().entities().len()),
        "error_count": diagnostics.error_count(),
        "errors": of(Severity::Error),
        "warnings": of(Severity::Warning),
    });
    Ok(serde_json::to_string_pretty(&body)? + "\n")
}
