//! The `mandate` program: the command line, which wires the crates together.

mod cli;
mod config;
mod error;

fn main() -> std::process::ExitCode {
    cli::main()
}
