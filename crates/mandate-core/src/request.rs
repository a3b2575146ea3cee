//! From a question as a caller words it to a request that fits the schema.
//! Everything below works on [`Request`]; what cannot become one is an error, never a decision.

use smol_str::SmolStr;

use super::json::{Object, quoted};
use super::policies::Environment;
use super::schema::{ActionId, EntityRef, Kind, Schema, Unresolved};
use super::value::{Dialect, Record, Required, ValueReader};

/// A question in a caller's words, from any transport.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub principal: Named<'a>,
    pub action: &'a str,
    /// Attributes of the action. Cedar's actions take none, so they join the context.
    pub action_properties: Option<&'a Object<'a>>,
    pub resource: Named<'a>,
    pub context: Option<&'a Object<'a>>,
}

/// A principal or a resource in a caller's words.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The entity type, with its namespace or without.
    pub kind: &'a str,
    pub id: &'a str,
    /// The caller's own word about the entity; counts only where the operator said so.
    pub properties: Option<&'a Object<'a>>,
}

/// A request that fits the schema: its types, its context, and what the caller may describe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    pub action: ActionId,
    pub principal: EntityRef,
    pub resource: EntityRef,
    pub context: Record,
    /// The caller's description, where the entity's type is declared as described by callers.
    pub principal_described: Option<Record>,
    pub resource_described: Option<Record>,
}

/// The part of a question that an error is about. Transports name it in their own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
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

/// Why a question is not a request: one sentence that says what to fix and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    pub part: Part,
    /// Inside the part: `.channel`, `.roles[2]`; empty for the part itself.
    pub path: String,
    pub message: String,
}

/// What a reader of questions has to know besides the schema.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The longest id of an entity, in bytes.
    pub longest_id: usize,
    /// Kinds whose attributes callers may supply.
    pub described_by_callers: Vec<Kind>,
}

impl Reading {
    /// The longest id that is accepted unless the operator says otherwise, in bytes.
    pub const LONGEST_ID: usize = 512;
}

impl Default for Reading {
    fn default() -> Self {
        Self { longest_id: Self::LONGEST_ID, described_by_callers: Vec::new() }
    }
}

impl Request {
    pub fn environment(&self) -> Environment {
        (self.action, self.principal.kind, self.resource.kind)
    }

    /// About how many bytes the request takes.
    pub fn size(&self) -> usize {
        let described = [&self.principal_described, &self.resource_described].into_iter().flatten();
        let records = described.chain([&self.context]).map(Record::size).sum::<usize>();
        size_of::<Self>() + self.principal.id.len() + self.resource.id.len() + records
    }

    /// Reads a question by the schema.
    ///
    /// # Errors
    /// The first thing that has to be fixed before the question can be answered.
    pub fn read(question: &Question<'_>, schema: &Schema, reading: &Reading) -> Result<Self, RequestError> {
        let action =
            schema.action_named(question.action).map_err(|why| unknown_action(question.action, why))?;
        let principal = entity(&question.principal, Part::PrincipalType, Part::PrincipalId, schema, reading)?;
        let resource = entity(&question.resource, Part::ResourceType, Part::ResourceId, schema, reading)?;
        applies(schema, action, &principal, &resource)?;
        Ok(Self {
            context: context(question, schema, action, reading)?,
            principal_described: described(
                &question.principal,
                &principal,
                Part::PrincipalProperties,
                schema,
                reading,
            )?,
            resource_described: described(
                &question.resource,
                &resource,
                Part::ResourceProperties,
                schema,
                reading,
            )?,
            action,
            principal,
            resource,
        })
    }
}

fn error(part: Part, message: String) -> RequestError {
    RequestError { part, path: String::new(), message }
}

fn unknown_action(name: &str, why: Unresolved) -> RequestError {
    let name = quoted(name);
    error(
        Part::Action,
        match why {
            Unresolved::Unknown => format!("the schema has no action {name}"),
            Unresolved::Ambiguous => {
                format!("{name} stands in several namespaces: write `Namespace::Action::\"…\"`")
            }
        },
    )
}

