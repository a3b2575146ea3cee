//! Reads entity files: Cedar's JSON entity format (an array), or one entity a line (NDJSON).
//! As strict as Cedar's own reader, and stricter in one point: an edge has to lead to a type that
//! the schema lists as a *direct* parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::RawValue;

use super::{Description, Entity, Incoming, Origin};
use crate::fault::{Fault, Faults, Place, SourceText};
use crate::json::{Json, Object};
use crate::parallel::map_parts;
use crate::schema::{EntityRef, Schema};
use crate::value::{Dialect, Misfit, Record, Required, Step, Value, ValueReader};

/// How many entities were read so far, for whoever waits.
#[derive(Debug, Default)]
pub struct Progress(AtomicUsize);

impl Progress {
    pub fn read(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, entities: usize) {
        self.0.fetch_add(entities, Ordering::Relaxed);
    }
}

/// Reads all entities of a file; the name tells the format: `.ndjson` is one entity a line.
///
/// # Errors
/// Everything that is no JSON or does not fit the schema, each with its place.
pub fn read_file(
    source: &Arc<SourceText>,
    origin: Origin,
    schema: &Schema,
    progress: &Progress,
) -> Result<Vec<Incoming>, Faults> {
    let ndjson = std::path::Path::new(&source.name).extension().is_some_and(|ext| ext == "ndjson");
    let texts = if ndjson { lines(source) } else { elements(source)? };
    let mut faults = Faults::default();
    let mut incoming = Vec::with_capacity(texts.len());
    for (part, found) in map_parts(&texts, |texts| read_part(texts, source, origin, schema, progress)) {
        incoming.extend(part);
        faults.extend(found);
    }
    faults.into_result().map(|_| incoming)
}

fn read_part(
    texts: &[&str],
    source: &Arc<SourceText>,
    origin: Origin,
    schema: &Schema,
    progress: &Progress,
) -> (Vec<Incoming>, Faults) {
    let mut faults = Faults::default();
    let mut incoming = Vec::with_capacity(texts.len());
    for some in texts.chunks(1_024) {
        for text in some {
            match read_entity(text, source, schema) {
                Ok(entity) => incoming.push(Incoming {
                    entity: Entity::pack(&entity, origin, schema),
                    place: Some(place_of(text, source)),
                }),
                Err(found) => faults.extend(found),
            }
        }
        progress.add(some.len());
    }
    (incoming, faults)
}

