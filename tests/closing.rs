//! The last words of a test run: what it could not do on this machine.

#![allow(clippy::print_stdout, reason = "said to whoever runs the tests")]

use std::path::PathBuf;

fn main() {
    // Other runners ask for a list of tests, and this is none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let program = std::env::var_os("CVC5").map_or_else(|| PathBuf::from("cvc5"), PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let named = program.components().count() > 1;
    let found = std::env::split_paths(&folders).any(|folder| folder.join(&program).is_file());
    if if named { program.is_file() } else { found } {
        println!("\nWhatever proves ran: the solver is {}.", program.display());
    } else {
        println!(
            "\nNOT RUN: whatever proves, because there is no solver `{}`. Install cvc5 (on Debian: apt-get install cvc5), or name it with CVC5.",
            program.display()
        );
    }
}
