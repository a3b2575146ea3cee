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
use mandate_store::{Edit, EntityName, Store, StoreError, Transaction};

/// Transactions are read so many at a time.
const PAGE: usize = 100;

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
    let (mut after, mut left) = (arguments.after, arguments.limit);
    while left > 0 {
        let most = PAGE.min(usize::try_from(left).unwrap_or(PAGE));
        let page = store.transactions_after(after, most).map_err(CliError::message)?;
        let Some((last, _)) = page.last() else { break };
        (after, left) = (last.sequence, left - page.len() as u64);
        for (transaction, edits) in &page {
            let text = if arguments.json {
                as_json(transaction, edits)?
            } else {
                as_text(transaction, edits, arguments.edits)
            };
            report::print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_text(transaction: &Transaction, edits: &[Edit], with_edits: bool) -> String {
    let Transaction { author, time, .. } = transaction;
    let what = match (&author.subject, &author.action, &author.resource) {
        (Some(subject), Some(action), Some(resource)) => format!("{subject} {action} {resource}"),
        (_, Some(action), _) => action.clone(),
        _ => String::new(),
    };
    let count = counted(edits.len(), "edit");
    let mut text = format!("{} {time} {} {what} ({count})\n", transaction.position(), author.caller);
    for edit in edits.iter().filter(|_| with_edits) {
        // Writing to a string cannot fail.
        let _ = match edit {
            Edit::Put(entity) => writeln!(text, "  put {}", entity.get()),
            Edit::Delete(name) => writeln!(text, "  delete {}::\"{}\"", name.entity_type, name.id),
        };
    }
    text
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
    let mut store = arguments.store.open_checked()?;
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
