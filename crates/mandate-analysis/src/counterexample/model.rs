//! Reads a witness from the solver's model. The model is not completed here: an entity's parents are all of
//! its ancestors, direct or not. Continue in `complete`.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use cedar_policy_symcc::Env;
use serde::Deserialize;
use serde_json::Value as JsonValue;
use smol_str::ToSmolStr as _;

use super::witness::Witness;
use mandate_core::cedar;
use mandate_core::entities::EntityData;
use mandate_core::json::Json;
use mandate_core::request::Request;
use mandate_core::schema::{EntityTypeId, EntityUid, RecordType, Schema};
use mandate_core::value::{Completeness, Dialect, Record, ValueReader};

impl Witness {
    /// The solver's model as it is, with all ancestors of an entity as its parents. `None` if the model
    /// does not fit the schema.
    pub fn from_solver(found: &Env, schema: &Schema) -> Option<Self> {
        let named = entity_reader(schema);
        let action = found.request.action()?;
        let action = schema.actions().find(|(_, info)| info.uid == *action.as_ref())?.0;
        let context = found.request.context()?.to_json_value().ok()?;
        let request = Request {
            asked_at: None,
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
            // Actions and enumerated entities are part of the schema, not of the stored entities.
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
}

/// A function from Cedar's entity UIDs to those of this schema.
fn entity_reader(schema: &Schema) -> impl Fn(&cedar_policy::EntityUid) -> Option<EntityUid> {
    |uid| cedar::entity_uid(uid.as_ref(), schema)
}

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

/// The end of the year 9999, in milliseconds since 1970.
const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;

/// The JSON with each computed date (an `offset` from 1970) as a `datetime` literal. `None` if a date is
/// before 1970 or after 9999.
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
        JsonValue::Null | JsonValue::Bool(_) | JsonValue::Number(_) | JsonValue::String(_) => {
            Some(json.clone())
        }
    }
}
