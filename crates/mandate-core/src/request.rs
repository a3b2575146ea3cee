//! From a question in a caller's words to a [`Request`] that fits the schema. A question that does not fit is
//! an error, never a decision. The decision on a request starts in `slice.rs`.

use jiff::tz::TimeZone;
use smol_str::SmolStr;

use super::clock::{self, Clock};
use super::json::{Object, quoted};
use super::moment::Moment;
use super::policies::EnvironmentKey;
use super::schema::{ActionDef, ActionId, ClockAttribute, EntityTypeId, EntityUid, Schema, Unresolved};
use super::value::{Completeness, Dialect, Record, ValueReader};

/// A question in a caller's words, from any transport.
///
/// ```
/// use std::sync::Arc;
///
/// use mandate_core::Snapshot;
/// use mandate_core::clock::Clock;
/// use mandate_core::diagnostics::SourceText;
/// use mandate_core::json::Json;
/// use mandate_core::policies::Policies;
/// use mandate_core::request::{Question, QuestionEntity, RequestPart};
/// use mandate_core::schema::Schema;
/// use mandate_core::snapshot::RequestConfig;
///
/// let schema = "entity User; entity Channel enum [\"api\", \"ui\"];
///     action view appliesTo { principal: User, resource: User, context: { channel: Channel } };";
/// let schema = Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", schema))?.0);
/// let policies = Arc::new(Policies::parse(&[], schema)?.0);
/// let snapshot = Snapshot::new(policies, &RequestConfig::default())?;
///
/// let eve = QuestionEntity { entity_type: "User", id: "eve", properties: None };
/// let context = Json::parse(br#"{ "channel": "fax" }"#).expect("valid JSON");
/// let question = Question {
///     principal: eve,
///     action: "view",
///     action_properties: None,
///     resource: eve,
///     context: context.as_object(),
/// };
/// let error = snapshot.request_from_question(&question, Clock::InQuestion).expect_err("`fax` is not a channel");
/// assert_eq!((error.part, error.path.as_str()), (RequestPart::Context, ".channel"));
/// assert_eq!(error.message, "`fax` is not a valid `Channel`: expected one of `api`, `ui`");
/// # Ok::<(), mandate_core::diagnostics::Diagnostics>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub principal: QuestionEntity<'a>,
    pub action: &'a str,
    /// Attributes of the action. Cedar's actions have none, so these are added to the context.
    pub action_properties: Option<&'a Object<'a>>,
    pub resource: QuestionEntity<'a>,
    pub context: Option<&'a Object<'a>>,
}

/// A principal or a resource in a caller's words.
#[derive(Debug, Clone, Copy)]
pub struct QuestionEntity<'a> {
    /// The entity type, with its namespace or without.
    pub entity_type: &'a str,
    pub id: &'a str,
    /// Attributes sent by the caller. Ignored unless the entity type is listed in `described-by-callers`.
    pub properties: Option<&'a Object<'a>>,
}

/// A request that fits the schema, in its types, its context and what the caller describes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    pub action: ActionId,
    pub principal: EntityUid,
    pub resource: EntityUid,
    pub context: Record,
    /// When it is asked, if entities of the schema end at times of their own (`@valid_until`); `None` counts none of
    /// them as ended.
    pub asked_at: Option<Moment>,
    /// Attributes sent by the caller, if the entity type is listed in `described-by-callers`.
    pub principal_properties: Option<Record>,
    pub resource_properties: Option<Record>,
}

/// The part of a question that an error is about. Each transport has its own name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPart {
    PrincipalType,
    PrincipalId,
    PrincipalProperties,
    Action,
    ActionProperties,
    ResourceType,
    ResourceId,
    ResourceProperties,
    Context,
}

/// Why a question is not a request: what to fix, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    pub part: RequestPart,
    /// Inside the part: `.channel`, `.roles[2]`; empty for the part itself.
    pub path: String,
    pub message: String,
}

/// Operator settings for requests, with type names resolved against the schema.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// The longest id of an entity, in bytes.
    pub max_id_bytes: usize,
    /// Entity types whose attributes callers may send.
    pub described_by_callers: Vec<EntityTypeId>,
    /// Where days of the week begin and end.
    pub time_zone: TimeZone,
}

impl RequestLimits {
    /// The longest id that is accepted unless the operator says otherwise, in bytes.
    pub const DEFAULT_MAX_ID_BYTES: usize = 512;
}

