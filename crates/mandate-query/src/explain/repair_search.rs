//! The search for what is missing. A set of facts makes a world; where that is no permit yet, the
//! policies are read again in it, because a fact can show what else is missing, or wake a forbid.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use smol_str::SmolStr;

use super::alternatives::ConditionAnalyzer;
use super::budget::{MAX_MODIFICATIONS, MAX_REPAIRS, Meter};
use super::hypothesis::Hypothesis;
use super::repair::Repair;
use mandate_core::decide::DecideError;
use mandate_core::policies::Effect;
use mandate_core::policies::{CompiledPolicy, ScopeConstraint};

/// How many changes may lead to a set: a fact that was found first can have to be another, as two
/// policies want different numbers in one place, and that could go on without end.
const MAX_MODIFICATIONS_TRIED: usize = MAX_MODIFICATIONS + 3;

/// The smallest sets of facts that would make a denial a permit: each decided, and none of it too much.
///
/// # Errors
/// A defect of this program; see [`DecideError`].
pub fn find_repairs(hypothesis: &Hypothesis<'_>, meter: &Meter) -> Result<Vec<Repair>, DecideError> {
    let (cost, permits) = hypothesis
        .analyze(meter, |analyzer| (decision_cost(analyzer), satisfiable_permits(hypothesis, analyzer)))?;
    // As it is, it is a denial.
    let permit_by_repair = HashMap::from([(Repair::default(), false)]);
    let mut search = RepairSearch {
        hypothesis,
        meter,
        cost,
        permit_by_repair,
        repairs: BTreeSet::new(),
        queued: HashSet::new(),
    };
    let mut open = BTreeMap::new();
    if !permits.is_empty() {
        open.insert((0, Repair::default()), permits);
    }
    while let Some(((changes, repair), permits)) = open.pop_first() {
        if search.repairs.len() == MAX_REPAIRS {
            meter.mark_incomplete();
            break;
        }
        if search.repairs.iter().any(|found| repair.includes(found)) {
            continue;
        }
        match search.is_sufficient(&repair)? {
            None => break,
            Some(true) => search.keep_smallest_subset(repair)?,
            Some(false) => search.expand(changes, &repair, &permits, &mut open)?,
        }
    }
    Ok(search.repairs.into_iter().collect())
}

/// The permits that could be met, by id; first those whose scope takes the request already.
fn satisfiable_permits<'a>(
    hypothesis: &Hypothesis<'a>,
    analyzer: &ConditionAnalyzer<'_>,
) -> Vec<&'a CompiledPolicy> {
    // Who asks, and on what, is no fact that could be another.
    let open = |(part, takes): (&ScopeConstraint, bool)| takes || matches!(part, ScopeConstraint::In(..));
    let all =
        hypothesis.candidates.all().map(Arc::as_ref).filter(|policy| policy.info.effect == Effect::Permit);
    let all = all.map(|policy| (policy, analyzer.scope_constraints(policy)));
    let mut permits: Vec<_> = all.filter(|(_, scope)| scope.iter().copied().all(open)).collect();
    permits.sort_by_key(|(policy, scope)| (scope.iter().any(|(_, takes)| !takes), &policy.info.id));
    permits.into_iter().map(|(policy, _)| policy).collect()
}

/// About what a decision costs, in steps.
fn decision_cost(analyzer: &ConditionAnalyzer<'_>) -> u32 {
    let operators =
        |policy: &CompiledPolicy| policy.condition.as_ref().map_or(0, |it| it.subexpressions().count());
    let policies = analyzer.matching_policies().map(|policy| 1 + operators(policy) / 8).sum::<usize>();
    u32::try_from(16 + policies + analyzer.slice.versions().len()).unwrap_or(u32::MAX)
}

/// Sets that are to be tried, by how many changes led to them, each with the permits that it is to meet.
type RepairQueue<'a> = BTreeMap<(usize, Repair), Vec<&'a CompiledPolicy>>;

struct RepairSearch<'a> {
    hypothesis: &'a Hypothesis<'a>,
    meter: &'a Meter,
    /// Of one decision.
    cost: u32,
    permit_by_repair: HashMap<Repair, bool>,
    repairs: BTreeSet<Repair>,
    /// What was to be tried at some time, with the permits' ids.
    queued: HashSet<(Repair, SmolStr)>,
}

