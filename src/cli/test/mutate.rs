//! `mandate test --mutate`: applies wrong edits to the policies, and shows those that no case and no
//! guardrail detects. The edits are made in mandate-analysis.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;

use similar::TextDiff;

use super::json::{MutationJson, SurvivorJson};
use crate::cli::diff;
use crate::cli::report::{self, counted};
use crate::config::SolverArguments;
use crate::error::CliError;
use mandate_analysis::claims::Guardrails;
use mandate_analysis::mutation::{Mutant, MutantOutcome, MutationRun, Operator, Survivor, mutants};
use mandate_analysis::prove::{CheckedClaim, prove};
use mandate_analysis::suite::{Case, CaseContent};
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::schema::Schema;

/// The mutants that were tried, and what became of each.
pub struct MutationReport<'a> {
    tried: Vec<(Mutant, MutantOutcome)>,
    schema: &'a Schema,
}

/// Tries every mutant.
pub fn run<'a>(
    content: CaseContent<'a>,
    cases: &[Case],
    guardrails: &[Arc<SourceText>],
    solver: &SolverArguments,
) -> Result<MutationReport<'a>, CliError> {
    let snapshot = content.snapshot;
    let guardrails =
        Guardrails::parse(guardrails, snapshot.policies().schema()).map_err(CliError::Diagnostics)?;
    let mut solver = solver.start();
    if let Ok(solver) = &mut solver {
        let proofs = prove(snapshot.policies(), &guardrails, solver, &mut |_, _| ControlFlow::Continue(()));
        if !proofs.iter().all(CheckedClaim::holds) {
            let message = "the guardrails have to be proven before mutants are tried; see `mandate prove`";
            return Err(CliError::message(message));
        }
    }
    let mutation_run = MutationRun::new(content, cases);
    let mutants = mutants(snapshot.policies());
    let mut progress = Progress { total: mutants.len(), shown: std::io::stderr().is_terminal() };
    let mut tried = Vec::with_capacity(mutants.len());
    for (n, mutant) in mutants.into_iter().enumerate() {
        progress.at(n);
        let outcome = mutation_run.run_cases(&mutant).unwrap_or_else(|mutated| match &mut solver {
            Ok(solver) => mutation_run.prove(mutated, &guardrails, solver),
            Err(missing) => MutantOutcome::Survived(Survivor::Unproven(missing.to_string())),
        });
        tried.push((mutant, outcome));
    }
    progress.done();
    if let Err(missing) = &solver {
        let message = format!("guardrails and equivalent mutants were not proven: {missing}");
        report::print_error(&CliError::message(message));
    }
    Ok(MutationReport { tried, schema: snapshot.schema() })
}

impl MutationReport<'_> {
    fn survivors(&self) -> impl Iterator<Item = (&Mutant, &Survivor)> {
        self.tried.iter().filter_map(|(mutant, outcome)| match outcome {
            MutantOutcome::Survived(survivor) => Some((mutant, survivor)),
            MutantOutcome::KilledByTest(_)
            | MutantOutcome::KilledByClaim(_)
            | MutantOutcome::Equivalent
            | MutantOutcome::Invalid => None,
        })
    }

    /// An error for each mutant that survives.
    pub fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        for (mutant, _) in self.survivors() {
            let (policy, edit) = (&mutant.policy, mutant.operator.describe());
            let message = format!("no case and no guardrail notices this edit of `{policy}`: {edit}");
            diagnostics.push(Diagnostic::error(message).at(mutant.span.clone()));
        }
        diagnostics
    }

    pub fn as_json(&self) -> MutationJson<'_> {
        let [tested, guarded, equivalent, invalid, _] = totals(&self.tried);
        let survivors = self.survivors().map(|(mutant, survivor)| SurvivorJson {
            policy: &mutant.policy,
            edit: mutant.operator.describe(),
            file: &mutant.span.source.path,
            line: mutant.span.line_column().0,
            description: describe_survivor(mutant, survivor, self.schema),
        });
        MutationJson { caught: tested + guarded, equivalent, invalid, survivors: survivors.collect() }
    }

    /// The survivors, and how many mutants of each kind had which outcome.
    pub fn as_text(&self) -> String {
        let survivors = self.survivors();
        let survivors = survivors.map(|(mutant, survivor)| describe_survivor(mutant, survivor, self.schema));
        survivors.collect::<String>() + &table(&self.tried)
    }
}

