//! Visits each candidate once, in an order that depends only on the content: first the named ones, then depth
//! first below each start point. An entity with several parents is visited only below its smallest parent,
//! which turns the graph into a tree; so the cursor needs only the last entity to resume. The candidates are
//! decided in `pages`.

use std::ops::Bound::{Excluded, Unbounded};

use super::cursor::{Cursor, WalkPhase};
use super::start_points::StartPoints;
use mandate_core::entities::{Entities, Entity};
use mandate_core::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};
use mandate_core::snapshot::Snapshot;

/// One step of a walk.
pub struct WalkStep {
    /// The cursor after this step; `None` if the entity is visited elsewhere or has no descendants to visit.
    pub cursor: Option<Cursor>,
    /// Whether the entity can be a result; otherwise only its descendants can.
    pub is_candidate: bool,
}

pub struct Walk<'a> {
    entities: &'a Entities,
    schema: &'a Schema,
    entity_type: EntityTypeId,
    start_points: Option<&'a StartPoints>,
    /// The entity types on a path down to the searched type, itself included; sorted.
    path_types: Vec<EntityTypeId>,
    named: Box<dyn Iterator<Item = &'a EntityUid> + 'a>,
    within: Box<dyn Iterator<Item = &'a EntityUid> + 'a>,
    /// The path to the current entity: each parent with the members that are left to visit.
    stack: Vec<Frame<'a>>,
}

struct Frame<'a> {
    /// `None` if the members are all entities of the searched type.
    parent: Option<EntityUidRef<'a>>,
    members: Box<dyn Iterator<Item = &'a Entity> + 'a>,
}

impl<'a> Walk<'a> {
    /// A walk over the entities of a type at or below the start points, or over all entities of the type if
    /// there are no start points; from the start or after a cursor. `None` if the cursor is not part of it.
    pub fn new(
        snapshot: &'a Snapshot,
        entity_type: EntityTypeId,
        start_points: Option<&'a StartPoints>,
        after: Option<&'a Cursor>,
    ) -> Option<Self> {
        let schema = snapshot.schema();
        let parents = &schema.entity_type(entity_type).parent_types;
        let is_on_path = |ancestor: EntityTypeId| {
            ancestor == entity_type || parents.iter().any(|parent| schema.can_be_in(*parent, ancestor))
        };
        let mut walk = Self {
            entities: snapshot.entities(),
            schema,
            entity_type,
            start_points,
            path_types: schema
                .entity_types()
                .map(|(entity_type, _)| entity_type)
                .filter(|it| is_on_path(*it))
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

    /// Moves the walk to the cursor at which a page ended.
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

    /// Visits the members of an entity next: all of them, or those after one of them.
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

    /// The start point below which an entity is visited: the smallest of those that it is or is in.
    fn owning_start_point(&self, name: EntityUidRef<'_>) -> Option<&'a EntityUid> {
        let within = &self.start_points?.within;
        let itself = within.get(&name.to_owned());
        let above =
            self.entities.ancestors(name).into_iter().filter_map(|ancestor| within.get(&ancestor.to_owned()));
        itself.into_iter().chain(above).min()
    }

    /// The parent below which an entity is visited: the smallest one at or below the start point.
    fn least_parent(&self, entity: &'a Entity, start_point: EntityUidRef<'_>) -> Option<EntityUidRef<'a>> {
        let mut parents: Vec<EntityUidRef<'_>> = entity
            .parents()
            .filter(|parent| *parent == start_point || self.path_types.contains(&parent.entity_type))
            .collect();
        if parents.len() == 1 {
            return parents.pop();
        }
        parents.sort_unstable();
        parents
            .into_iter()
            .find(|parent| *parent == start_point || self.entities.ancestors(*parent).contains(&start_point))
    }

    /// Whether this is the parent below which the entity is visited.
    fn is_visited_below(&self, entity: &'a Entity, parent: EntityUidRef<'_>) -> bool {
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
            Some(parent) if self.is_visited_below(entity, parent) => {
                self.push_members(name, None);
                self.step_at(name)
            }
            Some(_) => WalkStep { cursor: None, is_candidate: false },
        }
    }

    fn step_at(&self, name: EntityUidRef<'_>) -> WalkStep {
        // The named entities were visited before.
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
            // It is visited below another start point, as all its descendants are; or no entity of the
            // searched type can be in it.
            return Some(WalkStep { cursor: None, is_candidate: false });
        }
        self.push_members(start_point.as_uid_ref(), None);
        Some(self.step_at(start_point.as_uid_ref()))
    }
}
