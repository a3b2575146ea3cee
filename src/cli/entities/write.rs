//! The verbs that change a store.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Deserialize;

use super::progress::{while_reading, writing};
use crate::cli::report::{self, counted};
use crate::cli::sidecar::{Sidecar, entity_files};
use crate::cli::store_argument::StoreArgument;
use crate::cli::store_editor::StoreEditor;
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_core::diagnostics::SourceText;
use mandate_core::display;
use mandate_core::entities::{EntityChanges, EntityUpsert, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::EntityUid;
use mandate_server::admin_store::{DeleteRequest, EntityFile, PutRequest, WrittenAt};
use mandate_sources::loader::{read_entity_folder, read_entity_folder_in_parts};
use mandate_store::Author;

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
    if let Some(sidecar) = arguments.store.sidecar()? {
        return put_by(&sidecar, "import", entity_files(&arguments.folder)?);
    }
    let editor = StoreEditor::open_or_create(&arguments.store, &arguments.policies.load()?)?;
    let schema = editor.snapshot.schema();
    let read = |progress: &LoadProgress| {
        read_entity_folder_in_parts(&arguments.folder, Origin::STORE, schema, progress)
    };
    if let Some(upserts) = while_reading(read) {
        match commit(&editor, "import", upserts, Vec::new()) {
            // Once more, to say where it is wrong.
            Err(CliError::Diagnostics(_)) => {}
            imported => return imported,
        }
    }
    let upserts = read_entity_folder(&arguments.folder, Origin::STORE, schema);
    commit(&editor, "import", upserts.map_err(CliError::Diagnostics)?, Vec::new())
}

pub fn put(arguments: Put) -> CommandResult {
    if let Some(sidecar) = arguments.store.sidecar()? {
        let SourceText { name, text, .. } = read_file(&arguments.file)?;
        return put_by(&sidecar, "put", vec![EntityFile { name, text }]);
    }
    let editor = StoreEditor::open(&arguments.store, &arguments.policies.load()?)?;
    let text = Arc::new(read_file(&arguments.file)?);
    let schema = editor.snapshot.schema();
    let upserts = parse_entity_file(&text, Origin::STORE, schema, &LoadProgress::default());
    commit(&editor, "put", upserts.map_err(CliError::Diagnostics)?, Vec::new())
}

pub fn delete(arguments: Delete) -> CommandResult {
    if let Some(sidecar) = arguments.store.sidecar()? {
        let written = sidecar.post("/store/v1/delete", &DeleteRequest { entities: arguments.entities })?;
        return print_written(&written);
    }
    let editor = StoreEditor::open(&arguments.store, &arguments.policies.load()?)?;
    let schema = editor.snapshot.schema();
    let removals = arguments.entities.iter().map(|name| display::parse_uid(name, schema));
    let removals = removals.collect::<Result<_, _>>().map_err(CliError::message)?;
    commit(&editor, "delete", Vec::new(), removals)
}

fn put_by(sidecar: &Sidecar, action: &str, files: Vec<EntityFile>) -> CommandResult {
    print_written(&sidecar.post("/store/v1/put", &PutRequest { action: action.to_owned(), files })?)
}

fn print_written(WrittenAt { position, changed }: &WrittenAt) -> CommandResult {
    let what = if *changed { "committed" } else { "nothing changed" };
    report::print(&format!("{what}: {position}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn commit(
    editor: &StoreEditor,
    action: &str,
    upserts: Vec<EntityUpsert>,
    removals: Vec<EntityUid>,
) -> CommandResult {
    let author = Author { action: Some(action.to_owned()), ..Author::default() };
    let bar = writing(upserts.len() + removals.len());
    let committed = editor.commit(author, EntityChanges { upserts, removals }, || bar.inc(1));
    bar.finish_and_clear();
    let committed = committed?;
    report::print(&format!("{committed}\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub fn compact(arguments: &Compact) -> CommandResult {
    if let Some(sidecar) = arguments.store.sidecar()? {
        let Compacted { position, kept } =
            sidecar.post(&format!("/store/v1/compact?keep={}", arguments.keep), &())?;
        return print_compacted(&position, kept);
    }
    let mut store = arguments.store.open()?;
    let head = store.head().map_err(CliError::message)?;
    store.forget_until(head.sequence.saturating_sub(arguments.keep)).map_err(CliError::message)?;
    store.shrink().map_err(CliError::message)?;
    let kept = store.head().and_then(|head| Ok(head.sequence - store.base()?.sequence));
    print_compacted(&head.position().to_string(), kept.map_err(CliError::message)?)
}

#[derive(Deserialize)]
struct Compacted {
    position: String,
    kept: u64,
}

fn print_compacted(position: &str, kept: u64) -> CommandResult {
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
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
