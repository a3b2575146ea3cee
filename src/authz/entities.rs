//! The entities: a persistent map, so that a snapshot with one change shares the rest, and the
//! rules that every change has to keep. Nothing here is proportional to all entities, but for
//! wording one error.

mod canonical;
mod read;
mod rules;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use canonical::digest;
pub use read::{entity_of_json, read_file};

use super::digest::{Digest, SetDigest};
use super::fault::{Fault, Faults, Place};
use super::schema::{EntityRef, Schema};
use super::stamp::Stamp;
use super::value::Record;

/// One entity as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    pub name: EntityRef,
    pub attributes: Record,
    pub tags: Record,
    /// What it is directly in; sorted, without repetition.
    pub parents: Arc<[EntityRef]>,
}

/// Which of several sources an entity comes from. A source numbers them as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Origin(pub u32);

/// An entity on its way in, with the place that it was read from.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub entity: Entity,
    pub origin: Origin,
    pub place: Option<Place>,
}

/// What is to change: entities that come or are replaced, and entities that go.
/// Both count at once; an entity in both lists stays, as it comes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub upsert: Vec<Incoming>,
    pub remove: Vec<EntityRef>,
}

/// An entity in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    pub entity: Arc<Entity>,
    pub stamp: Stamp,
    /// How many entities are directly in this one.
    members: u32,
    origin: Origin,
}

impl Stored {
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

/// All entities. Cloning is cheap; a clone with a change shares what did not change.
#[derive(Debug, Clone, Default)]
pub struct Entities {
    map: imbl::HashMap<EntityRef, Stored>,
    digest: SetDigest,
}

impl Entities {
    pub fn get(&self, name: &EntityRef) -> Option<&Stored> {
        self.map.get(name)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All entities, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.map.values().map(|stored| &stored.entity)
    }

    /// The digest of all entities, whatever files and order they came in.
    pub fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// The entities with a change. Entities that the change leaves as they were keep their stamp.
    ///
    /// # Errors
    /// Every rule that the changed entities would break.
    pub fn apply(&self, change: Change, schema: &Schema) -> Result<Self, Faults> {
        let mut draft = Draft::new(self, schema);
        draft.upserts(change.upsert, &change.remove);
        draft.removals(change.remove);
        draft.count_members();
        draft.finish()
    }
}

/// A change in the making: the next version, and what has to be checked before it stands.
struct Draft<'a> {
    before: &'a Entities,
    schema: &'a Schema,
    after: Entities,
    /// Every entity that comes, with its place.
    upserted: HashMap<EntityRef, Option<Place>>,
    /// The entities that differ from before, with their places.
    changed: BTreeMap<EntityRef, Option<Place>>,
    removed: Vec<EntityRef>,
    /// What the change adds to, or takes from, the number of each entity's members.
    members: HashMap<EntityRef, i64>,
    faults: Faults,
}

impl<'a> Draft<'a> {
    fn new(before: &'a Entities, schema: &'a Schema) -> Self {
        Self {
            before,
            schema,
            after: before.clone(),
            upserted: HashMap::new(),
            changed: BTreeMap::new(),
            removed: Vec::new(),
            members: HashMap::new(),
            faults: Faults::default(),
        }
    }

    fn upserts(&mut self, incoming: Vec<Incoming>, going: &[EntityRef]) {
        let going: HashSet<&EntityRef> = going.iter().collect();
        for Incoming { entity, origin, place } in incoming {
            if let Some(first) = self.upserted.get(&entity.name).cloned() {
                self.twice(&entity.name, place, first.as_ref());
                continue;
            }
            self.upserted.insert(entity.name.clone(), place.clone());
            let old = self.before.get(&entity.name);
            if old.is_some_and(|old| old.origin != origin) && !going.contains(&entity.name) {
                self.twice(&entity.name, place, None);
                continue;
            }
            self.upsert(entity, origin, place);
        }
    }

    fn twice(&mut self, name: &EntityRef, place: Option<Place>, first: Option<&Place>) {
        let elsewhere = first.map_or_else(
            || "also in another file".to_owned(),
            |first| format!("first at {}:{}", first.source.path, first.line_column().0),
        );
        let message = format!("`{}` is defined twice, {elsewhere}", self.schema.show(name));
        self.faults.push(Fault::error(message).at(place));
    }

    fn upsert(&mut self, entity: Entity, origin: Origin, place: Option<Place>) {
        let old = self.before.get(&entity.name);
        let same = old.filter(|old| *old.entity == entity);
        let stored = Stored {
            members: old.map_or(0, |old| old.members),
            stamp: same.map_or_else(Stamp::fresh, |old| old.stamp),
            entity: same.map_or_else(|| Arc::new(entity), |old| Arc::clone(&old.entity)),
            origin,
        };
        let name = stored.entity.name.clone();
        if same.is_none() {
            if let Some(old) = old {
                self.leave(&old.entity);
            }
            self.join(&stored.entity);
            self.changed.insert(name.clone(), place);
        }
        if same.is_none_or(|old| old.origin != origin) {
            self.after.map.insert(name, stored);
        }
    }

    fn removals(&mut self, names: Vec<EntityRef>) {
        let before = self.before;
        for name in names {
            let Some(old) = before.get(&name) else {
                let message = format!("`{}` cannot be removed: it is not there", self.schema.show(&name));
                self.faults.push(Fault::error(message));
                continue;
            };
            if !self.upserted.contains_key(&name) && self.after.map.remove(&name).is_some() {
                self.leave(&old.entity);
                self.removed.push(name);
            }
        }
    }

    fn join(&mut self, entity: &Entity) {
        self.after.digest.add(&digest(entity, self.schema));
        for parent in entity.parents.iter() {
            *self.members.entry(parent.clone()).or_default() += 1;
        }
    }

    fn leave(&mut self, entity: &Entity) {
        self.after.digest.remove(&digest(entity, self.schema));
        for parent in entity.parents.iter() {
            *self.members.entry(parent.clone()).or_default() -= 1;
        }
    }

    fn count_members(&mut self) {
        for (name, difference) in &self.members {
            if let Some(stored) = self.after.map.get_mut(name) {
                let members = i64::from(stored.members).saturating_add(*difference).max(0);
                stored.members = u32::try_from(members).unwrap_or(u32::MAX);
            }
        }
    }
}
