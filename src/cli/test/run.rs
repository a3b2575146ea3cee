//! One run of `mandate test`: loads the content, runs the cases and reports. `test.rs` starts it once,
//! `watch.rs` on every change.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::json::{CaseJson, CoverageJson, TestJson};
use super::mutate::MutationReport;
use super::{coverage, junit, lcov, mutate};
use crate::cli::format::FormatArgument;
use crate::cli::report::{self, counted};
use crate::config::{SolverArguments, colour};
use crate::error::{CliError, CommandResult};
use mandate_analysis::coverage::Coverage;
use mandate_analysis::suite::{self, Case, CaseContent, CaseResult};
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::policies::Policies;
use mandate_sources::folder::Folder;
use mandate_sources::loader::{ContentPaths, Loader};

/// Extensions of suite files in a folder.
const SUITE_EXTENSIONS: &[&str] = &["yaml", "yml"];

/// What to run, and what to report.
#[derive(Args)]
pub struct RunArguments {
    /// Suite files, or folders of suite files [default: `tests` in the policy folder]
    #[arg(value_name = "PATH")]
    pub suites: Vec<PathBuf>,
    /// Run only the cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Show the coverage: which policies, and which clauses of their conditions, the cases evaluated
    #[arg(long)]
    coverage: bool,
    /// Minimum coverage in percent, such as 90; exit 1 below it; implies --coverage
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min: Option<f64>,
    /// Also write the coverage to this file, in LCOV format
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,
    /// Mutation testing: apply small wrong edits to the policies; exit 1 if an edit survives all cases and
    /// guardrails
    #[arg(long)]
    mutate: bool,
    #[command(flatten)]
    pub solver: SolverArguments,
    #[command(flatten)]
    pub format: FormatArgument,
}

/// Loads the content and the suites, runs the cases and reports the results.
pub fn run_once(arguments: &RunArguments, content_paths: &ContentPaths) -> CommandResult {
    let mut loader = Loader::new(content_paths);
    let loaded = loader.load().map_err(CliError::Diagnostics)?;
    let snapshot = loaded.snapshot;
    let content = CaseContent { snapshot: &snapshot, routes: &loaded.routes, changes: &loaded.changes };
    let mut cases = read_cases(&arguments.suites, snapshot.policies())?;
    let all = cases.len();
    if let Some(filter) = &arguments.filter {
        cases.retain(|case| case.name.contains(filter));
    }
    if cases.is_empty() {
        let why =
            if all == 0 { "there is no case to run" } else { "no case has a name that contains the filter" };
        return Err(CliError::message(why));
    }
    let mut coverage = arguments.wants_coverage().then(|| Coverage::of(snapshot.policies()));
    let results = cases.into_iter().map(|case| {
        let result = case.run_covering(content, coverage.as_mut());
        (case, result)
    });
    let results: Vec<(Case, CaseResult)> = results.collect();
    if let Some(path) = &arguments.junit {
        junit::write(path, &results)?;
    }
    let format = arguments.format;
    format.print_text(&summary(&results, all))?;
    let mut diagnostics = failures(&results);
    if let Some(coverage) = &coverage {
        diagnostics.extend(arguments.report_coverage(coverage)?);
    }
    let mutation = arguments.mutate.then(|| arguments.try_mutants(content, &results, &loader)).transpose()?;
    let mutation = mutation.flatten();
    if let Some(mutation) = &mutation {
        diagnostics.extend(mutation.diagnostics());
    }
    let failed = results.iter().filter(|(_, result)| result.failure.is_some()).count();
    let json = TestJson {
        ok: !diagnostics.has_errors(),
        passed: results.len() - failed,
        failed,
        filtered_out: all - results.len(),
        cases: results.iter().map(CaseJson::of).collect(),
        coverage: coverage.map(|coverage| CoverageJson::of(coverage.totals())),
        mutation: mutation.as_ref().map(MutationReport::as_json),
    };
    format.print_data(&json, &diagnostics)?;
    Ok(ExitCode::from(u8::from(diagnostics.has_errors())))
}