fn lines(source: &SourceText) -> Vec<&str> {
    source.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The elements of the top-level array, as slices of the text.
fn elements(source: &Arc<SourceText>) -> Result<Vec<&str>, Faults> {
    let elements: Vec<&RawValue> =
        serde_json::from_str(&source.text).map_err(|error| syntax(&error, &source.text, source))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// Where a slice of the source stands in it.
fn place_of(text: &str, source: &Arc<SourceText>) -> Place {
    let offset = (text.as_ptr() as usize).saturating_sub(source.text.as_ptr() as usize);
    // One line is enough to show; an entity may have many.
    Place::new(source, offset, text.lines().next().map_or(0, str::len))
}

fn syntax(error: &serde_json::Error, text: &str, source: &Arc<SourceText>) -> Faults {
    let base = (text.as_ptr() as usize).saturating_sub(source.text.as_ptr() as usize);
    let line_start =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let offset = base + line_start + error.column().saturating_sub(1);
    let message = error.to_string();
    // The place says it better than the parser's line and column, which count from the element.
    let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
    let help = "an entity file is an array of objects with `uid`, `attrs` and `parents`; an `.ndjson` file has one object a line";
    Fault::error(format!("not a valid entity file: {message}"))
        .help(help)
        .at(Place::new(source, offset, 0))
        .into()
}

fn read_entity(text: &str, source: &Arc<SourceText>, schema: &Schema) -> Result<Description, Faults> {
    let json = Json::parse(text.as_bytes()).map_err(|error| syntax(&error, text, source))?;
    describe_json(&json, schema).map_err(|misfits| {
        let mut faults = Faults::default();
        for misfit in misfits {
            let separator = if misfit.path.is_empty() { "" } else { ": " };
            let message = format!("{}{separator}{}", misfit.path, misfit.message);
            faults.push(Fault::error(message).at(place_of_path(text, &misfit.path, source)));
        }
        faults
    })
}

/// Where a path points to: the last of its keys that the text has, in turn; else the entity.
fn place_of_path(text: &str, path: &str, source: &Arc<SourceText>) -> Place {
    let keys = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty());
    let mut at = None;
    for key in keys {
        let from = at.map_or(0, |(offset, length)| offset + length);
        let quoted = format!("\"{key}\"");
        let found = text.get(from..).and_then(|rest| rest.find(&quoted));
        at = found.map(|offset| (from + offset, quoted.len())).or(at);
    }
    let base = place_of(text, source);
    match at {
        Some((offset, length)) => Place::new(source, base.offset + offset, length),
        None => base,
    }
}

/// Reads one entity in Cedar's JSON format.
///
/// # Errors
/// Everything that does not fit the schema.
pub fn describe_json(json: &Json<'_>, schema: &Schema) -> Result<Description, Vec<Misfit>> {
    let mut reader = ValueReader::new(schema, Dialect::Stored, "");
    let entity = json.as_object().and_then(|object| entity_of_object(object, schema, &mut reader));
    if json.as_object().is_none() {
        reader.misfit(format!("an entity has to be an object, found {}", json.kind()));
    }
    match entity {
        Some(entity) if reader.misfits.is_empty() => Ok(entity),
        _ => {
            // Nothing may be left out in silence.
            if reader.misfits.is_empty() {
                reader.misfit("cannot be read as an entity".to_owned());
            }
            Err(reader.misfits)
        }
    }
}

fn entity_of_object(
    object: &Object<'_>,
    schema: &Schema,
    reader: &mut ValueReader<'_>,
) -> Option<Description> {
    for (key, _) in object.iter().filter(|(key, _)| !matches!(*key, "uid" | "attrs" | "parents" | "tags")) {
        reader.at(Step::Member(key), |reader| {
            reader.misfit("an entity has only `uid`, `attrs`, `parents` and `tags`".to_owned());
        });
    }
    let name = reader.at(Step::Member("uid"), |reader| name(object.get("uid"), reader))?;
    let info = schema.kind(name.kind);
    if info.enumerated.is_some() {
        reader.at(Step::Member("uid"), |reader| {
            reader.known_id(&name);
            reader
                .misfit(format!("`{}` is enumerated: the schema alone says which ones there are", info.name));
        });
        return None;
    }
    let attributes = reader.at(Step::Member("attrs"), |reader| match object.get("attrs") {
        Some(Json::Object(attrs)) => Some(reader.record(attrs, &info.attributes, Required::All)),
        other => missing(other, "an object", reader),
    });
    let tags = reader.at(Step::Member("tags"), |reader| tags(object.get("tags"), schema, &name, reader));
    let parents =
        reader.at(Step::Member("parents"), |reader| parents(object.get("parents"), schema, &name, reader));
    Some(Description { name, attributes: attributes?, tags: tags?, parents: parents? })
}

fn missing<T>(found: Option<&Json<'_>>, wanted: &str, reader: &mut ValueReader<'_>) -> Option<T> {
    reader.misfit(match found {
        None => format!("missing: it has to be {wanted}"),
        Some(json) => format!("has to be {wanted}, found {}", json.kind()),
    });
    None
}

fn name(json: Option<&Json<'_>>, reader: &mut ValueReader<'_>) -> Option<EntityRef> {
    match json {
        Some(Json::Object(object)) => reader.entity_of_object(object),
        other => missing(other, "an object with `type` and `id`", reader),
    }
}

fn tags(
    json: Option<&Json<'_>>,
    schema: &Schema,
    name: &EntityRef,
    reader: &mut ValueReader<'_>,
) -> Option<Record> {
    let Some(json) = json else { return Some(Record::default()) };
    let Json::Object(object) = json else { return missing(Some(json), "an object", reader) };
    let info = schema.kind(name.kind);
    let mut tags: Vec<(smol_str::SmolStr, Value)> = Vec::new();
    for (tag, json) in object.iter() {
        reader.at(Step::Member(tag), |reader| match &info.tags {
            Some(ty) => tags.extend(reader.value(json, ty).map(|value| (tag.into(), value))),
            None => reader.misfit(format!("`{}` takes no tags", info.name)),
        });
    }
    Some(Record::new(tags))
}

fn parents(
    json: Option<&Json<'_>>,
    schema: &Schema,
    name: &EntityRef,
    reader: &mut ValueReader<'_>,
) -> Option<Vec<EntityRef>> {
    let Some(Json::Array(items)) = json else { return missing(json, "an array of entities", reader) };
    let mut parents = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        parents.extend(reader.at(Step::Index(n), |reader| parent(item, schema, name, reader)));
    }
    parents.sort();
    parents.dedup();
    Some(parents)
}

fn parent(
    json: &Json<'_>,
    schema: &Schema,
    name: &EntityRef,
    reader: &mut ValueReader<'_>,
) -> Option<EntityRef> {
    let parent = self::name(Some(json), reader)?;
    let info = schema.kind(name.kind);
    if !info.parents.contains(&parent.kind) {
        let wanted: Vec<String> =
            info.parents.iter().map(|kind| format!("`{}`", schema.kind(*kind).name)).collect();
        let only = if wanted.is_empty() {
            "in nothing".to_owned()
        } else {
            format!("directly in {}", wanted.join(", "))
        };
        let found = &schema.kind(parent.kind).name;
        reader.misfit(format!("a `{}` cannot be in a `{found}`: it is only {only}", info.name));
        return None;
    }
    reader.known_id(&parent).then_some(parent)
}