impl Default for RequestLimits {
    fn default() -> Self {
        let (described_by_callers, time_zone) = (Vec::new(), TimeZone::UTC);
        Self { max_id_bytes: Self::DEFAULT_MAX_ID_BYTES, described_by_callers, time_zone }
    }
}

impl Request {
    pub fn environment(&self) -> EnvironmentKey {
        (self.action, self.principal.entity_type, self.resource.entity_type)
    }

    /// The context without the time: what a caller can send.
    pub fn context_of_caller(&self, schema: &Schema) -> Record {
        let clocks = &schema.action(self.action).clocks;
        let of_caller =
            self.context.iter().filter(|(name, _)| clocks.iter().all(|clock| clock.name != **name));
        of_caller.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// About how many bytes of memory the request takes.
    pub fn estimated_bytes(&self) -> usize {
        let described = [&self.principal_properties, &self.resource_properties].into_iter().flatten();
        let records = described.chain([&self.context]).map(Record::estimated_bytes).sum::<usize>();
        size_of::<Self>() + self.principal.id.len() + self.resource.id.len() + records
    }

    /// Reads a question by the schema.
    ///
    /// # Errors
    /// The first part of the question that does not fit the schema.
    pub fn from_question(
        question: &Question<'_>,
        schema: &Schema,
        limits: &RequestLimits,
        clock: Clock,
    ) -> Result<Self, RequestError> {
        let action =
            schema.resolve_action(question.action).map_err(|why| unknown_action(question.action, why))?;
        let principal = resolve_entity(
            &question.principal,
            RequestPart::PrincipalType,
            RequestPart::PrincipalId,
            schema,
            limits,
        )?;
        let resource = resolve_entity(
            &question.resource,
            RequestPart::ResourceType,
            RequestPart::ResourceId,
            schema,
            limits,
        )?;
        check_applies_to(schema, action, &principal, &resource)?;
        let context = context(question, schema, action, limits, clock)?;
        let asked_at = match clock {
            _ if !schema.has_ends() => None,
            Clock::At(moment) => Some(moment),
            Clock::InQuestion => clock::told(&schema.action(action).clocks, &context),
        };
        Ok(Self {
            context,
            asked_at,
            principal_properties: properties(
                &question.principal,
                &principal,
                RequestPart::PrincipalProperties,
                schema,
                limits,
            )?,
            resource_properties: properties(
                &question.resource,
                &resource,
                RequestPart::ResourceProperties,
                schema,
                limits,
            )?,
            action,
            principal,
            resource,
        })
    }
}

fn error(part: RequestPart, message: String) -> RequestError {
    RequestError { part, path: String::new(), message }
}

fn unknown_action(name: &str, why: Unresolved) -> RequestError {
    let name = quoted(name);
    error(
        RequestPart::Action,
        match why {
            Unresolved::Unknown => format!("the schema has no action {name}"),
            Unresolved::Ambiguous => {
                format!("{name} is in several namespaces: write `Namespace::Action::\"…\"`")
            }
        },
    )
}

fn resolve_entity(
    question_entity: &QuestionEntity<'_>,
    type_part: RequestPart,
    id_part: RequestPart,
    schema: &Schema,
    limits: &RequestLimits,
) -> Result<EntityUid, RequestError> {
    let entity_type = schema.resolve_entity_type(question_entity.entity_type).map_err(|why| {
        let name = quoted(question_entity.entity_type);
        error(
            type_part,
            match why {
                Unresolved::Unknown => format!("the schema has no entity type {name}"),
                Unresolved::Ambiguous => {
                    format!("{name} is in several namespaces: write it with its namespace")
                }
            },
        )
    })?;
    if question_entity.id.len() > limits.max_id_bytes {
        return Err(error(id_part, format!("longer than {} bytes", limits.max_id_bytes)));
    }
    Ok(EntityUid { entity_type, id: SmolStr::new(question_entity.id) })
}

fn check_applies_to(
    schema: &Schema,
    action: ActionId,
    principal: &EntityUid,
    resource: &EntityUid,
) -> Result<(), RequestError> {
    let info = schema.action(action);
    let check = |part, entity_types: &[EntityTypeId], entity_type: EntityTypeId, role| {
        if entity_types.contains(&entity_type) {
            return Ok(());
        }
        let wanted: Vec<String> = entity_types
            .iter()
            .map(|entity_type| format!("`{}`", schema.entity_type(*entity_type).name))
            .collect();
        let wanted = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(", ") };
        let (action, found) = (&info.name, &schema.entity_type(entity_type).name);
        Err(error(part, format!("`{action}` does not apply to the {role} `{found}`, only to {wanted}")))
    };
    check(RequestPart::PrincipalType, &info.principal_types, principal.entity_type, "principal type")?;
    check(RequestPart::ResourceType, &info.resource_types, resource.entity_type, "resource type")
}

