//! What can go wrong with a store, in one sentence each.

use std::path::PathBuf;

use crate::position::LogPosition;

/// Why a store cannot be used, or did not take a transaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no store `{}`: make one with `mandate entities import DIR --store {}`", .0.display(), .0.display())]
    Missing(PathBuf),
    #[error("another process uses the store `{}`: wait until it has ended, or stop it", .0.display())]
    InUse(PathBuf),
    #[error("`{}` is not a store of Mandate, or it is damaged: {reason}", path.display())]
    NotAStore { path: PathBuf, reason: String },
    #[error("the store `{}` has format {found}, and this version of Mandate reads format {}: use a version that reads it", path.display(), crate::file::FORMAT)]
    Format { path: PathBuf, found: u64 },
    #[error("the store `{}` is damaged: {reason}; `mandate entities verify` says where", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot {action} the store `{}`: {reason}", path.display())]
    Io { action: &'static str, path: PathBuf, reason: String },
    #[error("the store is at {at}, not at {expected}: something else was committed")]
    Conflict { expected: LogPosition, at: LogPosition },
    #[error("the store `{}` was moved, removed or replaced while it is in use: restart Mandate with the file that is to be used", .0.display())]
    Replaced(PathBuf),
    #[error("the store `{}` is at {at}, which does not continue {position}: it is another store, or an older copy; restart Mandate with the one that is to be used", path.display())]
    OtherLog { path: PathBuf, at: LogPosition, position: LogPosition },
    #[error("`{0}` is not there, so it cannot be deleted")]
    NotThere(String),
    #[error("{0} has another epoch than this store, {1}: it is a position of another log")]
    OtherEpoch(LogPosition, LogPosition),
}
