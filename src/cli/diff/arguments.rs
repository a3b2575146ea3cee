//! The arguments of `mandate diff`, for policies and for entities alike.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::config::{PolicyArguments, SolverArguments};
use mandate_sources::loader::FolderState;

#[derive(Args)]
#[command(
    after_help = "OLD and NEW are folders, or git revisions of the policy folder; with --entities, of the entity folder. Exit 0 if everything was compared; 1 if something could not be, or if a change matches --fail-on.\n\nExamples: mandate diff --against main --fail-on wider\n          mandate diff --entities entities.old entities"
)]
pub struct Arguments {
    #[command(flatten)]
    pub policies: PolicyArguments,
    #[command(flatten)]
    pub solver: SolverArguments,
    /// Compare entities instead, by the policies as they are now: who gains and who loses what
    #[arg(long)]
    pub entities: bool,
    /// The older version: a folder, or a git revision
    #[arg(value_name = "OLD", required_unless_present = "against")]
    pub old: Option<String>,
    /// The newer version: a folder, or a git revision [default: the policy folder as it is now; with
    /// --entities, it has to be given]
    #[arg(value_name = "NEW", conflicts_with = "against")]
    pub new: Option<String>,
    /// Compare the folder as it is now with this git revision of it
    #[arg(long, value_name = "REV", conflicts_with = "old")]
    pub against: Option<String>,
    /// Compare only requests with these context attributes, such as '{"channel": "oem-api"}'; of others, all
    /// values are tried
    #[arg(long, value_name = "JSON", requires = "entities")]
    pub context: Option<String>,
    /// Maximum number of gains and losses to show; all are counted
    #[arg(long, value_name = "N", default_value_t = 200, requires = "entities")]
    pub limit: usize,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Exit 1 if more is permitted (wider), less is permitted (narrower), if a claim is removed or changed
    /// (claims), or any of these (any)
    #[arg(long, value_name = "CHANGE")]
    pub fail_on: Option<FailOn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// For a comment on a pull request
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Something is permitted that was denied, or a route or a rule of `changes.toml` is new or changed
    Wider,
    /// Something is no longer permitted, its request environment is gone from the schema, or a route or a rule
    /// of `changes.toml` is gone or changed
    Narrower,
    /// A claim is removed, or promises something else
    Claims,
    /// Any of these
    Any,
}

/// A folder, or the usual folder at a git revision.
pub enum VersionArgument {
    Folder(PathBuf),
    Revision(String),
}

impl VersionArgument {
    pub fn of(text: String) -> Self {
        if Path::new(&text).is_dir() { Self::Folder(text.into()) } else { Self::Revision(text) }
    }

    pub fn version<'a>(&'a self, folder: &'a Path) -> FolderState<'a> {
        match self {
            Self::Folder(folder) => FolderState::Current(folder),
            Self::Revision(revision) => FolderState::AtRevision(folder, revision),
        }
    }
}
