//! Suites among the guardrails: cases that have to pass before policies and routes are used. They run without
//! entities, apart from those that a case adds itself, so a change of entities never breaks one. The claims
//! beside them are in `claims`.

use std::path::Path;
use std::sync::Arc;

use crate::suite::{self, CaseContent};
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::policies::Policies;
use mandate_core::snapshot::RequestConfig;
use mandate_routes::Routes;

/// Whether a file of guardrails is a suite. Any other has claims.
pub fn is_suite(file: &SourceText) -> bool {
    let extension = Path::new(&file.name).extension();
    extension.is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Runs the suites among the guardrails, and returns the number of their cases.
///
/// # Errors
/// Each case that fails, with its place, and what is wrong with a suite.
pub fn run(
    guardrails: &[Arc<SourceText>],
    policies: &Arc<Policies>,
    routes: &Routes,
) -> Result<usize, Diagnostics> {
    let snapshot = Snapshot::new(Arc::clone(policies), &RequestConfig::default())?;
    let content = CaseContent { snapshot: &snapshot, routes, changes: &Changes::default() };
    let mut diagnostics = Diagnostics::default();
    let mut count = 0;
    for source in guardrails.iter().filter(|file| is_suite(file)) {
        let cases = match suite::parse(source, policies) {
            Ok(cases) => cases,
            Err(found) => {
                diagnostics.extend(found);
                continue;
            }
        };
        count += cases.len();
        for case in cases {
            if case.expects_change() {
                let message = format!("`{}` has `after` or `then`, which guardrails do not have", case.name);
                let elsewhere = "move the case to a suite in tests/";
                diagnostics.push(Diagnostic::error(message).help(elsewhere).at(case.span));
                continue;
            }
            if let Some(failure) = case.run(content).failure_line() {
                let message = format!("the guardrail `{}` does not hold: {failure}", case.name);
                diagnostics.push(Diagnostic::error(message).at(case.span));
            }
        }
    }
    diagnostics.into_result().map(|_| count)
}
