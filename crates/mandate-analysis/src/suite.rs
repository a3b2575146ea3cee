//! Policy test suites: reads a suite file, and makes cases of its entries. The format of the file is in
//! `suite_file`; `case` runs a case.

use std::sync::Arc;

use cedar_policy::PolicyId;

pub use crate::case::{Case, CaseResult, PreparedCase};
use crate::case::{CaseInput, CaseQuestion};
use crate::route_case::{RouteCase, first};
pub use crate::story::CaseContent;
use crate::suite_file::{Entry, ExpectedAnswer, ExpectedAnswers, ExpectedDecision, SuiteFile};
use crate::yaml_error;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::policies::Policies;
use mandate_core::suggestion::closest;

/// Reads a suite file about these policies.
///
/// # Errors
/// The syntax error, or every case that is incomplete or expects a policy that there is not.
pub fn parse(source: &Arc<SourceText>, policies: &Policies) -> Result<Vec<Case>, Diagnostics> {
    let file: SuiteFile =
        serde_saphyr::from_str(&source.text).map_err(|error| yaml_error::diagnostic(&error, source))?;
    let mut reader = SuiteReader { source, policies, cases: Vec::new(), diagnostics: Diagnostics::default() };
    reader.check_names(&file.cases);
    reader.check_names(&file.tables);
    if reader.diagnostics.has_errors() {
        return Err(reader.diagnostics);
    }
    for entry in &file.cases {
        let case = reader.single_case(entry);
        reader.cases.extend(case);
    }
    for table in &file.tables {
        reader.table(table);
    }
    let SuiteReader { cases, diagnostics, .. } = reader;
    diagnostics.into_result().map(|_| cases)
}

struct SuiteReader<'a> {
    source: &'a Arc<SourceText>,
    policies: &'a Policies,
    cases: Vec<Case>,
    diagnostics: Diagnostics,
}

