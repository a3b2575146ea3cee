//! Edits of the store: what a change comes to, as texts.

use mandate_core::Snapshot;
use mandate_core::display::AsJson;
use mandate_core::entities::{Entity, EntityChanges};
use mandate_core::parallel::{self, map_chunks};
use mandate_core::schema::{EntityUidRef, Schema};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::entity_name::EntityName;
use crate::record::Record;

/// One edit of the entities.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edit {
    /// Puts an entity in the place of the one with its name, if there is one.
    Put(Box<RawValue>),
    Delete(EntityName),
    /// Puts a record, which is no entity.
    Record(Box<Record>),
}

/// An edit, and what it is about.
#[derive(Debug, Clone)]
pub struct NamedEdit {
    pub name: EntityName,
    pub edit: Edit,
}

impl NamedEdit {
    /// Puts a record.
    pub fn record(record: Record) -> Self {
        Self { name: record.name(), edit: Edit::Record(Box::new(record)) }
    }

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
            Edit::Record(record) => record.name(),
        };
        Ok(Self { name, edit })
    }
}

/// The edits that a change comes to, in the order of names. They are made as they are taken: there may be
/// millions.
pub fn edits_of<'a>(changes: &'a EntityChanges, schema: &'a Schema) -> impl Iterator<Item = NamedEdit> + 'a {
    let upserts = in_order(changes.upserts.iter().map(|upsert| &upsert.entity));
    let stays = |uid| upserts.binary_search_by_key(&uid, |entity| entity.uid()).is_ok();
    let mut removed: Vec<_> = changes.removals.iter().filter(|uid| !stays(uid.as_uid_ref())).collect();
    removed.sort_unstable();
    removed.dedup();
    let deletes = removed.into_iter().map(|uid| {
        let name = EntityName::new(uid.as_uid_ref(), schema);
        NamedEdit { edit: Edit::Delete(name.clone()), name }
    });
    deletes.chain(Puts { entities: upserts.into_iter(), next: Vec::new().into_iter(), schema })
}

/// All entities of a snapshot in Cedar's JSON format, in the order of names. They are made as they are taken.
pub fn texts_of_all(snapshot: &Snapshot) -> impl Iterator<Item = String> + Send {
    let entities = in_order(snapshot.entities().iter());
    entities.into_iter().map(|entity| entity_text(entity, snapshot.schema()).get().to_owned())
}

/// The edits that put all entities of a snapshot, in the order of names.
pub fn edits_of_all(snapshot: &Snapshot) -> impl Iterator<Item = NamedEdit> {
    let entities = in_order(snapshot.entities().iter()).into_iter();
    Puts { entities, next: Vec::new().into_iter(), schema: snapshot.schema() }
}

/// Sorts entities by name.
fn in_order<'a>(entities: impl Iterator<Item = &'a Entity>) -> Vec<&'a Entity> {
    // Comparing the beginnings of names first looks up hardly any entity in memory, which takes most of the time.
    let mut entities: Vec<(u128, &Entity)> =
        entities.map(|entity| (beginning_of_name(entity.uid()), entity)).collect();
    let by_name = |(a, one): &(u128, &Entity), (b, other): &(u128, &Entity)| {
        a.cmp(b).then_with(|| one.uid().cmp(&other.uid()))
    };
    parallel::sort_by(&mut entities, by_name);
    entities.into_iter().map(|(_, entity)| entity).collect()
}

/// A number that orders names as they are ordered, but for those that begin alike.
fn beginning_of_name(uid: EntityUidRef<'_>) -> u128 {
    let ([high, low], mut bytes) = (uid.entity_type.as_u16().to_be_bytes(), [0; 16]);
    for (byte, of_name) in bytes.iter_mut().zip([high, low].into_iter().chain(uid.id.bytes())) {
        *byte = of_name;
    }
    u128::from_be_bytes(bytes)
}

/// Edits that put entities, made on all cores, some thousands at once.
struct Puts<'a> {
    entities: std::vec::IntoIter<&'a Entity>,
    next: std::vec::IntoIter<NamedEdit>,
    schema: &'a Schema,
}

/// How many edits are made at once.
const MADE_AT_ONCE: usize = 16 * 1024;

impl Iterator for Puts<'_> {
    type Item = NamedEdit;

    fn next(&mut self) -> Option<NamedEdit> {
        if self.next.len() == 0 {
            let entities: Vec<&Entity> = self.entities.by_ref().take(MADE_AT_ONCE).collect();
            let put_all =
                |part: &[&Entity]| part.iter().map(|entity| put(entity, self.schema)).collect::<Vec<_>>();
            let edits: Vec<NamedEdit> = map_chunks(&entities, put_all).into_iter().flatten().collect();
            self.next = edits.into_iter();
        }
        self.next.next()
    }
}

fn put(entity: &Entity, schema: &Schema) -> NamedEdit {
    NamedEdit { name: EntityName::new(entity.uid(), schema), edit: Edit::Put(entity_text(entity, schema)) }
}

/// An entity in Cedar's JSON format, always in the same way.
#[expect(clippy::expect_used, reason = "an invented text would be kept for ever")]
fn entity_text(entity: &Entity, schema: &Schema) -> Box<RawValue> {
    to_raw_value(&AsJson(&entity.unpack(schema), schema)).expect("entities can be written as JSON")
}

#[cfg(test)]
mod tests {
    use mandate_core::schema::EntityTypeId;

    use super::*;

    #[test]
    fn beginnings_are_ordered_as_names_are() {
        let ids = [
            "",
            "\0",
            "a",
            "a\0",
            "a\0b",
            "a\u{1}",
            "ab",
            "fourteen-bytes",
            "fourteen-bytes-",
            "ä",
            "\u{10FFFF}",
        ];
        let uids = [0, 1, 255, 256].into_iter().flat_map(|number| {
            let entity_type = EntityTypeId::from_u16(number);
            ids.into_iter().map(move |id| EntityUidRef { entity_type, id })
        });
        let uids: Vec<EntityUidRef<'_>> = uids.collect();
        assert!(uids.is_sorted());
        assert!(uids.is_sorted_by_key(|uid| beginning_of_name(*uid)));
    }
}
