//! Policy test suites: questions with expected answers, asked of one snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::given::{self, Given};
use super::names;
use super::suite_file::{CaseEntry, Column, Context, Expect, Row, SuiteFile, Table, Verdict};
use crate::authz::Snapshot;
use crate::authz::decision::Decision;
use crate::authz::fault::{Fault, Faults, Place, SourceText};
use crate::authz::json::Json;
use crate::authz::request::{Named, Part, Question, RequestError};

/// One case of a suite, with everything it needs.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file it stands in.
    pub file: String,
    pub line: u64,
    /// Its name; of a table's cell, the names of table, row and column.
    pub name: String,
    principal: String,
    action: String,
    resource: String,
    context: Context,
    given: Vec<Given>,
    expect: Expect,
}

/// What became of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// `None` if the case passed; else what was expected and what came, in a few lines.
    pub failure: Option<String>,
    pub took: Duration,
}

/// Reads a suite file.
///
/// # Errors
/// What does not parse, and every case that lacks something.
pub fn read(source: &Arc<SourceText>) -> Result<Vec<Case>, Faults> {
    let file: SuiteFile = serde_saphyr::from_str(&source.text).map_err(|error| malformed(&error, source))?;
    let mut faults = Faults::default();
    let mut cases: Vec<Case> = Vec::new();
    for entry in file.cases {
        take(case(entry, source), &mut cases, &mut faults);
    }
    for table in &file.tables {
        for row in &table.rows {
            if row.expect.len() != table.columns.len() {
                let (found, wanted) = (row.expect.len(), table.columns.len());
                let message = format!(
                    "row `{}` expects {found} answers, the table has {wanted} columns",
                    row.name.value
                );
                faults.push(Fault::error(message).at(place(source, row.name.referenced.line())));
            }
            for (column, expect) in table.columns.iter().zip(&row.expect) {
                take(cell(table, row, column, expect, source), &mut cases, &mut faults);
            }
        }
    }
    faults.into_result().map(|_| cases)
}

fn take(case: Result<Case, Fault>, cases: &mut Vec<Case>, faults: &mut Faults) {
    match case {
        Ok(case) => cases.push(case),
        Err(fault) => faults.push(fault),
    }
}

fn malformed(error: &serde_saphyr::Error, source: &Arc<SourceText>) -> Faults {
    let line = error.location().map_or(1, |location| location.line());
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default().to_owned();
    Fault::error(message).at(place(source, line)).into()
}

