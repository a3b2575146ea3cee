//! `mandate-bench instructions`: counts the instructions of single operations and compares them with budgets.
//! Unlike times, counts are the same on a busy machine.

mod budgets;
mod callgrind;
mod operations;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::dataset::{self, Dataset};
use crate::numbers::{float, number};
use crate::process;
use budgets::Budgets;
use operations::{CUSTOMERS, OPERATIONS};

#[derive(Args)]
pub struct Arguments {
    /// Write the measured counts to the file of budgets
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

/// The allowed difference between a count and its budget, in percent of the budget.
const TOLERANCE: f64 = 3.0;

/// Measures the operations. Reads their budgets, or writes new ones with `--write`.
///
/// # Errors
/// Valgrind is missing, an operation fails, or the file of budgets cannot be read or written.
pub fn run(arguments: &Arguments, print_progress: &dyn Fn(&str)) -> io::Result<Counts> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("this is a debug build: build with `cargo build --release`"));
    }
    let valgrind = callgrind::find_valgrind()?;
    let budgets = if arguments.write { None } else { Some(Budgets::read(&arguments.budgets)?) };
    let folder = tempfile::tempdir()?;
    dataset::copy_pack(&arguments.pack, &folder.path().join(POLICIES))?;
    Dataset { customers: CUSTOMERS }.write(&folder.path().join(ENTITIES))?;
    let mut measured = BTreeMap::new();
    for operation in OPERATIONS.iter().filter(|operation| operation.name.contains(&arguments.only)) {
        print_progress(operation.name);
        measured.insert(operation.name, callgrind::count(&valgrind, operation.name, folder.path())?);
    }
    let budgets = match budgets {
        Some(budgets) => budgets,
        None => write_budgets(&arguments.budgets, &measured)?,
    };
    Ok(Counts { file: arguments.budgets.display().to_string(), budgets, measured })
}

// The content of an operation, in its working folder.
const POLICIES: &str = "policies";
const ENTITIES: &str = "entities";

/// Does one operation many times, in the folder that [`run`] prepared. Returns how many times.
///
/// # Errors
/// The operation fails, or the system does not allow to pin the process to a core.
pub fn operation(name: &str) -> io::Result<u64> {
    // The number of threads that load content is the number of cores. The allocator's state depends on it, so
    // it has to be the same on every machine.
    process::pin(process::SERVER_CORE)?;
    operations::run(name, Path::new(POLICIES), Path::new(ENTITIES))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are positive and far below 2^53"
)]
fn write_budgets(file: &Path, measured: &BTreeMap<&'static str, f64>) -> io::Result<Budgets> {
    let counts = measured.iter().map(|(name, count)| ((*name).to_owned(), count.round() as u64));
    let budgets = Budgets::for_this_machine(counts.collect());
    budgets.write(file)?;
    Ok(budgets)
}

/// The measured counts and their budgets.
pub struct Counts {
    file: String,
    budgets: Budgets,
    measured: BTreeMap<&'static str, f64>,
}

impl Counts {
    /// The measured operations: name, count, and, if there is one, the budget with the difference in percent.
    fn rows(&self) -> impl Iterator<Item = (&'static str, f64, Option<(f64, f64)>)> {
        OPERATIONS.iter().filter_map(|operation| {
            let measured = *self.measured.get(operation.name)?;
            let budget = self.budgets.instructions.get(operation.name).copied();
            let budget = budget.map(float);
            Some((operation.name, measured, budget.map(|budget| (budget, 100.0 * (measured / budget - 1.0)))))
        })
    }

    /// The counts and budgets as a Markdown table.
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

    /// Messages about budgets that should be lowered.
    pub fn hints(&self) -> Vec<String> {
        let lower = self.rows().filter_map(|(name, _, budget)| {
            let (_, percent) = budget.filter(|(_, percent)| *percent < -TOLERANCE)?;
            Some(format!("{name}: {:.1} % below its budget: lower it in {}", -percent, self.file))
        });
        lower.collect()
    }

    /// Messages about operations that are over their budget or have no budget.
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
            failures.extend(self.budgets.compiler_difference());
        }
        failures
    }
}
