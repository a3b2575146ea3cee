//! Writes the results of suites as a JUnit report, for CI.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::error::CliError;
use mandate_analysis::suite::{Case, CaseResult};

/// Writes the report.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, results: &[(Case, CaseResult)]) -> Result<(), CliError> {
    let mut report = Report::new("mandate test");
    let mut files: Vec<&str> = results.iter().map(|(case, _)| file_of(case)).collect();
    files.dedup();
    for file in files {
        let mut suite = TestSuite::new(file);
        for (case, result) in results.iter().filter(|(case, _)| file_of(case) == file) {
            suite.add_test_case(junit_case(case, result));
        }
        report.add_test_suite(suite);
    }
    let file = std::fs::File::create(path).map_err(|error| CliError::file("write", path, error))?;
    report
        .serialize(file)
        .map_err(|error| CliError::message(format_args!("cannot write `{}`: {error}", path.display())))
}

fn junit_case(case: &Case, result: &CaseResult) -> TestCase {
    let status = match &result.failure {
        None => TestCaseStatus::success(),
        Some(failure) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(failure.lines().last().unwrap_or_default()).set_description(failure.as_str());
            status
        }
    };
    let mut junit = TestCase::new(case.name.as_str(), status);
    junit.set_time(result.took).set_classname(file_of(case));
    let line = case.span.line_column().0.to_string();
    junit.extra.extend([("file".into(), file_of(case).into()), ("line".into(), line.into())]);
    junit
}

/// The path of the suite file.
fn file_of(case: &Case) -> &str {
    &case.span.source.path
}
