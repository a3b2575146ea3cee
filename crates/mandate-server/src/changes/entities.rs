//! Entities that an outside source writes: one by its name, or several in one request. The policies are not asked,
//! but the rules of loading are.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::operation::ENTITIES_PREFIX;
use super::precondition;
use super::problem::{BODY, Problem};
use super::request::{Answer, ChangeRequest};
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{Origin, parse_entity_text};
use mandate_core::json::quoted;
use mandate_core::schema::{EntityUid, Schema, Unresolved};
use mandate_pdp::LogPosition;
use mandate_pdp::proposal::{Committed, EntityEdit, EntityEditKind, Precondition, ProposedEdits};
use mandate_store::EntityName;

/// Reads or writes the entity that the path names.
///
/// # Errors
/// It cannot be read, or nothing was changed.
pub async fn one(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let (uid, name, schema_digest) = {
        let view = request.pdp.view();
        let schema = view.snapshot().schema();
        let uid = uid_of_path(request.path, schema)?;
        let name = EntityName::new(uid.as_uid_ref(), schema);
        (uid, name, *schema.digest())
    };
    let kind = match *request.method {
        Method::PUT => EntityEditKind::Put(Box::new(read_entity(request, body, &uid)?)),
        Method::DELETE => EntityEditKind::Delete(uid),
        _ => return get(request, &name),
    };
    let precondition = precondition::of_headers(request.headers)?;
    let edits = vec![EntityEdit { kind, precondition }];
    let committed = request
        .commit(ProposedEdits::Entities { action: "write".to_owned(), edits }, schema_digest, body)
        .await;
    let committed = committed.map_err(|refusal| request.refused(&refusal))?;
    Ok(written(&committed))
}

/// Writes several entities, all of them or none.
///
/// # Errors
/// Nothing was changed.
pub async fn bulk(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let (edits, schema_digest) = {
        let view = request.pdp.view();
        let schema = view.snapshot().schema();
        (read_bulk(request, body, schema)?, *schema.digest())
    };
    let committed = request
        .commit(ProposedEdits::Entities { action: "write".to_owned(), edits }, schema_digest, body)
        .await;
    let committed = committed.map_err(|refusal| request.refused(&refusal))?;
    Ok(written(&committed))
}

fn written(committed: &Committed) -> Answer {
    Answer::committed(
        committed,
        &json!({
            "position": committed.position.to_string(),
            "revision": committed.revision.as_str(),
        }),
    )
}

fn get(request: &ChangeRequest<'_>, name: &EntityName) -> Result<Answer, Problem> {
    let found = tokio::task::block_in_place(|| request.commits.entity(name));
    let found = found.map_err(|error| {
        tracing::warn!(%error, "an entity cannot be read");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read now; try again later")
    })?;
    let found = found.ok_or_else(|| {
        let EntityName { entity_type, id } = name;
        Problem::new(StatusCode::NOT_FOUND, format!("`{entity_type}::\"{id}\"` does not exist"))
    })?;
    // It may be on the disk a moment before it counts for decisions.
    let at = request.pdp.view().position();
    let at = at.map(|at| LogPosition { sequence: at.sequence.max(found.version), ..at });
    Ok(Answer::entity(found.text, precondition::tag(found.version), at))
}

/// The entity that a path names: `/entities/v1/TYPE/ID`, both percent-encoded.
fn uid_of_path(path: &str, schema: &Schema) -> Result<EntityUid, Problem> {
    let wrong = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no such path: write `/entities/v1/TYPE/ID`, with a slash in an id as `%2F`",
        )
    };
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(Cow::into_owned).map_err(|_| wrong())
    };
    let rest = path.strip_prefix(ENTITIES_PREFIX).ok_or_else(wrong)?;
    let (entity_type, id) = rest.split_once('/').filter(|(_, id)| !id.contains('/')).ok_or_else(wrong)?;
    let (entity_type, id) = (decode(entity_type)?, decode(id)?);
    Ok(EntityUid { entity_type: resolve_type(&entity_type, schema)?, id: id.into() })
}

