//! The search for what is missing. A set of facts makes a world; where that is no permit yet, the
//! policies are read again in it, because a fact can show what else is missing, or wake a forbid.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use smol_str::SmolStr;

use super::budget::{MOST_FACTS, MOST_SETS, Meter};
use super::fact::Facts;
use super::ways::Reader;
use super::world::World;
use mandate_core::decide::DecideError;
use mandate_core::policies::{Candidate, Part};

/// How many changes may lead to a set: a fact that was found first can have to be another, as two
/// policies want different numbers in one place, and that could go on without end.
const MOST_CHANGES: usize = MOST_FACTS + 3;

/// The smallest sets of facts that would make a denial a permit: each decided, and none of it too much.
///
/// # Errors
/// A defect of this program; see [`DecideError`].
pub fn missing(world: &World<'_>, meter: &Meter) -> Result<Vec<Facts>, DecideError> {
    let (cost, permits) = world.read(meter, |reader| (cost(reader), permits(world, reader)))?;
    // As it is, it is a denial.
    let decided = HashMap::from([(Facts::default(), false)]);
    let mut search = Search { world, meter, cost, decided, found: BTreeSet::new(), seen: HashSet::new() };
    let mut open = BTreeMap::new();
    if !permits.is_empty() {
        open.insert((0, Facts::default()), permits);
    }
    while let Some(((changes, facts), permits)) = open.pop_first() {
        if search.found.len() == MOST_SETS {
            meter.cut_off();
            break;
        }
        if search.found.iter().any(|found| facts.includes(found)) {
            continue;
        }
        match search.permits(&facts)? {
            None => break,
            Some(true) => search.find(facts)?,
            Some(false) => search.follow(changes, &facts, &permits, &mut open)?,
        }
    }
    Ok(search.found.into_iter().collect())
}

/// The permits that could be met, by id; first those whose scope takes the request already.
fn permits<'a>(world: &World<'a>, reader: &Reader<'_>) -> Vec<&'a Candidate> {
    // Who asks, and on what, is no fact that could be another.
    let open = |(part, takes): (&Part, bool)| takes || matches!(part, Part::In(..));
    let all = world.candidates.all().map(Arc::as_ref).filter(|policy| !policy.info.forbids);
    let all = all.map(|policy| (policy, reader.scope(policy)));
    let mut permits: Vec<_> = all.filter(|(_, scope)| scope.iter().copied().all(open)).collect();
    permits.sort_by_key(|(policy, scope)| (scope.iter().any(|(_, takes)| !takes), &policy.info.id));
    permits.into_iter().map(|(policy, _)| policy).collect()
}

/// About what a decision costs, in steps.
fn cost(reader: &Reader<'_>) -> u32 {
    let operators =
        |policy: &Candidate| policy.condition.as_ref().map_or(0, |it| it.subexpressions().count());
    let policies = reader.matching().map(|policy| 1 + operators(policy) / 8).sum::<usize>();
    u32::try_from(16 + policies + reader.slice.stamps().len()).unwrap_or(u32::MAX)
}

/// Sets that are to be tried, by how many changes led to them, each with the permits that it is to meet.
type Open<'a> = BTreeMap<(usize, Facts), Vec<&'a Candidate>>;

struct Search<'a> {
    world: &'a World<'a>,
    meter: &'a Meter,
    /// Of one decision.
    cost: u32,
    decided: HashMap<Facts, bool>,
    found: BTreeSet<Facts>,
    /// What was to be tried at some time, with the permits' ids.
    seen: HashSet<(Facts, SmolStr)>,
}

impl Search<'_> {
    /// Whether the facts make it a permit; `None` if no steps are left to tell.
    fn permits(&mut self, facts: &Facts) -> Result<Option<bool>, DecideError> {
        if let Some(permits) = self.decided.get(facts) {
            return Ok(Some(*permits));
        }
        let mut permits = true;
        // Where any value will do, one that only happens to do must not be taken for it.
        for number in 0..=usize::from(facts.leave_open()) {
            if !self.meter.spend(self.cost) {
                return Ok(None);
            }
            permits &= match self.world.supposing(facts, number) {
                Some(world) => self.is_permit(&world)?,
                None => false,
            };
        }
        self.decided.insert(facts.clone(), permits);
        Ok(Some(permits))
    }

    fn is_permit(&self, world: &World<'_>) -> Result<bool, DecideError> {
        let decision = world.decide()?;
        if !decision.errors.is_empty() {
            // What failed might have permitted.
            self.meter.cut_off();
        }
        Ok(decision.is_permit())
    }

    /// Keeps the smallest part of the facts that does it as well, if steps are left to find it.
    fn find(&mut self, facts: Facts) -> Result<(), DecideError> {
        for part in facts.parts().into_iter().chain([facts]) {
            match self.permits(&part)? {
                Some(false) => {}
                Some(true) => {
                    self.keep(part);
                    break;
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Keeps a set, unless another says the same with less; such as say the same with more go.
    fn keep(&mut self, facts: Facts) {
        if !self.found.iter().any(|found| found.cover(&facts)) {
            self.found.retain(|found| !facts.cover(found));
            self.found.insert(facts);
        }
    }

    /// Opens the sets that these facts lead to.
    fn follow<'p>(
        &mut self,
        changes: usize,
        facts: &Facts,
        permits: &[&'p Candidate],
        open: &mut Open<'p>,
    ) -> Result<(), DecideError> {
        for (permit, way) in self.ways(facts, permits)? {
            let (changes, next) = (changes + way.len(), facts.then(&way));
            if !self.meter.fits(next.len()) || !self.seen.insert((next.clone(), permit.info.id.clone())) {
                continue;
            }
            if changes > MOST_CHANGES || facts.guessed_wrong(&way) {
                self.meter.cut_off();
            }
            if changes <= MOST_CHANGES {
                open.entry((changes, next)).or_default().push(permit);
            }
        }
        Ok(())
    }

    /// What could make one of the permits met, and every forbid that is met unmet, in the world of
    /// these facts.
    fn ways<'p>(
        &self,
        facts: &Facts,
        permits: &[&'p Candidate],
    ) -> Result<Vec<(&'p Candidate, Facts)>, DecideError> {
        let world = self.world.supposing(facts, 0).filter(|_| self.meter.spend(self.cost));
        let Some(world) = world else { return Ok(Vec::new()) };
        let read = |reader: &Reader<'_>| {
            let forbids = reader.matching().filter(|policy| policy.info.forbids);
            let unmet = forbids.fold(vec![Facts::default()], |ways, forbid| {
                self.meter.both(&ways, &reader.policy(forbid).to_false)
            });
            let met = |permit: &Candidate| self.meter.both(&reader.policy(permit).to_true, &unmet);
            let permits = permits.iter().filter(|_| !unmet.is_empty());
            permits.flat_map(|permit| met(permit).into_iter().map(|way| (*permit, way))).collect()
        };
        self.meter.by_half(|| world.read(self.meter, read))
    }
}
