//! The verbs that only read a store.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _, stdout};
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::cli::report::{self, counted};
use crate::cli::sidecar::{Sidecar, query_value};
use crate::cli::store_argument::StoreArgument;
use crate::error::{CliError, CommandResult};
use mandate_core::display::parse_type_and_id;
use mandate_core::json::escape_and_truncate;
use mandate_server::admin_store::LogEntry;
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

#[derive(Args)]
pub struct Watch {
    #[command(flatten)]
    store: StoreArgument,
    /// Begin after this sequence [default: show what is committed from now on]
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// Show the edits of each transaction, too
    #[arg(long)]
    edits: bool,
    /// Print a JSON object for each transaction, one a line
    #[arg(long)]
    json: bool,
}

pub fn export(arguments: &Export) -> CommandResult {
    if let Some(sidecar) = arguments.store.sidecar()? {
        sidecar.lines("/store/v1/entities", &mut |line| report::print(&format!("{line}\n")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = arguments.store.open()?;
    let (mut out, mut written) = (BufWriter::new(stdout().lock()), Ok(()));
    let read = store.each_text(|text| {
        if written.is_ok() {
            written = writeln!(out, "{text}");
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
    if let Some(sidecar) = arguments.store.sidecar()? {
        let found = sidecar.get(&format!("/store/v1/entity?name={}", query_value(&arguments.entity)))?;
        return print_entity(&arguments.entity, found.as_deref().map(str::trim_end));
    }
    let store = arguments.store.open()?;
    let (entity_type, id) = parse_type_and_id(&arguments.entity).map_err(CliError::message)?;
    let name = EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() };
    let found = store.entity(&name).map_err(CliError::message)?;
    print_entity(&arguments.entity, found.as_ref().map(|entity| entity.text.as_str()))
}

fn print_entity(name: &str, found: Option<&str>) -> CommandResult {
    let Some(entity) = found else {
        // Without a schema, nobody knows the namespace.
        let is_short = parse_type_and_id(name).is_ok_and(|(entity_type, _)| !entity_type.contains("::"));
        let help = if is_short { ": a type with a namespace is written `NAMESPACE::TYPE`" } else { "" };
        report::print_error(&CliError::message(format!("{name} is not in the store{help}")));
        return Ok(ExitCode::from(2));
    };
    report::print(&format!("{entity}\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub fn log(arguments: &Log) -> CommandResult {
    print_log(arguments, |_| true)
}

/// As [`log`], for transactions of these actions alone.
pub fn log_of_actions(arguments: &Log, actions: &BTreeSet<String>) -> CommandResult {
    print_log(arguments, |transaction| {
        transaction.author.action.as_ref().is_some_and(|action| actions.contains(action))
    })
}

fn print_log(arguments: &Log, is_shown: impl Fn(&Transaction) -> bool) -> CommandResult {
    if let Some(sidecar) = arguments.store.sidecar()? {
        let Log { after, limit, edits, json, .. } = arguments;
        sidecar.lines(&format!("/store/v1/log?after={after}&limit={limit}"), &mut |line| {
            let entry: LogEntry = serde_json::from_str(line)?;
            if is_shown(&entry.transaction) { print_entry(entry, *edits, *json) } else { Ok(()) }
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = arguments.store.open()?;
    let mut after = arguments.after;
    for _ in 0..arguments.limit {
        let Some(transaction) = store.transaction_after(after).map_err(CliError::message)? else { break };
        after = transaction.sequence;
        let mut changes = Vec::new();
        if is_shown(&transaction) {
            if arguments.edits || arguments.json {
                store.each_edit(after, |edit| changes.push(edit)).map_err(CliError::message)?;
            }
            print_entry(LogEntry { transaction, changes }, arguments.edits, arguments.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what is committed, until the sidecar ends.
pub fn watch(arguments: &Watch) -> CommandResult {
    let sidecar = arguments.store.sidecar()?.ok_or_else(|| {
        CliError::message("only a sidecar changes a store while somebody watches: name it with `--admin`")
    })?;
    let after = match arguments.after {
        Some(after) => after,
        None => sidecar.position()?,
    };
    sidecar.lines(&format!("/store/v1/log?after={after}&follow=true"), &mut |line| {
        print_entry(serde_json::from_str(line)?, arguments.edits, arguments.json)
    })?;
    Err(CliError::message("the sidecar has ended"))
}

/// Prints a transaction.
fn print_entry(entry: LogEntry, edits: bool, json: bool) -> Result<(), CliError> {
    if json {
        return report::print(&(serde_json::to_string(&entry)? + "\n"));
    }
    let LogEntry { transaction, changes } = entry;
    report::print(&as_text(&transaction, if edits { &changes } else { &[] }))
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
            Edit::Record(record) => writeln!(text, "  {} {} {}", record.kind, record.id, record.value),
        };
    }
    text
}

fn one_line(text: &str) -> String {
    escape_and_truncate(text, usize::MAX)
}

pub fn verify(arguments: &Verify) -> CommandResult {
    if let Some(sidecar) = arguments.store.sidecar()? {
        return verify_by(&sidecar, arguments);
    }
    let mut store = arguments.store.open()?;
    let verified = match store.verify().map_err(CliError::message)? {
        Ok(verified) => verified,
        Err(errors) => return Err(CliError::all(&errors)),
    };
    if let Some(anchor) = &arguments.contains {
        check_contains(&store, anchor)?;
    }
    let head = format!("{}={}", verified.head.position(), verified.head.hash);
    print_verified(verified.transactions, verified.entities, &head)
}

fn print_verified(transactions: u64, entities: u64, head: &str) -> CommandResult {
    let (transactions, entities) =
        (counted_u64(transactions, "transaction"), counted_u64(entities, "entity"));
    report::print(&format!("verified: {transactions}, {entities}\n{head}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Has a sidecar verify the log. It does not check the pages of the file, which it uses.
fn verify_by(sidecar: &Sidecar, arguments: &Verify) -> CommandResult {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<String>,
        transactions: Option<u64>,
        entities: Option<u64>,
        head: Option<String>,
    }
    if arguments.contains.is_some() {
        return Err(CliError::message("`--contains` works on the file itself: name it with `--store`"));
    }
    let answer: Answer = sidecar.post("/store/v1/verify", &())?;
    if !answer.errors.is_empty() {
        return Err(CliError::all(&answer.errors));
    }
    let (transactions, entities) =
        (answer.transactions.unwrap_or_default(), answer.entities.unwrap_or_default());
    print_verified(transactions, entities, &answer.head.unwrap_or_default())
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
