//! The hierarchy as explanations tell it: chains of direct memberships, and where to cut them.

use std::collections::{HashMap, VecDeque};

use super::budget::Meter;
use super::repair::{Modification, Repair, RepairLocation};
use mandate_core::entities::Entities;
use mandate_core::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};
use mandate_core::small_set::SmallSet;

/// The shortest chain of direct memberships from one entity to another of these, both ends included.
/// An entity that is one of them itself is a chain of one.
pub fn shortest_chain(
    entities: &Entities,
    from: EntityUidRef<'_>,
    to: &[EntityUid],
    without: &Repair,
) -> Option<Vec<EntityUid>> {
    let cut = |child: EntityUidRef<'_>, parent: EntityUidRef<'_>| {
        let edge = RepairLocation::Membership(child.to_owned(), parent.to_owned());
        !without.is_empty() && without.includes(&Repair::single(edge, Modification::Remove))
    };
    shortest_path(
        from,
        |at| to.iter().any(|to| to.as_uid_ref() == at),
        |at| {
            let parents = entities.get(at).into_iter().flat_map(|stored| stored.entity.parents());
            parents.filter(|parent| !cut(at, *parent)).collect()
        },
    )
    .map(|chain| chain.into_iter().map(EntityUidRef::to_owned).collect())
}

/// The types between two, on the shortest way by which the schema lets the one be in the other.
pub fn types_between(schema: &Schema, from: EntityTypeId, to: EntityTypeId) -> Vec<EntityTypeId> {
    let parents = |entity_type: EntityTypeId| schema.entity_type(entity_type).parent_types.clone();
    // A kind can be in itself: the way leaves it first.
    let alternatives = parents(from)
        .into_iter()
        .filter_map(|first| shortest_path(first, |entity_type| entity_type == to, parents));
    let mut way = alternatives.min_by_key(Vec::len).unwrap_or_default();
    way.pop();
    way
}

/// Breadth first.
fn shortest_path<T: Copy + Eq + std::hash::Hash>(
    from: T,
    found: impl Fn(T) -> bool,
    next: impl Fn(T) -> Vec<T>,
) -> Option<Vec<T>> {
    let mut below: HashMap<T, Option<T>> = HashMap::from([(from, None)]);
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if found(at) {
            let mut chain: Vec<T> =
                std::iter::successors(Some(at), |at| below.get(at).copied().flatten()).collect();
            chain.reverse();
            return Some(chain);
        }
        for parent in next(at) {
            below.entry(parent).or_insert_with(|| {
                open.push_back(parent);
                Some(at)
            });
        }
    }
    None
}

/// An entity and all that it is in.
pub fn with_ancestors(entities: &Entities, entity: EntityUidRef<'_>) -> Vec<EntityUid> {
    let (mut all, mut seen, mut next) = (vec![entity.to_owned()], SmallSet::default(), 0);
    while let Some(at) = all.get(next).cloned() {
        next += 1;
        let parents = entities.get(at.as_uid_ref()).into_iter().flat_map(|stored| stored.entity.parents());
        all.extend(parents.map(EntityUidRef::to_owned).filter(|parent| seen.insert(parent.clone())));
    }
    all
}

/// The ways to take an entity out of all of these, each by dropping direct memberships.
pub fn membership_cuts(
    entities: &Entities,
    from: EntityUidRef<'_>,
    of: &[EntityUid],
    meter: &Meter,
) -> Vec<Repair> {
    let (mut cuts, mut open) = (Vec::new(), vec![Repair::default()]);
    let cost = u32::try_from(with_ancestors(entities, from).len()).unwrap_or(u32::MAX);
    while let Some(without) = open.pop() {
        if !meter.spend(cost) {
            break;
        }
        match shortest_chain(entities, from, of, &without) {
            None => cuts.push(without),
            Some(_) if !meter.allows_size(without.len() + 1) => {}
            Some(chain) => open.extend(chain.windows(2).filter_map(|edge| {
                let [child, parent] = edge else { return None };
                let edge = RepairLocation::Membership(child.clone(), parent.clone());
                Some(without.with_overrides(&Repair::single(edge, Modification::Remove)))
            })),
        }
    }
    cuts
}
