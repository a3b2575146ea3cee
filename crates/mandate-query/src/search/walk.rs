//! The walk over all candidates, each once, in an order that depends on nothing but the content: first
//! those that are named, then down from each entity that others are in. What is in several ways below
//! an entity counts below the least of its parents there, which makes a tree of what need not be one;
//! so the way to where a page ended is found again from its last entity alone.

use std::ops::Bound::{Excluded, Unbounded};

use super::start_points::StartPoints;
use super::{Cursor, WalkPhase};
use mandate_core::entities::{Entities, Entity};
use mandate_core::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};
use mandate_core::small_set::SmallSet;
use mandate_core::snapshot::Snapshot;

/// One step of a walk.
pub struct WalkStep {
    /// Where it is, or nowhere new: what is here counts elsewhere.
    pub cursor: Option<Cursor>,
    /// Whether it is one that may be found; else it is only what others are in.
    pub is_candidate: bool,
}

pub struct Walk<'a> {
    entities: &'a Entities,
    schema: &'a Schema,
    entity_type: EntityTypeId,
    start_points: Option<&'a StartPoints>,
    /// The types that lead to the one that is looked for, itself included; sorted.
    path_types: Vec<EntityTypeId>,
    named: Box<dyn Iterator<Item = &'a EntityUid> + 'a>,
    within: Box<dyn Iterator<Item = &'a EntityUid> + 'a>,
    /// The way down: each parent with its members that are still to come.
    stack: Vec<Frame<'a>>,
}

struct Frame<'a> {
    /// `None` above all entities.
    parent: Option<EntityUidRef<'a>>,
    members: Box<dyn Iterator<Item = &'a Entity> + 'a>,
}

impl<'a> Walk<'a> {
    /// A walk to all entities of a type that the anchors lead to, or to all, after a position; `None`
    /// if no walk comes by there.
    pub fn new(
        snapshot: &'a Snapshot,
        entity_type: EntityTypeId,
        start_points: Option<&'a StartPoints>,
        after: Option<&'a Cursor>,
    ) -> Option<Self> {
        let schema = snapshot.schema();
        let parents = &schema.entity_type(entity_type).parent_types;
        let leads = |above: EntityTypeId| {
            above == entity_type || parents.iter().any(|parent| schema.can_be_in(*parent, above))
        };
        let mut walk = Self {
            entities: snapshot.entities(),
            schema,
            entity_type,
            start_points,
            path_types: schema
                .entity_types()
                .map(|(entity_type, _)| entity_type)
                .filter(|it| leads(*it))
                .collect(),
            named: Box::new(start_points.into_iter().flat_map(|start_points| &start_points.named)),
            within: Box::new(start_points.into_iter().flat_map(|start_points| &start_points.within)),
            stack: Vec::new(),
        };
        match (after, start_points) {
            (Some(after), _) => walk.seek(after)?,
            (None, None) => walk.push_roots(None),
            (None, Some(_)) => {}
        }
        Some(walk)
    }

    /// Goes to where a walk before ended.
    fn seek(&mut self, after: &'a Cursor) -> Option<()> {
        let last = &after.last_entity;
        let Some(start_points) = self.start_points else {
            self.push_roots(Some(last.as_uid_ref()));
            return (last.entity_type == self.entity_type && after.phase == WalkPhase::Descendants)
                .then_some(());
        };
        if after.phase == WalkPhase::Named {
            self.named = Box::new(start_points.named.range::<EntityUid, _>((Excluded(last), Unbounded)));
            return start_points.named.contains(last).then_some(());
        }
        let owner = self
            .owning_start_point(last.as_uid_ref())
            .filter(|_| self.path_types.contains(&last.entity_type))?;
        self.named = Box::new(std::iter::empty());
        self.within = Box::new(start_points.within.range::<EntityUid, _>((Excluded(owner), Unbounded)));
        let mut path = vec![last.as_uid_ref()];
        while let Some(name) = path.last().copied().filter(|name| *name != owner.as_uid_ref()) {
            path.push(self.least_parent(&self.entities.get(name)?.entity, owner.as_uid_ref())?);
        }
        path.reverse();
        for (n, name) in path.iter().enumerate() {
            self.push_members(*name, path.get(n + 1).copied());
        }
        Some(())
    }

    fn push_roots(&mut self, after: Option<EntityUidRef<'a>>) {
        let members = Box::new(self.entities.members(None, self.entity_type, after, self.schema));
        self.stack.push(Frame { parent: None, members });
    }

