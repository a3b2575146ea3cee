//! The walk over all candidates, each once, in an order that depends on nothing but the content: first
//! those that are named, then down from each entity that others are in. What is in several ways below
//! an entity counts below the least of its parents there, which makes a tree of what need not be one;
//! so the way to where a page ended is found again from its last entity alone.

use std::ops::Bound::{Excluded, Unbounded};

use super::start_points::StartPoints;
use super::{Cursor, WalkPhase};
use mandate_core::entities::{Entities, Entity};
use mandate_core::schema::{EntityRef, Kind, Name, Schema};
use mandate_core::seen::Seen;
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
    kind: Kind,
    start_points: Option<&'a StartPoints>,
    /// The types that lead to the one that is looked for, itself included; sorted.
    path_types: Vec<Kind>,
    named: Box<dyn Iterator<Item = &'a EntityRef> + 'a>,
    within: Box<dyn Iterator<Item = &'a EntityRef> + 'a>,
    /// The way down: each parent with its members that are still to come.
    stack: Vec<Frame<'a>>,
}

struct Frame<'a> {
    /// `None` above all entities.
    parent: Option<Name<'a>>,
    members: Box<dyn Iterator<Item = &'a Entity> + 'a>,
}

impl<'a> Walk<'a> {
    /// A walk to all entities of a type that the anchors lead to, or to all, after a position; `None`
    /// if no walk comes by there.
    pub fn new(
        snapshot: &'a Snapshot,
        kind: Kind,
        start_points: Option<&'a StartPoints>,
        after: Option<&'a Cursor>,
    ) -> Option<Self> {
        let schema = snapshot.schema();
        let parents = &schema.kind(kind).parents;
        let leads =
            |above: Kind| above == kind || parents.iter().any(|parent| schema.can_be_in(*parent, above));
        let mut walk = Self {
            entities: snapshot.entities(),
            schema,
            kind,
            start_points,
            path_types: schema.kinds().map(|(kind, _)| kind).filter(|it| leads(*it)).collect(),
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
            self.push_roots(Some(last.name()));
            return (last.kind == self.kind && after.phase == WalkPhase::Descendants).then_some(());
        };
        if after.phase == WalkPhase::Named {
            self.named = Box::new(start_points.named.range::<EntityRef, _>((Excluded(last), Unbounded)));
            return start_points.named.contains(last).then_some(());
        }
        let owner = self.owning_start_point(last.name()).filter(|_| self.path_types.contains(&last.kind))?;
        self.named = Box::new(std::iter::empty());
        self.within = Box::new(start_points.within.range::<EntityRef, _>((Excluded(owner), Unbounded)));
        let mut path = vec![last.name()];
        while let Some(name) = path.last().copied().filter(|name| *name != owner.name()) {
            path.push(self.least_parent(&self.entities.get(name)?.entity, owner.name())?);
        }
        path.reverse();
        for (n, name) in path.iter().enumerate() {
            self.push_members(*name, path.get(n + 1).copied());
        }
        Some(())
    }

    fn push_roots(&mut self, after: Option<Name<'a>>) {
        let members = Box::new(self.entities.members(None, self.kind, after, self.schema));
        self.stack.push(Frame { parent: None, members });
    }

    /// Opens the members of an entity, after one of them.
    fn push_members(&mut self, parent: Name<'a>, after: Option<Name<'a>>) {
        let (entities, schema) = (self.entities, self.schema);
        let kinds = self.path_types.iter().copied();
        let kinds = kinds.filter(|kind| schema.kind(*kind).parents.contains(&parent.kind));
        let kinds: Vec<Kind> = kinds.filter(|kind| after.is_none_or(|after| *kind >= after.kind)).collect();
        if kinds.is_empty() {
            return;
        }
        let members = kinds.into_iter().flat_map(move |kind| {
            let after = after.filter(|after| after.kind == kind);
            entities.members(Some(parent), kind, after, schema)
        });
        self.stack.push(Frame { parent: Some(parent), members: Box::new(members) });
    }

