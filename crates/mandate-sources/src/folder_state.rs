//! A state of a folder that two versions are compared of: as it is now, or as it was at a git revision.

use std::fmt;
use std::path::Path;

/// A state of a folder.
#[derive(Debug)]
pub enum FolderState<'a> {
    /// The folder as it is now.
    Current(&'a Path),
    /// The folder as it was at a git revision.
    AtRevision(&'a Path, &'a str),
}

impl fmt::Display for FolderState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current(folder) => fmt::Display::fmt(&folder.display(), f),
            Self::AtRevision(folder, revision) => write!(f, "{revision}:{}", folder.display()),
        }
    }
}
