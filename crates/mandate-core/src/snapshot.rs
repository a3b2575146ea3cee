//! A snapshot: policies, schema and entities as one immutable value.

use std::sync::Arc;

use super::decide::{DecideError, decide, trace_policies};
use super::decision::Decision;
use super::diagnostics::{Diagnostic, Diagnostics};
use super::entities::{Entities, EntityChanges};
use super::policies::Policies;
use super::request::{Question, Request, RequestError, RequestLimits};
use super::schema::Schema;
use super::slice::{Slice, gather};
use super::trace::PolicyTrace;
use super::version::Version;

/// What an operator decides about reading questions.
#[derive(Debug, Clone)]
pub struct RequestConfig {
    /// The longest id of a principal or resource, in bytes.
    pub max_id_bytes: usize,
    /// Entity types, by name, whose attributes callers may supply.
    pub described_by_callers: Vec<String>,
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self { max_id_bytes: RequestLimits::DEFAULT_MAX_ID_BYTES, described_by_callers: Vec::new() }
    }
}

/// Everything that an answer depends on, at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    version: Version,
    policies: Arc<Policies>,
    entities: Entities,
    limits: RequestLimits,
}

impl Snapshot {
    /// A snapshot without entities.
    ///
    /// # Errors
    /// The terms name an entity type that the schema does not have.
    pub fn new(policies: Arc<Policies>, config: &RequestConfig) -> Result<Self, Diagnostics> {
        let limits = limits(policies.schema(), config)?;
        Ok(Self { version: Version::new_unique(), policies, entities: Entities::default(), limits })
    }

    /// This snapshot with a change of its entities.
    ///
    /// # Errors
    /// Everything that is wrong with the change.
    pub fn apply(&self, change: &EntityChanges) -> Result<Self, Diagnostics> {
        let entities = self.entities.apply(change, self.policies.schema())?;
        Ok(Self { version: Version::new_unique(), entities, ..self.clone() })
    }

    /// This snapshot with other policies of the same schema; the entities stay as they are.
    ///
    /// # Errors
    /// The policies were validated against another schema.
    pub fn with_policies(&self, policies: Arc<Policies>) -> Result<Self, Diagnostics> {
        if policies.schema().digest() != self.policies.schema().digest() {
            return Err(Diagnostic::error("the schema differs, so the entities have to be read again").into());
        }
        Ok(Self { version: Version::new_unique(), policies, ..self.clone() })
    }

    /// Nothing that differs from this snapshot has its version.
    pub fn version(&self) -> Version {
        self.version
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
    pub fn request_from_question(&self, question: &Question<'_>) -> Result<Request, RequestError> {
        Request::from_question(question, self.schema(), &self.limits)
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
    pub fn trace_policies(
        &self,
        request: &Request,
        slice: &Slice<'_>,
    ) -> Result<Vec<PolicyTrace>, DecideError> {
        trace_policies(&self.policies, request, slice)
    }
}

fn limits(schema: &Schema, config: &RequestConfig) -> Result<RequestLimits, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut described_by_callers = Vec::new();
    for name in &config.described_by_callers {
        match schema.resolve_entity_type(name) {
            Ok(entity_type) if schema.entity_type(entity_type).enum_ids.is_some() => diagnostics.push(
                Diagnostic::error(format!(
                    "`{name}` is enumerated: the schema alone says which ones there are"
                ))
                .help("leave it out of `described-by-callers`"),
            ),
            Ok(entity_type) => described_by_callers.push(entity_type),
            Err(_) => diagnostics.push(
                Diagnostic::error(format!(
                    "the schema has no entity type `{name}`, so callers cannot describe it"
                ))
                .help("correct `described-by-callers`, or the schema"),
            ),
        }
    }
    diagnostics.into_result()?;
    Ok(RequestLimits { max_id_bytes: config.max_id_bytes, described_by_callers })
}
