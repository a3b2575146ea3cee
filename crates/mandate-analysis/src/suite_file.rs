//! The format of a suite file: named cases, and tables in which each cell is a case. Whether an entry has all
//! that it needs is checked in `suite`, where cases are made.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::given::Given;

/// A suite: cases, and tables of cases.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuiteFile {
    pub cases: Vec<Entry>,
    pub tables: Vec<Entry>,
}

/// An entry with its place.
pub type Entry = Spanned<SuiteEntry>;

/// A case, a table, or a row or column of a table. Each can have any part of a question; which parts are
/// missing is checked when cases are made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteEntry {
    /// Empty if it is missing.
    #[serde(default)]
    pub name: String,
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
    /// What is so once the action of the case has changed the entities.
    #[serde(default)]
    pub after: Vec<Given>,
    /// The steps that follow, each with what it expects. Only a case has them.
    #[serde(default)]
    pub then: Vec<Entry>,
    #[serde(default)]
    pub columns: Vec<Entry>,
    #[serde(default)]
    pub rows: Vec<Entry>,
}

/// One answer, or several.
#[derive(Debug)]
pub enum ExpectedAnswers {
    One(ExpectedAnswer),
    Several(Vec<ExpectedAnswer>),
}

pub type Context = BTreeMap<String, serde_json::Value>;

/// The answer that a case expects, and the policies that determine it if the case names them.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedPolicies {
    Permit(Vec<Spanned<String>>),
    Deny(Vec<Spanned<String>>),
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

    /// The ids of the policies that have to determine the answer; `None` if any may.
    pub fn policies(&self) -> Option<&[Spanned<String>]> {
        match self {
            Self::Decision(_) => None,
            Self::DeterminedBy(ExpectedPolicies::Permit(ids) | ExpectedPolicies::Deny(ids)) => Some(ids),
        }
    }
}

/// Not derived as an untagged enum, which would lose the places of ids and of mistakes.
struct AnswersVisitor;

impl<'de> Visitor<'de> for AnswersVisitor {
    type Value = ExpectedAnswers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer such as `permit`, `deny`, `{ permit: [ids] }` or `{ deny: [ids] }`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        let decision = ExpectedDecision::deserialize(word.into_deserializer())?;
        Ok(ExpectedAnswers::One(ExpectedAnswer::Decision(decision)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let policies = ExpectedPolicies::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ExpectedAnswers::One(ExpectedAnswer::DeterminedBy(policies)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, answers: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(answers)).map(ExpectedAnswers::Several)
    }
}

impl<'de> Deserialize<'de> for ExpectedAnswers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnswersVisitor)
    }
}

impl<'de> Deserialize<'de> for ExpectedAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ExpectedAnswers::deserialize(deserializer)? {
            ExpectedAnswers::One(answer) => Ok(answer),
            ExpectedAnswers::Several(_) => Err(D::Error::custom("expected one answer, found a list")),
        }
    }
}
