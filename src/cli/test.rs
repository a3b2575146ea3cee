//! `mandate test`: runs policy test suites against the policies and entities.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::config::ContentArguments;
use super::report::{self, counted};
use super::{Failure, Outcome};
use crate::assurance::suite::{self, Case, CaseResult};
use crate::authz::fault::{Faults, SourceText};
use crate::source::folder::Folder;
use crate::source::loader::{Loader, Locations};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    content: ContentArguments,
    /// Suite files or folders of them [default: `tests` in the folder of the policies]
    #[arg(value_name = "PATH")]
    suites: Vec<PathBuf>,
    /// Run only the cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write a JUnit report as well
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Outcome {
    let locations = arguments.content.locations()?;
    let (snapshot, _) = Loader::new(&locations).load().map_err(Failure::Faults)?;
    let mut cases = read_cases(&arguments.suites, &locations)?;
    let all = cases.len();
    if let Some(filter) = &arguments.filter {
        cases.retain(|case| case.name.contains(filter));
    }
    if cases.is_empty() {
        let why =
            if all == 0 { "there is no case to run" } else { "no case has a name that contains the filter" };
        return Err(Failure::message(why));
    }
    let results: Vec<(Case, CaseResult)> = cases
        .into_iter()
        .map(|case| {
            let result = case.run(&snapshot);
            (case, result)
        })
        .collect();
    if let Some(path) = &arguments.junit {
        write_junit(path, &results)?;
    }
    report::print(&summary(&results, all))?;
    let failed = results.iter().any(|(_, result)| result.failure.is_some());
    Ok(ExitCode::from(u8::from(failed)))
}

fn read_cases(paths: &[PathBuf], locations: &Locations) -> Result<Vec<Case>, Failure> {
    let default = [locations.policies.join("tests")];
    let paths = if paths.is_empty() { default.as_slice() } else { paths };
    let mut cases = Vec::new();
    let mut faults = Faults::default();
    for source in sources(paths)? {
        match suite::read(&source) {
            Ok(read) => cases.extend(read),
            Err(found) => faults.extend(found),
        }
    }
    faults.into_result().map(|_| cases).map_err(Failure::Faults)
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Arc<SourceText>>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            let folder = Folder::new(path, &["yaml", "yml"], &[]);
            sources.extend(folder.read(|_, _| true).map_err(Failure::Faults)?.1);
        } else {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::message(format!("cannot read `{}`: {error}", path.display())))?;
            sources.push(SourceText::new(path.to_string_lossy(), text));
        }
    }
    Ok(sources)
}

fn summary(results: &[(Case, CaseResult)], all: usize) -> String {
    let mut text = String::new();
    for (case, result) in results {
        if let Some(failure) = &result.failure {
            let _ = writeln!(text, "FAIL {}:{}: {}", case.file, case.line, case.name);
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

fn write_junit(path: &PathBuf, results: &[(Case, CaseResult)]) -> Result<(), Failure> {
    let mut report = Report::new("mandate test");
    let mut files: Vec<&str> = results.iter().map(|(case, _)| case.file.as_str()).collect();
    files.dedup();
    for file in files {
        let mut suite = TestSuite::new(file);
        for (case, result) in results.iter().filter(|(case, _)| case.file == file) {
            suite.add_test_case(junit_case(case, result));
        }
        report.add_test_suite(suite);
    }
    let write = |error: &dyn std::fmt::Display| {
        Failure::message(format!("cannot write `{}`: {error}", path.display()))
    };
    let file = std::fs::File::create(path).map_err(|error| write(&error))?;
    report.serialize(file).map_err(|error| write(&error))
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
    junit.set_time(result.took).set_classname(case.file.as_str());
    junit
}
