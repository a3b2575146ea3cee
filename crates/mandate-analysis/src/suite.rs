//! Policy test suites: cases with a question and the expected answer, run on one snapshot. The format of a
//! suite file is in `suite_file`, the changes that a case makes first in `given`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::coverage::Coverage;
use crate::error::CaseError;
use crate::given::{self, Given};
use crate::suite_file::{Context, ExpectedAnswer, ExpectedAnswers, ExpectedDecision, SuiteEntry, SuiteFile};
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Question, QuestionEntity, Request, RequestError, RequestPart};

/// One case of a suite.
#[derive(Debug, Clone)]
pub struct Case {
    /// The path of the suite file.
    pub file: String,
    pub line: u64,
    /// The case's name; for a cell of a table, the names of table, row and column.
    pub name: String,
    principal: String,
    action: String,
    resource: String,
    context: Context,
    given: Vec<Given>,
    expect: ExpectedAnswer,
}

/// A case whose question fits the schema, ready to be decided.
#[derive(Debug)]
pub struct PreparedCase {
    /// The snapshot with the changes of the case.
    pub snapshot: Snapshot,
    pub request: Request,
}

/// The result of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// `None` if the case passed; else the expected and the actual answer, in a few lines.
    pub failure: Option<String>,
    pub took: Duration,
}

/// Reads a suite file.
///
/// # Errors
/// The syntax error, or every case that is incomplete.
pub fn parse(source: &Arc<SourceText>) -> Result<Vec<Case>, Diagnostics> {
    let file: SuiteFile = serde_saphyr::from_str(&source.text).map_err(|error| malformed(&error, source))?;
    let mut reader = SuiteReader { source, cases: Vec::new(), diagnostics: Diagnostics::default() };
    for entry in &file.cases {
        match &entry.expect {
            Some(ExpectedAnswers::One(expect)) => reader.case(&entry.name.value, &[entry], expect),
            _ => reader.report(entry, "has to have one answer in `expect`"),
        }
    }
    for table in &file.tables {
        reader.table(table);
    }
    let SuiteReader { cases, diagnostics, .. } = reader;
    diagnostics.into_result().map(|_| cases)
}

struct SuiteReader<'a> {
    source: &'a Arc<SourceText>,
    cases: Vec<Case>,
    diagnostics: Diagnostics,
}

impl SuiteReader<'_> {
    fn table(&mut self, table: &SuiteEntry) {
        if table.rows.is_empty() || table.columns.is_empty() || table.expect.is_some() {
            return self.report(table, "has to have `columns` and `rows`, which have the answers");
        }
        for row in &table.rows {
            let wanted = table.columns.len();
            let Some(ExpectedAnswers::Several(expects)) =
                row.expect.as_ref().filter(|expect| expect.answers() == wanted)
            else {
                let found = row.expect.as_ref().map_or(0, ExpectedAnswers::answers);
                self.report(
                    row,
                    &format!("has {found} answers in its list `expect`, the table has {wanted} columns"),
                );
                continue;
            };
            for (column, expect) in table.columns.iter().zip(expects) {
                let names = [&table.name.value, &row.name.value, &column.name.value].map(String::as_str);
                self.case(&names.join(": "), &[row, column, table], expect);
            }
        }
    }

    /// Makes a case from entries, such as row, column and table. Each part is taken from the first entry that
    /// has it; the changes of all entries add up, the last entry's first.
    fn case(&mut self, name: &str, entries: &[&SuiteEntry], expect: &ExpectedAnswer) {
        let Some(nearest) = entries.first() else { return };
        let text =
            |part: fn(&SuiteEntry) -> &Option<String>| entries.iter().find_map(|entry| part(entry).clone());
        let (principal, action, resource) =
            (text(|e| &e.principal), text(|e| &e.action), text(|e| &e.resource));
        let missing = [("principal", &principal), ("action", &action), ("resource", &resource)];
        for (part, _) in missing.iter().filter(|(_, value)| value.is_none()) {
            self.report(nearest, &format!("has no `{part}`"));
        }
        let (Some(principal), Some(action), Some(resource)) = (principal, action, resource) else { return };
        self.cases.push(Case {
            file: self.source.path.clone(),
            line: nearest.name.referenced.line(),
            name: name.to_owned(),
            principal,
            action,
            resource,
            context: entries.iter().find_map(|entry| entry.context.clone()).unwrap_or_default(),
            given: entries.iter().rev().flat_map(|entry| entry.given.clone()).collect(),
            expect: expect.clone(),
        });
    }

    fn report(&mut self, entry: &SuiteEntry, message: &str) {
        let diagnostic = Diagnostic::error(format!("`{}` {message}", entry.name.value));
        self.diagnostics.push(diagnostic.at(line_span(self.source, entry.name.referenced.line())));
    }
}

fn malformed(error: &serde_saphyr::Error, source: &Arc<SourceText>) -> Diagnostics {
    let line = error.location().map_or(1, |location| location.line());
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default().to_owned();
    Diagnostic::error(message).at(line_span(source, line)).into()
}

