//! Runs one operation under valgrind's callgrind, and reads the number of its instructions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::operations::MEASURED_FUNCTION;
use crate::numbers::float;

/// Turns off these features of the processor for the C library. It chooses its functions for copying and
/// comparing by them, and has to choose the same functions on every machine.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-BMI2,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load,-Prefer_ERMS,-Prefer_FSRM";

/// Finds valgrind on the `PATH`.
///
/// # Errors
/// Valgrind is not installed.
pub fn find_valgrind() -> io::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&folders).map(|folder| folder.join("valgrind"));
    programs.find(|program| program.is_file()).ok_or_else(|| {
        io::Error::other("valgrind is not installed (`apt-get install valgrind`): nothing was measured")
    })
}

/// The number of instructions of one operation: the mean of many.
///
/// # Errors
/// Valgrind or the operation failed. The error has their messages.
pub fn count(valgrind: &Path, name: &str, folder: &Path) -> io::Result<f64> {
    let counts_file = folder.join(format!("{name}.callgrind"));
    let mut command = Command::new(valgrind);
    // The environment is on the stack. Addresses on the stack have to be the same in every run.
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("GLIBC_TUNABLES", TUNABLES);
    command.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    command.arg(format!("--toggle-collect={MEASURED_FUNCTION}"));
    command.arg(format!("--callgrind-out-file={}", counts_file.display()));
    command.arg(std::env::current_exe()?).args(["operation", name]).current_dir(folder);
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        return Err(io::Error::other(format!("`{name}` failed: {}", text(&output.stderr))));
    }
    let operations: u64 = text(&output.stdout).parse().map_err(io::Error::other)?;
    let total = parse_total(&fs::read_to_string(counts_file)?);
    let total = total.filter(|total| *total > 0).ok_or_else(|| {
        io::Error::other(format!("callgrind counted nothing for `{name}`: the program has no symbols"))
    })?;
    Ok(float(total) / float(operations.max(1)))
}

/// Reads the number of all instructions from callgrind's file.
fn parse_total(file: &str) -> Option<u64> {
    let line = file.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}
