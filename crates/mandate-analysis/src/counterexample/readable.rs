//! Makes a witness readable: completed, shrunk, and with ids made from the names of the entity types. It
//! does not know what the witness shows: the caller checks that with `holds`.

use std::collections::{BTreeMap, BTreeSet};

use heck::ToKebabCase as _;
use smol_str::{SmolStr, format_smolstr};

use super::complete::completions;
use super::shrink::shrink;
use super::witness::Witness;
use mandate_core::display;
use mandate_core::entities::EntityData;
use mandate_core::schema::{EntityTypeId, EntityUid, Schema};
use mandate_core::value::{Record, Value};

impl Witness {
    /// The witness completed so that it can be loaded and still `holds`, with as few entities, parents and
    /// attributes as possible and with readable ids. `None` if no completion holds.
    pub fn readable(&self, schema: &Schema, holds: impl Fn(&Self) -> bool) -> Option<Self> {
        let completed = self.completed(schema, &holds)?;
        Some(shrink(completed, schema, &holds).with_readable_ids(schema, holds))
    }

    /// The first completion of the solver's model that still `holds`.
    pub fn completed(&self, schema: &Schema, holds: impl Fn(&Self) -> bool) -> Option<Self> {
        completions(self, schema).into_iter().find(|witness| holds(witness))
    }

    /// The witness with a readable id for each entity whose id does not matter: `customer`, `customer-2`.
    fn with_readable_ids(mut self, schema: &Schema, holds: impl Fn(&Self) -> bool) -> Self {
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
            let stem = display::entity_type(old.entity_type, schema).to_kebab_case();
            let id = if *nth == 1 { SmolStr::from(stem) } else { format_smolstr!("{stem}-{nth}") };
            let renamed = self.renamed(&old, &EntityUid { entity_type: old.entity_type, id });
            if holds(&renamed) {
                self = renamed;
            }
        }
        self
    }

    /// The entities that attributes, tags or the context refer to.
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
        witness.request.context = rename_in_record(&self.request.context, &rename);
        for entity in self.entities.values() {
            let mut parents: Vec<EntityUid> = entity.parents.iter().map(rename).collect();
            parents.sort();
            let name = rename(&entity.uid);
            let attributes = rename_in_record(&entity.attributes, &rename);
            let tags = rename_in_record(&entity.tags, &rename);
            witness.entities.insert(name.clone(), EntityData { uid: name, attributes, tags, parents });
        }
        witness
    }
}

fn rename_in_record(record: &Record, rename: &impl Fn(&EntityUid) -> EntityUid) -> Record {
    record.iter().map(|(name, value)| (name.clone(), rename_in_value(value, rename))).collect()
}

fn rename_in_value(value: &Value, rename: &impl Fn(&EntityUid) -> EntityUid) -> Value {
    match value {
        Value::Entity(entity) => Value::Entity(rename(entity)),
        Value::Set(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| rename_in_value(item, rename)).collect();
            items.sort();
            items.dedup();
            Value::Set(items.into())
        }
        Value::Record(record) => Value::Record(rename_in_record(record, rename)),
        Value::Bool(_) | Value::Long(_) | Value::String(_) | Value::Extension(..) => value.clone(),
    }
}
