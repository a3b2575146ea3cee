//! The rules that entities must keep so that a decision can trust them:
//! - no dangling edge: every parent exists;
//! - no cycle: no entity is an ancestor of itself;
//! - `@member_of_one`: exactly one parent of each type that the schema names;
//! - `@only_member`: only the entity that the attribute names may be a member.
//!
//! Only what a transaction touches is checked. That an edge leads to a type which the schema lists as a
//! *direct* parent is checked in `parse.rs`. An attribute may name an entity that does not exist: that grants
//! nothing.

use std::collections::HashSet;

use super::change::EntityUpsert;
use super::packed::Entity;
use super::transaction::Transaction;
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan};
use crate::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};

/// Checks the rules of single entities, for some of those that the transaction changes.
pub fn check_each(transaction: &Transaction<'_>, upserts: &[&EntityUpsert]) -> Diagnostics {
    let mut checks = EntityChecks { transaction, span: None, diagnostics: Diagnostics::default() };
    for upsert in upserts {
        checks.span = upsert.span.as_ref();
        checks.check_parents(&upsert.entity);
        checks.check_member_of_one(&upsert.entity);
        checks.check_unchanged_member(&upsert.entity);
    }
    checks.diagnostics
}

struct EntityChecks<'t> {
    transaction: &'t Transaction<'t>,
    /// Where the entity was read.
    span: Option<&'t SourceSpan>,
    diagnostics: Diagnostics,
}

impl EntityChecks<'_> {
    fn error(&mut self, message: String) {
        self.diagnostics.push(Diagnostic::error(message).at(self.span.cloned()));
    }

    /// Every parent exists, and every parent with `@only_member` names this entity.
    fn check_parents(&mut self, entity: &Entity) {
        let (after, schema) = (&self.transaction.after, self.transaction.schema);
        for parent in entity.parents() {
            match after.get(parent) {
                Some(parent) => self.check_only_member(entity.uid(), &parent.entity),
                None if schema.is_enumerated(parent) => {}
                None => {
                    let [entity, parent] = [entity.uid(), parent].map(|uid| schema.uid_string(uid));
                    self.error(format!("`{entity}` is in `{parent}`, which does not exist"));
                }
            }
        }
    }

    fn check_member_of_one(&mut self, entity: &Entity) {
        let schema = self.transaction.schema;
        for entity_type in &schema.entity_type(entity.uid().entity_type).rules.member_of_one {
            let parents = entity.parents().filter(|parent| parent.entity_type == *entity_type).count();
            if parents != 1 {
                let (entity, wanted) =
                    (schema.uid_string(entity.uid()), &schema.entity_type(*entity_type).name);
                self.error(format!("`{entity}` must be in exactly one `{wanted}`, it is in {parents}"));
            }
        }
    }

    /// Checks `@only_member` when the parent changed. Before the change, only the entity that the attribute
    /// named could be a member, so it is the only one to check. If it changed too, `check_parents` checks it.
    fn check_unchanged_member(&mut self, entity: &Entity) {
        let Transaction { before, after, schema, .. } = self.transaction;
        let named_before = before.get(entity.uid()).and_then(|old| only_member(&old.entity, schema));
        let Some((_, member)) = named_before.filter(|(_, member)| !self.transaction.was_changed(*member))
        else {
            return;
        };
        let stored = after.get(member);
        if stored.is_some_and(|stored| stored.entity.parents().any(|parent| parent == entity.uid())) {
            self.check_only_member(member, entity);
        }
    }

    fn check_only_member(&mut self, member: EntityUidRef<'_>, of: &Entity) {
        let schema = self.transaction.schema;
        if let Some((attribute, named)) = only_member(of, schema).filter(|(_, named)| *named != member) {
            let [member, of, named] = [member, of.uid(), named].map(|uid| schema.uid_string(uid));
            self.error(format!("`{member}` is in `{of}`, whose `{attribute}` is `{named}`"));
        }
    }
}

