//! The `mandate` program. `cli` has the commands, one file each, and wires the crates together; `config`
//! reads flags, environment and file.

mod cli;
mod config;
mod error;

fn main() -> std::process::ExitCode {
    cli::main()
}
