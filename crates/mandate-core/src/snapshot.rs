//! A snapshot: policies, schema and entities as one immutable value. It keeps no history and no cache. A
//! request goes through `request.rs`, `slice.rs` and `decide.rs`; a change of entities through
//! `entities/apply.rs`.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::clock::{self, Clock};
use super::decide::{DecideError, decide, trace_policies};
use super::decision::Decision;
use super::diagnostics::{Diagnostic, Diagnostics};
use super::entities::{Entities, EntityChanges};
use super::moment::Moment;
use super::policies::Policies;
use super::request::{Question, Request, RequestError, RequestLimits};
use super::schema::Schema;
use super::slice::{Slice, gather};
use super::trace::PolicyTrace;
use super::version::Version;

/// Operator settings for parsing requests.
#[derive(Debug, Clone)]
pub struct RequestConfig {
    /// The longest id of a principal or resource, in bytes.
    pub max_id_bytes: usize,
    /// Names of entity types whose attributes callers may send.
    pub described_by_callers: Vec<String>,
    /// Where days of the week begin and end.
    pub time_zone: TimeZone,
}

impl Default for RequestConfig {
    fn default() -> Self {
        let (described_by_callers, time_zone) = (Vec::new(), TimeZone::UTC);
        Self { max_id_bytes: RequestLimits::DEFAULT_MAX_ID_BYTES, described_by_callers, time_zone }
    }
}

/// Everything that an answer depends on, at one moment.
///
/// ```
/// use std::sync::Arc;
///
/// use mandate_core::Snapshot;
/// use mandate_core::clock::Clock;
/// use mandate_core::diagnostics::SourceText;
/// use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
/// use mandate_core::policies::Policies;
/// use mandate_core::request::{Question, QuestionEntity};
/// use mandate_core::schema::Schema;
/// use mandate_core::snapshot::RequestConfig;
///
/// let schema = "entity Team; entity User in [Team]; action view appliesTo { principal: User, resource: Team };";
/// let schema = Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", schema))?.0);
/// let policy = r#"@id("own-team") permit (principal, action, resource) when { principal in resource };"#;
/// let policies = Policies::parse(&[SourceText::new("team.cedar", policy)], Arc::clone(&schema))?.0;
/// let entities = r#"[
///     { "uid": { "type": "Team", "id": "a" }, "attrs": {}, "parents": [] },
///     { "uid": { "type": "Team", "id": "b" }, "attrs": {}, "parents": [] },
///     { "uid": { "type": "User", "id": "eve" }, "attrs": {}, "parents": [{ "type": "Team", "id": "a" }] }
/// ]"#;
/// let file = SourceText::new("staff.json", entities);
/// let upserts = parse_entity_file(&file, Origin(0), &schema, &LoadProgress::default())?;
/// let snapshot = Snapshot::new(Arc::new(policies), &RequestConfig::default())?
///     .apply(&EntityChanges { upserts, removals: Vec::new() })?;
///
/// let may_view = |team| {
///     let question = Question {
///         principal: QuestionEntity { entity_type: "User", id: "eve", properties: None },
///         action: "view",
///         action_properties: None,
///         resource: QuestionEntity { entity_type: "Team", id: team, properties: None },
///         context: None,
///     };
///     let request = snapshot.request_from_question(&question, Clock::InQuestion).expect("it fits the schema");
///     let decision = snapshot.decide(&request, &snapshot.gather(&request)).expect("it can be decided");
///     decision.is_permit()
/// };
/// assert!(may_view("a"));
/// assert!(!may_view("b"));
/// # Ok::<(), mandate_core::diagnostics::Diagnostics>(())
/// ```
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
    /// The settings name an entity type that the schema does not have, or that is enumerated.
    pub fn new(policies: Arc<Policies>, config: &RequestConfig) -> Result<Self, Diagnostics> {
        let limits = limits(policies.schema(), config)?;
        Ok(Self { version: Version::new_unique(), policies, entities: Entities::default(), limits })
    }

    /// This snapshot with a change of its entities.
    ///
    /// # Errors
    /// Every error of the change.
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
            return Err(Diagnostic::error("the schema differs, so the entities must be read again").into());
        }
        Ok(Self { version: Version::new_unique(), policies, ..self.clone() })
    }

    /// A version that no other snapshot in this process has.
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
    /// The first part of the question that does not fit the schema.
    pub fn request_from_question(
        &self,
        question: &Question<'_>,
        clock: Clock,
    ) -> Result<Request, RequestError> {
        Request::from_question(question, self.schema(), &self.limits, clock)
    }

    /// The entities that a decision on the request can read.
    pub fn gather<'a>(&'a self, request: &'a Request) -> Slice<'a> {
        let level = self.policies.candidates(request.environment()).map_or(0, |policies| policies.level);
        gather(&self.entities, request, self.schema(), level)
    }

    /// Decides on what was gathered for the request.
    ///
    /// # Errors
    /// A bug in Mandate; see [`DecideError`].
    pub fn decide(&self, request: &Request, slice: &Slice<'_>) -> Result<Decision, DecideError> {
        decide(&self.policies, request, slice)
    }

    /// When the time may change a decision on the request, which was read by this clock: until then, it holds on these
    /// policies and entities. `None` if no policy for such requests reads the time.
    pub fn valid_until(&self, request: &Request, clock: Clock) -> Option<Moment> {
        let Clock::At(moment) = clock else { return None };
        let policies = self.policies.candidates(request.environment())?;
        clock::end(&policies.clocks, moment, &self.limits.time_zone)
    }

    /// The result of each policy whose scope matches the request, clause by clause.
    ///
    /// # Errors
    /// A bug in Mandate; see [`DecideError`].
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
                    "`{name}` is an enumerated type: its entities are declared in the schema"
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
    let time_zone = config.time_zone.clone();
    Ok(RequestLimits { max_id_bytes: config.max_id_bytes, described_by_callers, time_zone })
}
