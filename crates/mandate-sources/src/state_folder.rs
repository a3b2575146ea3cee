//! The folder `mandate` in the folder of `--state`. What is kept there decides what a restart serves, so it belongs to
//! this process alone. The folder around it may be open to every user, as a new volume of Kubernetes is.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;

use mandate_core::diagnostics::Diagnostic;

/// The name of the folder.
const NAME: &str = "mandate";

/// Bits of a folder's mode. In a sticky folder, only the owner of a file can rename or remove it.
const WRITABLE_BY_EVERY_USER: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// The folder. Clones are the same folder.
#[derive(Clone)]
pub struct StateFolder {
    root: PathBuf,
    /// Only one process may use the folder.
    _lock: Arc<File>,
}

impl StateFolder {
    /// Opens the folder inside `around`; both are made if they are not there.
    ///
    /// # Errors
    /// The folder cannot be used, somebody else can change it, or another process uses it.
    pub fn open(around: &Path) -> Result<Self, Diagnostic> {
        let root = around.join(NAME);
        let lock = Self::lock(around, &root).map_err(|error| cannot_keep(&root, &error))?;
        Ok(Self { root, _lock: Arc::new(lock) })
    }

    fn lock(around: &Path, root: &Path) -> io::Result<File> {
        private_folder().recursive(true).create(around)?;
        make_private(root)?;
        let mode = fs::metadata(around)?.mode();
        if mode & WRITABLE_BY_EVERY_USER != 0 && mode & STICKY == 0 {
            let (around, root) = (around.display(), root.display());
            tracing::warn!(
                "every user can write to `{around}`, so every user can remove `{root}`, or put an earlier one in its place; `chmod o-w {around}` or `chmod +t {around}` prevents that"
            );
        }
        let lock = private_file().create(true).open(root.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process uses it"),
            TryLockError::Error(error) => error,
        })?;
        Ok(lock)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// A folder in it for one kind of content, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be used, or somebody else can change it.
    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf, Diagnostic> {
        let folder = self.root.join(name);
        make_private(&folder).map_err(|error| cannot_keep(&folder, &error))?;
        Ok(folder)
    }
}

fn cannot_keep(folder: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(format!("cannot keep copies in `{}`: {error}", folder.display()))
        .help("name a folder in `state` that this process can write to, and that nobody else uses")
}

/// Makes a folder that only this user can use. One that is there already must be such a folder, too.
fn make_private(folder: &Path) -> io::Result<()> {
    match private_folder().create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => check_private(folder, geteuid().as_raw()),
    }
}

/// Refuses a folder that somebody else made or can change: whoever can do so decides what is permitted after a restart.
fn check_private(folder: &Path, user: u32) -> io::Result<()> {
    let (found, shown) = (fs::symlink_metadata(folder)?, folder.display());
    let problem = if !found.is_dir() {
        "it is a link or a file, and not the folder that Mandate makes; remove it".to_owned()
    } else if found.uid() != user {
        format!(
            "it belongs to another user ({}), so it may hold anything; remove it, or run `chown -R {user} {shown}` if you trust it",
            found.uid()
        )
    } else if found.mode() & WRITABLE_BY_EVERY_USER != 0 {
        format!("every user can write to it; run `chmod o-w {shown}`")
    } else {
        return Ok(());
    };
    Err(io::Error::other(problem))
}

/// Entities may be confidential.
pub(crate) fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

pub(crate) fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(folder: &Path, mode: u32) {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn open(around: &Path) -> Result<(), String> {
        StateFolder::open(around).map(|_| ()).map_err(|error| error.message)
    }

    #[test]
    fn the_folder_is_private_in_a_volume_that_is_open_to_all() {
        let around = tempfile::tempdir().unwrap();
        set_mode(around.path(), 0o777);
        let state = StateFolder::open(around.path()).unwrap();
        assert_eq!(fs::metadata(&state.root).unwrap().mode() & 0o777, 0o700);
        assert!(open(around.path()).unwrap_err().ends_with("mandate`: another process uses it"));
        drop(state);
        assert_eq!(open(around.path()), Ok(()));
    }

    #[test]
    fn a_folder_that_every_user_can_write_to_is_refused() {
        let around = tempfile::tempdir().unwrap();
        let state = StateFolder::open(around.path()).unwrap();
        let (root, policies) = (state.root.clone(), state.subfolder("policies").unwrap());
        for folder in [&policies, &root] {
            set_mode(folder, 0o777);
        }
        let expected = |folder: &Path| {
            let folder = folder.display();
            format!("cannot keep copies in `{folder}`: every user can write to it; run `chmod o-w {folder}`")
        };
        assert_eq!(state.subfolder("policies").unwrap_err().message, expected(&policies));
        drop(state);
        assert_eq!(open(around.path()), Err(expected(&root)));
        // Kubernetes makes volumes writable for the group of a pod.
        set_mode(&root, 0o2775);
        assert_eq!(open(around.path()), Ok(()));
    }

    #[test]
    fn what_somebody_else_put_there_is_refused() {
        let (around, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = around.path().join(NAME);
        symlink(elsewhere.path(), &root).unwrap();
        let error = open(around.path()).unwrap_err();
        assert!(error.contains("it is a link or a file"), "{error}");

        let owner = fs::metadata(elsewhere.path()).unwrap().uid();
        assert!(check_private(elsewhere.path(), owner).is_ok());
        let error = check_private(elsewhere.path(), owner + 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("it belongs to another user ({owner})")), "{error}");
    }
}