pub(super) fn resolve_type(
    name: &str,
    schema: &Schema,
) -> Result<mandate_core::schema::EntityTypeId, Problem> {
    schema.resolve_entity_type(name).map_err(|error| {
        let name = quoted(name);
        Problem::bad_request(match error {
            Unresolved::Unknown => format!("the schema has no entity type {name}"),
            Unresolved::Ambiguous => {
                format!("several namespaces have an entity type {name}: write it with its namespace")
            }
        })
    })
}

fn read_entity(
    request: &ChangeRequest<'_>,
    body: &[u8],
    uid: &EntityUid,
) -> Result<mandate_core::entities::EntityUpsert, Problem> {
    let source = body_text(body)?;
    let view = request.pdp.view();
    let upsert = parse_entity_text(&source.text, &source, Origin::STORE, view.snapshot().schema());
    let upsert = upsert.map_err(|found| invalid(&found))?;
    if upsert.entity.uid() == uid.as_uid_ref() {
        return Ok(upsert);
    }
    let schema = view.snapshot().schema();
    let (found, named) = (schema.uid_string(upsert.entity.uid()), schema.uid_string(uid.as_uid_ref()));
    Err(Problem::bad_request(format!("uid: the body has `{found}`, and the path names `{named}`")))
}

fn body_text(body: &[u8]) -> Result<Arc<SourceText>, Problem> {
    let text = str::from_utf8(body).map_err(|_| Problem::bad_request("the body is not UTF-8"))?;
    Ok(SourceText::new(BODY, text))
}

fn invalid(diagnostics: &mandate_core::diagnostics::Diagnostics) -> Problem {
    Problem::of_diagnostics(StatusCode::BAD_REQUEST, "the entities do not fit the schema", diagnostics)
}

/// Several edits, as a request writes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bulk<'a> {
    #[serde(borrow)]
    edits: Vec<BulkEdit<'a>>,
}

/// An edit: `put` or `delete`, and what it expects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkEdit<'a> {
    #[serde(borrow)]
    put: Option<&'a RawValue>,
    delete: Option<EntityName>,
    /// The version of the entity.
    if_match: Option<u64>,
}

fn read_bulk(request: &ChangeRequest<'_>, body: &[u8], schema: &Schema) -> Result<Vec<EntityEdit>, Problem> {
    let source = body_text(body)?;
    let bulk: Bulk<'_> = serde_json::from_str(&source.text)
        .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))?;
    let most = request.limits.max_batch_items;
    if bulk.edits.len() > most {
        let count = bulk.edits.len();
        return Err(Problem::bad_request(format!("edits: has {count} items, at most {most} are allowed")));
    }
    let (mut edits, mut wrong) = (Vec::new(), mandate_core::diagnostics::Diagnostics::default());
    let mut names = HashSet::new();
    for (index, edit) in bulk.edits.into_iter().enumerate() {
        let precondition = edit.if_match.map_or(Precondition::Anything, Precondition::Version);
        let kind = match (edit.put, edit.delete) {
            (Some(put), None) => match parse_entity_text(put.get(), &source, Origin::STORE, schema) {
                Ok(upsert) => EntityEditKind::Put(Box::new(upsert)),
                Err(found) => {
                    wrong.extend(found);
                    continue;
                }
            },
            (None, Some(name)) => EntityEditKind::Delete(EntityUid {
                entity_type: resolve_type(&name.entity_type, schema)?,
                id: name.id.into(),
            }),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Problem::bad_request(format!("edits[{index}]: has to have `put` or `delete`")));
            }
        };
        let edit = EntityEdit { kind, precondition };
        if !names.insert(edit.uid().to_owned()) {
            let name = schema.uid_string(edit.uid());
            return Err(Problem::bad_request(format!("edits[{index}]: `{name}` is edited twice")));
        }
        edits.push(edit);
    }
    wrong.into_result().map_err(|found| invalid(&found))?;
    Ok(edits)
}
