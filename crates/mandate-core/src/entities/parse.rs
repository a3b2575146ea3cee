//! Reads entity files: Cedar's JSON entity format (an array), or one entity a line (NDJSON). It is as strict
//! as Cedar's own reader, and stricter in one point: an edge must lead to a type that the schema lists as a
//! *direct* parent. Rules between entities are not checked here but in `rules.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::RawValue;

use super::change::EntityUpsert;
use super::packed::{Entity, EntityData, Origin};
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use crate::json::{Json, Object};
use crate::parallel::map_chunks;
use crate::schema::{EntityUid, Schema};
use crate::value::{Completeness, Dialect, PathStep, Record, TypeMismatch, Value, ValueReader};

/// How many entities were read so far, to show while a large file loads.
#[derive(Debug, Default)]
pub struct LoadProgress(AtomicUsize);

impl LoadProgress {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, entities: usize) {
        self.0.fetch_add(entities, Ordering::Relaxed);
    }
}

/// Reads all entities of a file. A name that ends in `.ndjson` means one entity a line.
///
/// # Errors
/// Everything that is not JSON or does not fit the schema, each with its span.
pub fn parse_entity_file(
    source: &Arc<SourceText>,
    origin: Origin,
    schema: &Schema,
    progress: &LoadProgress,
) -> Result<Vec<EntityUpsert>, Diagnostics> {
    let ndjson = std::path::Path::new(&source.name).extension().is_some_and(|ext| ext == "ndjson");
    let texts = if ndjson { lines(source) } else { elements(source)? };
    let mut diagnostics = Diagnostics::default();
    let mut upserts = Vec::with_capacity(texts.len());
    for (part, found) in map_chunks(&texts, |texts| parse_chunk(texts, source, origin, schema, progress)) {
        upserts.extend(part);
        diagnostics.extend(found);
    }
    diagnostics.into_result().map(|_| upserts)
}

/// Reads one entity, whose text is a part of the source.
///
/// # Errors
/// Everything that is not JSON or does not fit the schema, each with its span.
pub fn parse_entity_text(
    text: &str,
    source: &Arc<SourceText>,
    origin: Origin,
    schema: &Schema,
) -> Result<EntityUpsert, Diagnostics> {
    let entity = parse_entity(text, source, schema)?;
    Ok(EntityUpsert { entity: Entity::pack(&entity, origin, schema), span: Some(span_of(text, source)) })
}

fn parse_chunk(
    texts: &[&str],
    source: &Arc<SourceText>,
    origin: Origin,
    schema: &Schema,
    progress: &LoadProgress,
) -> (Vec<EntityUpsert>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let mut upserts = Vec::with_capacity(texts.len());
    for some in texts.chunks(1_024) {
        for text in some {
            match parse_entity(text, source, schema) {
                Ok(entity) => upserts.push(EntityUpsert {
                    entity: Entity::pack(&entity, origin, schema),
                    span: Some(span_of(text, source)),
                }),
                Err(found) => diagnostics.extend(found),
            }
        }
        progress.add(some.len());
    }
    (upserts, diagnostics)
}

