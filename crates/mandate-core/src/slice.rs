//! Gathering: the few entities that a decision on one request can read, found in the index.

use std::ops::Range;

use super::entities::{Entities, Entity, Stored};
use super::request::Request;
use super::schema::{Name, Schema};
use super::seen::Seen;
use super::stamp::Stamp;
use super::value::Record;

/// What a decision reads of the entities, and a key that is equal only where all of that is.
#[derive(Debug)]
pub struct Slice<'a> {
    /// The entities whose attributes and ancestors policies can read; first the principal, then the
    /// resource.
    pub loaded: Vec<Loaded<'a>>,
    ancestors: Vec<Name<'a>>,
    /// The stamps of all entities that were looked at, ancestors included, in the order of the walk.
    /// The walk depends on nothing but the request and what it finds, so equal stamps for an equal
    /// request mean equal content.
    stamps: Vec<Stamp>,
}

/// An entity of a slice.
#[derive(Debug)]
pub struct Loaded<'a> {
    pub name: Name<'a>,
    /// `None` if it is not stored.
    pub entity: Option<&'a Entity>,
    /// What the caller says about it, where that counts. An entity that is both principal and
    /// resource can be loaded twice, once with each description.
    pub described: Option<&'a Record>,
    ancestors: Range<usize>,
}

impl<'a> Slice<'a> {
    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }

    /// The principal and the resource: only these are described by callers, and only these can be the
    /// same entity, loaded twice.
    pub fn asked(&self) -> &[Loaded<'a>] {
        self.loaded.get(..2).unwrap_or(&self.loaded)
    }

    /// All that the principal or the resource is in, directly or not.
    pub fn above(&self, name: Name<'_>) -> &[Name<'a>] {
        let loaded = self.asked().iter().find(|loaded| loaded.name == name);
        loaded.map_or(&[], |loaded| self.ancestors(loaded))
    }

    /// All that a loaded entity is in, directly or not.
    pub fn ancestors(&self, of: &Loaded<'_>) -> &[Name<'a>] {
        self.ancestors.get(of.ancestors.clone()).unwrap_or_default()
    }
}

/// Gathers for a request, following references as deep as `level`. At level 0 policies read no
/// entity at all, but whether principal and resource exist still counts.
pub fn gather<'a>(entities: &'a Entities, request: &'a Request, schema: &Schema, level: u32) -> Slice<'a> {
    let slice = Slice {
        loaded: Vec::with_capacity(4),
        ancestors: Vec::with_capacity(8),
        stamps: Vec::with_capacity(12),
    };
    let mut walk = Walk { entities, schema, slice, loaded: Seen::default() };
    walk.load(request.principal.name(), request.principal_described.as_ref());
    walk.load(request.resource.name(), request.resource_described.as_ref());
    let (mut references, mut next) = (Vec::new(), 0);
    for depth in 1..=level {
        if depth == 1 {
            request.context.for_each_entity(&mut |name| references.push(name));
        } else {
            let end = walk.slice.loaded.len();
            for loaded in walk.slice.loaded.get(next..end).into_iter().flatten() {
                loaded.references(&mut |name| references.push(name));
            }
            next = end;
        }
        for name in references.drain(..) {
            walk.load(name, None);
        }
    }
    walk.slice
}

struct Walk<'a, 's> {
    entities: &'a Entities,
    schema: &'s Schema,
    slice: Slice<'a>,
    loaded: Seen<Name<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn load(&mut self, name: Name<'a>, described: Option<&'a Record>) {
        if !self.loaded.insert(name) && described.is_none() {
            return;
        }
        let entity = self.look_up(name).map(|stored| &stored.entity);
        let ancestors = entity.map_or(0..0, |entity| self.ancestors(entity));
        self.slice.loaded.push(Loaded { name, entity, described, ancestors });
    }

    fn look_up(&mut self, name: Name<'_>) -> Option<&'a Stored> {
        // Who the schema enumerates is not stored, and in nothing.
        if self.schema.kind(name.kind).enumerated.is_some() {
            return None;
        }
        let stored = self.entities.get(name);
        self.slice.stamps.push(stored.map_or(Stamp::ABSENT, |stored| stored.stamp));
        stored
    }

    /// Walks to all ancestors, breadth first.
    fn ancestors(&mut self, of: &'a Entity) -> Range<usize> {
        let start = self.slice.ancestors.len();
        let mut seen = Seen::default();
        self.slice.ancestors.extend(of.parents().filter(|name| seen.insert(*name)));
        let mut next = start;
        while let Some(name) = self.slice.ancestors.get(next).copied() {
            next += 1;
            if let Some(stored) = self.look_up(name) {
                self.slice.ancestors.extend(stored.entity.parents().filter(|name| seen.insert(*name)));
            }
        }
        start..next
    }
}

impl<'a> Loaded<'a> {
    fn references(&self, found: &mut impl FnMut(Name<'a>)) {
        if let Some(entity) = self.entity {
            entity.for_each_reference(found);
        }
        if let Some(described) = self.described {
            described.for_each_entity(found);
        }
    }
}
