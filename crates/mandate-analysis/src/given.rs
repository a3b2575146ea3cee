//! What a case changes about the entities before it asks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;

use mandate_core::Snapshot;
use mandate_core::display;
use mandate_core::entities::{Entity, EntityChanges, EntityData, EntityUpsert, Origin, parse_entity_json};
use mandate_core::json::Json;
use mandate_core::schema::EntityUid;
use mandate_core::value::{Completeness, Dialect, ValueReader};

/// One change. Those of a case are applied together, under the same rules as any change.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Given {
    /// `[child, parent]`: the child is no longer in the parent.
    Without([String; 2]),
    /// `[child, parent]`: the child is in the parent.
    With([String; 2]),
    /// The entity is gone.
    Remove(String),
    /// An entity more, in Cedar's JSON format.
    Add(serde_json::Value),
    /// Other values of some attributes.
    Set { entity: String, attrs: serde_json::Value },
}

/// The snapshot with the changes of a case.
///
/// # Errors
/// What is wrong with a change, in a sentence.
pub fn apply(snapshot: &Snapshot, given: &[Given]) -> Result<Snapshot, String> {
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
    snapshot
        .apply(&EntityChanges { upserts: upsert, removals: draft.removed })
        .map_err(|diagnostics| diagnostics.to_string())
}

struct GivenEdits<'a> {
    snapshot: &'a Snapshot,
    changed: BTreeMap<EntityUid, (EntityData, Origin)>,
    removed: Vec<EntityUid>,
}

impl GivenEdits<'_> {
    fn add(&mut self, given: &Given) -> Result<(), String> {
        match given {
            Given::Without([child, parent]) => self.edge(child, parent, false),
            Given::With([child, parent]) => self.edge(child, parent, true),
            Given::Remove(entity) => {
                self.removed.push(display::parse_uid(entity, self.snapshot.schema())?);
                Ok(())
            }
            Given::Add(json) => self.entity(json),
            Given::Set { entity, attrs } => self.attributes(entity, attrs),
        }
    }

    fn edge(&mut self, child: &str, parent: &str, wanted: bool) -> Result<(), String> {
        let schema = self.snapshot.schema();
        let parent_name = display::parse_uid(parent, schema)?;
        let entity = self.entity_mut(child)?;
        let info = schema.entity_type(entity.uid.entity_type);
        if wanted && !info.parent_types.contains(&parent_name.entity_type) {
            return Err(format!("a `{}` cannot be directly in `{parent}`", info.name));
        }
        let parents = &mut entity.parents;
        match (parents.contains(&parent_name), wanted) {
            (false, false) => return Err(format!("`{child}` is not in `{parent}`, so it cannot be without")),
            (true, true) => return Err(format!("`{child}` is in `{parent}` already")),
            (true, false) => parents.retain(|name| *name != parent_name),
            (false, true) => parents.push(parent_name),
        }
        parents.sort();
        Ok(())
    }

    /// An entity as the case has it so far, to be changed.
    fn entity_mut(&mut self, name: &str) -> Result<&mut EntityData, String> {
        let schema = self.snapshot.schema();
        let entity = display::parse_uid(name, schema)?;
        match self.changed.entry(entity) {
            Entry::Occupied(known) => Ok(&mut known.into_mut().0),
            Entry::Vacant(new) => {
                let stored = self.snapshot.entities().get(new.key().as_uid_ref());
                let stored = &stored.ok_or_else(|| format!("there is no `{name}`"))?.entity;
                Ok(&mut new.insert((stored.unpack(schema), stored.origin())).0)
            }
        }
    }

    fn entity(&mut self, json: &serde_json::Value) -> Result<(), String> {
        let json = Json::deserialize(json).map_err(|error| error.to_string())?;
        let entity = parse_entity_json(&json, self.snapshot.schema()).map_err(|mismatches| {
            mismatches
                .iter()
                .map(|mismatch| format!("{}: {}", mismatch.path, mismatch.message))
                .collect::<Vec<_>>()
                .join("; ")
        })?;
        self.changed.insert(entity.uid.clone(), (entity, Origin(u32::MAX)));
        Ok(())
    }

    fn attributes(&mut self, name: &str, json: &serde_json::Value) -> Result<(), String> {
        let schema = self.snapshot.schema();
        let json = Json::deserialize(json).map_err(|error| error.to_string())?;
        let object = json.as_object().ok_or("`attrs` has to be an object")?;
        let entity_type = display::parse_uid(name, schema)?.entity_type;
        let mut reader = ValueReader::new(schema, Dialect::EntityFile, "attrs");
        let values =
            reader.record(object, &schema.entity_type(entity_type).attributes, Completeness::Partial);
        if let Some(mismatch) = reader.mismatches.first() {
            return Err(format!("{}: {}", mismatch.path, mismatch.message));
        }
        let entity = self.entity_mut(name)?;
        entity.attributes = entity.attributes.with_overrides(&values);
        Ok(())
    }
}
