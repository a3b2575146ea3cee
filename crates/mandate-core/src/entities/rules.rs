//! The rules that entities must keep so that a decision can trust them:
//! - no dangling edge: every parent exists;
//! - no cycle: no entity is an ancestor of itself;
//! - `@member_of_one`: exactly one parent of each type that the schema names;
//! - `@only_member`: only the entity that the attribute names may be a member;
//! - `@member_requires`: an entity that has members has the attribute.
//!
//! Only what a transaction touches is checked. That an edge leads to a type which the schema lists as a
//! *direct* parent is checked in `parse.rs`. An attribute may name an entity that does not exist: that grants
//! nothing.

use std::collections::HashSet;

use super::change::EntityUpsert;
use super::packed::Entity;
use super::store::Entities;
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
        checks.check_unchanged_members(&upsert.entity);
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

    /// Every parent exists, names this entity if it has `@only_member`, and has what `@member_requires` says.
    fn check_parents(&mut self, entity: &Entity) {
        let (after, schema) = (&self.transaction.after, self.transaction.schema);
        for parent in entity.parents() {
            match after.get(parent) {
                Some(parent) => {
                    self.check_only_member(entity.uid(), &parent.entity);
                    if let Some(attribute) = lacks_required(&parent.entity, schema) {
                        self.report_lack(entity.uid(), parent.entity.uid(), attribute);
                    }
                }
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

    /// Checks `@member_requires` when the parent changed and lacks the attribute now. Its members that changed
    /// too are checked by `check_parents`, so one of the others is looked for; only a parent that was there
    /// before can have such.
    fn check_unchanged_members(&mut self, parent: &Entity) {
        let Transaction { before, after, schema, .. } = self.transaction;
        let Some(attribute) = lacks_required(parent, schema) else { return };
        if before.get(parent.uid()).is_none() {
            return;
        }
        let mut members = members_of(parent.uid(), after, schema);
        if let Some(member) = members.find(|member| !self.transaction.was_changed(member.uid())) {
            self.report_lack(member.uid(), parent.uid(), attribute);
        }
    }

    fn report_lack(&mut self, member: EntityUidRef<'_>, of: EntityUidRef<'_>, attribute: &str) {
        let (span, schema) = (self.span, self.transaction.schema);
        self.diagnostics.push_error(|| {
            let [member, of] = [member, of].map(|uid| schema.uid_string(uid));
            Diagnostic::error(format!("`{member}` is in `{of}`, which has no `{attribute}`"))
                .help(format!("set `{attribute}` of `{of}`, or take the membership away"))
                .at(span.cloned())
        });
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

/// The attribute that an entity lacks and would need to have members.
fn lacks_required<'s>(entity: &Entity, schema: &'s Schema) -> Option<&'s str> {
    let attribute = schema.entity_type(entity.uid().entity_type).rules.member_requires.as_ref()?;
    (!entity.has_attribute(attribute, schema)).then_some(attribute)
}

/// The direct members of an entity, of all types.
fn members_of<'a>(
    parent: EntityUidRef<'a>,
    entities: &'a Entities,
    schema: &'a Schema,
) -> impl Iterator<Item = &'a Entity> {
    let types =
        schema.entity_types().filter(move |(_, child)| child.parent_types.contains(&parent.entity_type));
    types.flat_map(move |(entity_type, _)| entities.members(Some(parent), entity_type, None, schema))
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
        let uids = members_of(parent, &transaction.after, schema).map(Entity::uid);
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

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use crate::diagnostics::{Diagnostics, SourceText};
    use crate::entities::{Entities, EntityChanges, LoadProgress, Origin, parse_entity_file};
    use crate::schema::{EntityUid, Schema};

    const SCHEMA: &str = r#"
        entity Person;
        @member_requires("signer")
        entity Treaty = { signer?: Person, title?: String };
        entity State in [Treaty];
        entity Guest in [Treaty];
    "#;
    const PERSON: &str = r#"{ "type": "Person", "id": "eve" }"#;

    fn schema() -> Schema {
        Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0
    }

    fn treaty(attributes: &str) -> String {
        format!(r#"{{ "uid": {{ "type": "Treaty", "id": "t" }}, "attrs": {{{attributes}}}, "parents": [] }}"#)
    }

    fn signed() -> String {
        treaty(&format!(r#""signer": {PERSON}"#))
    }

    fn member(entity_type: &str, of: &str) -> String {
        let uid = format!(r#"{{ "type": "{entity_type}", "id": "m" }}"#);
        format!(r#"{{ "uid": {uid}, "attrs": {{}}, "parents": [{of}] }}"#)
    }

    const IN_TREATY: &str = r#"{ "type": "Treaty", "id": "t" }"#;

    fn change(entities: &Entities, upserts: &[String], removals: &[&str]) -> Result<Entities, Diagnostics> {
        let schema = schema();
        let file = SourceText::new("e.ndjson", upserts.join("\n"));
        let upserts = parse_entity_file(&file, Origin(0), &schema, &LoadProgress::default()).unwrap();
        let removed = |entity_type: &&str| EntityUid {
            entity_type: schema.resolve_entity_type(entity_type).unwrap(),
            id: "m".into(),
        };
        let removals = removals.iter().map(removed).collect();
        entities.apply(&EntityChanges { upserts, removals }, &schema)
    }

    fn load(upserts: &[String]) -> Result<Entities, Diagnostics> {
        change(&Entities::default(), upserts, &[])
    }

    fn refused(result: Result<Entities, Diagnostics>) -> Vec<String> {
        result.unwrap_err().iter().map(ToString::to_string).collect()
    }

    const LACK: &str = r#"`State::"m"` is in `Treaty::"t"`, which has no `signer` (set `signer` of `Treaty::"t"`, or take the membership away)"#;

    #[test]
    fn an_entity_with_members_needs_the_attribute_and_one_without_does_not() {
        assert!(load(&[treaty("")]).is_ok());
        assert!(load(&[signed(), member("State", IN_TREATY)]).is_ok());
        let title = treaty(r#""title": "peace""#);
        let refused = refused(load(&[title, member("State", IN_TREATY), member("Guest", IN_TREATY)]));
        assert_eq!(refused.first(), Some(&format!("e.ndjson:2:1: {LACK}")));
        assert_eq!(refused.len(), 2, "{refused:?}");
    }

    #[test]
    fn a_member_joins_only_what_has_the_attribute_then() {
        let (open, joins) = (load(&[treaty("")]).unwrap(), member("State", IN_TREATY));
        assert_eq!(refused(change(&open, from_ref(&joins), &[])), [format!("e.ndjson:1:1: {LACK}")]);
        let both = change(&open, &[joins.clone(), signed()], &[]).unwrap();
        assert_eq!(both.len(), 2);
        let signed = change(&open, &[signed()], &[]).unwrap();
        assert!(change(&signed, &[joins], &[]).is_ok());
    }

    #[test]
    fn the_attribute_goes_only_after_the_last_member() {
        let state = member("State", IN_TREATY);
        let all = load(&[signed(), state, member("Guest", IN_TREATY)]).unwrap();
        let [state_left, guest_left] = [member("State", ""), member("Guest", "")];
        let unsigned = treaty("");
        let message = |upserts: &[String], removals: &[&str]| refused(change(&all, upserts, removals));
        // One of several members is enough to say why, at the place of the entity that lost the attribute.
        assert_eq!(message(from_ref(&unsigned), &[]).len(), 1);
        let place = format!("e.ndjson:2:1: {LACK}");
        let state_stays = [guest_left.clone(), unsigned.clone()];
        assert_eq!(message(&state_stays, &[]), from_ref(&place));
        assert_eq!(message(&state_stays, &["Guest"]), from_ref(&place));
        assert!(change(&all, &[state_left.clone(), guest_left, unsigned.clone()], &[]).is_ok());
        assert!(change(&all, &[state_left, unsigned.clone()], &["Guest"]).is_ok());
        assert!(change(&all, &[unsigned], &["Guest", "State"]).is_ok());
        let rival = treaty(r#""signer": { "type": "Person", "id": "other" }, "title": "war""#);
        assert!(change(&all, &[rival], &[]).is_ok());
    }

    #[test]
    fn the_annotation_names_an_optional_attribute() {
        let with = |value: &str| {
            let text = format!(
                "entity P;\n@member_requires(\"{value}\")\nentity T = {{ signer?: P, title: String }};"
            );
            Schema::parse(&SourceText::new("s.cedarschema", text)).unwrap_err().to_string()
        };
        let place = "s.cedarschema:2:1: `@member_requires` on `T` names";
        let unknown = "which is not an attribute of the type";
        assert_eq!(with("singer"), format!("{place} `singer`, {unknown} (did you mean `signer`?)"));
        assert_eq!(with(""), format!("{place} ``, {unknown}"));
        let required = "which is required anyway: the annotation is for an optional attribute, so remove it";
        assert_eq!(with("title"), format!("{place} `title`, {required}"));
    }
}
