//! One run of the suites as JSON.

use serde::Serialize;

use mandate_analysis::coverage::Totals;
use mandate_analysis::suite::{Case, CaseResult};

/// What came of the cases, and of coverage and mutation if they were asked for.
#[derive(Serialize)]
pub struct TestJson<'a> {
    /// Whether the exit code is 0.
    pub ok: bool,
    pub passed: usize,
    pub failed: usize,
    pub filtered_out: usize,
    pub cases: Vec<CaseJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutation: Option<MutationJson<'a>>,
}

#[derive(Serialize)]
pub struct CaseJson<'a> {
    name: &'a str,
    file: &'a str,
    line: usize,
    passed: bool,
    /// The expected and the actual answer, in a few lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

#[derive(Serialize)]
pub struct CoverageJson {
    policies: usize,
    policies_met: usize,
    outcomes: usize,
    outcomes_seen: usize,
    percent: f64,
}

/// The mutants by what became of them.
#[derive(Serialize)]
pub struct MutationJson<'a> {
    pub caught: usize,
    pub equivalent: usize,
    pub invalid: usize,
    pub survivors: Vec<SurvivorJson<'a>>,
}

#[derive(Serialize)]
pub struct SurvivorJson<'a> {
    pub policy: &'a str,
    pub edit: &'static str,
    pub file: &'a str,
    pub line: usize,
    /// The edit as a diff, and the request that a case should test.
    pub description: String,
}

impl<'a> CaseJson<'a> {
    pub fn of((case, result): &'a (Case, CaseResult)) -> Self {
        Self {
            name: &case.name,
            file: &case.span.source.path,
            line: case.span.line_column().0,
            passed: result.failure.is_none(),
            failure: result.failure.as_deref(),
        }
    }
}

impl CoverageJson {
    pub fn of(totals: Totals) -> Self {
        Self {
            policies: totals.policies,
            policies_met: totals.policies_satisfied,
            outcomes: totals.outcomes,
            outcomes_seen: totals.outcomes_seen,
            percent: totals.percent(),
        }
    }
}