impl RunArguments {
    fn wants_coverage(&self) -> bool {
        self.coverage || self.min.is_some() || self.lcov.is_some()
    }

    /// Shows the coverage if it was asked for; an error if it does not reach `--min`.
    fn report_coverage(&self, coverage: &Coverage) -> Result<Diagnostics, CliError> {
        if let Some(path) = &self.lcov {
            std::fs::write(path, lcov::lcov(coverage))
                .map_err(|error| CliError::file("write", path, error))?;
        }
        if self.coverage || self.min.is_some() {
            self.format.print_text(&coverage::render_text(coverage, colour(&std::io::stdout())))?;
        }
        let covered = coverage.totals().percent();
        let Some(min) = self.min.filter(|min| covered < *min) else { return Ok(Diagnostics::default()) };
        let covered = coverage::shown_percent(covered);
        let message = format!("{covered} is covered, less than the {min} % of `--min`");
        report::print_error(&CliError::message(&message));
        Ok(Diagnostic::error(message).into())
    }

    /// Tries mutants and shows what became of them; `None` if a case fails without them.
    fn try_mutants<'a>(
        &self,
        content: CaseContent<'a>,
        results: &[(Case, CaseResult)],
        loader: &Loader,
    ) -> Result<Option<MutationReport<'a>>, CliError> {
        if results.iter().any(|(_, result)| result.failure.is_some()) {
            report::print_error(&CliError::message("the cases have to pass before mutants are tried"));
            return Ok(None);
        }
        let cases: Vec<Case> = results.iter().map(|(case, _)| case.clone()).collect();
        let mutation = mutate::run(content, &cases, loader.guardrails(), &self.solver)?;
        self.format.print_text(&mutation.as_text())?;
        Ok(Some(mutation))
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.trim_end_matches('%').trim_end().parse().ok();
    percent.filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(|| "has to be 0 to 100".to_owned())
}

fn read_cases(paths: &[PathBuf], policies: &Policies) -> Result<Vec<Case>, CliError> {
    let mut cases = Vec::new();
    let mut diagnostics = Diagnostics::default();
    for source in sources(paths)? {
        match suite::parse(&source, policies) {
            Ok(read) => cases.extend(read),
            Err(found) => diagnostics.extend(found),
        }
    }
    diagnostics.into_result().map(|_| cases).map_err(CliError::Diagnostics)
}

/// The texts of suite files and of the suites in folders.
pub fn sources(paths: &[PathBuf]) -> Result<Vec<Arc<SourceText>>, CliError> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            let folder = Folder::new(path, SUITE_EXTENSIONS, &[]);
            sources.extend(folder.read(|_, _| true).map_err(CliError::Diagnostics)?.1);
        } else {
            let text = std::fs::read_to_string(path).map_err(|error| CliError::file("read", path, error))?;
            sources.push(SourceText::new(path.to_string_lossy(), text));
        }
    }
    Ok(sources)
}

/// An error for each case that fails.
fn failures(results: &[(Case, CaseResult)]) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    for (case, result) in results {
        if let Some(failure) = result.failure_line() {
            let message = format!("`{}` fails: {failure}", case.name);
            diagnostics.push(Diagnostic::error(message).at(case.span.clone()));
        }
    }
    diagnostics
}

fn summary(results: &[(Case, CaseResult)], all: usize) -> String {
    let mut text = String::new();
    for (case, result) in results {
        if let Some(failure) = &result.failure {
            let (file, line) = (&case.span.source.path, case.span.line_column().0);
            let _ = writeln!(text, "FAIL {file}:{line}: {}", case.name);
            for line in failure.lines() {
                let _ = writeln!(text, "     {line}");
            }
        }
    }
    let failed = results.iter().filter(|(_, result)| result.failure.is_some()).count();
    let took: Duration = results.iter().map(|(_, result)| result.took).sum();
    let _ = writeln!(
        text,
        "{}: {} passed, {failed} failed, {} filtered out; {:.1} ms",
        counted(results.len(), "case"),
        results.len() - failed,
        all - results.len(),
        took.as_secs_f64() * 1e3
    );
    text
}
