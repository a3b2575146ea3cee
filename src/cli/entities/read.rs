//! The verbs that only read a store.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _, stdout};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::report::{self, counted};
use crate::cli::store_argument::StoreArgument;
use crate::error::{CliError, CommandResult};
use mandate_core::display::parse_type_and_id;
use mandate_core::json::escape_and_truncate;
use mandate_store::{Edit, EntityName, Store, StoreError, Transaction};

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Args)]
pub struct Get {
    /// The entity, with its namespace, such as Autopilot::Customer::contoso
    #[arg(value_name = "TYPE::ID")]
    entity: String,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Args)]
pub struct Log {
    #[command(flatten)]
    store: StoreArgument,
    /// Show the transactions after this sequence
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Show the edits of each transaction, too
    #[arg(long)]
    edits: bool,
    /// Print a JSON object for each transaction, one a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    store: StoreArgument,
    /// A line that an earlier run printed: fail if the log does not have that transaction any more, as after a
    /// roll back
    #[arg(long, value_name = "POSITION=HASH")]
    contains: Option<String>,
}

pub fn export(arguments: &Export) -> CommandResult {
    let store = arguments.store.open()?;
    let (mut out, mut written) = (BufWriter::new(stdout().lock()), Ok(()));
    let read = store.each_entity(|entity| {
        if written.is_ok() {
            written = writeln!(out, "{}", entity.text);
        }
    });
    read.map_err(CliError::message)?;
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => {
            written.map_err(CliError::system("cannot write to standard output")).map(|()| ExitCode::SUCCESS)
        }
    }
}

pub fn get(arguments: &Get) -> CommandResult {
    let store = arguments.store.open()?;
    let (entity_type, id) = parse_type_and_id(&arguments.entity).map_err(CliError::message)?;
    let name = EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() };
    let Some(entity) = store.entity(&name).map_err(CliError::message)? else {
        report::print_error(&CliError::message(format!("{} is not in the store", arguments.entity)));
        return Ok(ExitCode::from(2));
    };
    report::print(&format!("{}\n", entity.text))?;
    Ok(ExitCode::SUCCESS)
}

pub fn log(arguments: &Log) -> CommandResult {
    let store = arguments.store.open()?;
    let mut after = arguments.after;
    for _ in 0..arguments.limit {
        let Some(transaction) = store.transaction_after(after).map_err(CliError::message)? else { break };
        after = transaction.sequence;
        let mut edits = Vec::new();
        if arguments.edits || arguments.json {
            store.each_edit(after, |edit| edits.push(edit)).map_err(CliError::message)?;
        }
        let as_json = || as_json(&transaction, &edits);
        report::print(&if arguments.json { as_json()? } else { as_text(&transaction, &edits) })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for the transaction, and one for each edit. Names come from callers, and must not look like lines.
fn as_text(transaction: &Transaction, edits: &[Edit]) -> String {
    let Transaction { author, time, .. } = transaction;
    let what = [&author.subject, &author.action, &author.resource];
    let what = what.into_iter().flatten().map(|text| one_line(text)).collect::<Vec<_>>().join(" ");
    let (position, caller) = (transaction.position(), one_line(&author.caller));
    let count = counted_u64(transaction.edits, "edit");
    let mut text = format!("{position} {time} {caller} {what} ({count})\n");
    for edit in edits {
        // Writing to a string cannot fail.
        let _ = match edit {
            Edit::Put(entity) => writeln!(text, "  put {}", entity.get()),
            Edit::Delete(name) => {
                writeln!(text, "  delete {}", one_line(&format!("{}::\"{}\"", name.entity_type, name.id)))
            }
        };
    }
    text
}

fn one_line(text: &str) -> String {
    escape_and_truncate(text, usize::MAX)
}

fn as_json(transaction: &Transaction, edits: &[Edit]) -> Result<String, CliError> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        transaction: &'a Transaction,
        changes: &'a [Edit],
    }
    Ok(serde_json::to_string(&Line { transaction, changes: edits })? + "\n")
}

pub fn verify(arguments: &Verify) -> CommandResult {
    let mut store = arguments.store.open()?;
    let verified = match store.verify().map_err(CliError::message)? {
        Ok(verified) => verified,
        Err(errors) => return Err(CliError::all(&errors)),
    };
    if let Some(anchor) = &arguments.contains {
        check_contains(&store, anchor)?;
    }
    let (transactions, entities) =
        (counted_u64(verified.transactions, "transaction"), counted_u64(verified.entities, "entity"));
    let head = verified.head;
    report::print(&format!("verified: {transactions}, {entities}\n{}={}\n", head.position(), head.hash))?;
    Ok(ExitCode::SUCCESS)
}

/// The log still has a transaction that it had before.
fn check_contains(store: &Store, anchor: &str) -> Result<(), CliError> {
    let (position, hash) = anchor
        .split_once('=')
        .and_then(|(position, hash)| Some((position.parse().ok()?, hash)))
        .ok_or_else(|| CliError::message("--contains takes a line as `mandate entities verify` prints it"))?;
    let found = store.hash_at(position).map_err(|error: StoreError| CliError::message(error))?;
    match found {
        Some(found) if found.as_str() == hash => Ok(()),
        Some(_) => Err(CliError::message(format!("transaction {position} is another one than it was"))),
        None => Err(CliError::message(format!(
            "the log has no transaction {position}: it was rolled back, or has forgotten it"
        ))),
    }
}

fn counted_u64(n: u64, what: &str) -> String {
    counted(usize::try_from(n).unwrap_or(usize::MAX), what)
}
