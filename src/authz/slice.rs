//! Gathering: the few entities that a decision on one request can read, found in the index.

use std::collections::HashSet;

use super::entities::{Entities, Entity};
use super::request::Request;
use super::schema::EntityRef;
use super::stamp::Stamp;
use super::value::Record;

/// What a decision reads of the entities, and a key that is equal only where all of that is.
#[derive(Debug)]
pub struct Slice<'a> {
    /// The entities whose attributes and ancestors policies can read.
    pub(super) loaded: Vec<Loaded<'a>>,
    /// The stamps of all entities that were looked at, ancestors included, in the order of the walk.
    /// The walk depends on nothing but the request and what it finds, so equal stamps for an equal
    /// request mean equal content.
    stamps: Vec<Stamp>,
}

/// An entity of a slice.
#[derive(Debug)]
pub(super) struct Loaded<'a> {
    pub name: &'a EntityRef,
    /// `None` if it is not stored.
    pub entity: Option<&'a Entity>,
    /// What the caller says about it, where that counts. An entity that is both principal and
    /// resource can be loaded twice, once with each description.
    pub described: Option<&'a Record>,
    pub ancestors: Vec<&'a EntityRef>,
}

impl Slice<'_> {
    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }
}

/// Gathers for a request, following references as deep as `level`. At level 0 policies read no
/// entity at all, but whether principal and resource exist still counts.
pub fn gather<'a>(entities: &'a Entities, request: &'a Request, level: u32) -> Slice<'a> {
    let (loaded, stamps) = (Vec::with_capacity(4), Vec::with_capacity(8));
    let mut walk = Walk { entities, loaded, stamps, known: HashSet::new() };
    walk.load(&request.principal, request.principal_described.as_ref());
    walk.load(&request.resource, request.resource_described.as_ref());
    let mut next = 0;
    for depth in 1..=level {
        let mut references = Vec::new();
        if depth == 1 {
            request.context.for_each_entity(&mut |name| references.push(name));
        } else {
            let end = walk.loaded.len();
            for loaded in walk.loaded.get(next..end).into_iter().flatten() {
                loaded.references(&mut |name| references.push(name));
            }
            next = end;
        }
        for name in references {
            walk.load(name, None);
        }
    }
    Slice { loaded: walk.loaded, stamps: walk.stamps }
}

struct Walk<'a> {
    entities: &'a Entities,
    loaded: Vec<Loaded<'a>>,
    stamps: Vec<Stamp>,
    known: HashSet<&'a EntityRef>,
}

impl<'a> Walk<'a> {
    fn load(&mut self, name: &'a EntityRef, described: Option<&'a Record>) {
        if !self.known.insert(name) && described.is_none() {
            return;
        }
        let entity = self.look_up(name);
        let ancestors = entity.map_or_else(Vec::new, |entity| self.ancestors(entity));
        self.loaded.push(Loaded { name, entity, described, ancestors });
    }

    fn look_up(&mut self, name: &EntityRef) -> Option<&'a Entity> {
        let stored = self.entities.get(name);
        self.stamps.push(stored.map_or(Stamp::ABSENT, |stored| stored.stamp));
        stored.map(|stored| &*stored.entity)
    }

    fn ancestors(&mut self, of: &'a Entity) -> Vec<&'a EntityRef> {
        let mut seen = HashSet::new();
        let mut found: Vec<&'a EntityRef> = Vec::new();
        let mut open: Vec<&'a EntityRef> = of.parents.iter().collect();
        while let Some(name) = open.pop() {
            if seen.insert(name) {
                found.push(name);
                let entity = self.look_up(name);
                open.extend(entity.into_iter().flat_map(|entity| entity.parents.iter()));
            }
        }
        found
    }
}

impl<'a> Loaded<'a> {
    fn references(&self, found: &mut impl FnMut(&'a EntityRef)) {
        if let Some(entity) = self.entity {
            entity.attributes.for_each_entity(found);
            entity.tags.for_each_entity(found);
        }
        if let Some(described) = self.described {
            described.for_each_entity(found);
        }
    }
}
