//! Memberships for explanations: the chain of direct memberships behind an `in`, and the ways to break
//! every such chain. The walk itself is `crate::shortest_path`; whether a repair is allowed is decided in
//! `hypothesis`.

use super::budget::Meter;
use super::hypothesis::Hypothesis;
use super::repair::{Modification, Repair, RepairLocation};
use crate::shortest_path::shortest_path;
use mandate_core::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};

/// The shortest chain of direct memberships from an entity to one of the others, both ends included. If
/// the entity is one of them itself, the chain has one entity.
pub fn shortest_chain(
    hypothesis: &Hypothesis<'_>,
    from: EntityUidRef<'_>,
    to: &[EntityUid],
) -> Option<Vec<EntityUid>> {
    shortest_chain_without(hypothesis, from, to, &Repair::default())
}

/// The shortest chain that is left when a repair has removed memberships.
fn shortest_chain_without(
    hypothesis: &Hypothesis<'_>,
    from: EntityUidRef<'_>,
    to: &[EntityUid],
    removed: &Repair,
) -> Option<Vec<EntityUid>> {
    let is_removed = |child: EntityUidRef<'_>, parent: EntityUidRef<'_>| {
        !removed.is_empty() && removed.includes(&removal(child.to_owned(), parent.to_owned()))
    };
    let chain = shortest_path(
        from,
        |at| to.iter().any(|to| to.as_uid_ref() == at),
        |at| hypothesis.parents(at).filter(move |parent| !is_removed(at, *parent)),
    );
    chain.map(|chain| chain.into_iter().map(EntityUidRef::to_owned).collect())
}

fn removal(child: EntityUid, parent: EntityUid) -> Repair {
    Repair::single(RepairLocation::Membership(child, parent), Modification::Remove)
}

/// The entity types between two others, on the shortest path by which the schema lets an entity of the one
/// be in an entity of the other.
pub fn types_between(schema: &Schema, from: EntityTypeId, to: EntityTypeId) -> Vec<EntityTypeId> {
    let parents = |entity_type: EntityTypeId| schema.entity_type(entity_type).parent_types.clone();
    // The path starts at the parents, because an entity type can be its own parent type.
    let paths = parents(from)
        .into_iter()
        .filter_map(|parent| shortest_path(parent, |entity_type| entity_type == to, parents));
    let mut path = paths.min_by_key(Vec::len).unwrap_or_default();
    path.pop();
    path
}

/// The repairs that take an entity out of all the others, each by removing direct memberships.
pub fn membership_cuts(
    hypothesis: &Hypothesis<'_>,
    from: EntityUidRef<'_>,
    of: &[EntityUid],
    meter: &Meter,
) -> Vec<Repair> {
    let (mut cuts, mut open) = (Vec::new(), vec![Repair::default()]);
    let cost = u32::try_from(hypothesis.entities.with_ancestors(from).count()).unwrap_or(u32::MAX);
    while let Some(cut) = open.pop() {
        if !meter.spend(cost) {
            break;
        }
        match shortest_chain_without(hypothesis, from, of, &cut) {
            None => cuts.push(cut),
            Some(_) if !meter.allows_size(cut.len() + 1) => {}
            Some(chain) => open.extend(chain.windows(2).filter_map(|edge| {
                let [child, parent] = edge else { return None };
                Some(cut.with_overrides(&removal(child.clone(), parent.clone())))
            })),
        }
    }
    cuts
}