impl SuiteReader<'_> {
    fn check_names(&mut self, entries: &[Entry]) {
        for entry in entries {
            if entry.value.name.is_empty() {
                let error = Diagnostic::error("the key `name` is missing");
                self.diagnostics.push(error.at(yaml_error::span(entry.referenced, self.source)));
            }
            self.check_names(&entry.value.columns);
            self.check_names(&entry.value.rows);
        }
    }

    /// The case of an entry that is no part of a table: a case with its steps, or a step.
    fn single_case(&mut self, entry: &Entry) -> Option<Case> {
        let expect = match &entry.value.expect {
            Some(ExpectedAnswers::One(expect)) => Some(expect),
            None if entry.value.request.is_some() => None,
            None | Some(ExpectedAnswers::Several(_)) => {
                self.report(entry, "has to have one answer in `expect`");
                return None;
            }
        };
        let changes = !entry.value.after.is_empty() || !entry.value.then.is_empty();
        if changes && expect.map(ExpectedAnswer::decision) != Some(ExpectedDecision::Permit) {
            self.report(
                entry,
                "has to expect `permit`: `after` and `then` are about what its action changes",
            );
        }
        let then = entry.value.then.iter().filter_map(|step| self.step(step)).collect();
        let case = self.case(&entry.value.name, &[entry], expect)?;
        Some(Case { after: entry.value.after.clone(), then, ..case })
    }

    fn step(&mut self, entry: &Entry) -> Option<Case> {
        if entry.value.then.is_empty() {
            return self.single_case(entry);
        }
        self.report(entry, "has `then` inside `then`: write its steps below it, in the same list");
        None
    }

    /// Reports what only a case can have.
    fn check_no_steps(&mut self, entry: &Entry) {
        if !entry.value.after.is_empty() || !entry.value.then.is_empty() {
            self.report(entry, "is part of a table: `after` and `then` are for `cases`");
        }
    }

    fn table(&mut self, entry: &Entry) {
        let table = &entry.value;
        for part in [entry].into_iter().chain(&table.rows).chain(&table.columns) {
            self.check_no_steps(part);
        }
        let mut entries = table.rows.iter().chain([entry]);
        if table.columns.is_empty() && entries.any(|entry| entry.value.request.is_some()) {
            return table.rows.iter().for_each(|row| self.row_of_request(entry, row));
        }
        if table.rows.is_empty() || table.columns.is_empty() || table.expect.is_some() {
            return self.report(entry, "has to have `columns` and `rows`, which have the answers");
        }
        for row in &table.rows {
            let (wanted, expect) = (table.columns.len(), &row.value.expect);
            let Some(ExpectedAnswers::Several(expects)) =
                expect.as_ref().filter(|expect| expect.answers() == wanted)
            else {
                let found = expect.as_ref().map_or(0, ExpectedAnswers::answers);
                self.report(
                    row,
                    &format!("has {found} answers in its list `expect`, the table has {wanted} columns"),
                );
                continue;
            };
            for (column, expect) in table.columns.iter().zip(expects) {
                let names = [entry, row, column].map(|entry| entry.value.name.as_str());
                let case = self.case(&names.join(": "), &[row, column, entry], Some(expect));
                self.cases.extend(case);
            }
        }
    }

    /// In a table of HTTP requests without columns, each row is a case.
    fn row_of_request(&mut self, table: &Entry, row: &Entry) {
        let expect = match row.value.expect.as_ref().or(table.value.expect.as_ref()) {
            Some(ExpectedAnswers::Several(_)) => {
                return self.report(row, "has to have one answer in `expect`: the table has no columns");
            }
            Some(ExpectedAnswers::One(expect)) => Some(expect),
            None => None,
        };
        let name = format!("{}: {}", table.value.name, row.value.name);
        let case = self.case(&name, &[row, table], expect);
        self.cases.extend(case);
    }

    /// Makes a case from entries, such as row, column and table. Each part is taken from the first entry that
    /// has it; the changes of all entries add up, the last entry's first.
    fn case(&mut self, name: &str, entries: &[&Entry], expect: Option<&ExpectedAnswer>) -> Option<Case> {
        let nearest = entries.first()?;
        self.check_policies(expect);
        let input = match RouteCase::of(entries) {
            Ok(Some(case)) if expect.is_none() && !case.expects_question() => {
                self.report(nearest, "expects nothing: add `route`, `principal` or `expect`");
                return None;
            }
            Ok(Some(case)) => Some(CaseInput::Http(Box::new(case))),
            Ok(None) => self.question(nearest, entries).map(CaseInput::Question),
            Err(message) => {
                self.report(nearest, message);
                return None;
            }
        };
        Some(Case {
            span: yaml_error::span(nearest.referenced, self.source),
            name: name.to_owned(),
            input: input?,
            given: entries.iter().rev().flat_map(|entry| entry.value.given.clone()).collect(),
            expect: expect.cloned(),
            after: Vec::new(),
            then: Vec::new(),
        })
    }

    fn question(&mut self, nearest: &Entry, entries: &[&Entry]) -> Option<CaseQuestion> {
        let (principal, action, resource) = (
            first(entries, |e| &e.principal),
            first(entries, |e| &e.action),
            first(entries, |e| &e.resource),
        );
        let parts = [("principal", &principal), ("action", &action), ("resource", &resource)];
        let missing = parts.iter().filter(|(_, value)| value.is_none());
        let missing: Vec<String> = missing.map(|(part, _)| format!("no `{part}`")).collect();
        if !missing.is_empty() {
            self.report(nearest, &format!("has {}", missing.join(" and ")));
        }
        let context = first(entries, |entry| &entry.context).unwrap_or_default();
        Some(CaseQuestion { principal: principal?, action: action?, resource: resource?, context })
    }

    /// Reports the ids of an expected answer that no policy has.
    fn check_policies(&mut self, expect: Option<&ExpectedAnswer>) {
        for id in expect.and_then(ExpectedAnswer::policies).into_iter().flatten() {
            if self.policies.info(&PolicyId::new(&id.value)).is_none() {
                let error = Diagnostic::error(format!("there is no policy `{}`", id.value));
                let known: Vec<&str> = self.policies.infos().iter().map(|info| info.id.as_str()).collect();
                let help = closest(&id.value, &known).map(|meant| format!("did you mean `{meant}`?"));
                self.diagnostics
                    .push(Diagnostic { help, ..error.at(yaml_error::span(id.referenced, self.source)) });
            }
        }
    }

    fn report(&mut self, entry: &Entry, message: &str) {
        let name = &entry.value.name;
        let subject = if name.is_empty() { "the step".to_owned() } else { format!("`{name}`") };
        let diagnostic = Diagnostic::error(format!("{subject} {message}"));
        self.diagnostics.push(diagnostic.at(yaml_error::span(entry.referenced, self.source)));
    }
}
