//! The file of budgets: the number of instructions that each operation may take.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// The content of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The processor architecture that the budgets are for.
    pub architecture: String,
    /// The compiler that built the measured program.
    pub compiler: String,
    /// Numbers of instructions, by the name of the operation.
    pub instructions: BTreeMap<String, u64>,
}

const HEADER: &str = "\
# The number of instructions of each operation, counted by callgrind in a release build.
# `just instructions` checks these budgets, and `just instructions --write` writes this file.
";

impl Budgets {
    /// Budgets for the architecture and the compiler of this machine.
    pub fn for_this_machine(instructions: BTreeMap<String, u64>) -> Self {
        Self { architecture: std::env::consts::ARCH.to_owned(), compiler: compiler(), instructions }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read, or is for another architecture.
    pub fn read(file: &Path) -> io::Result<Self> {
        let in_file = |error: String| io::Error::other(format!("{}: {error}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| in_file(error.to_string()))?;
        let budgets: Self = toml::from_str(&text).map_err(|error| in_file(error.to_string()))?;
        let (theirs, ours) = (&budgets.architecture, std::env::consts::ARCH);
        if theirs == ours {
            return Ok(budgets);
        }
        Err(in_file(format!("the budgets are for `{theirs}`, and this machine is `{ours}`")))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let Self { architecture, compiler, instructions } = self;
        let mut text = format!("{HEADER}architecture = {architecture:?}\ncompiler = {compiler:?}\n");
        text += "\n[instructions]\n";
        text.extend(instructions.iter().map(|(name, count)| format!("{name} = {count}\n")));
        fs::write(file, text)
    }

    /// A message if the budgets are for another compiler than the one of this machine.
    pub fn compiler_difference(&self) -> Option<String> {
        let (theirs, ours) = (&self.compiler, compiler());
        (ours != *theirs).then(|| {
            format!("the budgets are for `{theirs}`, and this is `{ours}`: another compiler has other counts")
        })
    }
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