fn entity(
    named: &Named<'_>,
    kind_part: Part,
    id_part: Part,
    schema: &Schema,
    reading: &Reading,
) -> Result<EntityRef, RequestError> {
    let kind = schema.kind_named(named.kind).map_err(|why| {
        let name = quoted(named.kind);
        error(
            kind_part,
            match why {
                Unresolved::Unknown => format!("the schema has no entity type {name}"),
                Unresolved::Ambiguous => {
                    format!("{name} stands in several namespaces: write it with its namespace")
                }
            },
        )
    })?;
    if named.id.len() > reading.longest_id {
        return Err(error(id_part, format!("longer than {} bytes", reading.longest_id)));
    }
    Ok(EntityRef { kind, id: SmolStr::new(named.id) })
}

fn applies(
    schema: &Schema,
    action: ActionId,
    principal: &EntityRef,
    resource: &EntityRef,
) -> Result<(), RequestError> {
    let info = schema.action(action);
    let check = |part, kinds: &[Kind], kind: Kind, role| {
        if kinds.contains(&kind) {
            return Ok(());
        }
        let wanted: Vec<String> = kinds.iter().map(|kind| format!("`{}`", schema.kind(*kind).name)).collect();
        let wanted = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(", ") };
        let (action, found) = (&info.name, &schema.kind(kind).name);
        Err(error(part, format!("`{action}` does not apply to the {role} `{found}`, only to {wanted}")))
    };
    check(Part::PrincipalType, &info.principals, principal.kind, "principal type")?;
    check(Part::ResourceType, &info.resources, resource.kind, "resource type")
}

/// The context: the caller's own and the action's properties, read by the action's context type.
fn context(
    question: &Question<'_>,
    schema: &Schema,
    action: ActionId,
    reading: &Reading,
) -> Result<Record, RequestError> {
    let ty = &schema.action(action).context;
    let empty = Object::default();
    let read = |object: Option<&Object<'_>>, part| {
        let mut reader = ValueReader::of_caller(schema, reading.longest_id);
        let record = reader.record(object.unwrap_or(&empty), ty, Required::Partial);
        first_misfit(reader, part).map(|()| record)
    };
    let own = read(question.context, Part::Context)?;
    let properties = read(question.action_properties, Part::ActionProperties)?;
    if let Some((name, _)) =
        properties.iter().find(|(name, value)| own.get(name).is_some_and(|v| v != *value))
    {
        let message = "given as the action's property and in the context, with different values".to_owned();
        return Err(RequestError { part: Part::Context, path: format!(".{name}"), message });
    }
    let record = own.overlaid(&properties);
    missing(&record, ty, schema).map_or(Ok(record), Err)
}

/// The first required context attribute that is not there.
fn missing(record: &Record, ty: &super::schema::RecordType, schema: &Schema) -> Option<RequestError> {
    let (name, attribute) =
        ty.iter().find(|(name, attribute)| attribute.required && record.get(name).is_none())?;
    let wanted = ValueReader::new(schema, Dialect::Caller, "").describe(&attribute.ty);
    let message = format!("missing: it has to be {wanted}");
    Some(RequestError { part: Part::Context, path: format!(".{name}"), message })
}

/// The caller's description of an entity, if its type takes one and the caller gave one.
fn described(
    named: &Named<'_>,
    entity: &EntityRef,
    part: Part,
    schema: &Schema,
    reading: &Reading,
) -> Result<Option<Record>, RequestError> {
    let Some(properties) = named.properties.filter(|_| reading.described_by_callers.contains(&entity.kind))
    else {
        return Ok(None);
    };
    let mut reader = ValueReader::of_caller(schema, reading.longest_id);
    let record = reader.record(properties, &schema.kind(entity.kind).attributes, Required::Partial);
    first_misfit(reader, part).map(|()| Some(record))
}

fn first_misfit(reader: ValueReader<'_>, part: Part) -> Result<(), RequestError> {
    match reader.misfits.into_iter().next() {
        Some(misfit) => Err(RequestError { part, path: misfit.path, message: misfit.message }),
        None => Ok(()),
    }
}