    /// Opens the members of an entity, after one of them.
    fn push_members(&mut self, parent: EntityUidRef<'a>, after: Option<EntityUidRef<'a>>) {
        let (entities, schema) = (self.entities, self.schema);
        let entity_types = self.path_types.iter().copied();
        let entity_types = entity_types.filter(|entity_type| {
            schema.entity_type(*entity_type).parent_types.contains(&parent.entity_type)
        });
        let entity_types: Vec<EntityTypeId> = entity_types
            .filter(|entity_type| after.is_none_or(|after| *entity_type >= after.entity_type))
            .collect();
        if entity_types.is_empty() {
            return;
        }
        let members = entity_types.into_iter().flat_map(move |entity_type| {
            let after = after.filter(|after| after.entity_type == entity_type);
            entities.members(Some(parent), entity_type, after, schema)
        });
        self.stack.push(Frame { parent: Some(parent), members: Box::new(members) });
    }

    /// Where an entity counts: the least of the anchors that it is or that it is in.
    fn owning_start_point(&self, name: EntityUidRef<'_>) -> Option<&'a EntityUid> {
        let within = &self.start_points?.within;
        let itself = within.get(&name.to_owned());
        let above =
            ancestors(self.entities, name).into_iter().filter_map(|above| within.get(&above.to_owned()));
        itself.into_iter().chain(above).min()
    }

    /// The parent that an entity below an anchor counts below.
    fn least_parent(&self, entity: &'a Entity, start_point: EntityUidRef<'_>) -> Option<EntityUidRef<'a>> {
        let mut parents: Vec<EntityUidRef<'_>> = entity
            .parents()
            .filter(|parent| *parent == start_point || self.path_types.contains(&parent.entity_type))
            .collect();
        if parents.len() == 1 {
            return parents.pop();
        }
        parents.sort_unstable();
        let below = |parent: &EntityUidRef<'_>| {
            *parent == start_point || ancestors(self.entities, *parent).contains(&start_point)
        };
        parents.into_iter().find(below)
    }

    fn is_counted_under(&self, entity: &'a Entity, parent: EntityUidRef<'_>) -> bool {
        let start_point = self.stack.first().and_then(|frame| frame.parent).unwrap_or(parent);
        let alone = self.start_points.is_some_and(|start_points| start_points.within.len() == 1);
        let owner = alone
            || self.owning_start_point(entity.uid()).is_some_and(|owner| owner.as_uid_ref() == start_point);
        owner && self.least_parent(entity, start_point) == Some(parent)
    }

    fn visit_member(&mut self, parent: Option<EntityUidRef<'a>>, entity: &'a Entity) -> WalkStep {
        let name = entity.uid();
        match parent {
            None => self.step_at(name),
            Some(parent) if self.is_counted_under(entity, parent) => {
                self.push_members(name, None);
                self.step_at(name)
            }
            Some(_) => WalkStep { cursor: None, is_candidate: false },
        }
    }

    fn step_at(&self, name: EntityUidRef<'_>) -> WalkStep {
        // What was named was visited before.
        let named =
            self.start_points.is_some_and(|start_points| start_points.named.contains(&name.to_owned()));
        let cursor = Some(Cursor { phase: WalkPhase::Descendants, last_entity: name.to_owned() });
        WalkStep { cursor, is_candidate: name.entity_type == self.entity_type && !named }
    }
}

impl Iterator for Walk<'_> {
    type Item = WalkStep;

    fn next(&mut self) -> Option<WalkStep> {
        if let Some(name) = self.named.next() {
            let cursor = Some(Cursor { phase: WalkPhase::Named, last_entity: name.clone() });
            return Some(WalkStep { cursor, is_candidate: name.entity_type == self.entity_type });
        }
        while let Some(frame) = self.stack.last_mut() {
            let parent = frame.parent;
            match frame.members.next() {
                Some(entity) => return Some(self.visit_member(parent, entity)),
                None => drop(self.stack.pop()),
            }
        }
        let start_point = self.within.next()?;
        if self.owning_start_point(start_point.as_uid_ref()) != Some(start_point)
            || !self.path_types.contains(&start_point.entity_type)
        {
            // It lies in another anchor, and all that is in it as well; or nothing fitting is in it.
            return Some(WalkStep { cursor: None, is_candidate: false });
        }
        self.push_members(start_point.as_uid_ref(), None);
        Some(self.step_at(start_point.as_uid_ref()))
    }
}

/// All that an entity is in, directly or not.
pub fn ancestors<'a>(entities: &'a Entities, name: EntityUidRef<'_>) -> Vec<EntityUidRef<'a>> {
    let parents =
        |name: EntityUidRef<'_>| entities.get(name).into_iter().flat_map(|stored| stored.entity.parents());
    let mut seen = SmallSet::default();
    let mut above: Vec<EntityUidRef<'a>> = parents(name).filter(|parent| seen.insert(*parent)).collect();
    let mut next = 0;
    while let Some(name) = above.get(next).copied() {
        next += 1;
        above.extend(parents(name).filter(|parent| seen.insert(*parent)));
    }
    above
}