    /// Where an entity counts: the least of the anchors that it is or that it is in.
    fn owning_start_point(&self, name: Name<'_>) -> Option<&'a EntityRef> {
        let within = &self.start_points?.within;
        let itself = within.get(&name.to_owned());
        let above =
            ancestors(self.entities, name).into_iter().filter_map(|above| within.get(&above.to_owned()));
        itself.into_iter().chain(above).min()
    }

    /// The parent that an entity below an anchor counts below.
    fn least_parent(&self, entity: &'a Entity, start_point: Name<'_>) -> Option<Name<'a>> {
        let mut parents: Vec<Name<'_>> = entity
            .parents()
            .filter(|parent| *parent == start_point || self.path_types.contains(&parent.kind))
            .collect();
        if parents.len() == 1 {
            return parents.pop();
        }
        parents.sort_unstable();
        let below = |parent: &Name<'_>| {
            *parent == start_point || ancestors(self.entities, *parent).contains(&start_point)
        };
        parents.into_iter().find(below)
    }

    fn is_counted_under(&self, entity: &'a Entity, parent: Name<'_>) -> bool {
        let start_point = self.stack.first().and_then(|frame| frame.parent).unwrap_or(parent);
        let alone = self.start_points.is_some_and(|start_points| start_points.within.len() == 1);
        let owner =
            alone || self.owning_start_point(entity.name()).is_some_and(|owner| owner.name() == start_point);
        owner && self.least_parent(entity, start_point) == Some(parent)
    }

    fn visit_member(&mut self, parent: Option<Name<'a>>, entity: &'a Entity) -> WalkStep {
        let name = entity.name();
        match parent {
            None => self.step_at(name),
            Some(parent) if self.is_counted_under(entity, parent) => {
                self.push_members(name, None);
                self.step_at(name)
            }
            Some(_) => WalkStep { cursor: None, is_candidate: false },
        }
    }

    fn step_at(&self, name: Name<'_>) -> WalkStep {
        // What was named was visited before.
        let named =
            self.start_points.is_some_and(|start_points| start_points.named.contains(&name.to_owned()));
        let cursor = Some(Cursor { phase: WalkPhase::Descendants, last_entity: name.to_owned() });
        WalkStep { cursor, is_candidate: name.kind == self.kind && !named }
    }
}

impl Iterator for Walk<'_> {
    type Item = WalkStep;

    fn next(&mut self) -> Option<WalkStep> {
        if let Some(name) = self.named.next() {
            let cursor = Some(Cursor { phase: WalkPhase::Named, last_entity: name.clone() });
            return Some(WalkStep { cursor, is_candidate: name.kind == self.kind });
        }
        while let Some(frame) = self.stack.last_mut() {
            let parent = frame.parent;
            match frame.members.next() {
                Some(entity) => return Some(self.visit_member(parent, entity)),
                None => drop(self.stack.pop()),
            }
        }
        let start_point = self.within.next()?;
        if self.owning_start_point(start_point.name()) != Some(start_point)
            || !self.path_types.contains(&start_point.kind)
        {
            // It lies in another anchor, and all that is in it as well; or nothing fitting is in it.
            return Some(WalkStep { cursor: None, is_candidate: false });
        }
        self.push_members(start_point.name(), None);
        Some(self.step_at(start_point.name()))
    }
}

/// All that an entity is in, directly or not.
pub fn ancestors<'a>(entities: &'a Entities, name: Name<'_>) -> Vec<Name<'a>> {
    let parents = |name: Name<'_>| entities.get(name).into_iter().flat_map(|stored| stored.entity.parents());
    let mut seen = Seen::default();
    let mut above: Vec<Name<'a>> = parents(name).filter(|parent| seen.insert(*parent)).collect();
    let mut next = 0;
    while let Some(name) = above.get(next).copied() {
        next += 1;
        above.extend(parents(name).filter(|parent| seen.insert(*parent)));
    }
    above
}
