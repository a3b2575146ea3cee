//! The form of a suite file: named cases, and tables in which each cell is a case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::given::Given;

/// A suite: cases, and tables of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuiteFile {
    pub cases: Vec<SuiteEntry>,
    pub tables: Vec<SuiteEntry>,
}

/// A case, a table, or a table's row or column: each can say any part of a question, and which other
/// parts it has to have is checked when cases are made of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteEntry {
    pub name: Spanned<String>,
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub context: Option<Context>,
    #[serde(default)]
    pub given: Vec<Given>,
    /// A case's answer, or a row's, one for each column.
    pub expect: Option<ExpectedAnswers>,
    #[serde(default)]
    pub columns: Vec<SuiteEntry>,
    #[serde(default)]
    pub rows: Vec<SuiteEntry>,
}

/// One answer, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum ExpectedAnswers {
    One(ExpectedAnswer),
    Several(Vec<ExpectedAnswer>),
}

pub type Context = BTreeMap<String, serde_json::Value>;

/// What a case expects: an answer, and which policies gave it where that matters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ExpectedAnswer {
    Decision(ExpectedDecision),
    DeterminedBy(ExpectedPolicies),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedDecision {
    Permit,
    Deny,
    /// The question is none by the schema.
    Error,
}

/// `{ permit: [ids] }` or `{ deny: [ids] }`: exactly these policies determined the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedPolicies {
    Permit(Vec<String>),
    Deny(Vec<String>),
}

impl ExpectedAnswers {
    /// How many answers there are.
    pub fn answers(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(answers) => answers.len(),
        }
    }
}

impl ExpectedAnswer {
    pub fn decision(&self) -> ExpectedDecision {
        match self {
            Self::Decision(verdict) => *verdict,
            Self::DeterminedBy(ExpectedPolicies::Permit(_)) => ExpectedDecision::Permit,
            Self::DeterminedBy(ExpectedPolicies::Deny(_)) => ExpectedDecision::Deny,
        }
    }

    /// The policies that have to have determined the answer, sorted; `None` where any may.
    pub fn policies(&self) -> Option<Vec<String>> {
        let Self::DeterminedBy(ExpectedPolicies::Permit(policies) | ExpectedPolicies::Deny(policies)) = self
        else {
            return None;
        };
        let mut policies = policies.clone();
        policies.sort();
        Some(policies)
    }
}
