//! Gathering: finds the few entities that a decision on one request can read. It decides nothing; `decide.rs`
//! reads the slice, and the decision cache uses its versions as a key.

use std::ops::Range;

use super::entities::{CorruptEntity, Entities, Entity, Part, StoredEntity};
use super::moment::Moment;
use super::reachable::extend_with_reachable;
use super::request::Request;
use super::schema::{EntityUidRef, Schema};
use super::seen::Seen;
use super::value::Record;
use super::version::Version;

/// The entities that a decision can read, and their versions. Equal versions mean equal content, so the
/// versions are the cache key.
#[derive(Debug)]
pub struct Slice<'a> {
    /// The entities whose attributes and ancestors policies can read; first the principal, then the resource.
    pub entities: Vec<SliceEntity<'a>>,
    ancestors: Vec<EntityUidRef<'a>>,
    /// All entities that were looked up, ancestors included, in the order of the walk. The walk depends only on the
    /// request and on what it finds, so equal versions for an equal request mean equal content.
    look_ups: Vec<LookUp>,
    /// The first time at which an entity that was met has no members any more.
    next_end: Option<Moment>,
    /// Set if an entity could not be read: then nothing may be decided on the slice.
    corrupt: Option<CorruptEntity>,
}

/// What was found under a uid: the version of the entity, and the part of all entities that the uid belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookUp {
    pub version: Version,
    pub part: Part,
}

/// An entity of a slice.
#[derive(Debug)]
pub struct SliceEntity<'a> {
    pub uid: EntityUidRef<'a>,
    /// `None` if it is not stored.
    pub entity: Option<&'a Entity>,
    /// The caller's description, if it counts. An entity that is both principal and resource can be loaded
    /// twice, once with each description.
    pub properties: Option<&'a Record>,
    ancestors: Range<usize>,
}

impl<'a> Slice<'a> {
    pub fn look_ups(&self) -> &[LookUp] {
        &self.look_ups
    }

    /// Until when the same entities are gathered, if time can change that.
    pub fn next_end(&self) -> Option<Moment> {
        self.next_end
    }

    /// The principal and the resource: only these are described by callers, and only these can be the same
    /// entity, loaded twice.
    pub fn principal_and_resource(&self) -> &[SliceEntity<'a>] {
        self.entities.get(..2).unwrap_or(&self.entities)
    }

    /// All ancestors of the principal or the resource.
    pub fn ancestors_of(&self, uid: EntityUidRef<'_>) -> &[EntityUidRef<'a>] {
        let loaded = self.principal_and_resource().iter().find(|loaded| loaded.uid == uid);
        loaded.map_or(&[], |loaded| self.ancestors(loaded))
    }

    /// All ancestors of a loaded entity.
    pub fn ancestors(&self, of: &SliceEntity<'_>) -> &[EntityUidRef<'a>] {
        self.ancestors.get(of.ancestors.clone()).unwrap_or_default()
    }

    /// Whether all entities could be read.
    ///
    /// # Errors
    /// One could not, so the slice may lack entities.
    pub fn check_complete(&self) -> Result<(), CorruptEntity> {
        self.corrupt.map_or(Ok(()), Err)
    }
}

