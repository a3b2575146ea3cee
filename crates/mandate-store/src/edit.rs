//! Edits of the store: what a change comes to, as texts.

use mandate_core::Snapshot;
use mandate_core::digest::Digest;
use mandate_core::display;
use mandate_core::entities::{Entity, EntityChanges};
use mandate_core::schema::{EntityUidRef, Schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The name of an entity, as entity files have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityName {
    /// With its namespace.
    #[serde(rename = "type")]
    pub entity_type: String,
    pub id: String,
}

impl EntityName {
    /// Its key in the table of entities.
    pub(crate) fn as_key(&self) -> (&str, &str) {
        (&self.entity_type, &self.id)
    }

    pub fn new(uid: EntityUidRef<'_>, schema: &Schema) -> Self {
        Self { entity_type: schema.entity_type(uid.entity_type).name.to_string(), id: uid.id.to_owned() }
    }
}

/// One edit of the entities.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edit {
    /// Puts an entity in the place of the one with its name, if there is one.
    Put(Box<RawValue>),
    Delete(EntityName),
}

/// An edit, and what it is about.
#[derive(Debug, Clone)]
pub struct NamedEdit {
    pub name: EntityName,
    pub edit: Edit,
}

impl NamedEdit {
    /// # Errors
    /// The text of an entity has no name.
    pub fn new(edit: Edit) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Named {
            uid: EntityName,
        }
        let name = match &edit {
            Edit::Put(entity) => serde_json::from_str::<Named>(entity.get())?.uid,
            Edit::Delete(name) => name.clone(),
        };
        Ok(Self { name, edit })
    }
}

/// The edits that a change comes to, in the order of names. They are made as they are taken: there may be
/// millions.
pub fn edits_of<'a>(changes: &'a EntityChanges, schema: &'a Schema) -> impl Iterator<Item = NamedEdit> + 'a {
    let mut upserts: Vec<&Entity> = changes.upserts.iter().map(|upsert| &upsert.entity).collect();
    upserts.sort_unstable_by_key(|entity| entity.uid());
    let stays = |uid| upserts.binary_search_by_key(&uid, |entity| entity.uid()).is_ok();
    let mut removed: Vec<_> = changes.removals.iter().filter(|uid| !stays(uid.as_uid_ref())).collect();
    removed.sort_unstable();
    removed.dedup();
    let removed = removed.into_iter();
    let deletes = removed.map(|uid| {
        let name = EntityName::new(uid.as_uid_ref(), schema);
        NamedEdit { edit: Edit::Delete(name.clone()), name }
    });
    deletes.chain(upserts.into_iter().map(|entity| put(entity, schema)))
}

/// All entities of a snapshot in Cedar's JSON format, in the order of names. They are made as they are taken.
pub fn texts_of_all(snapshot: &Snapshot) -> impl Iterator<Item = String> + Send {
    let mut entities: Vec<&Entity> = snapshot.entities().iter().collect();
    entities.sort_unstable_by_key(|entity| entity.uid());
    entities.into_iter().map(|entity| entity_text(entity, snapshot.schema()).get().to_owned())
}

/// The edits that put all entities of a snapshot, in the order of names.
pub fn edits_of_all(snapshot: &Snapshot) -> impl Iterator<Item = NamedEdit> {
    let mut entities: Vec<&Entity> = snapshot.entities().iter().collect();
    entities.sort_unstable_by_key(|entity| entity.uid());
    entities.into_iter().map(|entity| put(entity, snapshot.schema()))
}

fn put(entity: &Entity, schema: &Schema) -> NamedEdit {
    NamedEdit { name: EntityName::new(entity.uid(), schema), edit: Edit::Put(entity_text(entity, schema)) }
}

/// An entity in Cedar's JSON format, always in the same way.
#[expect(clippy::expect_used, reason = "an invented text would be kept for ever")]
fn entity_text(entity: &Entity, schema: &Schema) -> Box<RawValue> {
    let text = display::entity_json(&entity.unpack(schema), schema).to_string();
    RawValue::from_string(text).expect("what was written as JSON is JSON")
}

/// The digest of an entity in the store, a member of the digest of all.
pub(crate) fn entity_digest(name: &EntityName, text: &str) -> Digest {
    Digest::of([name.entity_type.as_bytes(), name.id.as_bytes(), text.as_bytes()])
}
