//! A request and the entities that matter to it: what the solver found, made such that people can read
//! it, a sidecar could load it, and a test can ask it.

mod complete;
mod shrink;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use cedar_policy_symcc::Env;
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use smol_str::{SmolStr, ToSmolStr as _, format_smolstr};

use complete::completions;
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::display;
use mandate_core::entities::{Entity, EntityChanges, EntityData, EntityUpsert, Origin};
use mandate_core::json::Json;
use mandate_core::request::Request;
use mandate_core::schema::{EntityTypeId, EntityUid, RecordType, Schema};
use mandate_core::value::{Completeness, Dialect, Record, Value, ValueReader};
use shrink::shrink;

/// A request with entities of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    pub request: Request,
    pub entities: BTreeMap<EntityUid, EntityData>,
}

/// A witness as data.
#[derive(Debug, Clone, Serialize)]
pub struct WitnessReport {
    pub principal: String,
    pub action: String,
    pub resource: String,
    pub context: JsonValue,
    pub entities: Vec<JsonValue>,
}

impl Witness {
    /// What the solver found, as it found it: what an entity is in stands as its parents, directly or
    /// not. `None` if it is not of this schema.
    pub fn from_solver(found: &Env, schema: &Schema) -> Option<Self> {
        let named = entity_reader(schema);
        let action = found.request.action()?;
        let action = schema.actions().find(|(_, info)| info.uid == *action.as_ref())?.0;
        let context = found.request.context()?.to_json_value().ok()?;
        let request = Request {
            action,
            principal: named(found.request.principal()?)?,
            resource: named(found.request.resource()?)?,
            context: record(&context, &schema.action(action).context_type, schema)?,
            principal_properties: None,
            resource_properties: None,
        };
        let mut entities = BTreeMap::new();
        for entity in found.entities.iter() {
            let uid = entity.uid();
            // Actions, and what the schema enumerates, are not stored.
            let Some(name) =
                named(&uid).filter(|name| schema.entity_type(name.entity_type).enum_ids.is_none())
            else {
                continue;
            };
            let json = entity.to_json_value().ok()?;
            let info = schema.entity_type(name.entity_type);
            let attributes = record(json.get("attrs")?, &info.attributes, schema)?;
            let tags = tags(json.get("tags"), name.entity_type, schema)?;
            let above = found.entities.ancestors(&uid).into_iter().flatten();
            let mut parents: Vec<EntityUid> = above.filter_map(&named).collect();
            parents.sort();
            entities.insert(name.clone(), EntityData { uid: name, attributes, tags, parents });
        }
        Some(Self { request, entities })
    }

    /// The nearest to what the solver found that can be loaded and still `holds`, with as few entities,
    /// edges and attributes as that takes, under names that people can read.
    pub fn readable(&self, schema: &Schema, holds: impl Fn(&Self) -> bool) -> Option<Self> {
        let completed = self.completed(schema, &holds)?;
        Some(shrink(completed, schema, &holds).with_readable_names(schema, holds))
    }

    /// What the solver found, with what it takes to be loaded, if it still `holds` then.
    pub fn completed(&self, schema: &Schema, holds: impl Fn(&Self) -> bool) -> Option<Self> {
        completions(self, schema).into_iter().find(|witness| holds(witness))
    }

    /// The snapshot with these entities.
    ///
    /// # Errors
    /// Why they cannot be loaded.
    pub fn load_into(&self, empty: &Snapshot) -> Result<Snapshot, Diagnostics> {
        let schema = empty.schema();
        let upsert =
            |entity| EntityUpsert { entity: Entity::pack(entity, Origin::default(), schema), span: None };
        empty.apply(&EntityChanges {
            upserts: self.entities.values().map(upsert).collect(),
            removals: Vec::new(),
        })
    }

    /// What the engine decides on the request, where these entities are loaded.
    pub fn decide(&self, loaded: &Snapshot) -> Option<Decision> {
        loaded.decide(&self.request, &loaded.gather(&self.request)).ok()
    }

    /// The witness with readable names for all entities whose names do not matter.
    fn with_readable_names(mut self, schema: &Schema, holds: impl Fn(&Self) -> bool) -> Self {
        let mut names: Vec<EntityUid> = vec![self.request.principal.clone(), self.request.resource.clone()];
        names.extend(self.entities.keys().cloned());
        names.extend(self.referenced_entities());
        names.retain(|name| schema.entity_type(name.entity_type).enum_ids.is_none());
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let mut taken: BTreeMap<EntityTypeId, usize> = BTreeMap::new();
        for old in names {
            let nth = taken.entry(old.entity_type).or_default();
            *nth += 1;
            let stem = kebab_case(display::entity_type(old.entity_type, schema));
            let id = if *nth == 1 { stem } else { format_smolstr!("{stem}-{nth}") };
            let renamed = self.renamed(&old, &EntityUid { entity_type: old.entity_type, id });
            if holds(&renamed) {
                self = renamed;
            }
        }
        self
    }

    /// Entities that attributes or the context name.
    fn referenced_entities(&self) -> Vec<EntityUid> {
        let mut names = Vec::new();
        let records = self.entities.values().flat_map(|entity| [&entity.attributes, &entity.tags]);
        for record in records.chain([&self.request.context]) {
            record.for_each_entity(&mut |name| names.push(name.to_owned()));
        }
        names
    }

