//! The search for what is missing. A set of facts makes a world; where that is no permit yet, the
//! policies are read again in it, because a fact can show what else is missing, or wake a forbid.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::budget::{MOST_SETS, Meter};
use super::fact::Facts;
use super::world::World;
use crate::authz::decide::DecideError;
use crate::authz::policies::{Candidate, Part};
use crate::authz::schema::EntityRef;

/// The smallest sets of facts that would make a denial a permit: each decided, and none of it too much.
///
/// # Errors
/// A defect of this program; see [`DecideError`].
pub fn missing(world: &World<'_>, meter: &Meter) -> Result<Vec<Facts>, DecideError> {
    let cost = world.read(meter, |reader| reader.matching().map(|policy| cost(policy)).sum())?;
    let mut search = Search { world, meter, cost, decided: HashMap::new(), found: BTreeSet::new() };
    let mut open = BTreeMap::from([(Facts::default(), permits(world))]);
    let mut seen = HashSet::new();
    while let Some((facts, permits)) = open.pop_first() {
        if search.found.len() == MOST_SETS || meter.is_spent() {
            meter.cut_off();
            break;
        }
        if search.found.iter().any(|found| facts.includes(found)) {
            continue;
        }
        if search.permits(&facts)? {
            let smallest = search.smallest(facts)?;
            search.found.extend(smallest);
            continue;
        }
        for (permit, way) in search.ways(&facts, &permits)? {
            let next = facts.then(&way);
            if meter.fits(next.len()) && seen.insert((next.clone(), &permit.info.id)) {
                open.entry(next).or_insert_with(Vec::new).push(permit);
            }
        }
    }
    Ok(search.found.into_iter().collect())
}

/// The permits that could be met, by id.
fn permits<'a>(world: &World<'a>) -> Vec<&'a Candidate> {
    let asked = [&world.request.principal, &world.request.resource];
    // Who asks, and on what, is no fact that could be another.
    let other = |part: &Part, entity: &EntityRef| matches!(part, Part::Is(named) if named != entity);
    let possible = |policy: &Candidate| {
        let parts = [&policy.principal, &policy.resource];
        !policy.info.forbids && !parts.into_iter().zip(asked).any(|(part, entity)| other(part, entity))
    };
    let all = world.candidates.all().map(Arc::as_ref);
    let mut permits: Vec<&Candidate> = all.filter(|policy| possible(policy)).collect();
    permits.sort_by(|a, b| a.info.id.cmp(&b.info.id));
    permits
}

/// About what it costs to decide by a policy, in steps.
fn cost(policy: &Candidate) -> u32 {
    let operators = policy.condition.as_ref().map_or(0, |condition| condition.subexpressions().count());
    u32::try_from(operators / 4).unwrap_or(u32::MAX).saturating_add(1)
}

struct Search<'a> {
    world: &'a World<'a>,
    meter: &'a Meter,
    /// Of one decision.
    cost: u32,
    decided: HashMap<Facts, bool>,
    found: BTreeSet<Facts>,
}

impl Search<'_> {
    /// Whether the facts make it a permit. Out of steps, they do not.
    fn permits(&mut self, facts: &Facts) -> Result<bool, DecideError> {
        if let Some(permits) = self.decided.get(facts) {
            return Ok(*permits);
        }
        let affordable = self.meter.spend(self.cost.saturating_add(16));
        let world = self.world.supposing(facts).filter(|_| affordable);
        let permits = world.map_or(Ok(false), |world| world.is_permit())?;
        self.decided.insert(facts.clone(), permits);
        Ok(permits)
    }

    /// The smallest part of the facts that does it as well, or all of them; `None` if that cannot be
    /// told any more.
    fn smallest(&mut self, facts: Facts) -> Result<Option<Facts>, DecideError> {
        for part in facts.parts() {
            if self.permits(&part)? {
                return Ok(Some(part));
            }
        }
        Ok((!self.meter.is_spent()).then_some(facts))
    }

    /// What could make one of the permits met, and every forbid that is met unmet, in the world of
    /// these facts.
    fn ways<'p>(
        &self,
        facts: &Facts,
        permits: &[&'p Candidate],
    ) -> Result<Vec<(&'p Candidate, Facts)>, DecideError> {
        let Some(world) = self.world.supposing(facts) else { return Ok(Vec::new()) };
        world.read(self.meter, |reader| {
            let forbids = reader.matching().filter(|policy| policy.info.forbids);
            let unmet = forbids.fold(vec![Facts::default()], |ways, forbid| {
                self.meter.both(&ways, &reader.policy(forbid).to_false)
            });
            let met = |permit: &Candidate| self.meter.both(&reader.policy(permit).to_true, &unmet);
            let permits = permits.iter().filter(|_| !unmet.is_empty());
            permits.flat_map(|permit| met(permit).into_iter().map(|way| (*permit, way))).collect()
        })
    }
}