impl RepairSearch<'_> {
    /// Whether the facts make it a permit; `None` if no steps are left to tell.
    fn is_sufficient(&mut self, repair: &Repair) -> Result<Option<bool>, DecideError> {
        if let Some(permits) = self.permit_by_repair.get(repair) {
            return Ok(Some(*permits));
        }
        let mut permits = true;
        // Where any value will do, one that only happens to do must not be taken for it.
        for example_index in 0..=usize::from(repair.has_open_values()) {
            if !self.meter.spend(self.cost) {
                return Ok(None);
            }
            permits &= match self.hypothesis.with_repair(repair, example_index) {
                Some(hypothesis) => self.is_permit(&hypothesis)?,
                None => false,
            };
        }
        self.permit_by_repair.insert(repair.clone(), permits);
        Ok(Some(permits))
    }

    fn is_permit(&self, hypothesis: &Hypothesis<'_>) -> Result<bool, DecideError> {
        let decision = hypothesis.decide()?;
        if !decision.errors.is_empty() {
            // What failed might have permitted.
            self.meter.mark_incomplete();
        }
        Ok(decision.is_permit())
    }

    /// Keeps the smallest part of the facts that does it as well, if steps are left to find it.
    fn keep_smallest_subset(&mut self, repair: Repair) -> Result<(), DecideError> {
        for part in repair.proper_subsets().into_iter().chain([repair]) {
            match self.is_sufficient(&part)? {
                Some(false) => {}
                Some(true) => {
                    self.keep_if_minimal(part);
                    break;
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Keeps a set, unless another says the same with less; such as say the same with more go.
    fn keep_if_minimal(&mut self, repair: Repair) {
        if !self.repairs.iter().any(|found| found.generalizes(&repair)) {
            self.repairs.retain(|found| !repair.generalizes(found));
            self.repairs.insert(repair);
        }
    }

    /// Opens the sets that these facts lead to.
    fn expand<'p>(
        &mut self,
        changes: usize,
        repair: &Repair,
        permits: &[&'p CompiledPolicy],
        open: &mut RepairQueue<'p>,
    ) -> Result<(), DecideError> {
        for (permit, alternative) in self.next_repairs(repair, permits)? {
            let (changes, next) = (changes + alternative.len(), repair.with_overrides(&alternative));
            if !self.meter.allows_size(next.len())
                || !self.queued.insert((next.clone(), permit.info.id.clone()))
            {
                continue;
            }
            if changes > MAX_MODIFICATIONS_TRIED || repair.contradicts_guess(&alternative) {
                self.meter.mark_incomplete();
            }
            if changes <= MAX_MODIFICATIONS_TRIED {
                open.entry((changes, next)).or_default().push(permit);
            }
        }
        Ok(())
    }

    /// What could make one of the permits met, and every forbid that is met unmet, in the world of
    /// these facts.
    fn next_repairs<'p>(
        &self,
        repair: &Repair,
        permits: &[&'p CompiledPolicy],
    ) -> Result<Vec<(&'p CompiledPolicy, Repair)>, DecideError> {
        let hypothesis = self.hypothesis.with_repair(repair, 0).filter(|_| self.meter.spend(self.cost));
        let Some(hypothesis) = hypothesis else { return Ok(Vec::new()) };
        let read = |analyzer: &ConditionAnalyzer<'_>| {
            let forbids = analyzer.matching_policies().filter(|policy| policy.info.effect == Effect::Forbid);
            let unmet = forbids.fold(vec![Repair::default()], |alternatives, forbid| {
                self.meter.combine(&alternatives, &analyzer.policy_alternatives(forbid).to_false)
            });
            let met = |permit: &CompiledPolicy| {
                self.meter.combine(&analyzer.policy_alternatives(permit).to_true, &unmet)
            };
            let permits = permits.iter().filter(|_| !unmet.is_empty());
            permits
                .flat_map(|permit| met(permit).into_iter().map(|alternative| (*permit, alternative)))
                .collect()
        };
        self.meter.with_half_reserved(|| hypothesis.analyze(self.meter, read))
    }
}
