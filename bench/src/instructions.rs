//! Instruction counts of single operations, and their budgets. Counts are the same on every machine, so a
//! change that makes an operation more expensive is seen without a quiet machine.

mod budgets;
mod callgrind;
mod operations;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::numbers::{float, number};
use crate::process;
use crate::world::{self, World};
use budgets::Budgets;
use operations::{CUSTOMERS, OPERATIONS};

#[derive(Args)]
pub struct Arguments {
    /// Write what was measured to the file of budgets
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Measure only the operations whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
    /// The file of budgets
    #[arg(long, value_name = "FILE", default_value = "bench/instructions.toml")]
    budgets: PathBuf,
    /// The policies and routes of the pack
    #[arg(long, value_name = "FOLDER", default_value = "policies")]
    pack: PathBuf,
}

/// How far a count may be from its budget, in percent.
const TOLERANCE: f64 = 3.0;

/// Measures the operations and compares them with their budgets, or writes these.
///
/// # Errors
/// Valgrind is missing, an operation fails, or the file of budgets cannot be read or written.
pub fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> io::Result<Counts> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("this is a debug build: build with `cargo build --release`"));
    }
    let valgrind = callgrind::valgrind()?;
    let budgets = if arguments.write { None } else { Some(Budgets::read(&arguments.budgets)?) };
    let folder = tempfile::tempdir()?;
    world::copy_pack(&arguments.pack, &folder.path().join(POLICIES))?;
    World { customers: CUSTOMERS }.write(&folder.path().join(ENTITIES))?;
    let mut measured = BTreeMap::new();
    for operation in OPERATIONS.iter().filter(|operation| operation.name.contains(&arguments.only)) {
        say(operation.name);
        measured.insert(operation.name, callgrind::count(&valgrind, operation.name, folder.path())?);
    }
    let budgets = match budgets {
        Some(budgets) => budgets,
        None => write(&arguments.budgets, &measured)?,
    };
    Ok(Counts { file: arguments.budgets.display().to_string(), budgets, measured })
}

/// Where an operation's content is in the folder that it is started in.
const POLICIES: &str = "policies";
const ENTITIES: &str = "entities";

/// Does one operation many times, in the folder that [`run`] prepared; how many times.
///
/// # Errors
/// The operation fails, or the machine does not allow to pin a process to a core.
pub fn operation(name: &str) -> io::Result<u64> {
    // Content is loaded by as many threads as there are cores, and the allocator's state depends on that.
    process::pin(process::SERVER_CORE)?;
    operations::run(name, Path::new(POLICIES), Path::new(ENTITIES))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are positive and far below what loses precision"
)]
fn write(file: &Path, measured: &BTreeMap<&'static str, f64>) -> io::Result<Budgets> {
    let counts = measured.iter().map(|(name, count)| ((*name).to_owned(), count.round() as u64));
    let budgets = Budgets::here(counts.collect());
    budgets.write(file)?;
    Ok(budgets)
}

/// What was measured, beside its budgets.
pub struct Counts {
    file: String,
    budgets: Budgets,
    measured: BTreeMap<&'static str, f64>,
}

impl Counts {
    /// The operations in their order: budget, count, and the difference in percent.
    fn rows(&self) -> impl Iterator<Item = (&'static str, f64, Option<(f64, f64)>)> {
        OPERATIONS.iter().filter_map(|operation| {
            let measured = *self.measured.get(operation.name)?;
            let budget = self.budgets.instructions.get(operation.name).copied();
            let budget = budget.map(float);
            Some((operation.name, measured, budget.map(|budget| (budget, 100.0 * (measured / budget - 1.0)))))
        })
    }

    /// A table in Markdown.
    pub fn table(&self) -> String {
        let mut text = "| operation | budget | measured | difference |\n|---|---|---|---|\n".to_owned();
        for (name, measured, budget) in self.rows() {
            let (budget, difference) = match budget {
                Some((budget, percent)) => (number(budget), format!("{percent:+.2} %")),
                None => ("none".to_owned(), String::new()),
            };
            text.extend(["| ", name, " | ", &budget, " | ", &number(measured), " | ", &difference, " |\n"]);
        }
        text
    }

    /// Budgets that can be lowered.
    pub fn hints(&self) -> Vec<String> {
        let lower = self.rows().filter_map(|(name, _, budget)| {
            let (_, percent) = budget.filter(|(_, percent)| *percent < -TOLERANCE)?;
            Some(format!("{name}: {:.1} % below its budget: lower it in {}", -percent, self.file))
        });
        lower.collect()
    }

    /// Operations that are over their budget or have none.
    pub fn failures(&self) -> Vec<String> {
        let file = &self.file;
        let mut failures: Vec<String> = self
            .rows()
            .filter_map(|(name, _, budget)| match budget {
                None => Some(format!("{name}: there is no budget in {file}")),
                Some((_, percent)) => (percent > TOLERANCE).then(|| {
                    format!(
                        "{name}: {percent:.1} % over its budget: if that is intended, change {file} in the same commit"
                    )
                }),
            })
            .collect();
        if !failures.is_empty() {
            failures.extend(self.budgets.other_compiler());
        }
        failures
    }
}
