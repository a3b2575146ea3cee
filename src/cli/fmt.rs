//! `mandate fmt`: rewrites policy files in Cedar's standard form, or shows how they differ from it. The
//! formatter itself is in mandate-analysis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use similar::TextDiff;

use super::format::{DiagnosticsJson, FormatArgument};
use super::report::{self, counted};
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_analysis::fmt::format_policies;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_sources::folder::Folder;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    policies: PolicyArguments,
    /// Policy files, or folders of policy files [default: the policy folder, with its guardrails]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Show what would change, without changing it; exit 1 if a file is not formatted
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    pub format: FormatArgument,
}

/// A file that was not in standard form.
struct Change {
    source: Arc<SourceText>,
    after: String,
}

#[derive(Serialize)]
struct FmtJson<'a> {
    #[serde(flatten)]
    diagnostics: DiagnosticsJson,
    /// How many files were read.
    files: usize,
    /// Whether the changes were written.
    written: bool,
    changes: Vec<ChangeJson<'a>>,
}

#[derive(Serialize)]
struct ChangeJson<'a> {
    file: &'a str,
    diff: String,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let (check, format) = (arguments.check, arguments.format);
    let policies = arguments.policies.folder()?;
    let paths = if arguments.paths.is_empty() { vec![policies] } else { arguments.paths };
    let files = files(&paths)?;
    let (mut changes, mut refused) = (Vec::new(), Diagnostics::default());
    for path in &files {
        match one(path, check) {
            Ok(change) => changes.extend(change),
            Err(found) => refused.extend(found),
        }
    }
    format.print_text(&as_text(&changes, files.len(), check))?;
    let mut diagnostics = refused.clone();
    for change in changes.iter().filter(|_| check) {
        diagnostics.push(change.diagnostic());
    }
    let json = FmtJson {
        diagnostics: DiagnosticsJson::of(&diagnostics),
        files: files.len(),
        written: !check,
        changes: changes.iter().map(Change::as_json).collect(),
    };
    format.print_data(&json, &diagnostics)?;
    if refused.has_errors() {
        report::print_error(&CliError::Diagnostics(refused));
    }
    Ok(ExitCode::from(u8::from(diagnostics.has_errors())))
}

fn as_text(changes: &[Change], files: usize, check: bool) -> String {
    let shown = |change: &Change| {
        if check { change.diff() } else { format!("formatted {}\n", change.source.path) }
    };
    let text: String = changes.iter().map(shown).collect();
    let what = if check { "not in standard form" } else { "formatted" };
    text + &format!("{}: {} {what}\n", counted(files, "policy file"), changes.len())
}

/// Formats a file; with `check`, nothing is written. `None` if it is formatted already.
fn one(path: &Path, check: bool) -> Result<Option<Change>, Diagnostics> {
    let failed = |what: &str, error: &std::io::Error| {
        Diagnostics::from(Diagnostic::error(format!("cannot {what} `{}`: {error}", path.display())))
    };
    let before = fs::read_to_string(path).map_err(|error| failed("read", &error))?;
    let source = SourceText::new(path.to_string_lossy(), before);
    let after = format_policies(&source)?;
    if after == source.text {
        return Ok(None);
    }
    if !check {
        replace(path, &after).map_err(|error| failed("write", &error))?;
    }
    Ok(Some(Change { source, after }))
}

impl Change {
    fn diff(&self) -> String {
        let path = &self.source.path;
        let diff = TextDiff::from_lines(&self.source.text, &self.after);
        diff.unified_diff().header(path, &format!("{path} formatted")).to_string()
    }

    fn as_json(&self) -> ChangeJson<'_> {
        ChangeJson { file: &self.source.path, diff: self.diff() }
    }

    /// An error at the first line that differs.
    fn diagnostic(&self) -> Diagnostic {
        let lines = self.source.text.split_inclusive('\n').zip(self.after.split_inclusive('\n'));
        let offset = lines.take_while(|(before, after)| before == after).map(|(line, _)| line.len()).sum();
        let span = SourceSpan::new(&self.source, offset, 0);
        Diagnostic::error("not in standard form").help("run `mandate fmt`").at(span)
    }
}

/// Replaces a file by renaming another over it, so that it is never half written. If the path is a link, the
/// file that it points to is replaced.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Files whose names begin with a dot are never loaded as policies.
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // Report the first error, not that of the clean-up.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let listing = Folder::new(path, &["cedar"], &[]).list().map_err(CliError::Diagnostics)?;
            files.extend(listing.files.into_keys().map(|name| path.join(name)));
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}
