//! What entities have to keep so that a decision can trust them:
//! - no dangling edge: what an entity is in, exists;
//! - no cycle: nothing is in itself;
//! - `@member_of_one`: exactly one parent of each type that the schema names;
//! - `@only_member`: in an entity is only the one that its attribute names.
//!
//! Only what a change touches is looked at. That an edge leads to a *direct* parent type is checked
//! where entities are read. An attribute may name an entity that does not exist: it grants nothing.

use std::collections::HashSet;

use super::transaction::Transaction;
use super::{Entities, Entity, EntityUpsert};
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan};
use crate::digest::SetDigest;
use crate::parallel::map_chunks;
use crate::schema::{EntityTypeId, EntityUid, EntityUidRef};

impl Transaction<'_> {
    /// Checks the draft; it stands only if all is well.
    pub(super) fn commit(mut self) -> Result<Entities, Diagnostics> {
        let mut diagnostics = std::mem::take(&mut self.diagnostics);
        for (violations, digest) in map_chunks(&self.changed, |part| {
            let (mut violations, mut digest) = (RuleViolations(Diagnostics::default()), SetDigest::default());
            for upsert in part {
                self.check_entity(&upsert.entity, upsert.span.as_ref(), &mut violations);
                digest.add(&upsert.entity.digest(self.schema));
            }
            (violations, digest)
        }) {
            diagnostics.extend(violations.0);
            self.after.digest.add_all(&digest);
        }
        for entity in &self.replaced_or_removed {
            self.after.digest.remove(&entity.digest(self.schema));
        }
        let mut violations = RuleViolations(diagnostics);
        self.check_no_cycles(&mut violations);
        self.check_no_orphans(&mut violations);
        violations.0.into_result().map(|_| self.after)
    }

    fn check_entity(&self, entity: &Entity, span: Option<&SourceSpan>, violations: &mut RuleViolations) {
        self.check_parents(entity, span, violations);
        self.check_member_of_one(entity, span, violations);
        self.check_only_member_above(entity, span, violations);
    }

    /// Parents exist; and the rule of the only member, seen from below: what this entity is in names
    /// this entity.
    fn check_parents(&self, entity: &Entity, span: Option<&SourceSpan>, violations: &mut RuleViolations) {
        for parent in entity.parents() {
            match self.after.get(parent) {
                Some(parent) => self.check_only_member(entity.uid(), &parent.entity, span, violations),
                None if self.schema.is_enumerated(parent) => {}
                None => {
                    let (entity, parent) =
                        (self.schema.uid_string(entity.uid()), self.schema.uid_string(parent));
                    violations.error(format!("`{entity}` is in `{parent}`, which does not exist"), span);
                }
            }
        }
    }

    fn check_member_of_one(
        &self,
        entity: &Entity,
        span: Option<&SourceSpan>,
        violations: &mut RuleViolations,
    ) {
        for entity_type in &self.schema.entity_type(entity.uid().entity_type).rules.member_of_one {
            let parents = entity.parents().filter(|parent| parent.entity_type == *entity_type).count();
            if parents != 1 {
                let (entity, wanted) =
                    (self.schema.uid_string(entity.uid()), &self.schema.entity_type(*entity_type).name);
                let message = format!("`{entity}` has to be in exactly one `{wanted}`, it is in {parents}");
                violations.error(message, span);
            }
        }
    }

    /// The rule of the only member, seen from above: by it, only the entity that was named before can be in this one
    /// still. If that one changed as well, it is seen from below.
    fn check_only_member_above(
        &self,
        entity: &Entity,
        span: Option<&SourceSpan>,
        violations: &mut RuleViolations,
    ) {
        let before = self.before.get(entity.uid()).and_then(|old| self.only_member(&old.entity));
        let Some((_, member)) = before.filter(|(_, member)| !self.was_changed(*member)) else {
            return;
        };
        let stored = self.after.get(member);
        if stored.is_some_and(|stored| stored.entity.parents().any(|parent| parent == entity.uid())) {
            self.check_only_member(member, entity, span, violations);
        }
    }

    fn check_only_member(
        &self,
        member: EntityUidRef<'_>,
        of: &Entity,
        span: Option<&SourceSpan>,
        violations: &mut RuleViolations,
    ) {
        if let Some((attribute, named)) = self.only_member(of).filter(|(_, named)| *named != member) {
            let [member, of, named] = [member, of.uid(), named].map(|uid| self.schema.uid_string(uid));
            violations.error(format!("`{member}` is in `{of}`, whose `{attribute}` is `{named}`"), span);
        }
    }

    fn only_member<'e>(&self, entity: &'e Entity) -> Option<(&str, EntityUidRef<'e>)> {
        let attribute = self.schema.entity_type(entity.uid().entity_type).rules.only_member.as_ref()?;
        Some((attribute, entity.entity_attribute(attribute, self.schema)?))
    }

    /// Walks up from what changed, each edge once: a new cycle has something in it that changed.
    fn check_no_cycles(&self, violations: &mut RuleViolations) {
        let cyclic_types: HashSet<EntityTypeId> = self
            .schema
            .entity_types()
            .map(|(entity_type, _)| entity_type)
            .filter(|entity_type| self.can_be_cyclic(*entity_type))
            .collect();
        let above = |uid: EntityUidRef<'_>| self.after.get(uid).map(|stored| stored.entity.parents());
        let mut done: HashSet<EntityUidRef<'_>> = HashSet::new();
        for upsert in self.changed.iter().filter(|it| cyclic_types.contains(&it.entity.uid().entity_type)) {
            let start = upsert.entity.uid();
            let (mut path, mut on_path) = (vec![(start, above(start))], HashSet::from([start]));
            while let Some((uid, parents)) = path.last_mut() {
                let next = parents.iter_mut().flatten().find(|parent| !done.contains(parent));
                match next {
                    Some(parent) if on_path.contains(&parent) => {
                        violations.0.push_error(|| self.cycle_error(parent, upsert));
                    }
                    Some(parent) => {
                        path.push((parent, above(parent)));
                        on_path.insert(parent);
                    }
                    None => {
                        on_path.remove(uid);
                        done.insert(*uid);
                        path.pop();
                    }
                }
            }
        }
    }

    /// What is wrong stands where the entity does, if it changed, or else where the way to it began.
    fn cycle_error(&self, uid: EntityUidRef<'_>, from: &EntityUpsert) -> Diagnostic {
        let itself = self.changed.iter().find(|upsert| upsert.entity.uid() == uid);
        let span = itself.map_or(&from.span, |upsert| &upsert.span).clone();
        Diagnostic::error(format!(
            "`{}` is in itself, directly or through others",
            self.schema.uid_string(uid)
        ))
        .at(span)
    }

    fn can_be_cyclic(&self, entity_type: EntityTypeId) -> bool {
        let parents = &self.schema.entity_type(entity_type).parent_types;
        parents.iter().any(|parent| self.schema.can_be_in(*parent, entity_type))
    }

    /// What is still in an entity that was removed. What changed was told already that its parent does
    /// not exist.
    fn check_no_orphans(&self, violations: &mut RuleViolations) {
        let entity_types = || self.schema.entity_types().map(|(entity_type, _)| entity_type);
        let members = |parent: EntityUidRef<'_>| -> Vec<EntityUid> {
            let of_type = |entity_type| self.after.members(Some(parent), entity_type, None, self.schema);
            let fits = entity_types().filter(|entity_type| {
                self.schema.entity_type(*entity_type).parent_types.contains(&parent.entity_type)
            });
            let uids = fits.flat_map(of_type).map(|entity| entity.uid());
            uids.filter(|uid| !self.was_changed(*uid)).map(EntityUidRef::to_owned).collect()
        };
        let mut left: Vec<(EntityUid, EntityUidRef<'_>)> = Vec::new();
        for parent in &self.removed {
            left.extend(members(*parent).into_iter().map(|member| (member, *parent)));
        }
        left.sort_unstable();
        for (entity, parent) in left {
            violations.0.push_error(|| {
                let [entity, parent] = [entity.as_uid_ref(), parent].map(|uid| self.schema.uid_string(uid));
                Diagnostic::error(format!("`{entity}` is still in `{parent}`, which is removed"))
            });
        }
    }
}

/// The diagnostics of a draft.
struct RuleViolations(Diagnostics);

impl RuleViolations {
    fn error(&mut self, message: String, span: Option<&SourceSpan>) {
        self.0.push(Diagnostic::error(message).at(span.cloned()));
    }
}
