//! The walk over all candidates, each once, in an order that depends on nothing but the content: first
//! those that are named, then down from each entity that others are in. What is in several ways below
//! an entity counts below the least of its parents there, which makes a tree of what need not be one;
//! so the way to where a page ended is found again from its last entity alone.

use std::ops::Bound::{Excluded, Unbounded};

use super::anchors::Anchors;
use super::{Position, WalkPart};
use mandate_core::entities::{Entities, Entity};
use mandate_core::schema::{EntityRef, Kind, Name, Schema};
use mandate_core::seen::Seen;
use mandate_core::snapshot::Snapshot;

/// One step of a walk.
pub struct Visit {
    /// Where it is, or nowhere new: what is here counts elsewhere.
    pub position: Option<Position>,
    /// Whether it is one that may be found; else it is only what others are in.
    pub candidate: bool,
}

pub struct Walk<'a> {
    entities: &'a Entities,
    schema: &'a Schema,
    kind: Kind,
    anchors: Option<&'a Anchors>,
    /// The types that lead to the one that is looked for, itself included; sorted.
    leading: Vec<Kind>,
    named: Box<dyn Iterator<Item = &'a EntityRef> + 'a>,
    within: Box<dyn Iterator<Item = &'a EntityRef> + 'a>,
    /// The way down: each parent with its members that are still to come.
    open: Vec<Level<'a>>,
}

struct Level<'a> {
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
        anchors: Option<&'a Anchors>,
        after: Option<&'a Position>,
    ) -> Option<Self> {
        let schema = snapshot.schema();
        let parents = &schema.kind(kind).parents;
        let leads =
            |above: Kind| above == kind || parents.iter().any(|parent| schema.can_be_in(*parent, above));
        let mut walk = Self {
            entities: snapshot.entities(),
            schema,
            kind,
            anchors,
            leading: schema.kinds().map(|(kind, _)| kind).filter(|it| leads(*it)).collect(),
            named: Box::new(anchors.into_iter().flat_map(|anchors| &anchors.named)),
            within: Box::new(anchors.into_iter().flat_map(|anchors| &anchors.within)),
            open: Vec::new(),
        };
        match (after, anchors) {
            (Some(after), _) => walk.go_to(after)?,
            (None, None) => walk.open_all(None),
            (None, Some(_)) => {}
        }
        Some(walk)
    }

    /// Goes to where a walk before ended.
    fn go_to(&mut self, after: &'a Position) -> Option<()> {
        let last = &after.last;
        let Some(anchors) = self.anchors else {
            self.open_all(Some(last.name()));
            return (last.kind == self.kind && after.part == WalkPart::Members).then_some(());
        };
        if after.part == WalkPart::Named {
            self.named = Box::new(anchors.named.range::<EntityRef, _>((Excluded(last), Unbounded)));
            return anchors.named.contains(last).then_some(());
        }
        let home = self.home(last.name()).filter(|_| self.leading.contains(&last.kind))?;
        self.named = Box::new(std::iter::empty());
        self.within = Box::new(anchors.within.range::<EntityRef, _>((Excluded(home), Unbounded)));
        let mut path = vec![last.name()];
        while let Some(name) = path.last().copied().filter(|name| *name != home.name()) {
            path.push(self.least_parent(&self.entities.get(name)?.entity, home.name())?);
        }
        path.reverse();
        for (n, name) in path.iter().enumerate() {
            self.open(*name, path.get(n + 1).copied());
        }
        Some(())
    }

    fn open_all(&mut self, after: Option<Name<'a>>) {
        let members = Box::new(self.entities.members(None, self.kind, after, self.schema));
        self.open.push(Level { parent: None, members });
    }

    /// Opens the members of an entity, after one of them.
    fn open(&mut self, parent: Name<'a>, after: Option<Name<'a>>) {
        let (entities, schema) = (self.entities, self.schema);
        let kinds = self.leading.iter().copied();
        let kinds = kinds.filter(|kind| schema.kind(*kind).parents.contains(&parent.kind));
        let kinds: Vec<Kind> = kinds.filter(|kind| after.is_none_or(|after| *kind >= after.kind)).collect();
        if kinds.is_empty() {
            return;
        }
        let members = kinds.into_iter().flat_map(move |kind| {
            let after = after.filter(|after| after.kind == kind);
            entities.members(Some(parent), kind, after, schema)
        });
        self.open.push(Level { parent: Some(parent), members: Box::new(members) });
    }

    /// Where an entity counts: the least of the anchors that it is or that it is in.
    fn home(&self, name: Name<'_>) -> Option<&'a EntityRef> {
        let within = &self.anchors?.within;
        let itself = within.get(&name.to_owned());
        let above = above(self.entities, name).into_iter().filter_map(|above| within.get(&above.to_owned()));
        itself.into_iter().chain(above).min()
    }

    /// The parent that an entity below an anchor counts below.
    fn least_parent(&self, entity: &'a Entity, anchor: Name<'_>) -> Option<Name<'a>> {
        let mut parents: Vec<Name<'_>> = entity
            .parents()
            .filter(|parent| *parent == anchor || self.leading.contains(&parent.kind))
            .collect();
        if parents.len() == 1 {
            return parents.pop();
        }
        parents.sort_unstable();
        let below = |parent: &Name<'_>| *parent == anchor || above(self.entities, *parent).contains(&anchor);
        parents.into_iter().find(below)
    }

    fn counts_here(&self, entity: &'a Entity, parent: Name<'_>) -> bool {
        let anchor = self.open.first().and_then(|level| level.parent).unwrap_or(parent);
        let alone = self.anchors.is_some_and(|anchors| anchors.within.len() == 1);
        let home = alone || self.home(entity.name()).is_some_and(|home| home.name() == anchor);
        home && self.least_parent(entity, anchor) == Some(parent)
    }

    fn below(&mut self, parent: Option<Name<'a>>, entity: &'a Entity) -> Visit {
        let name = entity.name();
        match parent {
            None => self.member(name),
            Some(parent) if self.counts_here(entity, parent) => {
                self.open(name, None);
                self.member(name)
            }
            Some(_) => Visit { position: None, candidate: false },
        }
    }

    fn member(&self, name: Name<'_>) -> Visit {
        // What was named was visited before.
        let named = self.anchors.is_some_and(|anchors| anchors.named.contains(&name.to_owned()));
        let position = Some(Position { part: WalkPart::Members, last: name.to_owned() });
        Visit { position, candidate: name.kind == self.kind && !named }
    }
}

impl Iterator for Walk<'_> {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        if let Some(name) = self.named.next() {
            let position = Some(Position { part: WalkPart::Named, last: name.clone() });
            return Some(Visit { position, candidate: name.kind == self.kind });
        }
        while let Some(level) = self.open.last_mut() {
            let parent = level.parent;
            match level.members.next() {
                Some(entity) => return Some(self.below(parent, entity)),
                None => drop(self.open.pop()),
            }
        }
        let anchor = self.within.next()?;
        if self.home(anchor.name()) != Some(anchor) || !self.leading.contains(&anchor.kind) {
            // It lies in another anchor, and all that is in it as well; or nothing fitting is in it.
            return Some(Visit { position: None, candidate: false });
        }
        self.open(anchor.name(), None);
        Some(self.member(anchor.name()))
    }
}

/// All that an entity is in, directly or not.
pub fn above<'a>(entities: &'a Entities, name: Name<'_>) -> Vec<Name<'a>> {
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