/// Gathers the slice for a request. `level` is the validation level of the policies: the longest chain of
/// references that they follow. Principal and resource are always loaded, because they must exist.
pub fn gather<'a>(entities: &'a Entities, request: &'a Request, schema: &Schema, level: u32) -> Slice<'a> {
    let slice = Slice {
        entities: Vec::with_capacity(4),
        ancestors: Vec::with_capacity(8),
        look_ups: Vec::with_capacity(12),
        next_end: None,
        corrupt: None,
    };
    let asked_at = request.asked_at;
    let mut gatherer = Gatherer { entities, schema, asked_at, slice, seen: Seen::default() };
    gatherer.load(request.principal.as_uid_ref(), request.principal_properties.as_ref());
    gatherer.load(request.resource.as_uid_ref(), request.resource_properties.as_ref());
    let (mut references, mut next) = (Vec::new(), 0);
    for depth in 1..=level {
        if depth == 1 {
            request.context.for_each_entity(&mut |uid| references.push(uid));
        } else {
            let end = gatherer.slice.entities.len();
            for loaded in gatherer.slice.entities.get(next..end).into_iter().flatten() {
                let read = loaded.references(schema, &mut |uid| references.push(uid));
                gatherer.slice.corrupt = gatherer.slice.corrupt.or(read.err());
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
    asked_at: Option<Moment>,
    slice: Slice<'a>,
    /// Tells which entities were loaded already.
    seen: Seen<EntityUidRef<'a>>,
}

impl<'a> Gatherer<'a, '_> {
    fn load(&mut self, uid: EntityUidRef<'a>, properties: Option<&'a Record>) {
        if !self.seen.is_new(&self.slice.entities, |loaded| loaded.uid, uid) && properties.is_none() {
            return;
        }
        let stored = look_up(self.entities, uid, self.schema, &mut self.slice.look_ups);
        let entity = stored.map(|stored| &stored.entity);
        let ancestors = entity.map_or(0..0, |entity| self.ancestors(entity));
        self.slice.entities.push(SliceEntity { uid, entity, properties, ancestors });
    }

    fn ancestors(&mut self, of: &'a Entity) -> Range<usize> {
        if let Some(asked_at) = self.asked_at {
            let start = self.slice.ancestors.len();
            let read = self.extend_with_ancestors_at(asked_at, of);
            self.slice.corrupt = self.slice.corrupt.or(read.err());
            return start..self.slice.ancestors.len();
        }
        let (entities, schema) = (self.entities, self.schema);
        let Slice { ancestors, look_ups, corrupt, .. } = &mut self.slice;
        let start = ancestors.len();
        let read = extend_with_reachable(ancestors, of.try_parents(schema), |uid| {
            look_up(entities, uid, schema, look_ups).map(|stored| stored.entity.try_parents(schema))
        });
        *corrupt = corrupt.or(read.err());
        start..ancestors.len()
    }
}

impl<'a> Gatherer<'a, '_> {
    /// As [`extend_with_reachable`], without the parents that have ended.
    fn extend_with_ancestors_at(&mut self, asked_at: Moment, of: &'a Entity) -> Result<(), CorruptEntity> {
        let (start, mut seen) = (self.slice.ancestors.len(), Seen::default());
        let mut next = start;
        let mut entity = Some(of);
        loop {
            for parent in entity.into_iter().flat_map(|entity| entity.try_parents(self.schema)) {
                let parent = parent?;
                if self.has_ended(parent, asked_at)? {
                    continue;
                }
                let found = self.slice.ancestors.get(start..).unwrap_or_default();
                if seen.is_new(found, |other| *other, parent) {
                    self.slice.ancestors.push(parent);
                }
            }
            let Some(ancestor) = self.slice.ancestors.get(next).copied() else { return Ok(()) };
            next += 1;
            let stored = look_up(self.entities, ancestor, self.schema, &mut self.slice.look_ups);
            entity = stored.map(|stored| &stored.entity);
        }
    }

    /// Whether an entity has no members any more. What says so is part of the slice, as is the time when others will
    /// have ended.
    fn has_ended(&mut self, uid: EntityUidRef<'a>, asked_at: Moment) -> Result<bool, CorruptEntity> {
        if self.schema.entity_type(uid.entity_type).valid_until.is_none() {
            return Ok(false);
        }
        let stored = look_up(self.entities, uid, self.schema, &mut self.slice.look_ups);
        let end = stored.map_or(Ok(None), |stored| stored.entity.try_end(self.schema))?;
        let Some(end) = end else { return Ok(false) };
        if end > asked_at {
            self.slice.next_end = Some(self.slice.next_end.map_or(end, |earlier| earlier.min(end)));
        }
        Ok(end <= asked_at)
    }
}

fn look_up<'a>(
    entities: &'a Entities,
    uid: EntityUidRef<'_>,
    schema: &Schema,
    look_ups: &mut Vec<LookUp>,
) -> Option<&'a StoredEntity> {
    // Entities of an enumerated type are not stored, and have no parents.
    if schema.entity_type(uid.entity_type).enum_ids.is_some() {
        return None;
    }
    let (stored, part) = entities.look_up(uid);
    look_ups.push(LookUp { version: stored.map_or(Version::ABSENT, |stored| stored.version), part });
    stored
}

impl<'a> SliceEntity<'a> {
    fn references(
        &self,
        schema: &Schema,
        found: &mut impl FnMut(EntityUidRef<'a>),
    ) -> Result<(), CorruptEntity> {
        if let Some(entity) = self.entity {
            entity.for_each_reference(schema, found)?;
        }
        if let Some(properties) = self.properties {
            properties.for_each_entity(found);
        }
        Ok(())
    }
}
