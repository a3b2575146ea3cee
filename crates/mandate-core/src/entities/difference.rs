//! Which entities differ between two versions of a store, and how. Why they differ is not known here: a change
//! is applied in `apply.rs`.

use smol_str::SmolStr;

use super::packed::Entity;
use super::store::Entities;
use crate::change_kind::ChangeKind;
use crate::schema::{EntityUidRef, Schema};

/// An entity that differs between two versions, in at least one of which it exists.
#[derive(Debug, Clone, Copy)]
pub struct EntityDifference<'a> {
    pub uid: EntityUidRef<'a>,
    pub before: Option<&'a Entity>,
    pub after: Option<&'a Entity>,
}

impl Entities {
    /// The entities that differ in a later version, which changes made of this one; in no particular order.
    /// It costs what those changes touched, however many entities there are.
    pub fn differences<'a>(&'a self, later: &'a Self) -> Vec<EntityDifference<'a>> {
        let mut differences = Vec::new();
        self.index.for_each_unshared(&later.index, |before, after| {
            let same = before.zip(after).is_some_and(|(before, after)| {
                before.version == after.version || before.entity.same_content(&after.entity)
            });
            if let Some(either) = after.or(before).filter(|_| !same) {
                let [before, after] = [before, after].map(|stored| stored.map(|stored| &stored.entity));
                differences.push(EntityDifference { uid: either.entity.uid(), before, after });
            }
        });
        differences
    }
}

impl<'a> EntityDifference<'a> {
    pub fn kind(&self) -> ChangeKind {
        ChangeKind::between(self.before.is_some(), self.after.is_some())
    }

    /// The direct parents that the entity has only after the change; sorted.
    pub fn added_parents(&self) -> impl Iterator<Item = EntityUidRef<'a>> + use<'a> {
        parents_without(self.after, self.before)
    }

    /// The direct parents that the entity had only before the change; sorted.
    pub fn removed_parents(&self) -> impl Iterator<Item = EntityUidRef<'a>> + use<'a> {
        parents_without(self.before, self.after)
    }

    /// Whether the entity exists in both versions, with other attributes or tags.
    pub fn has_other_values(&self, schema: &Schema) -> bool {
        self.before.zip(self.after).is_some_and(|(before, after)| !before.same_values(after, schema))
    }

    /// The names of the attributes whose values differ, sorted, and `tags` if tags do.
    pub fn changed_attributes(&self, schema: &Schema) -> Vec<SmolStr> {
        let Some((before, after)) = self.before.zip(self.after) else { return Vec::new() };
        let (before, after) = (before.unpack(schema), after.unpack(schema));
        let all = before.attributes.with_overrides(&after.attributes);
        let differs = |name: &SmolStr| before.attributes.get(name) != after.attributes.get(name);
        let mut names: Vec<SmolStr> = all.iter().map(|(name, _)| name.clone()).filter(differs).collect();
        names.extend((before.tags != after.tags).then(|| SmolStr::new("tags")));
        names
    }
}

/// The parents of one version that the other does not have.
fn parents_without<'a>(
    one: Option<&'a Entity>,
    other: Option<&'a Entity>,
) -> impl Iterator<Item = EntityUidRef<'a>> + use<'a> {
    let others: Vec<EntityUidRef<'_>> = other.into_iter().flat_map(Entity::parents).collect();
    let parents = one.into_iter().flat_map(Entity::parents);
    parents.filter(move |parent| others.binary_search(parent).is_err())
}