    fn renamed(&self, old: &EntityUid, new: &EntityUid) -> Self {
        let rename = |name: &EntityUid| if name == old { new.clone() } else { name.clone() };
        let mut witness = Self { request: self.request.clone(), entities: BTreeMap::new() };
        witness.request.principal = rename(&self.request.principal);
        witness.request.resource = rename(&self.request.resource);
        witness.request.context = map_record(&self.request.context, &rename);
        for entity in self.entities.values() {
            let mut parents: Vec<EntityUid> = entity.parents.iter().map(rename).collect();
            parents.sort();
            let name = rename(&entity.uid);
            let attributes = map_record(&entity.attributes, &rename);
            let tags = map_record(&entity.tags, &rename);
            witness.entities.insert(name.clone(), EntityData { uid: name, attributes, tags, parents });
        }
        witness
    }

    /// The witness in a sentence.
    pub fn describe(&self, schema: &Schema) -> String {
        let [principal, resource] =
            [&self.request.principal, &self.request.resource].map(|it| display::uid(it.as_uid_ref(), schema));
        let action = display::action(self.request.action, schema);
        let context = display::record(&self.request.context, schema);
        let context = if context.is_empty() { context } else { format!(" {{ {context} }}") };
        let entities: Vec<String> =
            self.entities.values().map(|entity| display::entity(entity, schema)).collect();
        format!("{principal} {action} {resource}{context}, where there are {}", entities.join("; "))
    }

    /// The witness as data: the request in the form of a test case, the entities in Cedar's format.
    pub fn report(&self, schema: &Schema) -> WitnessReport {
        WitnessReport {
            principal: display::uid(self.request.principal.as_uid_ref(), schema),
            action: display::action(self.request.action, schema),
            resource: display::uid(self.request.resource.as_uid_ref(), schema),
            context: display::request_json(&self.request.context, schema),
            entities: self.entities.values().map(|entity| display::entity_json(entity, schema)).collect(),
        }
    }
}

/// Reads Cedar's names by a schema.
fn entity_reader(schema: &Schema) -> impl Fn(&cedar_policy::EntityUid) -> Option<EntityUid> {
    |uid| {
        let entity_type = schema.entity_type_by_full_name(&uid.type_name().to_string())?;
        Some(EntityUid { entity_type, id: SmolStr::new(AsRef::<str>::as_ref(uid.id())) })
    }
}

/// A date and time in the form that it was computed in, as the literal that stands for it; `None` for one
/// that no literal of four-digit years after 1970 can say.
fn normalize_dates(json: &JsonValue) -> Option<JsonValue> {
    match json {
        JsonValue::Array(items) => {
            items.iter().map(normalize_dates).collect::<Option<Vec<_>>>().map(JsonValue::Array)
        }
        JsonValue::Object(members) => {
            let is_offset = json.pointer("/__extn/fn").is_some_and(|name| name == "offset");
            if let Some(args) = json.pointer("/__extn/args").filter(|_| is_offset) {
                let since = args.pointer("/1/__extn/arg")?.as_str()?.strip_suffix("ms")?.parse().ok()?;
                let from = args.pointer("/0/__extn/arg")?.as_str().filter(|from| *from == "1970-01-01");
                let at = from
                    .filter(|_| since < YEAR_10000_MILLIS)
                    .map(|_| UNIX_EPOCH + Duration::from_millis(since))?;
                let text = humantime::format_rfc3339_millis(at).to_string();
                return Some(serde_json::json!({ "__extn": { "fn": "datetime", "arg": text } }));
            }
            let members = members.iter().map(|(name, value)| Some((name.clone(), normalize_dates(value)?)));
            members.collect::<Option<_>>().map(JsonValue::Object)
        }
        json => Some(json.clone()),
    }
}

/// The end of the year 9999, in milliseconds since 1970.
const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;

fn record(json: &JsonValue, ty: &RecordType, schema: &Schema) -> Option<Record> {
    let json = &normalize_dates(json)?;
    let json = Json::deserialize(json).ok()?;
    let mut reader = ValueReader::new(schema, Dialect::EntityFile, "");
    let record = reader.record(json.as_object()?, ty, Completeness::Full);
    reader.mismatches.is_empty().then_some(record)
}

fn tags(json: Option<&JsonValue>, entity_type: EntityTypeId, schema: &Schema) -> Option<Record> {
    let (Some(json), Some(ty)) = (json, &schema.entity_type(entity_type).tag_type) else {
        return Some(Record::default());
    };
    let json = &normalize_dates(json)?;
    let json = Json::deserialize(json).ok()?;
    let mut reader = ValueReader::new(schema, Dialect::EntityFile, "");
    let tags = json.as_object()?.iter().map(|(tag, json)| Some((tag.to_smolstr(), reader.value(json, ty)?)));
    tags.collect::<Option<Vec<_>>>().map(Record::new)
}

fn map_record(record: &Record, rename: &impl Fn(&EntityUid) -> EntityUid) -> Record {
    record.iter().map(|(name, value)| (name.clone(), map_value(value, rename))).collect()
}

fn map_value(value: &Value, rename: &impl Fn(&EntityUid) -> EntityUid) -> Value {
    match value {
        Value::Entity(entity) => Value::Entity(rename(entity)),
        Value::Set(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| map_value(item, rename)).collect();
            items.sort();
            items.dedup();
            Value::Set(items.into())
        }
        Value::Record(record) => Value::Record(map_record(record, rename)),
        value => value.clone(),
    }
}

/// `DirectBillPartner` as `direct-bill-partner`.
fn kebab_case(name: &str) -> SmolStr {
    let mut id = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
        if c.is_alphanumeric() { id.extend(c.to_lowercase()) } else { id.push('-') }
    }
    id.into()
}
