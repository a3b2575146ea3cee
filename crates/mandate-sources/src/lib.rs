//! Where content comes from: folders of files, read whole and steadily, and hints that they changed.
//! Nothing here decides or serves.

pub mod folder;
pub mod git;
pub mod loader;
pub mod source;
pub mod watch;

mod entity_files;
mod policy_files;
mod progress;
