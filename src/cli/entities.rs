//! `mandate entities`: reads and changes the entities of a store. What a store is, and what its log proves, is in
//! mandate-store.

mod progress;
pub mod read;
mod write;

use clap::{Args, Subcommand};

use crate::error::CommandResult;

#[derive(Args)]
#[command(disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take all entities of a folder into the store, in one transaction; makes the store if there is none
    Import(write::Import),
    /// Write all entities to standard output, one a line
    Export(read::Export),
    /// Add or replace entities, in one transaction
    Put(write::Put),
    /// Delete entities, in one transaction
    Delete(write::Delete),
    /// Show an entity; exit 2 if it is not there
    Get(read::Get),
    /// Show what a sidecar commits, as it happens
    Watch(read::Watch),
    /// Show the transactions: who changed what
    Log(read::Log),
    /// Check that nobody changed the log or the entities behind Mandate's back; exit 1 if somebody did
    Verify(read::Verify),
    /// Forget the oldest transactions, and give unused space back; the entities stay
    Compact(write::Compact),
}

pub fn run(arguments: Arguments) -> CommandResult {
    match arguments.command {
        Command::Import(arguments) => write::import(arguments),
        Command::Export(arguments) => read::export(&arguments),
        Command::Put(arguments) => write::put(arguments),
        Command::Delete(arguments) => write::delete(arguments),
        Command::Get(arguments) => read::get(&arguments),
        Command::Watch(arguments) => read::watch(&arguments),
        Command::Log(arguments) => read::log(&arguments),
        Command::Verify(arguments) => read::verify(&arguments),
        Command::Compact(arguments) => write::compact(&arguments),
    }
}
