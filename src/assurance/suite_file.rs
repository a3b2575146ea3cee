//! The form of a suite file: named cases, and tables in which each cell is a case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::given::Given;

/// A suite: cases, and tables of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuiteFile {
    pub cases: Vec<CaseEntry>,
    pub tables: Vec<Table>,
}

/// One question with its expected answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseEntry {
    pub name: Spanned<String>,
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub context: Option<Context>,
    #[serde(default)]
    pub given: Vec<Given>,
    pub expect: Expect,
}

/// Rows by columns; what a cell's case needs is taken from its row, else its column, else the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub name: String,
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub context: Option<Context>,
    #[serde(default)]
    pub given: Vec<Given>,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub context: Option<Context>,
    #[serde(default)]
    pub given: Vec<Given>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: Spanned<String>,
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub context: Option<Context>,
    #[serde(default)]
    pub given: Vec<Given>,
    /// In the order of the columns.
    pub expect: Vec<Expect>,
}

pub type Context = BTreeMap<String, serde_json::Value>;

/// What a case expects: an answer, and which policies gave it where that matters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Expect {
    Answer(Verdict),
    By(By),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Permit,
    Deny,
    /// The question is none by the schema.
    Error,
}

/// `{ permit: [ids] }` or `{ deny: [ids] }`: exactly these policies determined the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Permit(Vec<String>),
    Deny(Vec<String>),
}

impl Expect {
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Answer(verdict) => *verdict,
            Self::By(By::Permit(_)) => Verdict::Permit,
            Self::By(By::Deny(_)) => Verdict::Deny,
        }
    }

    /// The policies that have to have determined the answer, sorted; `None` where any may.
    pub fn policies(&self) -> Option<Vec<String>> {
        let Self::By(By::Permit(policies) | By::Deny(policies)) = self else { return None };
        let mut policies = policies.clone();
        policies.sort();
        Some(policies)
    }
}