fn line_span(source: &Arc<SourceText>, line: u64) -> SourceSpan {
    let skipped = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let offset = source.text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let length = source.text.get(offset..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
    SourceSpan::new(source, offset, length)
}

impl Case {
    /// Decides the case's question and compares the answer with the expected one.
    pub fn run(&self, snapshot: &Snapshot) -> CaseResult {
        self.run_covering(snapshot, None)
    }

    /// Like [`Case::run`], and counts which policies and clauses the case reached.
    pub fn run_covering(&self, snapshot: &Snapshot, coverage: Option<&mut Coverage>) -> CaseResult {
        let started = Instant::now();
        let failure = match self.evaluate(snapshot, coverage) {
            Ok(answer) => self.mismatch(&answer),
            Err(message) => Some(format!("the case cannot be run: {message}")),
        };
        CaseResult { failure, took: started.elapsed() }
    }

    fn evaluate(
        &self,
        snapshot: &Snapshot,
        coverage: Option<&mut Coverage>,
    ) -> Result<Result<Decision, RequestError>, CaseError> {
        let PreparedCase { snapshot, request } = match self.prepare(snapshot)? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let slice = snapshot.gather(&request);
        if let Some(coverage) = coverage {
            coverage.add(&snapshot.trace_policies(&request, &slice)?);
        }
        Ok(Ok(snapshot.decide(&request, &slice)?))
    }

    /// The case's question as a request, and the snapshot with the case's changes. The inner error says why
    /// the question does not fit the schema, which a case can expect.
    ///
    /// # Errors
    /// Why the case cannot be run.
    pub fn prepare(&self, snapshot: &Snapshot) -> Result<Result<PreparedCase, RequestError>, CaseError> {
        let snapshot = given::apply(snapshot, &self.given)?;
        let context = serde_json::to_value(&self.context)?;
        let context = Json::deserialize(&context)?;
        let question = Question {
            principal: question_entity(&self.principal)?,
            action: &self.action,
            action_properties: None,
            resource: question_entity(&self.resource)?,
            context: context.as_object(),
        };
        let request = snapshot.request_from_question(&question);
        Ok(request.map(|request| PreparedCase { snapshot, request }))
    }

    /// Whether the case expects this decision.
    pub fn accepts(&self, decision: &Decision) -> bool {
        self.mismatch(&Ok(decision.clone())).is_none()
    }

    /// How the answer differs from the expected one, in lines; `None` if it does not.
    fn mismatch(&self, answer: &Result<Decision, RequestError>) -> Option<String> {
        let actual = match answer {
            Ok(decision) if decision.is_permit() => ExpectedDecision::Permit,
            Ok(_) => ExpectedDecision::Deny,
            Err(_) => ExpectedDecision::Error,
        };
        let determining_policies: Vec<String> = answer
            .iter()
            .flat_map(Decision::determining_policies)
            .map(|policy| policy.id.to_string())
            .collect();
        let wanted = self.expect.policies();
        let same_policies = wanted.as_ref().is_none_or(|wanted| *wanted == determining_policies);
        if actual == self.expect.decision() && same_policies {
            return None;
        }
        let actual = match answer {
            Ok(decision) => describe_answer(actual, Some(&determining_policies), Some(decision)),
            Err(error) => format!("error: {}: {}", part_name(error.part), error.message),
        };
        Some(format!(
            "{} {} {}\n- {}\n+ {actual}",
            self.principal,
            self.action,
            self.resource,
            describe_answer(self.expect.decision(), wanted.as_ref(), None),
        ))
    }
}

fn question_entity(text: &str) -> Result<QuestionEntity<'_>, CaseError> {
    let (entity_type, id) = display::parse_type_and_id(text).map_err(|error| CaseError::entity(&error))?;
    Ok(QuestionEntity { entity_type, id, properties: None })
}

fn describe_answer(
    answer: ExpectedDecision,
    policies: Option<&Vec<String>>,
    decision: Option<&Decision>,
) -> String {
    let answer = match answer {
        ExpectedDecision::Permit => "permit",
        ExpectedDecision::Deny => "deny",
        ExpectedDecision::Error => "error",
    };
    let unmet = decision.filter(|decision| decision.determining_policies().is_empty()).map(|decision| {
        let unmet: Vec<&str> = decision.reported_policies().iter().map(|policy| policy.id.as_str()).collect();
        let why = decision.outcome.as_str();
        if unmet.is_empty() { why.to_owned() } else { format!("{why}; unmet: {}", unmet.join(", ")) }
    });
    match (policies.filter(|policies| !policies.is_empty()), unmet) {
        (Some(policies), _) => format!("{answer} by {}", policies.join(", ")),
        (None, Some(unmet)) => format!("{answer} ({unmet})"),
        (None, None) if policies.is_some() => format!("{answer} by no policy"),
        (None, None) => answer.to_owned(),
    }
}

/// The key of a suite file that a part of a request comes from.
fn part_name(part: RequestPart) -> &'static str {
    match part {
        RequestPart::PrincipalType | RequestPart::PrincipalId | RequestPart::PrincipalProperties => {
            "principal"
        }
        RequestPart::Action | RequestPart::ActionProperties => "action",
        RequestPart::ResourceType | RequestPart::ResourceId | RequestPart::ResourceProperties => "resource",
        RequestPart::Context => "context",
    }
}
