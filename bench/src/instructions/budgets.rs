//! The budgets: instructions of each operation, in a file of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// The file of budgets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The processors that the budgets are for.
    pub architecture: String,
    /// The compiler that built what was measured.
    pub compiler: String,
    /// Instructions, by the operation's name.
    pub instructions: BTreeMap<String, u64>,
}

const HEAD: &str = "\
# The instructions of one operation, counted by callgrind in a release build.
# `just instructions` checks them, and `just instructions --write` writes this file.
";

impl Budgets {
    /// Budgets for this machine's architecture and compiler.
    pub fn here(instructions: BTreeMap<String, u64>) -> Self {
        Self { architecture: std::env::consts::ARCH.to_owned(), compiler: compiler(), instructions }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is for another architecture.
    pub fn read(file: &Path) -> io::Result<Self> {
        let wrong = |error: String| io::Error::other(format!("{}: {error}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let budgets: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let (theirs, here) = (&budgets.architecture, std::env::consts::ARCH);
        if theirs == here {
            return Ok(budgets);
        }
        Err(wrong(format!("the budgets are for `{theirs}`, and this machine is `{here}`")))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let Self { architecture, compiler, instructions } = self;
        let mut text = format!("{HEAD}architecture = {architecture:?}\ncompiler = {compiler:?}\n");
        text += "\n[instructions]\n";
        text.extend(instructions.iter().map(|(name, count)| format!("{name} = {count}\n")));
        fs::write(file, text)
    }

    /// Says that another compiler built this program, if that is so.
    pub fn other_compiler(&self) -> Option<String> {
        let here = compiler();
        let theirs = &self.compiler;
        (here != *theirs).then(|| {
            format!("the budgets are of `{theirs}`, and this is `{here}`: another compiler has other counts")
        })
    }
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
