//! What entities have to keep so that a decision can trust them:
//! - no dangling edge: what an entity is in, exists;
//! - no cycle: nothing is in itself;
//! - `@member_of_one`: exactly one parent of each type that the schema names;
//! - `@only_member`: in an entity is only the one that its attribute names.
//!
//! Only what a change touches is looked at. That an edge leads to a *direct* parent type is checked
//! where entities are read. An attribute may name an entity that does not exist: it grants nothing.

use std::collections::HashSet;

use super::draft::Draft;
use super::{Entities, Entity, Incoming};
use crate::digest::SetDigest;
use crate::fault::{Fault, Faults, Place};
use crate::parallel::map_parts;
use crate::schema::{EntityRef, Kind, Name};

impl Draft<'_> {
    /// Checks the draft; it stands only if all is well.
    pub(super) fn finish(mut self) -> Result<Entities, Faults> {
        let mut faults = std::mem::take(&mut self.faults);
        for (found, digest) in map_parts(&self.changed, |part| {
            let (mut found, mut digest) = (Findings(Faults::default()), SetDigest::default());
            for incoming in part {
                self.entity(&incoming.entity, incoming.place.as_ref(), &mut found);
                digest.add(&incoming.entity.digest(self.schema));
            }
            (found, digest)
        }) {
            faults.extend(found.0);
            self.after.digest.add_all(&digest);
        }
        for entity in &self.left {
            self.after.digest.remove(&entity.digest(self.schema));
        }
        let mut found = Findings(faults);
        self.nothing_in_itself(&mut found);
        self.nothing_left_in_removed(&mut found);
        found.0.into_result().map(|_| self.after)
    }

    fn entity(&self, entity: &Entity, place: Option<&Place>, found: &mut Findings) {
        self.parents(entity, place, found);
        self.member_of_one(entity, place, found);
        self.kept_its_member(entity, place, found);
    }

    /// Parents exist; and the rule of the only member, seen from below: what this entity is in names
    /// this entity.
    fn parents(&self, entity: &Entity, place: Option<&Place>, found: &mut Findings) {
        for parent in entity.parents() {
            match self.after.get(parent) {
                Some(parent) => self.names_its_member(entity.name(), &parent.entity, place, found),
                None if self.schema.enumerates(parent) => {}
                None => {
                    let (entity, parent) = (self.schema.show(entity.name()), self.schema.show(parent));
                    found.error(format!("`{entity}` is in `{parent}`, which does not exist"), place);
                }
            }
        }
    }

    fn member_of_one(&self, entity: &Entity, place: Option<&Place>, found: &mut Findings) {
        for kind in &self.schema.kind(entity.name().kind).rules.member_of_one {
            let parents = entity.parents().filter(|parent| parent.kind == *kind).count();
            if parents != 1 {
                let (entity, wanted) = (self.schema.show(entity.name()), &self.schema.kind(*kind).name);
                let message = format!("`{entity}` has to be in exactly one `{wanted}`, it is in {parents}");
                found.error(message, place);
            }
        }
    }

    /// The rule of the only member, seen from above: by it, only the entity that was named before can be in this one
    /// still. If that one changed as well, it is seen from below.
    fn kept_its_member(&self, entity: &Entity, place: Option<&Place>, found: &mut Findings) {
        let before = self.before.get(entity.name()).and_then(|old| self.named_member(&old.entity));
        let Some((_, member)) = before.filter(|(_, member)| !self.differs(*member)) else {
            return;
        };
        let stored = self.after.get(member);
        if stored.is_some_and(|stored| stored.entity.parents().any(|parent| parent == entity.name())) {
            self.names_its_member(member, entity, place, found);
        }
    }

    fn names_its_member(&self, member: Name<'_>, of: &Entity, place: Option<&Place>, found: &mut Findings) {
        if let Some((attribute, named)) = self.named_member(of).filter(|(_, named)| *named != member) {
            let [member, of, named] = [member, of.name(), named].map(|name| self.schema.show(name));
            found.error(format!("`{member}` is in `{of}`, whose `{attribute}` is `{named}`"), place);
        }
    }

    fn named_member<'e>(&self, entity: &'e Entity) -> Option<(&str, Name<'e>)> {
        let attribute = self.schema.kind(entity.name().kind).rules.only_member.as_ref()?;
        Some((attribute, entity.entity_attribute(attribute, self.schema)?))
    }

    /// Walks up from what changed, each edge once: a new cycle has something in it that changed.
    fn nothing_in_itself(&self, found: &mut Findings) {
        let recurs: HashSet<Kind> =
            self.schema.kinds().map(|(kind, _)| kind).filter(|kind| self.may_recur(*kind)).collect();
        let above = |name: Name<'_>| self.after.get(name).map(|stored| stored.entity.parents());
        let mut done: HashSet<Name<'_>> = HashSet::new();
        for incoming in self.changed.iter().filter(|it| recurs.contains(&it.entity.name().kind)) {
            let start = incoming.entity.name();
            let (mut path, mut on_path) = (vec![(start, above(start))], HashSet::from([start]));
            while let Some((name, parents)) = path.last_mut() {
                let next = parents.iter_mut().flatten().find(|parent| !done.contains(parent));
                match next {
                    Some(parent) if on_path.contains(&parent) => {
                        found.0.push_error(|| self.in_itself(parent, incoming));
                    }
                    Some(parent) => {
                        path.push((parent, above(parent)));
                        on_path.insert(parent);
                    }
                    None => {
                        on_path.remove(name);
                        done.insert(*name);
                        path.pop();
                    }
                }
            }
        }
    }

    /// What is wrong stands where the entity does, if it changed, or else where the way to it began.
    fn in_itself(&self, name: Name<'_>, from: &Incoming) -> Fault {
        let itself = self.changed.iter().find(|incoming| incoming.entity.name() == name);
        let place = itself.map_or(&from.place, |incoming| &incoming.place).clone();
        Fault::error(format!("`{}` is in itself, directly or through others", self.schema.show(name)))
            .at(place)
    }

    fn may_recur(&self, kind: Kind) -> bool {
        let parents = &self.schema.kind(kind).parents;
        parents.iter().any(|parent| self.schema.can_be_in(*parent, kind))
    }

    /// What is still in an entity that was removed. What changed was told already that its parent does
    /// not exist.
    fn nothing_left_in_removed(&self, found: &mut Findings) {
        let kinds = || self.schema.kinds().map(|(kind, _)| kind);
        let members = |parent: Name<'_>| -> Vec<EntityRef> {
            let of_kind = |kind| self.after.members(Some(parent), kind, None, self.schema);
            let fits = kinds().filter(|kind| self.schema.kind(*kind).parents.contains(&parent.kind));
            let names = fits.flat_map(of_kind).map(|entity| entity.name());
            names.filter(|name| !self.differs(*name)).map(Name::to_owned).collect()
        };
        let mut left: Vec<(EntityRef, Name<'_>)> = Vec::new();
        for parent in &self.removed {
            left.extend(members(*parent).into_iter().map(|member| (member, *parent)));
        }
        left.sort_unstable();
        for (entity, parent) in left {
            found.0.push_error(|| {
                let [entity, parent] = [entity.name(), parent].map(|name| self.schema.show(name));
                Fault::error(format!("`{entity}` is still in `{parent}`, which is removed"))
            });
        }
    }
}

/// The faults of a draft.
struct Findings(Faults);

impl Findings {
    fn error(&mut self, message: String, place: Option<&Place>) {
        self.0.push(Fault::error(message).at(place.cloned()));
    }
}
