//! Where policies and entities come from: folders, git revisions, and file events that tell when to read
//! again. Start at [`loader`], which makes snapshots; [`source`] is what a source of entities has to give.
//! Nothing here decides or serves.

pub mod deny_all;
pub mod folder;
pub mod git;
pub mod kept_denial;
pub mod loader;
pub mod policy_limits;
pub mod source;
pub mod watch;

mod change_result;
mod entity_files;
mod entity_folder;
mod entity_loader;
mod file_system;
mod folder_state;
mod load_from;
mod policy_files;
mod policy_folder;
mod policy_loader;
mod progress;
pub mod saved_copy;
mod saved_files;
pub mod state_folder;
mod turns;
