//! What entities have to keep so that a decision can trust them:
//! - no dangling edge: what an entity is in, exists;
//! - no cycle: nothing is in itself;
//! - `@member_of_one`: exactly one parent of each type that the schema names;
//! - `@only_member`: in an entity is only the one that its attribute names.
//!
//! Only what a change touches is looked at. That an edge leads to a *direct* parent type is checked
//! where entities are read. An attribute may name an entity that does not exist: it grants nothing.

use std::collections::HashSet;

use super::{Draft, Entities, Entity};
use crate::authz::fault::{Fault, Faults, Place};
use crate::authz::schema::{EntityRef, Kind};
use crate::authz::value::Value;

impl Draft<'_> {
    /// Checks the draft; it stands only if all is well.
    pub(super) fn finish(mut self) -> Result<Entities, Faults> {
        for (name, place) in std::mem::take(&mut self.changed) {
            if let Some(stored) = self.after.get(&name) {
                let entity = stored.entity.clone();
                self.parents_exist(&entity, place.as_ref());
                self.member_of_one(&entity, place.as_ref());
                self.is_the_only_member(&entity, place.as_ref());
                self.kept_its_member(&entity, place.as_ref());
                self.is_not_in_itself(&entity, place.as_ref());
            }
        }
        self.nothing_left_in_removed();
        self.faults.into_result().map(|_| self.after)
    }

    fn parents_exist(&mut self, entity: &Entity, place: Option<&Place>) {
        for parent in entity.parents.iter() {
            if self.after.get(parent).is_none() && !self.schema.enumerates(parent) {
                let (entity, parent) = (self.schema.show(&entity.name), self.schema.show(parent));
                self.fault(format!("`{entity}` is in `{parent}`, which does not exist"), place);
            }
        }
    }

    fn member_of_one(&mut self, entity: &Entity, place: Option<&Place>) {
        let schema = self.schema;
        for kind in &schema.kind(entity.name.kind).rules.member_of_one {
            let found = entity.parents.iter().filter(|parent| parent.kind == *kind).count();
            if found != 1 {
                let (entity, wanted) = (schema.show(&entity.name), &schema.kind(*kind).name);
                self.fault(
                    format!("`{entity}` has to be in exactly one `{wanted}`, it is in {found}"),
                    place,
                );
            }
        }
    }

    /// The rule seen from below: what this entity is in names this entity.
    fn is_the_only_member(&mut self, entity: &Entity, place: Option<&Place>) {
        for parent in entity.parents.iter() {
            let Some(stored) = self.after.get(parent) else { continue };
            let stored = stored.entity.clone();
            if let Some((attribute, named)) =
                self.named_member(&stored).filter(|(_, named)| *named != entity.name)
            {
                self.wrong_member(&entity.name, &stored.name, &attribute, &named, place);
            }
        }
    }

    /// The rule seen from above: by it, only the entity that was named before can still be in this one.
    fn kept_its_member(&mut self, entity: &Entity, place: Option<&Place>) {
        let Some((attribute, named)) = self.named_member(entity) else { return };
        let before = self.before.get(&entity.name).and_then(|old| self.named_member(&old.entity));
        let Some((_, member)) = before.filter(|(_, member)| *member != named) else { return };
        let is_in =
            self.after.get(&member).is_some_and(|stored| stored.entity.parents.contains(&entity.name));
        if is_in && !self.upserted.contains_key(&member) {
            self.wrong_member(&member, &entity.name, &attribute, &named, place);
        }
    }

    fn named_member(&self, entity: &Entity) -> Option<(String, EntityRef)> {
        let attribute = self.schema.kind(entity.name.kind).rules.only_member.as_ref()?;
        match entity.attributes.get(attribute) {
            Some(Value::Entity(named)) => Some((attribute.to_string(), named.clone())),
            _ => None,
        }
    }

    fn wrong_member(
        &mut self,
        member: &EntityRef,
        of: &EntityRef,
        attribute: &str,
        named: &EntityRef,
        place: Option<&Place>,
    ) {
        let [member, of, named] = [member, of, named].map(|name| self.schema.show(name));
        let message = format!("`{member}` is in `{of}`, whose `{attribute}` is `{named}`");
        self.fault(message, place);
    }

    fn is_not_in_itself(&mut self, entity: &Entity, place: Option<&Place>) {
        let may_recur = |kind: Kind| {
            let parents = &self.schema.kind(kind).parents;
            parents.iter().any(|parent| self.schema.can_be_in(*parent, kind))
        };
        if may_recur(entity.name.kind) && self.reaches(entity, &entity.name) {
            let name = self.schema.show(&entity.name);
            self.fault(format!("`{name}` is in itself, directly or through others"), place);
        }
    }

    fn reaches(&self, from: &Entity, goal: &EntityRef) -> bool {
        let mut seen: HashSet<EntityRef> = HashSet::new();
        let mut open: Vec<EntityRef> = from.parents.to_vec();
        while let Some(name) = open.pop() {
            if name == *goal {
                return true;
            }
            let parents = self.after.get(&name).map(|stored| stored.entity.parents.clone());
            if let Some(parents) = parents.filter(|_| seen.insert(name)) {
                open.extend(parents.iter().cloned());
            }
        }
        false
    }

    /// What is still in an entity that was removed. Who that is takes a look at all entities, which
    /// only a refused change has to pay for.
    fn nothing_left_in_removed(&mut self) {
        let dangling: HashSet<EntityRef> = std::mem::take(&mut self.removed)
            .into_iter()
            .filter(|name| {
                let before = self.before.get(name).map_or(0, |old| i64::from(old.members));
                before + self.members.get(name).copied().unwrap_or(0) > 0
            })
            .collect();
        if dangling.is_empty() {
            return;
        }
        let mut left: Vec<String> = Vec::new();
        for entity in self.after.iter().filter(|entity| !self.upserted.contains_key(&entity.name)) {
            for parent in entity.parents.iter().filter(|parent| dangling.contains(*parent)) {
                let [entity, parent] = [&entity.name, parent].map(|name| self.schema.show(name));
                left.push(format!("`{entity}` is still in `{parent}`, which is removed"));
            }
        }
        left.sort();
        for message in left {
            self.fault(message, None);
        }
    }

    fn fault(&mut self, message: String, place: Option<&Place>) {
        self.faults.push(Fault::error(message).at(place.cloned()));
    }
}
