//! Gathering: the few entities that a decision on one request can read, found in the index.

use std::ops::Range;

use super::entities::{Entities, Entity, StoredEntity};
use super::request::Request;
use super::schema::{EntityUidRef, Schema};
use super::small_set::SmallSet;
use super::value::Record;
use super::version::Version;

/// What a decision reads of the entities, and a key that is equal only where all of that is.
#[derive(Debug)]
pub struct Slice<'a> {
    /// The entities whose attributes and ancestors policies can read; first the principal, then the
    /// resource.
    pub entities: Vec<SliceEntity<'a>>,
    ancestors: Vec<EntityUidRef<'a>>,
    /// The stamps of all entities that were looked at, ancestors included, in the order of the walk.
    /// The walk depends on nothing but the request and what it finds, so equal stamps for an equal
    /// request mean equal content.
    versions: Vec<Version>,
}

/// An entity of a slice.
#[derive(Debug)]
pub struct SliceEntity<'a> {
    pub uid: EntityUidRef<'a>,
    /// `None` if it is not stored.
    pub entity: Option<&'a Entity>,
    /// What the caller says about it, where that counts. An entity that is both principal and
    /// resource can be loaded twice, once with each description.
    pub properties: Option<&'a Record>,
    ancestors: Range<usize>,
}

impl<'a> Slice<'a> {
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The principal and the resource: only these are described by callers, and only these can be the
    /// same entity, loaded twice.
    pub fn principal_and_resource(&self) -> &[SliceEntity<'a>] {
        self.entities.get(..2).unwrap_or(&self.entities)
    }

    /// All that the principal or the resource is in, directly or not.
    pub fn ancestors_of(&self, uid: EntityUidRef<'_>) -> &[EntityUidRef<'a>] {
        let loaded = self.principal_and_resource().iter().find(|loaded| loaded.uid == uid);
        loaded.map_or(&[], |loaded| self.ancestors(loaded))
    }

    /// All that a loaded entity is in, directly or not.
    pub fn ancestors(&self, of: &SliceEntity<'_>) -> &[EntityUidRef<'a>] {
        self.ancestors.get(of.ancestors.clone()).unwrap_or_default()
    }
}

/// Gathers for a request, following references as deep as `level`. At level 0 policies read no
/// entity at all, but whether principal and resource exist still counts.
pub fn gather<'a>(entities: &'a Entities, request: &'a Request, schema: &Schema, level: u32) -> Slice<'a> {
    let slice = Slice {
        entities: Vec::with_capacity(4),
        ancestors: Vec::with_capacity(8),
        versions: Vec::with_capacity(12),
    };
    let mut gatherer = Gatherer { entities, schema, slice, loaded: SmallSet::default() };
    gatherer.load(request.principal.as_uid_ref(), request.principal_properties.as_ref());
    gatherer.load(request.resource.as_uid_ref(), request.resource_properties.as_ref());
    let (mut references, mut next) = (Vec::new(), 0);
    for depth in 1..=level {
        if depth == 1 {
            request.context.for_each_entity(&mut |uid| references.push(uid));
        } else {
            let end = gatherer.slice.entities.len();
            for loaded in gatherer.slice.entities.get(next..end).into_iter().flatten() {
                loaded.references(&mut |uid| references.push(uid));
            }
            next = end;
        }
        for uid in references.drain(..) {
            gatherer.load(uid, None);
        }
    }
    gatherer.slice
}

struct Gatherer<'a, 's> {
    entities: &'a Entities,
    schema: &'s Schema,
    slice: Slice<'a>,
    loaded: SmallSet<EntityUidRef<'a>>,
}

impl<'a> Gatherer<'a, '_> {
    fn load(&mut self, uid: EntityUidRef<'a>, properties: Option<&'a Record>) {
        if !self.loaded.insert(uid) && properties.is_none() {
            return;
        }
        let entity = self.look_up(uid).map(|stored| &stored.entity);
        let ancestors = entity.map_or(0..0, |entity| self.ancestors(entity));
        self.slice.entities.push(SliceEntity { uid, entity, properties, ancestors });
    }

    fn look_up(&mut self, uid: EntityUidRef<'_>) -> Option<&'a StoredEntity> {
        // Who the schema enumerates is not stored, and in nothing.
        if self.schema.entity_type(uid.entity_type).enum_ids.is_some() {
            return None;
        }
        let stored = self.entities.get(uid);
        self.slice.versions.push(stored.map_or(Version::ABSENT, |stored| stored.version));
        stored
    }

    /// Walks to all ancestors, breadth first.
    fn ancestors(&mut self, of: &'a Entity) -> Range<usize> {
        let start = self.slice.ancestors.len();
        let mut seen = SmallSet::default();
        self.slice.ancestors.extend(of.parents().filter(|uid| seen.insert(*uid)));
        let mut next = start;
        while let Some(uid) = self.slice.ancestors.get(next).copied() {
            next += 1;
            if let Some(stored) = self.look_up(uid) {
                self.slice.ancestors.extend(stored.entity.parents().filter(|uid| seen.insert(*uid)));
            }
        }
        start..next
    }
}

impl<'a> SliceEntity<'a> {
    fn references(&self, found: &mut impl FnMut(EntityUidRef<'a>)) {
        if let Some(entity) = self.entity {
            entity.for_each_reference(found);
        }
        if let Some(properties) = self.properties {
            properties.for_each_entity(found);
        }
    }
}
