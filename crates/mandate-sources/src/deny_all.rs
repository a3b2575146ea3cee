//! The operator's file `deny-all` in a policy folder: while it is there, every request is denied. The thread that
//! looks for it is in `mandate_pdp::deny_all`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use mandate_core::json::escape_and_truncate;

/// The name of the file. Its text is the reason that callers get.
pub const DENY_ALL_FILE: &str = "deny-all";

/// The most characters of the reason.
const MAX_REASON_CHARS: usize = 512;

/// What is known of the file.
#[derive(Debug)]
pub enum DenyAllFile {
    Absent,
    /// The file is there, with this text, which may be empty.
    Present(String),
    /// The file is there, and its text cannot be read.
    Unreadable(io::Error),
    /// The folder itself is not there, so nothing is known.
    NoFolder,
}

impl DenyAllFile {
    /// Looks for the file.
    pub fn find(folder: &Path) -> Self {
        let path = folder.join(DENY_ALL_FILE);
        match fs::symlink_metadata(&path) {
            Ok(_) => read_start(&path).map_or_else(Self::Unreadable, Self::Present),
            Err(_) if !folder.is_dir() => Self::NoFolder,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Absent,
            Err(error) => Self::Unreadable(error),
        }
    }

    /// The reason to deny everything; `None` if there is none. `before` is what was found before.
    pub fn reason(self, before: Option<String>) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Present(reason) => Some(reason),
            Self::Unreadable(error) => {
                Some(format!("`{DENY_ALL_FILE}` is in the policy folder and cannot be read: {error}"))
            }
            // Nobody has lifted the denial.
            Self::NoFolder => before,
        }
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
        DenyAllFile::find(folder).reason(None)
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
    fn a_folder_that_is_gone_lifts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let before = Some("incident".to_owned());
        assert_eq!(DenyAllFile::find(&gone).reason(before.clone()), before);
        assert_eq!(reason(&gone), None);
    }
}
