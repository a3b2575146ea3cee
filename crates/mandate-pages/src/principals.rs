//! As whom somebody may act, by their claims; and what the store has to know of them first. Nothing is written about
//! somebody whose organization is not known.

use std::collections::BTreeMap;

use mandate_core::diagnostics::SourceText;
use mandate_core::display::entity_json;
use mandate_core::entities::{EntityUpsert, Origin, parse_entity_text};
use mandate_pdp::View;
use mandate_pdp::proposal::{EntityEdit, EntityEditKind, Precondition, ProposedEdits, Refusal};
use mandate_store::EntityName;
use serde_json::{Map, Value, json};

use crate::commit::Change;
use crate::pages::Pages;
use crate::people;
use crate::sign_in::claims::{AttributeRule, Claims, PrincipalRule, Template, mapped};
use crate::sign_in::failure::Failure;

/// What the log calls it.
const ACTION: &str = "sign-in";

/// How often an entity is written again, because somebody else has changed it in between.
const MAX_ATTEMPTS: usize = 4;

/// The entities that somebody may act as. Those that the rules say are written first.
///
/// # Errors
/// There is none, or the store cannot be written.
pub async fn principals(
    pages: &Pages,
    rules: &[PrincipalRule],
    claims: &Claims,
) -> Result<Vec<EntityName>, Failure> {
    let (mut principals, mut unknown) = (Vec::new(), None);
    for rule in rules {
        let id = fill(&rule.id, claims)?;
        let Some(name) = full_name(&pages.pdp.view(), &rule.entity_type, id) else { continue };
        let is_there = match &rule.attributes {
            None => people::exists(&pages.pdp.view(), &name),
            Some(attributes) => match wanted(&pages.pdp.view(), attributes, claims)? {
                Wanted::Attributes(attributes) => {
                    write(pages, &name, &attributes).await?;
                    true
                }
                Wanted::Unknown(organization) => {
                    unknown.get_or_insert(organization);
                    false
                }
            },
        };
        if is_there && !principals.contains(&name) {
            principals.push(name);
        }
    }
    match (principals.is_empty(), unknown) {
        (false, _) => Ok(principals),
        (true, Some(organization)) => Err(Failure::UnknownOrganization(organization)),
        (true, None) => Err(Failure::Nobody),
    }
}

fn fill(template: &Template, claims: &Claims) -> Result<String, Failure> {
    template.fill(claims).map_err(|error| Failure::Invalid(error.to_string()))
}

fn full_name(view: &View<'_>, entity_type: &str, id: String) -> Option<EntityName> {
    let schema = view.snapshot().schema();
    let Ok(entity_type) = schema.resolve_entity_type(entity_type) else {
        tracing::error!(entity_type, "the sign-in file names a type that the schema does not have");
        return None;
    };
    Some(EntityName { entity_type: schema.entity_type(entity_type).name.to_string(), id })
}

/// The attributes that an entity should have, in Cedar's JSON format.
enum Wanted {
    Attributes(Map<String, Value>),
    /// An entity that they name is not there.
    Unknown(String),
}

fn wanted(
    view: &View<'_>,
    rules: &BTreeMap<String, AttributeRule>,
    claims: &Claims,
) -> Result<Wanted, Failure> {
    let no_type = |entity_type: &str| Failure::Invalid(format!("the schema has no type `{entity_type}`"));
    let mut attributes = Map::new();
    for (name, rule) in rules {
        let value = match rule {
            AttributeRule::Entity { entity_type, id } => {
                let id = fill(id, claims)?;
                let entity = full_name(view, entity_type, id).ok_or_else(|| no_type(entity_type))?;
                if !people::exists(view, &entity) {
                    return Ok(Wanted::Unknown(format!("{}::{}", entity.entity_type, entity.id)));
                }
                json!(entity)
            }
            AttributeRule::Mapped { claim, entity_type, map } => {
                let ids = mapped(claim, map, claims).into_iter();
                let entities = ids.map(|id| full_name(view, entity_type, id.to_owned()));
                let entities: Option<Vec<EntityName>> = entities.collect();
                json!(entities.ok_or_else(|| no_type(entity_type))?)
            }
        };
        attributes.insert(name.clone(), value);
    }
    Ok(Wanted::Attributes(attributes))
}

/// Writes an entity if it is not as it should be.
async fn write(pages: &Pages, name: &EntityName, attributes: &Map<String, Value>) -> Result<(), Failure> {
    let unavailable = |error: String| Failure::Unavailable(error);
    for _ in 0..MAX_ATTEMPTS {
        if is_so(&pages.pdp.view(), name, attributes)? {
            return Ok(());
        }
        // What is stored is the truth; the entities in use may follow a moment later.
        let (commits, asked) = (pages.commits.clone(), name.clone());
        let stored = tokio::task::spawn_blocking(move || commits.entity(&asked)).await;
        let stored = stored.map_err(|error| unavailable(error.to_string()))?;
        let stored = stored.map_err(|error| unavailable(error.to_string()))?;
        let before = stored.as_ref().map(|stored| serde_json::from_str(&stored.text)).transpose();
        let before = before.map_err(|error: serde_json::Error| unavailable(error.to_string()))?;
        let precondition =
            stored.map_or(Precondition::Absent, |stored| Precondition::Version(stored.version));
        let change = {
            let view = pages.pdp.view();
            let kind = EntityEditKind::Put(Box::new(upsert(&view, name, before, attributes)?));
            let edits = vec![EntityEdit { kind, precondition }];
            Change::of_edits(&view, ProposedEdits::Entities { action: ACTION.to_owned(), edits })
        };
        match change.commit(pages).await {
            Ok(_) => return Ok(()),
            Err(Refusal::Precondition { .. } | Refusal::SchemaChanged) => {}
            Err(refusal @ Refusal::Invalid { .. }) => return Err(Failure::Invalid(refusal.to_string())),
            Err(refusal) => return Err(unavailable(refusal.to_string())),
        }
    }
    Err(unavailable("somebody else changes the same entity all the time".to_owned()))
}

fn is_so(view: &View<'_>, name: &EntityName, attributes: &Map<String, Value>) -> Result<bool, Failure> {
    let (entities, schema) = (view.snapshot().entities(), view.snapshot().schema());
    let uid = people::uid(view, name);
    let Some(stored) = uid.as_ref().and_then(|uid| entities.get(uid.as_uid_ref())) else { return Ok(false) };
    let before = entity_json(&stored.entity.unpack(schema), schema);
    let next = upsert(view, name, Some(before), attributes)?;
    Ok(next.entity.same_content(&stored.entity))
}

/// An entity with these attributes; it keeps its others, and its parents.
fn upsert(
    view: &View<'_>,
    name: &EntityName,
    before: Option<Value>,
    attributes: &Map<String, Value>,
) -> Result<EntityUpsert, Failure> {
    let mut entity = before.unwrap_or_else(|| json!({ "uid": name, "attrs": {}, "parents": [] }));
    if let Some(own) = entity.get_mut("attrs").and_then(Value::as_object_mut) {
        own.extend(attributes.clone());
    }
    let source = SourceText::new("sign-in", entity.to_string());
    let read = parse_entity_text(&source.text, &source, Origin::STORE, view.snapshot().schema());
    read.map_err(|wrong| Failure::Invalid(format!("the entity does not fit the schema: {wrong}")))
}
