//! Reads a folder as it was at a git revision, by the program `git`.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// The files in a folder at a revision that `wanted` selects by their paths inside the folder. `how_to_name` is the
/// help if there is no such folder.
///
/// # Errors
/// The folder is not in a repository, or git does not know the revision.
pub fn files_at_revision(
    folder: &Path,
    revision: &str,
    how_to_name: &str,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<Arc<SourceText>>, Diagnostics> {
    // A leading dash would make it an option.
    if revision.starts_with('-') {
        return Err(Diagnostic::error(format!("`{revision}` is not a revision")).into());
    }
    if !folder.is_dir() {
        let error = Diagnostic::error(format!("there is no folder `{}`", folder.display()));
        return Err(error.help(how_to_name).into());
    }
    // If git cannot read the repository, it says why here.
    git(folder, &["rev-parse", "--git-dir"]).map_err(|found| Diagnostic {
        message: format!("`{revision}` is not a folder, and cannot be read as a revision: {}", found.message),
        ..found
    })?;
    let commit = format!("{revision}^{{commit}}");
    let commit = git(folder, &["rev-parse", "--verify", "--quiet", &commit]).map_err(|_| {
        Diagnostic::error(format!("`{revision}` is neither a folder nor a revision that git knows"))
            .help(format!("searched in `{}`; a shallow clone may have to fetch it", folder.display()))
    })?;
    let commit = commit.trim();
    let names = git(folder, &["ls-tree", "-r", "-z", "--name-only", commit, "--", "."])?;
    let names = names.split('\0').filter(|name| !name.is_empty() && wanted(Path::new(name)));
    let files = names.map(|name| {
        let text = git(folder, &["show", &format!("{commit}:./{name}")])?;
        let path = format!("{revision}:{}", folder.join(name).display());
        Ok(Arc::new(SourceText { path, name: name.to_owned(), text }))
    });
    files.collect()
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, Diagnostic> {
    let output = Command::new("git").env("LC_ALL", "C").arg("-C").arg(folder).args(arguments).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Diagnostic::error("git is not installed, so no revision can be read")
            .help("install git, or compare two folders: `mandate diff OLD NEW`"),
        _ => Diagnostic::error(format!("git cannot be started: {error}")),
    })?;
    if !output.status.success() {
        return Err(unreadable(folder, String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8(output.stdout);
    text.map_err(|_| Diagnostic::error(format!("a file in `{}` is not valid UTF-8", folder.display())))
}

/// Why git cannot read the repository of a folder, by what it printed in English.
fn unreadable(folder: &Path, printed: &str) -> Diagnostic {
    let folder = folder.display();
    if printed.contains("not a git repository") {
        return Diagnostic::error(format!("`{folder}` is not in a git repository, so it has no revisions"))
            .help("run this in a clone that has its `.git`, or compare two folders: `mandate diff OLD NEW`");
    }
    if printed.contains("dubious ownership") {
        let message =
            format!("git does not read the repository of `{folder}`, because it belongs to another user");
        let help = "if you trust it, name its folder: `git config --global --add safe.directory FOLDER`";
        return Diagnostic::error(message).help(help);
    }
    let why = printed.lines().next().unwrap_or_default().trim_start_matches("fatal: ");
    Diagnostic::error(format!("git cannot read `{folder}`: {why}"))
}
