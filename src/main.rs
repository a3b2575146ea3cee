//! The `mandate` program; everything is in the library.

/// Requests and reloads allocate many small things for a short time, on several threads, which this
/// allocator does in less time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mandate::cli::main()
}
