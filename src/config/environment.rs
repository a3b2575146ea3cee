//! Reads the environment variables that are not options. Options have theirs beside their flags, see
//! [`options`](super::options).

use std::path::PathBuf;

/// Whether output for people may be coloured: on a terminal, unless `NO_COLOR` is set.
pub fn colour(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether this process runs in a GitHub action, whose log shows annotations.
pub fn on_github() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// The entity folder, for commands without an option of this name.
pub fn entity_folder() -> Option<PathBuf> {
    std::env::var_os("MANDATE_ENTITIES").map(PathBuf::from)
}

/// The folders of `PATH`.
pub fn program_folders() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}
