//! `mandate lint`: finds policies, types and actions without effect. The rules are in mandate-analysis.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::format::FormatArgument;
use super::report::{self, counted};
use crate::config::{PolicyArguments, SolverArguments, colour};
use crate::error::{CliError, CommandResult};
use mandate_analysis::claims::Guardrails;
use mandate_analysis::lint::{Finding, Rule, lint};
use mandate_core::diagnostics::{Diagnostics, SourceSpan};
use mandate_core::policies::Policies;

#[derive(Args)]
#[command(
    after_help = "A policy accepts a finding with `@allow(\"RULE\")`, several separated by commas. Without a solver, the rules that need one are not checked: standard error names them, and the exit code is 1; `--no-solver` says that this is intended. Exit 0 if every rule was checked and nothing is found, 1 otherwise."
)]
pub struct Arguments {
    #[command(flatten)]
    policies: PolicyArguments,
    #[command(flatten)]
    solver: SolverArguments,
    /// Do not use a solver: check only the rules that need none
    #[arg(long)]
    no_solver: bool,
    #[command(flatten)]
    pub format: FormatArgument,
}

/// A finding as JSON. `file`, `line` and `column` are null if it has no place.
#[derive(Serialize)]
struct FindingJson<'a> {
    rule: Rule,
    policy: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    help: &'a str,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let solver = arguments.policies.solver(arguments.solver)?;
    let folder = arguments.policies.load()?;
    Guardrails::parse(&folder.guardrails, folder.policies.schema()).map_err(CliError::Diagnostics)?;
    let solver = if arguments.no_solver { None } else { Some(solver.start()) };
    let incomplete = matches!(solver, Some(Err(_)));
    let mut solver = solver.and_then(|solver| solver.map_err(|missing| warn_without_solver(&missing)).ok());
    let findings = lint(&folder.policies, &folder.schema, solver.as_mut());
    let mut diagnostics = Diagnostics::default();
    for finding in &findings {
        diagnostics.push(finding.to_diagnostic());
    }
    arguments.format.print_text(&as_text(&diagnostics, &folder.policies, incomplete))?;
    arguments.format.print_data(&as_json(&findings), &diagnostics)?;
    Ok(ExitCode::from(u8::from(incomplete || !findings.is_empty())))
}

/// Names the rules that are not checked without a solver.
fn warn_without_solver(missing: &CliError) {
    let rules = Rule::SOLVER_RULES.map(Rule::name).join(", ");
    // If standard error is closed, the warning cannot be reported.
    let _ = writeln!(
        std::io::stderr(),
        "not checked: {rules}: {missing}, or leave these rules out with --no-solver"
    );
}

fn as_text(diagnostics: &Diagnostics, policies: &Policies, incomplete: bool) -> String {
    let policies = counted(policies.len(), "policy");
    if diagnostics.is_empty() && incomplete {
        return format!("nothing found in {policies} by the rules that were checked\n");
    }
    if diagnostics.is_empty() {
        return format!("ok: nothing found in {policies}\n");
    }
    report::render_text(diagnostics, colour(&std::io::stdout()))
}

fn as_json(findings: &[Finding]) -> Vec<FindingJson<'_>> {
    let reported = findings.iter().map(|finding| {
        let (line, column) = finding.span.as_ref().map(SourceSpan::line_column).unzip();
        FindingJson {
            rule: finding.rule,
            policy: finding.policy.as_deref(),
            file: finding.span.as_ref().map(|span| span.source.path.as_str()),
            line,
            column,
            message: &finding.message,
            help: &finding.help,
        }
    });
    reported.collect()
}
