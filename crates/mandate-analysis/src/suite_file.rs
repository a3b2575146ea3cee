//! The format of a suite file: named cases, and tables in which each cell is a case. Whether an entry has all
//! that it needs is checked in `suite`, where cases are made.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::given::Given;

/// A suite: cases, and tables of cases.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuiteFile {
    pub cases: Vec<SuiteEntry>,
    pub tables: Vec<SuiteEntry>,
}

/// A case, a table, or a row or column of a table. Each can have any part of a question; which parts are
/// missing is checked when cases are made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteEntry {
    pub name: Spanned<String>,
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub context: Option<Context>,
    /// Method and path of an HTTP request. The routes make its question.
    pub request: Option<String>,
    /// The headers of the request as the gateway passes them on. A value that is no string stands for its
    /// JSON, and an array for a header that is repeated.
    pub headers: Option<BTreeMap<String, serde_json::Value>>,
    /// The body; a value that is no string stands for its JSON.
    pub body: Option<serde_json::Value>,
    /// The metadata of Envoy's filters.
    pub metadata: Option<serde_json::Value>,
    /// The context extensions of Envoy.
    pub extensions: Option<BTreeMap<String, String>>,
    /// The name that the gateway took from the client's certificate.
    pub peer: Option<String>,
    /// The client's certificate, in PEM.
    pub certificate: Option<String>,
    /// The id of the route that has to match.
    pub route: Option<String>,
    #[serde(default)]
    pub given: Vec<Given>,
    /// One answer for a case; for a row, a list with one answer for each column.
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

/// The answer that a case expects, and the policies that determine it if the case names them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ExpectedAnswer {
    Decision(ExpectedDecision),
    DeterminedBy(ExpectedPolicies),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedDecision {
    Permit,
    Deny,
    /// The question does not fit the schema.
    Error,
    /// No route matches the HTTP request.
    NoRoute,
    /// The path is refused, or a value that the route reads is missing or ambiguous.
    Refused,
}

/// `{ permit: [ids] }` or `{ deny: [ids] }`: exactly these policies determined the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedPolicies {
    Permit(Vec<String>),
    Deny(Vec<String>),
}

impl ExpectedAnswers {
    /// The number of answers.
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
            Self::Decision(decision) => *decision,
            Self::DeterminedBy(ExpectedPolicies::Permit(_)) => ExpectedDecision::Permit,
            Self::DeterminedBy(ExpectedPolicies::Deny(_)) => ExpectedDecision::Deny,
        }
    }

    /// The policies that have to determine the answer, sorted; `None` if any may.
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