/// The attribute of an entity with `@only_member`, and the entity that it names.
fn only_member<'e>(entity: &'e Entity, schema: &'e Schema) -> Option<(&'e str, EntityUidRef<'e>)> {
    let attribute = schema.entity_type(entity.uid().entity_type).rules.only_member.as_ref()?;
    Some((attribute, entity.entity_attribute(attribute, schema)?))
}

/// Depth-first search for cycles from each changed entity, each edge once. A new cycle always contains a
/// changed entity, so no other start is needed.
pub fn check_no_cycles(transaction: &Transaction<'_>, diagnostics: &mut Diagnostics) {
    let schema = transaction.schema;
    let entity_types = schema.entity_types().map(|(entity_type, _)| entity_type);
    let cyclic_types: HashSet<EntityTypeId> =
        entity_types.filter(|entity_type| can_be_cyclic(*entity_type, schema)).collect();
    let parents = |uid: EntityUidRef<'_>| transaction.after.get(uid).map(|stored| stored.entity.parents());
    let mut done: HashSet<EntityUidRef<'_>> = HashSet::new();
    for upsert in transaction.changed.iter().filter(|it| cyclic_types.contains(&it.entity.uid().entity_type))
    {
        let start = upsert.entity.uid();
        let (mut path, mut on_path) = (vec![(start, parents(start))], HashSet::from([start]));
        while let Some((uid, parents_left)) = path.last_mut() {
            let next = parents_left.iter_mut().flatten().find(|parent| !done.contains(parent));
            match next {
                Some(parent) if on_path.contains(&parent) => {
                    diagnostics.push_error(|| cycle_error(transaction, parent, upsert));
                }
                Some(parent) => {
                    path.push((parent, parents(parent)));
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

/// Points at the entity in the cycle if this change touched it, else at the changed entity from which the
/// search started.
fn cycle_error(transaction: &Transaction<'_>, uid: EntityUidRef<'_>, start: &EntityUpsert) -> Diagnostic {
    let itself = transaction.changed.iter().find(|upsert| upsert.entity.uid() == uid);
    let span = itself.map_or(&start.span, |upsert| &upsert.span).clone();
    let uid = transaction.schema.uid_string(uid);
    Diagnostic::error(format!("`{uid}` is in itself, directly or through others")).at(span)
}

fn can_be_cyclic(entity_type: EntityTypeId, schema: &Schema) -> bool {
    let parents = &schema.entity_type(entity_type).parent_types;
    parents.iter().any(|parent| schema.can_be_in(*parent, entity_type))
}

/// Reports unchanged members of removed entities. Changed members are skipped: `check_parents` has reported
/// their missing parent.
pub fn check_no_orphans(transaction: &Transaction<'_>, diagnostics: &mut Diagnostics) {
    let schema = transaction.schema;
    let members = |parent: EntityUidRef<'_>| -> Vec<EntityUid> {
        let of_type = |entity_type| transaction.after.members(Some(parent), entity_type, None, schema);
        let child_types =
            schema.entity_types().filter(|(_, it)| it.parent_types.contains(&parent.entity_type));
        let uids = child_types.flat_map(|(entity_type, _)| of_type(entity_type)).map(Entity::uid);
        uids.filter(|uid| !transaction.was_changed(*uid)).map(EntityUidRef::to_owned).collect()
    };
    let mut orphans: Vec<(EntityUid, EntityUidRef<'_>)> = Vec::new();
    for parent in &transaction.removed {
        orphans.extend(members(*parent).into_iter().map(|member| (member, *parent)));
    }
    orphans.sort_unstable();
    for (entity, parent) in orphans {
        diagnostics.push_error(|| {
            let [entity, parent] = [entity.as_uid_ref(), parent].map(|uid| schema.uid_string(uid));
            Diagnostic::error(format!("`{entity}` is still in `{parent}`, which is removed"))
        });
    }
}
