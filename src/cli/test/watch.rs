//! `mandate test --watch`: runs the suites again whenever the files that a run reads change. `run.rs` has one
//! run.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::run::{RunArguments, run_once, sources};
use crate::cli::report;
use crate::error::{CliError, CommandResult};
use mandate_core::diagnostics::SourceText;
use mandate_sources::folder::{ENTITY_EXTENSIONS, Folder, POLICY_EXTENSIONS};
use mandate_sources::loader::ContentPaths;
use mandate_sources::watch::FolderWatcher;

/// A change counts as finished when no file event came for this long.
const QUIET_PERIOD: Duration = Duration::from_millis(50);
/// How often to check without a file event: a path may have been replaced, or its file system may send no
/// events.
const POLL: Duration = Duration::from_secs(1);
/// Clears the terminal and moves the cursor to its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Runs, and runs again after each change, until the process is interrupted.
pub fn run_on_changes(arguments: &RunArguments, content_paths: &ContentPaths) -> CommandResult {
    let (event, events) = channel();
    let mut roots = vec![content_paths.policies.clone(), content_paths.entities.clone()];
    let inside = |suites: &&PathBuf| suites.starts_with(&content_paths.policies);
    roots.extend(arguments.suites.iter().filter(|suites| !inside(suites)).cloned());
    let watch = FolderWatcher::new(&roots, move || {
        // The receiver is dropped only when the process ends.
        let _ = event.send(());
    });
    let mut watch =
        watch.map_err(|error| CliError::message(format_args!("cannot watch for changes: {error}")))?;
    loop {
        let seen = content(arguments, content_paths);
        if std::io::stdout().is_terminal() {
            report::print(CLEAR)?;
        }
        if let Err(failure) = run_once(arguments, content_paths) {
            report::print_error(&failure);
        }
        report::print("watching for changes\n")?;
        loop {
            wait(&events, &mut watch);
            if content(arguments, content_paths) != seen {
                break;
            }
        }
    }
}

/// Waits until something may have changed, and then until no more changes come.
fn wait(events: &Receiver<()>, watch: &mut FolderWatcher) {
    while events.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        if watch.rewatch() || watch.why_not_watched().is_some() {
            return;
        }
    }
    while events.recv_timeout(QUIET_PERIOD).is_ok() || watch.has_unfinished_writes() {}
}

/// The text of everything that a run reads, or the errors. File events may come without a change, so it is
/// compared.
fn content(
    arguments: &RunArguments,
    content_paths: &ContentPaths,
) -> Vec<Result<Vec<Arc<SourceText>>, String>> {
    let read = |root: &PathBuf, extensions| {
        let read = Folder::new(root, extensions, &[]).read(|_, _| true);
        read.map(|(_, texts)| texts).map_err(|diagnostics| diagnostics.to_string())
    };
    vec![
        read(&content_paths.policies, POLICY_EXTENSIONS),
        read(&content_paths.entities, ENTITY_EXTENSIONS),
        sources(&arguments.suites).map_err(|failure| failure.to_string()),
    ]
}
