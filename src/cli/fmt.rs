//! `mandate fmt`: rewrites policy files in Cedar's standard form, or shows how they differ from it. The
//! formatter itself is in mandate-analysis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use similar::TextDiff;

use super::report::{self, counted};
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_analysis::fmt::format_policies;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
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
}

pub fn run(arguments: Arguments) -> CommandResult {
    let policies = arguments.policies.folder()?;
    let paths = if arguments.paths.is_empty() { vec![policies] } else { arguments.paths };
    let files = files(&paths)?;
    let (mut text, mut diagnostics, mut differing) = (String::new(), Diagnostics::default(), 0);
    for path in &files {
        match one(path, arguments.check) {
            Ok(None) => {}
            Ok(Some(shown)) => {
                differing += 1;
                text += &shown;
            }
            Err(found) => diagnostics.extend(found),
        }
    }
    let what = if arguments.check { "not in standard form" } else { "formatted" };
    report::print(&format!("{text}{}: {differing} {what}\n", counted(files.len(), "policy file")))?;
    if diagnostics.has_errors() {
        report::print_error(&CliError::Diagnostics(diagnostics));
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::from(u8::from(arguments.check && differing > 0)))
}

/// Formats a file, or shows how it would change. `None` if it is formatted already.
fn one(path: &Path, check: bool) -> Result<Option<String>, Diagnostics> {
    let failed = |what: &str, error: &std::io::Error| {
        Diagnostics::from(Diagnostic::error(format!("cannot {what} `{}`: {error}", path.display())))
    };
    let before = fs::read_to_string(path).map_err(|error| failed("read", &error))?;
    let source = SourceText::new(path.to_string_lossy(), before);
    let after = format_policies(&source)?;
    if after == source.text {
        return Ok(None);
    }
    if check {
        let diff = TextDiff::from_lines(&source.text, &after);
        let header = (&*source.path, &*format!("{} formatted", source.path));
        return Ok(Some(diff.unified_diff().header(header.0, header.1).to_string()));
    }
    replace(path, &after).map_err(|error| failed("write", &error))?;
    Ok(Some(format!("formatted {}\n", path.display())))
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
