//! The changes that a test case makes to the entities before it runs (`given`). They are applied to a copy of
//! the snapshot, under the same rules as any change. The rest of a case is in `case`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;

use crate::error::CaseError;
use mandate_core::Snapshot;
use mandate_core::display;
use mandate_core::entities::{Entity, EntityChanges, EntityData, EntityUpsert, Origin, parse_entity_json};
use mandate_core::json::Json;
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::value::{Completeness, Dialect, Record, ValueReader};

/// One change. All changes of a case are applied together.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Given {
    /// `[child, parent]`: the child is no longer in the parent.
    Without([String; 2]),
    /// `[child, parent]`: the child is in the parent.
    With([String; 2]),
    /// The entity does not exist.
    Remove(String),
    /// A further entity, in Cedar's JSON format.
    Add(serde_json::Value),
    /// Other values for some attributes.
    Set { entity: String, attrs: serde_json::Value },
}

/// The snapshot with the changes of a case.
///
/// # Errors
/// What is wrong with a change.
pub fn apply(snapshot: &Snapshot, given: &[Given]) -> Result<Snapshot, CaseError> {
    if given.is_empty() {
        return Ok(snapshot.clone());
    }
    let mut draft = GivenEdits { snapshot, changed: BTreeMap::new(), removed: Vec::new() };
    given.iter().try_for_each(|given| draft.add(given))?;
    let upsert = |(entity, origin): &(EntityData, Origin)| EntityUpsert {
        entity: Entity::pack(entity, *origin, snapshot.schema()),
        span: None,
    };
    let upsert = draft.changed.values().map(upsert).collect();
    Ok(snapshot.apply(&EntityChanges { upserts: upsert, removals: draft.removed })?)
}

struct GivenEdits<'a> {
    snapshot: &'a Snapshot,
    changed: BTreeMap<EntityUid, (EntityData, Origin)>,
    removed: Vec<EntityUid>,
}

impl GivenEdits<'_> {
    fn add(&mut self, given: &Given) -> Result<(), CaseError> {
        match given {
            Given::Without([child, parent]) => self.edge(child, parent, false),
            Given::With([child, parent]) => self.edge(child, parent, true),
            Given::Remove(entity) => {
                self.removed.push(uid(entity, self.snapshot.schema())?);
                Ok(())
            }
            Given::Add(json) => self.entity(json),
            Given::Set { entity, attrs } => self.attributes(entity, attrs),
        }
    }

    fn edge(&mut self, child: &str, parent: &str, wanted: bool) -> Result<(), CaseError> {
        let schema = self.snapshot.schema();
        let parent_name = uid(parent, schema)?;
        let entity = self.entity_mut(child)?;
        let info = schema.entity_type(entity.uid.entity_type);
        if wanted && !info.parent_types.contains(&parent_name.entity_type) {
            return Err(CaseError::ParentType {
                child_type: info.name.to_string(),
                parent: parent.to_owned(),
            });
        }
        let parents = &mut entity.parents;
        match (parents.contains(&parent_name), wanted) {
            (false, false) => {
                return Err(CaseError::NotInParent { child: child.to_owned(), parent: parent.to_owned() });
            }
            (true, true) => {
                return Err(CaseError::AlreadyInParent {
                    child: child.to_owned(),
                    parent: parent.to_owned(),
                });
            }
            (true, false) => parents.retain(|name| *name != parent_name),
            (false, true) => parents.push(parent_name),
        }
        parents.sort();
        Ok(())
    }

    /// The entity with the changes so far, to change it further.
    fn entity_mut(&mut self, name: &str) -> Result<&mut EntityData, CaseError> {
        let schema = self.snapshot.schema();
        let entity = uid(name, schema)?;
        match self.changed.entry(entity) {
            Entry::Occupied(known) => Ok(&mut known.into_mut().0),
            Entry::Vacant(new) => {
                let stored = self.snapshot.entities().get(new.key().as_uid_ref());
                let stored = &stored.ok_or_else(|| CaseError::UnknownEntity(name.to_owned()))?.entity;
                Ok(&mut new.insert((stored.unpack(schema), stored.origin())).0)
            }
        }
    }

    fn entity(&mut self, json: &serde_json::Value) -> Result<(), CaseError> {
        let entity = whole_entity(json, self.snapshot.schema())?;
        self.changed.insert(entity.uid.clone(), (entity, Origin(u32::MAX)));
        Ok(())
    }

    fn attributes(&mut self, name: &str, json: &serde_json::Value) -> Result<(), CaseError> {
        let schema = self.snapshot.schema();
        let values = partial_attributes(&uid(name, schema)?, json, schema)?;
        let entity = self.entity_mut(name)?;
        entity.attributes = entity.attributes.with_overrides(&values);
        Ok(())
    }
}

/// An entity in Cedar's JSON format.
pub fn whole_entity(json: &serde_json::Value, schema: &Schema) -> Result<EntityData, CaseError> {
    let json = Json::deserialize(json)?;
    parse_entity_json(&json, schema).map_err(|mismatches| {
        let mismatches = mismatches.iter();
        let texts = mismatches.map(|mismatch| format!("{}: {}", mismatch.path, mismatch.message));
        CaseError::Mismatches(texts.collect())
    })
}

/// Some attributes of an entity.
pub fn partial_attributes(
    entity: &EntityUid,
    json: &serde_json::Value,
    schema: &Schema,
) -> Result<Record, CaseError> {
    let json = Json::deserialize(json)?;
    let object = json.as_object().ok_or(CaseError::AttributesNotAnObject)?;
    let mut reader = ValueReader::new(schema, Dialect::EntityFile, "attrs");
    let attributes = &schema.entity_type(entity.entity_type).attributes;
    let values = reader.record(object, attributes, Completeness::Partial);
    match reader.mismatches.first() {
        Some(mismatch) => {
            Err(CaseError::Mismatches(vec![format!("{}: {}", mismatch.path, mismatch.message)]))
        }
        None => Ok(values),
    }
}

pub fn uid(text: &str, schema: &Schema) -> Result<EntityUid, CaseError> {
    display::parse_uid(text, schema).map_err(|error| CaseError::entity(&error))
}
