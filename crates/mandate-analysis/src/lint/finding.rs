//! A finding: what a rule found, where, and what to do. Which rules there are is in `rule`; `run` collects
//! the findings.

use std::collections::BTreeSet;
use std::fmt::Display;

use smol_str::SmolStr;

use super::rule::Rule;
use mandate_core::diagnostics::{Diagnostic, SourceSpan};
use mandate_core::policies::PolicyInfo;

/// What was found, where, and what to do.
#[derive(Debug)]
pub struct Finding {
    pub rule: Rule,
    /// The id of the policy; `None` for findings in the schema.
    pub policy: Option<SmolStr>,
    pub span: Option<SourceSpan>,
    pub message: String,
    pub help: String,
}

/// The rules that one policy was checked against.
#[derive(Debug, Default)]
pub struct RuleResults {
    /// The rules that the policy is known to keep. A rule that was not checked, or that the solver could not
    /// decide, is not one of them.
    pub passed: BTreeSet<Rule>,
    pub found: Vec<Finding>,
}

impl Finding {
    /// A finding about a policy.
    pub(super) fn of(info: &PolicyInfo, rule: Rule, message: String, help: impl Into<String>) -> Self {
        Self { rule, policy: Some(info.id.clone()), span: info.span.clone(), message, help: help.into() }
    }

    /// The finding as a warning that names its rule.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let message = format!("{}: {}", self.rule.name(), self.message);
        Diagnostic::warning(message).help(self.help.clone()).at(self.span.clone())
    }
}

impl RuleResults {
    pub fn record(&mut self, rule: Rule, found: Option<Finding>) {
        match found {
            Some(finding) => self.found.push(finding),
            None => {
                self.passed.insert(rule);
            }
        }
    }
}

/// Names in backticks, separated by commas.
pub fn quoted_list<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
