//! `mandate test --watch`: runs again whenever what was read changes.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::{RunArguments, run_once, sources};
use crate::cli::report;
use crate::error::{CliError, CommandResult};
use mandate_core::fault::SourceText;
use mandate_sources::folder::{ENTITY_EXTENSIONS, Folder, POLICY_EXTENSIONS};
use mandate_sources::loader::Locations;
use mandate_sources::watch::Watch;

/// How long no hint comes before a change counts as made.
const QUIET_PERIOD: Duration = Duration::from_millis(50);
/// How often to look without a hint: a path may lead elsewhere by now, or have no events.
const POLL: Duration = Duration::from_secs(1);
/// Clears a terminal, and starts at its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Runs, and runs again after each change, until the process is interrupted.
pub fn run_on_changes(arguments: &RunArguments, locations: &Locations) -> CommandResult {
    let (hint, hints) = channel();
    let mut roots = vec![locations.policies.clone(), locations.entities.clone()];
    let inside = |suites: &&PathBuf| suites.starts_with(&locations.policies);
    roots.extend(arguments.suites.iter().filter(|suites| !inside(suites)).cloned());
    let watch = Watch::new(&roots, move || {
        // Nobody listens only when the process ends.
        let _ = hint.send(());
    });
    let mut watch = watch.map_err(|error| CliError::with_cause("cannot watch for changes", &error))?;
    loop {
        let seen = content(arguments, locations);
        if std::io::stdout().is_terminal() {
            report::print(CLEAR)?;
        }
        if let Err(failure) = run_once(arguments, locations) {
            report::print_error(&failure);
        }
        report::print("watching for changes\n")?;
        loop {
            wait(&hints, &mut watch);
            if content(arguments, locations) != seen {
                break;
            }
        }
    }
}

/// Waits until something may have changed, and until it is at rest.
fn wait(hints: &Receiver<()>, watch: &mut Watch) {
    while hints.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        if watch.refresh() || !watch.is_complete() {
            return;
        }
    }
    while hints.recv_timeout(QUIET_PERIOD).is_ok() || watch.is_unfinished() {}
}

/// Everything that a run reads, or why it cannot be read: a hint may be about anything.
fn content(arguments: &RunArguments, locations: &Locations) -> Vec<Result<Vec<Arc<SourceText>>, String>> {
    let read = |root: &PathBuf, extensions| {
        let read = Folder::new(root, extensions, &[]).read(|_, _| true);
        read.map(|(_, texts)| texts).map_err(|faults| faults.to_string())
    };
    vec![
        read(&locations.policies, POLICY_EXTENSIONS),
        read(&locations.entities, ENTITY_EXTENSIONS),
        sources(&arguments.suites).map_err(|failure| failure.to_string()),
    ]
}
