//! A snapshot: policies, schema and entities as one immutable value.

use std::sync::Arc;

use super::clauses::Trial;
use super::decide::{DecideError, decide, try_policies};
use super::decision::Decision;
use super::entities::{Change, Entities};
use super::fault::{Fault, Faults};
use super::policies::Policies;
use super::request::{Question, Reading, Request, RequestError};
use super::schema::Schema;
use super::slice::{Slice, gather};
use super::stamp::Stamp;

/// What an operator decides about reading questions.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The longest id of a principal or resource, in bytes.
    pub longest_id: usize,
    /// Entity types, by name, whose attributes callers may supply.
    pub described_by_callers: Vec<String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { longest_id: Reading::LONGEST_ID, described_by_callers: Vec::new() }
    }
}

/// Everything that an answer depends on, at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    stamp: Stamp,
    policies: Arc<Policies>,
    entities: Entities,
    reading: Reading,
}

impl Snapshot {
    /// A snapshot without entities.
    ///
    /// # Errors
    /// The terms name an entity type that the schema does not have.
    pub fn new(policies: Arc<Policies>, terms: &Terms) -> Result<Self, Faults> {
        let reading = reading(policies.schema(), terms)?;
        Ok(Self { stamp: Stamp::fresh(), policies, entities: Entities::default(), reading })
    }

    /// This snapshot with a change of its entities.
    ///
    /// # Errors
    /// Everything that is wrong with the change.
    pub fn apply(&self, change: &Change) -> Result<Self, Faults> {
        let entities = self.entities.apply(change, self.policies.schema())?;
        Ok(Self { stamp: Stamp::fresh(), entities, ..self.clone() })
    }

    /// This snapshot with other policies of the same schema; the entities stay as they are.
    ///
    /// # Errors
    /// The policies were validated against another schema.
    pub fn with_policies(&self, policies: Arc<Policies>) -> Result<Self, Faults> {
        if policies.schema().digest() != self.policies.schema().digest() {
            return Err(Fault::error("the schema differs, so the entities have to be read again").into());
        }
        Ok(Self { stamp: Stamp::fresh(), policies, ..self.clone() })
    }

    /// Nothing that differs from this snapshot has its stamp.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    pub fn schema(&self) -> &Schema {
        self.policies.schema()
    }

    pub fn entities(&self) -> &Entities {
        &self.entities
    }

    /// Reads a question by this snapshot's schema.
    ///
    /// # Errors
    /// What has to be fixed before the question can be answered.
    pub fn read(&self, question: &Question<'_>) -> Result<Request, RequestError> {
        Request::read(question, self.schema(), &self.reading)
    }

    /// The entities that a decision on the request can read.
    pub fn gather<'a>(&'a self, request: &'a Request) -> Slice<'a> {
        let level = self.policies.candidates(request.environment()).map_or(0, |policies| policies.level);
        gather(&self.entities, request, self.schema(), level)
    }

    /// Decides on what was gathered for the request.
    ///
    /// # Errors
    /// A defect of this program; see [`DecideError`].
    pub fn decide(&self, request: &Request, slice: &Slice<'_>) -> Result<Decision, DecideError> {
        decide(&self.policies, request, slice)
    }

    /// What each policy whose scope takes the request makes of it, clause by clause.
    ///
    /// # Errors
    /// A defect of this program; see [`DecideError`].
    pub fn try_policies(&self, request: &Request, slice: &Slice<'_>) -> Result<Vec<Trial>, DecideError> {
        try_policies(&self.policies, request, slice)
    }
}

fn reading(schema: &Schema, terms: &Terms) -> Result<Reading, Faults> {
    let mut faults = Faults::default();
    let mut described_by_callers = Vec::new();
    for name in &terms.described_by_callers {
        match schema.kind_named(name) {
            Ok(kind) if schema.kind(kind).enumerated.is_some() => faults.push(
                Fault::error(format!("`{name}` is enumerated: the schema alone says which ones there are"))
                    .help("leave it out of `described-by-callers`"),
            ),
            Ok(kind) => described_by_callers.push(kind),
            Err(_) => faults.push(
                Fault::error(format!(
                    "the schema has no entity type `{name}`, so callers cannot describe it"
                ))
                .help("correct `described-by-callers`, or the schema"),
            ),
        }
    }
    faults.into_result()?;
    Ok(Reading { longest_id: terms.longest_id, described_by_callers })
}
