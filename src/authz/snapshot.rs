//! A snapshot: policies, schema and entities as one immutable value, with a revision that names it.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use super::clauses::Trial;
use super::decide::{DecideError, decide, try_policies};
use super::decision::Decision;
use super::digest::Digest;
use super::entities::{Change, Entities};
use super::explain::{Budget, Explanation, explain};
use super::fault::{Fault, Faults};
use super::policies::Policies;
use super::request::{Question, Reading, Request, RequestError};
use super::routes::Routes;
use super::schema::Schema;
use super::slice::{Slice, gather};
use super::stamp::Stamp;

/// The name of a snapshot's content: the same wherever the same policies, schema and entities are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(SmolStr);

impl Revision {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    routes: Arc<Routes>,
    entities: Entities,
    reading: Reading,
    revision: Revision,
}

impl Snapshot {
    /// A snapshot without entities and without routes.
    ///
    /// # Errors
    /// The terms name an entity type that the schema does not have.
    pub fn new(policies: Arc<Policies>, terms: &Terms) -> Result<Self, Faults> {
        let reading = reading(policies.schema(), terms)?;
        Ok(Self::assemble(policies, Arc::default(), Entities::default(), reading))
    }

    fn assemble(policies: Arc<Policies>, routes: Arc<Routes>, entities: Entities, reading: Reading) -> Self {
        let digests = [*policies.digest(), *policies.schema().digest(), *routes.digest(), entities.digest()];
        let revision = Revision(Digest::of(digests.iter().map(Digest::as_bytes)).short().into());
        Self { stamp: Stamp::fresh(), policies, routes, entities, reading, revision }
    }

    /// This snapshot with a change of its entities.
    ///
    /// # Errors
    /// Everything that is wrong with the change.
    pub fn apply(&self, change: &Change) -> Result<Self, Faults> {
        let entities = self.entities.apply(change, self.policies.schema())?;
        Ok(Self::assemble(self.policies.clone(), self.routes.clone(), entities, self.reading.clone()))
    }

    /// This snapshot with other policies of the same schema; the entities stay as they are.
    ///
    /// # Errors
    /// The policies were validated against another schema.
    pub fn with_policies(&self, policies: Arc<Policies>) -> Result<Self, Faults> {
        if policies.schema().digest() != self.policies.schema().digest() {
            return Err(Fault::error("the schema differs, so the entities have to be read again").into());
        }
        Ok(Self::assemble(policies, self.routes.clone(), self.entities.clone(), self.reading.clone()))
    }

    /// This snapshot with other routes, which were read by the same schema.
    #[must_use]
    pub fn with_routes(self, routes: Arc<Routes>) -> Self {
        Self::assemble(self.policies, routes, self.entities, self.reading)
    }

    /// Nothing that differs from this snapshot has its stamp.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    pub fn schema(&self) -> &Schema {
        self.policies.schema()
    }

    pub fn entities(&self) -> &Entities {
        &self.entities
    }

    pub fn revision(&self) -> &Revision {
        &self.revision
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

    /// Explains what was decided on a request, within what the budget still has.
    ///
    /// # Errors
    /// A defect of this program; see [`DecideError`].
    pub fn explain(
        &self,
        request: &Request,
        decision: &Decision,
        budget: &mut Budget,
    ) -> Result<Explanation, DecideError> {
        explain(&self.policies, &self.entities, request, decision, budget)
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