fn place(source: &Arc<SourceText>, line: u64) -> Place {
    let skipped = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let offset = source.text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let length = source.text.get(offset..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
    Place::new(source, offset, length)
}

fn case(entry: CaseEntry, source: &Arc<SourceText>) -> Result<Case, Fault> {
    let line = entry.name.referenced.line();
    let missing =
        |what: &str| Fault::error(format!("`{}` has no `{what}`", entry.name.value)).at(place(source, line));
    Ok(Case {
        file: source.path.clone(),
        line,
        principal: entry.principal.clone().ok_or_else(|| missing("principal"))?,
        action: entry.action.clone().ok_or_else(|| missing("action"))?,
        resource: entry.resource.clone().ok_or_else(|| missing("resource"))?,
        context: entry.context.unwrap_or_default(),
        given: entry.given,
        expect: entry.expect,
        name: entry.name.value,
    })
}

fn cell(
    table: &Table,
    row: &Row,
    column: &Column,
    expect: &Expect,
    source: &Arc<SourceText>,
) -> Result<Case, Fault> {
    let name = format!("{}: {}: {}", table.name, row.name.value, column.name);
    let of = |row: &Option<String>, column: &Option<String>, table: &Option<String>| {
        row.clone().or_else(|| column.clone()).or_else(|| table.clone())
    };
    let context = row.context.clone().or_else(|| column.context.clone()).or_else(|| table.context.clone());
    case(
        CaseEntry {
            name: serde_saphyr::Spanned::new(name, row.name.referenced, row.name.defined),
            principal: of(&row.principal, &column.principal, &table.principal),
            action: of(&row.action, &column.action, &table.action),
            resource: of(&row.resource, &column.resource, &table.resource),
            context,
            given: [&table.given, &column.given, &row.given].into_iter().flatten().cloned().collect(),
            expect: expect.clone(),
        },
        source,
    )
}

impl Case {
    /// Asks the case's question and compares.
    pub fn run(&self, snapshot: &Snapshot) -> CaseResult {
        let started = Instant::now();
        let failure = match self.answer(snapshot) {
            Ok(answer) => self.difference(&answer),
            Err(message) => Some(format!("the case cannot be asked: {message}")),
        };
        CaseResult { failure, took: started.elapsed() }
    }

    fn answer(&self, snapshot: &Snapshot) -> Result<Result<Decision, RequestError>, String> {
        let snapshot = given::apply(snapshot, &self.given)?;
        let context = serde_json::to_value(&self.context).map_err(|error| error.to_string())?;
        let context = Json::deserialize(&context).map_err(|error| error.to_string())?;
        let named = |text| names::split(text).map(|(kind, id)| Named { kind, id, properties: None });
        let question = Question {
            principal: named(&self.principal)?,
            action: &self.action,
            action_properties: None,
            resource: named(&self.resource)?,
            context: context.as_object(),
        };
        let request = match snapshot.read(&question) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let slice = snapshot.gather(&request);
        snapshot.decide(&request, &slice).map(Ok).map_err(|error| error.to_string())
    }

    /// How the answer differs from what was expected, line by line; `None` if it does not.
    fn difference(&self, answer: &Result<Decision, RequestError>) -> Option<String> {
        let verdict = match answer {
            Ok(decision) if decision.is_permit() => Verdict::Permit,
            Ok(_) => Verdict::Deny,
            Err(_) => Verdict::Error,
        };
        let determining: Vec<String> =
            answer.iter().flat_map(Decision::determining).map(|policy| policy.id.to_string()).collect();
        let wanted = self.expect.policies();
        let same_policies = wanted.as_ref().is_none_or(|wanted| *wanted == determining);
        if verdict == self.expect.verdict() && same_policies {
            return None;
        }
        let came = match answer {
            Ok(decision) => described(verdict, Some(&determining), Some(decision)),
            Err(error) => format!("error: {}: {}", part(error.part), error.message),
        };
        Some(format!(
            "{} {} {}\n- {}\n+ {came}",
            self.principal,
            self.action,
            self.resource,
            described(self.expect.verdict(), wanted.as_ref(), None),
        ))
    }
}

fn described(verdict: Verdict, policies: Option<&Vec<String>>, decision: Option<&Decision>) -> String {
    let verdict = match verdict {
        Verdict::Permit => "permit",
        Verdict::Deny => "deny",
        Verdict::Error => "error",
    };
    let unmet = decision.filter(|decision| decision.determining().is_empty()).map(|decision| {
        let unmet: Vec<&str> = decision.explaining().iter().map(|policy| policy.id.as_str()).collect();
        let why = decision.outcome.name();
        if unmet.is_empty() { why.to_owned() } else { format!("{why}; unmet: {}", unmet.join(", ")) }
    });
    match (policies.filter(|policies| !policies.is_empty()), unmet) {
        (Some(policies), _) => format!("{verdict} by {}", policies.join(", ")),
        (None, Some(unmet)) => format!("{verdict} ({unmet})"),
        (None, None) if policies.is_some() => format!("{verdict} by no policy"),
        (None, None) => verdict.to_owned(),
    }
}

/// A part of a question in the suite's own terms.
fn part(part: Part) -> &'static str {
    match part {
        Part::PrincipalType | Part::PrincipalId | Part::PrincipalProperties => "principal",
        Part::Action | Part::ActionProperties => "action",
        Part::ResourceType | Part::ResourceId | Part::ResourceProperties => "resource",
        Part::Context => "context",
    }
}
