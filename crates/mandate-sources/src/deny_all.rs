//! The operator's file `deny-all` in a policy folder: while it is there, every request is denied. The thread that
//! looks for it is in `mandate_pdp::deny_all`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::policy_files::has_schema;
use mandate_core::json::escape_and_truncate;

/// The name of the file. Its text is the reason that callers get.
pub const DENY_ALL_FILE: &str = "deny-all";

/// The most characters of the reason.
const MAX_REASON_CHARS: usize = 512;

/// What is known of the file.
#[derive(Debug)]
pub enum DenyAllFile {
    /// The file is not there, or the folder itself is not.
    Absent,
    /// The file is there, with this text, which may be empty.
    Present(String),
    /// The file is there, and its text cannot be read.
    Unreadable(io::Error),
}

impl DenyAllFile {
    /// Looks for the file.
    pub fn find(folder: &Path) -> Self {
        let path = folder.join(DENY_ALL_FILE);
        match fs::symlink_metadata(&path) {
            Ok(_) => read_start(&path).map_or_else(Self::Unreadable, Self::Present),
            Err(error) if error.kind() == ErrorKind::NotFound || !folder.is_dir() => Self::Absent,
            Err(error) => Self::Unreadable(error),
        }
    }

    /// The reason to deny everything; `None` if there is none. `before` is the reason up to now.
    pub fn reason(self, folder: &Path, before: Option<String>) -> Option<String> {
        match self {
            Self::Absent => before.filter(|_| !Self::is_lifted(folder)),
            Self::Present(reason) => Some(reason),
            Self::Unreadable(error) => {
                Some(format!("`{DENY_ALL_FILE}` is in the policy folder and cannot be read: {error}"))
            }
        }
    }

    /// Whether somebody removed the file, and not the folder or what was mounted there.
    fn is_lifted(folder: &Path) -> bool {
        // A folder that has come back after it was looked into may have the file.
        has_schema(folder) && matches!(Self::find(folder), Self::Absent)
    }
}

/// The first characters of a file.
fn read_start(path: &Path) -> io::Result<String> {
    // Opening a pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(4 * MAX_REASON_CHARS as u64).read_to_end(&mut bytes)?;
    Ok(escape_and_truncate(String::from_utf8_lossy(&bytes).trim(), MAX_REASON_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(folder: &Path) -> Option<String> {
        DenyAllFile::find(folder).reason(folder, None)
    }

    #[test]
    fn the_text_of_the_file_is_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DENY_ALL_FILE);
        assert_eq!(reason(folder.path()), None);
        fs::write(&file, "incident 42\n").unwrap();
        assert_eq!(reason(folder.path()).as_deref(), Some("incident 42"));
        fs::write(&file, "").unwrap();
        assert_eq!(reason(folder.path()).as_deref(), Some(""));
        fs::write(&file, vec![b'a'; 100_000]).unwrap();
        assert!(reason(folder.path()).unwrap().chars().count() <= MAX_REASON_CHARS + 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_denies() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(DENY_ALL_FILE)).unwrap();
        let found = reason(folder.path()).unwrap();
        assert!(found.contains("cannot be read"), "{found}");
    }

    #[test]
    fn only_a_folder_with_a_schema_lifts_a_denial() {
        let folder = tempfile::tempdir().unwrap();
        let (root, denied) = (folder.path(), Some("incident".to_owned()));
        let after = |folder: &Path| DenyAllFile::find(folder).reason(folder, denied.clone());
        let gone = root.join("gone");
        assert_eq!((after(&gone), reason(&gone)), (denied.clone(), None));
        // The mount point of a volume that is not mounted, and a volume that is new.
        assert_eq!((after(root), reason(root)), (denied.clone(), None));
        for other in ["lost+found", "tests", ".git"] {
            fs::create_dir(root.join(other)).unwrap();
        }
        for other in [".schema.cedarschema", "tests/schema.cedarschema", "customers.json", "forbid.cedar"] {
            fs::write(root.join(other), "").unwrap();
        }
        assert_eq!(after(root), denied);
        fs::create_dir(root.join("shared")).unwrap();
        fs::write(root.join("shared/schema.cedarschema"), "").unwrap();
        assert_eq!(after(root), None);
        // What cannot be read may hold anything.
        std::os::unix::fs::symlink("nowhere", root.join("broken")).unwrap();
        assert_eq!(after(root), denied);
    }

    #[test]
    fn a_folder_that_comes_back_with_the_file_lifts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let before = DenyAllFile::find(folder.path());
        fs::write(folder.path().join("schema.cedarschema"), "").unwrap();
        fs::write(folder.path().join(DENY_ALL_FILE), "").unwrap();
        let denied = Some("incident".to_owned());
        assert_eq!(before.reason(folder.path(), denied.clone()), denied);
    }
}
