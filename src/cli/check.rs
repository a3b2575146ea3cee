//! `mandate check`: loads the content as `serve` does, and shows all errors and warnings. It runs the suites among
//! the guardrails, but proves no claim; see `prove.rs`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::format::{DiagnosticsJson, FormatArgument};
use super::report::{self, counted};
use crate::config::{ContentArguments, colour};
use crate::error::CommandResult;
use mandate_analysis::claims::Guardrails;
use mandate_analysis::guardrail_suite;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_pdp::Generation;
use mandate_sources::deny_all::{DENY_ALL_FILE, DenyAllFile};
use mandate_sources::loader::{ContentPaths, Loader};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    pub format: FormatArgument,
}

/// What was found, and what would be served.
#[derive(Serialize)]
struct CheckJson<'a> {
    #[serde(flatten)]
    diagnostics: DiagnosticsJson,
    revision: Option<&'a str>,
    policies: Option<usize>,
    entities: Option<usize>,
    /// Rules of `changes.toml`.
    changes: Option<usize>,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let content_paths = arguments.content.content_paths()?;
    let (diagnostics, generation) = match load(&content_paths) {
        Ok((generation, warnings)) => (warnings, Some(generation)),
        Err(diagnostics) => (diagnostics, None),
    };
    arguments.format.print_text(&as_text(&diagnostics, generation.as_ref()))?;
    arguments.format.print_data(&CheckJson::of(&diagnostics, generation.as_ref()), &diagnostics)?;
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
        DenyAllFile::Absent => return None,
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
        let changes = generation.changes().len();
        let changes = if changes == 0 { String::new() } else { format!(", {}", counted(changes, "change")) };
        let counts = format!("{}, {}{changes}", counted(policies, "policy"), counted(entities, "entity"));
        let _ = writeln!(text, "ok: {counts}, revision {}", generation.revision());
    }
    text
}

impl<'a> CheckJson<'a> {
    fn of(diagnostics: &Diagnostics, generation: Option<&'a Generation>) -> Self {
        Self {
            diagnostics: DiagnosticsJson::of(diagnostics),
            revision: generation.map(|generation| generation.revision().as_str()),
            policies: generation.map(|generation| generation.snapshot().policies().len()),
            changes: generation.map(|generation| generation.changes().len()),
            entities: generation.map(|generation| generation.snapshot().entities().len()),
        }
    }
}
