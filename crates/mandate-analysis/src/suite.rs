//! Policy test suites: reads a suite file, and makes cases of its entries. The format of the file is in
//! `suite_file`; `case` runs a case.

use std::sync::Arc;

use cedar_policy::PolicyId;

pub use crate::case::{Case, CaseResult, PreparedCase};
use crate::case::{CaseInput, CaseQuestion};
use crate::route_case::{RouteCase, first};
use crate::suite_file::{Entry, ExpectedAnswer, ExpectedAnswers, SuiteFile};
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
        match &entry.value.expect {
            Some(ExpectedAnswers::One(expect)) => {
                reader.case(&entry.value.name, &[entry], Some(expect));
            }
            None if entry.value.request.is_some() => reader.case(&entry.value.name, &[entry], None),
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

    fn table(&mut self, entry: &Entry) {
        let table = &entry.value;
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
                self.case(&names.join(": "), &[row, column, entry], Some(expect));
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
        self.case(&format!("{}: {}", table.value.name, row.value.name), &[row, table], expect);
    }

    /// Makes a case from entries, such as row, column and table. Each part is taken from the first entry that
    /// has it; the changes of all entries add up, the last entry's first.
    fn case(&mut self, name: &str, entries: &[&Entry], expect: Option<&ExpectedAnswer>) {
        let Some(nearest) = entries.first() else { return };
        self.check_policies(expect);
        let input = match RouteCase::of(entries) {
            Ok(Some(case)) if expect.is_none() && !case.expects_question() => {
                return self.report(nearest, "expects nothing: add `route`, `principal` or `expect`");
            }
            Ok(Some(case)) => Some(CaseInput::Http(Box::new(case))),
            Ok(None) => self.question(nearest, entries).map(CaseInput::Question),
            Err(message) => return self.report(nearest, message),
        };
        let Some(input) = input else { return };
        self.cases.push(Case {
            span: yaml_error::span(nearest.referenced, self.source),
            name: name.to_owned(),
            input,
            given: entries.iter().rev().flat_map(|entry| entry.value.given.clone()).collect(),
            expect: expect.cloned(),
        });
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
        let diagnostic = Diagnostic::error(format!("`{}` {message}", entry.value.name));
        self.diagnostics.push(diagnostic.at(yaml_error::span(entry.referenced, self.source)));
    }
}