/// A progress line on a terminal.
struct Progress {
    total: usize,
    shown: bool,
}

impl Progress {
    fn at(&mut self, n: usize) {
        if self.shown {
            // A progress line that cannot be written is no reason to fail.
            let _ = write!(std::io::stderr(), "\r\x1b[Kmutant {n} of {}", self.total);
        }
    }

    fn done(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// How many mutants had which outcome.
fn totals<'a>(tried: impl IntoIterator<Item = &'a (Mutant, MutantOutcome)>) -> [usize; 5] {
    let mut totals = [0; 5];
    for (_, outcome) in tried {
        if let Some(count) = totals.get_mut(column(outcome)) {
            *count += 1;
        }
    }
    totals
}

fn table(tried: &[(Mutant, MutantOutcome)]) -> String {
    let mut text = format!(
        "{:24} {:>7} {:>7} {:>10} {:>7} {:>9}\n",
        "", "tests", "claims", "equivalent", "invalid", "survivors"
    );
    let operators: BTreeSet<Operator> = tried.iter().map(|(mutant, _)| mutant.operator).collect();
    for operator in operators {
        let of_operator = tried.iter().filter(|(mutant, _)| mutant.operator == operator);
        text += &row(operator.describe(), &totals(of_operator));
    }
    let total = totals(tried);
    text += &row("all", &total);
    let [tested, guarded, equivalent, invalid, survived] = total;
    let (caught, counted_ones) = (tested + guarded, tested + guarded + survived);
    let percent = if counted_ones == 0 { 100.0 } else { percent(caught, counted_ones) };
    let _ = writeln!(
        text,
        "{}: {caught} of {counted_ones} caught, {percent:.1} % ({equivalent} equivalent, {invalid} invalid)",
        counted(tried.len(), "mutant")
    );
    text
}

fn column(outcome: &MutantOutcome) -> usize {
    match outcome {
        MutantOutcome::KilledByTest(_) => 0,
        MutantOutcome::KilledByClaim(_) => 1,
        MutantOutcome::Equivalent => 2,
        MutantOutcome::Invalid => 3,
        MutantOutcome::Survived(_) => 4,
    }
}

fn row(name: &str, [tests, claims, equivalent, invalid, survivors]: &[usize; 5]) -> String {
    format!("{name:24} {tests:7} {claims:7} {equivalent:10} {invalid:7} {survivors:9}\n")
}

#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 mutants")]
fn percent(caught: usize, of: usize) -> f64 {
    caught as f64 / of as f64 * 100.0
}

/// A surviving edit, and the request that a test case should cover.
fn describe_survivor(mutant: &Mutant, survivor: &Survivor, schema: &Schema) -> String {
    let source = &mutant.span.source;
    let line = mutant.span.line_column().0;
    let what = mutant.operator.describe();
    let mut text = format!("SURVIVED {}:{line}: {}: {what}\n", source.path, mutant.policy);
    let after = mutant.mutated_text();
    let lines = TextDiff::from_lines(&source.text, &after);
    for line in lines.unified_diff().context_radius(1).to_string().lines() {
        let _ = writeln!(text, "  {line}");
    }
    match survivor {
        Survivor::Untested(example) => {
            let _ = writeln!(text, "  no test case covers this request, and no claim forbids the change:");
            text += &diff::example(example, schema);
        }
        Survivor::Unproven(why) => {
            let _ = writeln!(text, "  it was not proven whether this changes any decision: {why}");
        }
    }
    text.push('\n');
    text
}