/// The context: the caller's own and the properties of the action, read by the action's context type, and the time.
fn context(
    question: &Question<'_>,
    schema: &Schema,
    action: ActionId,
    limits: &RequestLimits,
    clock: Clock,
) -> Result<Record, RequestError> {
    let ActionDef { context_type: ty, clocks, .. } = schema.action(action);
    let time = match clock {
        Clock::At(moment) if !clocks.is_empty() => {
            refuse_time(question, clocks)?;
            Some(clock::values(clocks, moment, &limits.time_zone))
        }
        Clock::At(_) | Clock::InQuestion => None,
    };
    let empty = Object::default();
    let read = |object: Option<&Object<'_>>, part| {
        let mut reader = ValueReader::for_request(schema, limits.max_id_bytes);
        let record = reader.record(object.unwrap_or(&empty), ty, Completeness::Partial);
        first_mismatch(reader, part).map(|()| record)
    };
    let own = read(question.context, RequestPart::Context)?;
    let properties = read(question.action_properties, RequestPart::ActionProperties)?;
    if let Some((name, _)) =
        properties.iter().find(|(name, value)| own.get(name).is_some_and(|v| v != *value))
    {
        let message = "given as the action's property and in the context, with different values".to_owned();
        return Err(RequestError { part: RequestPart::Context, path: format!(".{name}"), message });
    }
    let mut record = own.with_overrides(&properties);
    if let Some(time) = time {
        record = record.with_overrides(&time);
    }
    missing_attribute(&record, ty, schema).map_or(Ok(record), Err)
}

/// Refuses a question that tells the time: only the decision point may.
fn refuse_time(question: &Question<'_>, clocks: &[ClockAttribute]) -> Result<(), RequestError> {
    let parts = [
        (question.context, RequestPart::Context),
        (question.action_properties, RequestPart::ActionProperties),
    ];
    for (object, part) in parts {
        let sent = clocks.iter().find(|clock| object.is_some_and(|object| object.get(&clock.name).is_some()));
        if let Some(ClockAttribute { name, .. }) = sent {
            let message = "comes from the clock of the decision point: leave it out".to_owned();
            return Err(RequestError { part, path: format!(".{name}"), message });
        }
    }
    Ok(())
}

/// The first required context attribute that is missing.
fn missing_attribute(
    record: &Record,
    ty: &super::schema::RecordType,
    schema: &Schema,
) -> Option<RequestError> {
    let (name, attribute) =
        ty.iter().find(|(name, attribute)| attribute.required && record.get(name).is_none())?;
    let wanted = ValueReader::new(schema, Dialect::Request, "").expected(&attribute.ty);
    let message = match attribute.clock {
        Some(_) => format!("missing: no clock gives `{name}` here: expected {wanted}"),
        None => format!("missing: expected {wanted}"),
    };
    Some(RequestError { part: RequestPart::Context, path: format!(".{name}"), message })
}

/// The caller's description of an entity, if there is one and the entity type is listed in
/// `described-by-callers`.
fn properties(
    question_entity: &QuestionEntity<'_>,
    entity: &EntityUid,
    part: RequestPart,
    schema: &Schema,
    limits: &RequestLimits,
) -> Result<Option<Record>, RequestError> {
    let Some(properties) =
        question_entity.properties.filter(|_| limits.described_by_callers.contains(&entity.entity_type))
    else {
        return Ok(None);
    };
    let mut reader = ValueReader::for_request(schema, limits.max_id_bytes);
    let record =
        reader.record(properties, &schema.entity_type(entity.entity_type).attributes, Completeness::Partial);
    first_mismatch(reader, part).map(|()| Some(record))
}

fn first_mismatch(reader: ValueReader<'_>, part: RequestPart) -> Result<(), RequestError> {
    match reader.mismatches.into_iter().next() {
        Some(mismatch) => Err(RequestError { part, path: mismatch.path, message: mismatch.message }),
        None => Ok(()),
    }
}
