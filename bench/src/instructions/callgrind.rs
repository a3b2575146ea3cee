//! Runs one operation of this program under valgrind's callgrind, and counts its instructions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::operations::MEASURED;
use crate::numbers::float;

/// The C library chooses its functions for copying and comparing by the processor. These are switched off,
/// so that it chooses the same everywhere.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-BMI2,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load,-Prefer_ERMS,-Prefer_FSRM";

/// Where valgrind is.
///
/// # Errors
/// It is not installed.
pub fn valgrind() -> io::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&folders).map(|folder| folder.join("valgrind"));
    program.into_iter().find(|program| program.is_file()).ok_or_else(|| {
        io::Error::other("valgrind is not installed (`apt-get install valgrind`): nothing was measured")
    })
}

/// Instructions of one operation: the mean of many.
///
/// # Errors
/// Valgrind or the operation failed; with what they wrote.
pub fn count(valgrind: &Path, name: &str, folder: &Path) -> io::Result<f64> {
    let counts = folder.join(format!("{name}.callgrind"));
    let mut command = Command::new(valgrind);
    // The environment stands on the stack, whose addresses have to be the same in every run.
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("GLIBC_TUNABLES", TUNABLES);
    command.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    command.arg(format!("--toggle-collect={MEASURED}"));
    command.arg(format!("--callgrind-out-file={}", counts.display()));
    command.arg(std::env::current_exe()?).args(["operation", name]).current_dir(folder);
    let output = command.output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        return Err(io::Error::other(format!("`{name}` failed: {}", said(&output.stderr))));
    }
    let operations: u64 = said(&output.stdout).parse().map_err(io::Error::other)?;
    let total = total(&fs::read_to_string(counts)?);
    let total = total.filter(|total| *total > 0).ok_or_else(|| {
        io::Error::other(format!("callgrind counted nothing for `{name}`: the program has no symbols"))
    })?;
    Ok(float(total) / float(operations.max(1)))
}

/// The sum of all instructions in callgrind's file.
fn total(file: &str) -> Option<u64> {
    let line = file.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}