fn lines(source: &SourceText) -> Vec<&str> {
    source.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The elements of the top-level array, as slices of the text.
fn elements(source: &Arc<SourceText>) -> Result<Vec<&str>, Diagnostics> {
    let elements: Vec<&RawValue> =
        serde_json::from_str(&source.text).map_err(|error| syntax_error(&error, &source.text, source))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// The span of a slice of the source.
fn span_of(text: &str, source: &Arc<SourceText>) -> SourceSpan {
    let offset = (text.as_ptr() as usize).saturating_sub(source.text.as_ptr() as usize);
    // One line is enough to show; an entity may have many.
    SourceSpan::new(source, offset, text.lines().next().map_or(0, str::len))
}

fn syntax_error(error: &serde_json::Error, text: &str, source: &Arc<SourceText>) -> Diagnostics {
    let base = (text.as_ptr() as usize).saturating_sub(source.text.as_ptr() as usize);
    let line_start =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let offset = base + line_start + error.column().saturating_sub(1);
    let message = error.to_string();
    // The span replaces the parser's line and column, which count from the element.
    let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
    let help = "an entity file is an array of objects with `uid`, `attrs` and `parents`; an `.ndjson` file has one object a line";
    Diagnostic::error(format!("not a valid entity file: {message}"))
        .help(help)
        .at(SourceSpan::new(source, offset, 0))
        .into()
}

fn parse_entity(text: &str, source: &Arc<SourceText>, schema: &Schema) -> Result<EntityData, Diagnostics> {
    let json = Json::parse(text.as_bytes()).map_err(|error| syntax_error(&error, text, source))?;
    parse_entity_json(&json, schema).map_err(|mismatches| {
        let mut diagnostics = Diagnostics::default();
        for mismatch in mismatches {
            let separator = if mismatch.path.is_empty() { "" } else { ": " };
            let message = format!("{}{separator}{}", mismatch.path, mismatch.message);
            diagnostics.push(Diagnostic::error(message).at(span_of_path(text, &mismatch.path, source)));
        }
        diagnostics
    })
}

/// The span of a path such as `attrs.roles[2]`: finds each key in turn, and returns the last one found, or
/// the whole entity.
fn span_of_path(text: &str, path: &str, source: &Arc<SourceText>) -> SourceSpan {
    let keys = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty());
    let mut at = None;
    for key in keys {
        let from = at.map_or(0, |(offset, length)| offset + length);
        let quoted = format!("\"{key}\"");
        let found = text.get(from..).and_then(|rest| rest.find(&quoted));
        at = found.map(|offset| (from + offset, quoted.len())).or(at);
    }
    let base = span_of(text, source);
    match at {
        Some((offset, length)) => SourceSpan::new(source, base.offset + offset, length),
        None => base,
    }
}

/// Reads one entity in Cedar's JSON format.
///
/// # Errors
/// Everything that does not fit the schema.
pub fn parse_entity_json(json: &Json<'_>, schema: &Schema) -> Result<EntityData, Vec<TypeMismatch>> {
    let mut reader = ValueReader::new(schema, Dialect::EntityFile, "");
    let entity = json.as_object().and_then(|object| parse_entity_object(object, schema, &mut reader));
    if json.as_object().is_none() {
        reader.report_mismatch(format!("expected an entity object, found {}", json.describe()));
    }
    match entity {
        Some(entity) if reader.mismatches.is_empty() => Ok(entity),
        _ => {
            // Never drop an entity without an error.
            if reader.mismatches.is_empty() {
                reader.report_mismatch("not a valid entity".to_owned());
            }
            Err(reader.mismatches)
        }
    }
}

fn parse_entity_object(
    object: &Object<'_>,
    schema: &Schema,
    reader: &mut ValueReader<'_>,
) -> Option<EntityData> {
    for (key, _) in object.iter().filter(|(key, _)| !matches!(*key, "uid" | "attrs" | "parents" | "tags")) {
        reader.descend(PathStep::Member(key), |reader| {
            reader.report_mismatch(
                "unknown key: an entity has only `uid`, `attrs`, `parents` and `tags`".to_owned(),
            );
        });
    }
    let name = reader.descend(PathStep::Member("uid"), |reader| uid(object.get("uid"), reader))?;
    let info = schema.entity_type(name.entity_type);
    if info.enum_ids.is_some() {
        reader.descend(PathStep::Member("uid"), |reader| {
            reader.check_id(&name);
            reader.report_mismatch(format!(
                "`{}` is an enumerated type: its entities are declared in the schema",
                info.name
            ));
        });
        return None;
    }
    let attributes = reader.descend(PathStep::Member("attrs"), |reader| match object.get("attrs") {
        Some(Json::Object(attrs)) => Some(reader.record(attrs, &info.attributes, Completeness::Full)),
        other => report_missing(other, "an object", reader),
    });
    let tags =
        reader.descend(PathStep::Member("tags"), |reader| tags(object.get("tags"), schema, &name, reader));
    let parents = reader
        .descend(PathStep::Member("parents"), |reader| parents(object.get("parents"), schema, &name, reader));
    Some(EntityData { uid: name, attributes: attributes?, tags: tags?, parents: parents? })
}

fn report_missing<T>(found: Option<&Json<'_>>, wanted: &str, reader: &mut ValueReader<'_>) -> Option<T> {
    reader.report_mismatch(match found {
        None => format!("missing: expected {wanted}"),
        Some(json) => format!("expected {wanted}, found {}", json.describe()),
    });
    None
}

fn uid(json: Option<&Json<'_>>, reader: &mut ValueReader<'_>) -> Option<EntityUid> {
    match json {
        Some(Json::Object(object)) => reader.entity_uid_from_object(object),
        other => report_missing(other, "an object with `type` and `id`", reader),
    }
}

fn tags(
    json: Option<&Json<'_>>,
    schema: &Schema,
    name: &EntityUid,
    reader: &mut ValueReader<'_>,
) -> Option<Record> {
    let Some(json) = json else { return Some(Record::default()) };
    let Json::Object(object) = json else { return report_missing(Some(json), "an object", reader) };
    let info = schema.entity_type(name.entity_type);
    let mut tags: Vec<(smol_str::SmolStr, Value)> = Vec::new();
    for (tag, json) in object.iter() {
        reader.descend(PathStep::Member(tag), |reader| match &info.tag_type {
            Some(ty) => tags.extend(reader.value(json, ty).map(|value| (tag.into(), value))),
            None => reader.report_mismatch(format!("`{}` does not declare tags", info.name)),
        });
    }
    Some(Record::new(tags))
}

fn parents(
    json: Option<&Json<'_>>,
    schema: &Schema,
    name: &EntityUid,
    reader: &mut ValueReader<'_>,
) -> Option<Vec<EntityUid>> {
    let Some(Json::Array(items)) = json else { return report_missing(json, "an array of entities", reader) };
    let mut parents = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        parents.extend(reader.descend(PathStep::Index(n), |reader| parent(item, schema, name, reader)));
    }
    parents.sort();
    parents.dedup();
    Some(parents)
}

fn parent(
    json: &Json<'_>,
    schema: &Schema,
    name: &EntityUid,
    reader: &mut ValueReader<'_>,
) -> Option<EntityUid> {
    let parent = uid(Some(json), reader)?;
    let info = schema.entity_type(name.entity_type);
    if !info.parent_types.contains(&parent.entity_type) {
        let wanted: Vec<String> = info
            .parent_types
            .iter()
            .map(|entity_type| format!("`{}`", schema.entity_type(*entity_type).name))
            .collect();
        let expected = if wanted.is_empty() {
            "it has no parent types".to_owned()
        } else {
            format!("expected one of {}", wanted.join(", "))
        };
        let found = &schema.entity_type(parent.entity_type).name;
        reader.report_mismatch(format!("a `{}` cannot be directly in a `{found}`: {expected}", info.name));
        return None;
    }
    reader.check_id(&parent).then_some(parent)
}
