//! A change in the making: the next version of the entities, and what has to be checked before it
//! stands.

use std::collections::{HashMap, HashSet};

use super::index::Edit;
use super::{Change, Entities, Entity, Incoming, Stored, members};
use crate::fault::{Fault, Faults, Place};
use crate::parallel::map_parts;
use crate::schema::{EntityRef, Name, Schema};
use crate::stamp::Stamp;

pub(super) struct Draft<'a> {
    pub before: &'a Entities,
    pub schema: &'a Schema,
    pub after: Entities,
    /// What comes and differs from before, in the order in which it came.
    pub changed: Vec<&'a Incoming>,
    /// What was replaced or removed.
    pub left: Vec<&'a Entity>,
    /// What was removed; sorted.
    pub removed: Vec<Name<'a>>,
    pub faults: Faults,
}

/// The tags of what comes.
struct Tags<'a> {
    /// In the order in which it came.
    of: Vec<u32>,
    /// By tag.
    sorted: Vec<(u32, &'a Incoming)>,
    /// What came again under a name that had come before, by its address.
    again: HashSet<*const Incoming>,
}

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
        let tags = draft.tags(change);
        let mut edits = draft.puts(change, &tags);
        draft.removals(change, &tags, &mut edits);
        draft.after.index = before.index.edited(edits);
        draft.after.members = before.members.edited(draft.memberships());
        draft
    }

    /// What comes, by tag. Of those with the same name only the first is left; the others are faults.
    fn tags(&mut self, change: &'a Change) -> Tags<'a> {
        let tag = |incoming: &Incoming| self.before.tag(incoming.entity.name());
        let parts = map_parts(&change.upsert, |part| part.iter().map(tag).collect::<Vec<u32>>());
        let of: Vec<u32> = parts.into_iter().flatten().collect();
        let mut sorted: Vec<(u32, &Incoming)> = of.iter().copied().zip(&change.upsert).collect();
        sorted.sort_by_key(|(tag, _)| *tag);
        let mut again = HashSet::new();
        for same in sorted.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let mut first: HashMap<Name<'_>, &Incoming> = HashMap::new();
            for (_, incoming) in same {
                let before = first.get(&incoming.entity.name()).copied();
                if let Some(before) = before {
                    again.insert(std::ptr::from_ref(*incoming));
                    self.twice(incoming, before.place.as_ref());
                } else {
                    first.insert(incoming.entity.name(), incoming);
                }
            }
        }
        Tags { of, sorted, again }
    }

    fn twice(&mut self, incoming: &Incoming, first: Option<&Place>) {
        let schema = self.schema;
        self.faults.push_error(|| {
            let elsewhere = first.map_or_else(
                || "also in another file".to_owned(),
                |first| format!("first at {}:{}", first.source.path, first.line_column().0),
            );
            let message = format!("`{}` is defined twice, {elsewhere}", schema.show(incoming.entity.name()));
            Fault::error(message).at(incoming.place.clone())
        });
    }

    /// In the order of the files, where people look for what is wrong, and where memory is read one
    /// after the other.
    fn puts(&mut self, change: &'a Change, tags: &Tags<'a>) -> Vec<Edit<'a>> {
        let going: HashSet<Name<'_>> = change.remove.iter().map(EntityRef::name).collect();
        let mut edits = Vec::with_capacity(change.upsert.len());
        for (tag, incoming) in tags.of.iter().zip(&change.upsert) {
            if tags.again.contains(&std::ptr::from_ref(incoming)) {
                continue;
            }
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
        edits
    }

    fn removals(&mut self, change: &'a Change, tags: &Tags<'a>, edits: &mut Vec<Edit<'a>>) {
        let before = self.before;
        let mut names: Vec<Name<'_>> = change.remove.iter().map(EntityRef::name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let tag = before.tag(name);
            let Some(old) = before.index.get(tag, name) else {
                let schema = self.schema;
                self.faults.push_error(|| {
                    Fault::error(format!("`{}` cannot be removed: it is not there", schema.show(name)))
                });
                continue;
            };
            let from = tags.sorted.partition_point(|(other, _)| *other < tag);
            let of_tag = tags.sorted.iter().skip(from).take_while(|(other, _)| *other == tag);
            if of_tag.map(|(_, incoming)| incoming.entity.name()).all(|other| other != name) {
                edits.push(Edit::Remove(tag, name));
                self.left.push(&old.entity);
                self.removed.push(name);
            }
        }
    }

    /// What the change does to who is in what.
    fn memberships(&self) -> Vec<members::Edit> {
        let schema = self.schema;
        let edits = |entity: &Entity, comes| members::Edit::of(entity, comes, schema).collect::<Vec<_>>();
        let left =
            map_parts(&self.left, |part| part.iter().flat_map(|it| edits(it, false)).collect::<Vec<_>>());
        let came = map_parts(&self.changed, |part| {
            part.iter().flat_map(|it| edits(&it.entity, true)).collect::<Vec<_>>()
        });
        left.into_iter().chain(came).flatten().collect()
    }

    /// Whether an entity is no longer, or not yet, what it was before.
    pub fn differs(&self, name: Name<'_>) -> bool {
        self.before.get(name).map(|stored| stored.stamp) != self.after.get(name).map(|stored| stored.stamp)
    }
}
