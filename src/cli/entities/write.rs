//! The verbs that change a store.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::report::{self, counted};
use crate::cli::store_argument::StoreArgument;
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_core::Snapshot;
use mandate_core::diagnostics::SourceText;
use mandate_core::display;
use mandate_core::entities::{EntityChanges, LoadProgress, parse_entity_file};
use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::read_entity_folder;
use mandate_store::{Author, CommitError, Head, STORE_ORIGIN, Store};

/// The longest text on standard input, in bytes.
const LONGEST_INPUT: u64 = 1024 * 1024 * 1024;

#[derive(Args)]
pub struct Import {
    /// The folder of the entity files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    policies: PolicyArguments,
}

#[derive(Args)]
pub struct Put {
    /// An entity file: a JSON array, or one entity a line if its name ends in .ndjson; `-` reads an array from
    /// standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    policies: PolicyArguments,
}

#[derive(Args)]
pub struct Delete {
    /// The entities, such as Customer::contoso
    #[arg(value_name = "TYPE::ID", required = true)]
    entities: Vec<String>,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    policies: PolicyArguments,
}

#[derive(Args)]
pub struct Compact {
    #[command(flatten)]
    store: StoreArgument,
    /// Keep so many of the newest transactions
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep: u64,
}

pub fn import(arguments: Import) -> CommandResult {
    let store = arguments.store.open_or_create()?;
    let mut editor = Editor::open(store, arguments.policies)?;
    let schema = editor.snapshot.schema();
    let upserts =
        read_entity_folder(&arguments.folder, STORE_ORIGIN, schema).map_err(CliError::Diagnostics)?;
    editor.commit("import", EntityChanges { upserts, removals: Vec::new() })
}

pub fn put(arguments: Put) -> CommandResult {
    let mut editor = Editor::open(arguments.store.open()?, arguments.policies)?;
    let text = Arc::new(read_file(&arguments.file)?);
    let schema = editor.snapshot.schema();
    let upserts = parse_entity_file(&text, STORE_ORIGIN, schema, &LoadProgress::default());
    let upserts = upserts.map_err(CliError::Diagnostics)?;
    editor.commit("put", EntityChanges { upserts, removals: Vec::new() })
}

pub fn delete(arguments: Delete) -> CommandResult {
    let mut editor = Editor::open(arguments.store.open()?, arguments.policies)?;
    let schema = editor.snapshot.schema();
    let removals = arguments.entities.iter().map(|name| display::parse_uid(name, schema));
    let removals: Vec<_> = removals.collect::<Result<_, _>>().map_err(CliError::message)?;
    editor.commit("delete", EntityChanges { upserts: Vec::new(), removals })
}

pub fn compact(arguments: &Compact) -> CommandResult {
    let mut store = arguments.store.open()?;
    let head = store.head().map_err(CliError::message)?;
    store.forget_until(head.sequence.saturating_sub(arguments.keep)).map_err(CliError::message)?;
    store.shrink().map_err(CliError::message)?;
    let kept = store.head().and_then(|head| Ok(head.sequence - store.base()?.sequence));
    let kept = usize::try_from(kept.map_err(CliError::message)?).unwrap_or(usize::MAX);
    let position = head.position();
    report::print(&format!("compacted: {position}, {} kept\n", counted(kept, "transaction")))?;
    Ok(ExitCode::SUCCESS)
}

fn read_file(path: &Path) -> Result<SourceText, CliError> {
    let failed = |error| CliError::file("read", path, error);
    if path != Path::new("-") {
        let text = std::fs::read_to_string(path).map_err(failed)?;
        return Ok(SourceText { path: path.display().to_string(), name: path.display().to_string(), text });
    }
    let mut text = String::new();
    std::io::stdin().take(LONGEST_INPUT).read_to_string(&mut text).map_err(failed)?;
    Ok(SourceText { path: "standard input".to_owned(), name: "standard input".to_owned(), text })
}

/// A store with the snapshot of its entities, which changes are held to.
struct Editor {
    store: Arc<Store>,
    snapshot: Snapshot,
    head: Head,
}

impl Editor {
    fn open(store: Store, policies: PolicyArguments) -> Result<Self, CliError> {
        let store = Arc::new(store);
        let policies = policies.load()?.policies;
        let snapshot = Snapshot::new(policies, &RequestConfig::default());
        let snapshot = snapshot.map_err(CliError::Diagnostics)?;
        let (snapshot, head) = mandate_store::load(&store, &snapshot).map_err(failed)?;
        Ok(Self { store, snapshot, head })
    }

    fn commit(&mut self, action: &str, changes: EntityChanges) -> CommandResult {
        let author = Author {
            caller: format!("uid {}", rustix::process::getuid().as_raw()),
            action: Some(action.to_owned()),
            ..Author::default()
        };
        let committed = mandate_store::commit(&self.store, (&self.snapshot, &self.head), author, changes);
        let (_, head) = committed.map_err(failed)?;
        let position = head.position();
        let text = if head == self.head {
            format!("nothing changed: {position}\n")
        } else {
            format!("committed: {position}\n")
        };
        report::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn failed(error: CommitError) -> CliError {
    match error {
        CommitError::Refused(diagnostics) => CliError::Diagnostics(diagnostics),
        CommitError::Store(error) => CliError::message(error),
    }
}
