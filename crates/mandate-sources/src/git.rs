//! Reads a folder as it was at a git revision, by the program `git`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// The files in a folder at a revision that `wanted` selects by their paths inside the folder.
///
/// # Errors
/// The folder is not in a repository, or git does not know the revision.
pub fn files_at_revision(
    folder: &Path,
    revision: &str,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<Arc<SourceText>>, Diagnostics> {
    // A leading dash would make it an option.
    if revision.starts_with('-') {
        return Err(Diagnostic::error(format!("`{revision}` is not a revision")).into());
    }
    // If git cannot read the repository, it says why here.
    git(folder, &["rev-parse", "--git-dir"])?;
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

fn git(folder: &Path, arguments: &[&str]) -> Result<String, Diagnostics> {
    let failed = |why: &str| {
        let command = format!("git -C {} {}", folder.display(), arguments.join(" "));
        Diagnostics::from(Diagnostic::error(format!("{command}: {why}")))
    };
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output();
    let output = output.map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("a file is not UTF-8"))
}
