//! The `mandate` program; everything is in the library.

fn main() -> std::process::ExitCode {
    mandate::cli::main()
}
