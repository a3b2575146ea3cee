//! A change in the making: the next version of the entities, and what has to be checked before it
//! stands.

use std::collections::HashSet;

use super::index::Edit;
use super::{Change, Entities, Entity, Incoming, Stored};
use crate::authz::fault::{Fault, Faults, Place};
use crate::authz::schema::{EntityRef, Name, Schema};
use crate::authz::stamp::Stamp;

pub(super) struct Draft<'a> {
    pub before: &'a Entities,
    pub schema: &'a Schema,
    pub after: Entities,
    /// What comes and differs from before, in the order in which it came.
    pub changed: Vec<&'a Incoming>,
    /// What was replaced or removed.
    pub left: Vec<&'a Entity>,
    /// What was removed.
    pub removed: Vec<Name<'a>>,
    pub faults: Faults,
}

/// An incoming entity with the tag of its name.
type Tagged<'a> = (u32, &'a Incoming);

impl<'a> Draft<'a> {
    pub fn of(before: &'a Entities, change: &'a Change, schema: &'a Schema) -> Self {
        let mut draft = Self {
            before,
            schema,
            after: before.clone(),
            changed: Vec::new(),
            left: Vec::new(),
            removed: Vec::new(),
            faults: Faults::default(),
        };
        let incoming = draft.incoming(change);
        let mut edits = draft.puts(&incoming, &change.remove);
        draft.removals(change, &incoming, &mut edits);
        draft.after.index = before.index.edited(edits);
        draft.after.index = draft.after.index.edited(draft.memberships());
        draft
    }

    /// What comes, by tag; of those with the same name only the first, the others are faults.
    fn incoming(&mut self, change: &'a Change) -> Vec<Tagged<'a>> {
        let before = self.before;
        let tagged = change.upsert.iter().map(|incoming| (before.tag(incoming.entity.name()), incoming));
        let mut tagged: Vec<Tagged<'a>> = tagged.collect();
        tagged.sort_by_key(|(tag, _)| *tag);
        let mut unique: Vec<Tagged<'a>> = Vec::with_capacity(tagged.len());
        for (tag, incoming) in tagged {
            let name = incoming.entity.name();
            let of_tag = unique.iter().rev().take_while(|(other, _)| *other == tag);
            match of_tag.map(|(_, other)| *other).find(|other| other.entity.name() == name) {
                Some(first) => self.twice(incoming, first.place.as_ref()),
                None => unique.push((tag, incoming)),
            }
        }
        unique
    }

    fn twice(&mut self, incoming: &Incoming, first: Option<&Place>) {
        let elsewhere = first.map_or_else(
            || "also in another file".to_owned(),
            |first| format!("first at {}:{}", first.source.path, first.line_column().0),
        );
        let message = format!("`{}` is defined twice, {elsewhere}", self.schema.show(incoming.entity.name()));
        self.faults.push(Fault::error(message).at(incoming.place.clone()));
    }

    fn puts(&mut self, incoming: &[Tagged<'a>], going: &[EntityRef]) -> Vec<Edit<'a>> {
        let going: HashSet<Name<'_>> = going.iter().map(EntityRef::name).collect();
        let mut edits = Vec::with_capacity(incoming.len());
        for (tag, incoming) in incoming {
            let entity = &incoming.entity;
            let old = self.before.index.get(*tag, entity.name());
            let moved = old.is_some_and(|old| old.entity.origin() != entity.origin());
            if moved && !going.contains(&entity.name()) {
                self.twice(incoming, None);
                continue;
            }
            let same = old.filter(|old| old.entity.same_content(entity));
            let stamp = same.map_or_else(Stamp::fresh, |old| old.stamp);
            if same.is_none() {
                self.left.extend(old.map(|old| &old.entity));
                self.changed.push(incoming);
            }
            if same.is_none() || moved {
                edits.push(Edit::Put(Stored::new(entity.clone(), *tag, stamp)));
            }
        }
        // In the order of the files, where people look.
        self.changed.sort_by_key(|incoming| std::ptr::from_ref(*incoming));
        edits
    }

    fn removals(&mut self, change: &'a Change, incoming: &[Tagged<'a>], edits: &mut Vec<Edit<'a>>) {
        let before = self.before;
        for name in &change.remove {
            let (tag, name) = (before.tag(name.name()), name.name());
            let Some(old) = before.index.get(tag, name) else {
                let message = format!("`{}` cannot be removed: it is not there", self.schema.show(name));
                self.faults.push(Fault::error(message));
                continue;
            };
            let from = incoming.partition_point(|(other, _)| *other < tag);
            let of_tag = incoming.iter().skip(from).take_while(|(other, _)| *other == tag);
            if of_tag.map(|(_, incoming)| incoming.entity.name()).all(|other| other != name) {
                edits.push(Edit::Remove(tag, name));
                self.left.push(&old.entity);
                self.removed.push(name);
            }
        }
        self.removed.sort();
        self.removed.dedup();
    }

    /// What the change adds to, or takes from, the number of each entity's members.
    fn memberships(&self) -> Vec<Edit<'a>> {
        let joined = self.changed.iter().flat_map(|it| it.entity.parents()).map(|parent| (parent, 1));
        let left = self.left.iter().flat_map(|entity| entity.parents()).map(|parent| (parent, -1));
        let mut members: Vec<(u32, Name<'a>, i64)> =
            joined.chain(left).map(|(name, more)| (self.before.tag(name), name, more)).collect();
        members.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let of_one = members.chunk_by(|a, b| a.1 == b.1);
        let sums = of_one.filter_map(|of| Some((of.first()?, of.iter().map(|(.., more)| more).sum())));
        sums.filter(|(_, sum)| *sum != 0).map(|((tag, name, _), sum)| Edit::Members(*tag, *name, sum)).collect()
    }

    /// Whether an entity is no longer, or not yet, what it was before.
    pub fn differs(&self, name: Name<'_>) -> bool {
        self.before.get(name).map(|stored| stored.stamp) != self.after.get(name).map(|stored| stored.stamp)
    }
}
