//! Breadth-first search for minimal repairs. Each repair is applied and decided. If the result is still a
//! denial, the policies are analyzed again in that hypothesis, because a repair can reveal further
//! requirements or make a forbid match. How one policy is analyzed is in `policy_alternatives`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use smol_str::SmolStr;

use super::budget::{MAX_MODIFICATIONS, MAX_REPAIRS, Meter};
use super::condition_analyzer::{ConditionAnalyzer, analyze};
use super::hypothesis::Hypothesis;
use super::repair::Repair;
use mandate_core::decide::DecideError;
use mandate_core::policies::{CompiledPolicy, Effect, ScopeConstraint};

/// The most modifications tried on the way to one repair. Without a limit, two policies that want different
/// values in the same place would be tried in turn for ever.
const MAX_MODIFICATIONS_TRIED: usize = MAX_MODIFICATIONS + 3;

/// The smallest repairs that would turn a denial into a permit. Each was decided, and no part of one is
/// sufficient.
///
/// # Errors
/// An internal error; see [`DecideError`].
pub fn find_repairs(hypothesis: &Hypothesis<'_>, meter: &Meter) -> Result<Vec<Repair>, DecideError> {
    let (cost, permits) = analyze(hypothesis, meter, |analyzer| {
        (decision_cost(analyzer), satisfiable_permits(hypothesis, analyzer))
    })?;
    // Without a repair, the decision is a denial.
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

/// The permits that a repair could satisfy, by id; those whose scope matches the request already come first.
fn satisfiable_permits<'a>(
    hypothesis: &Hypothesis<'a>,
    analyzer: &ConditionAnalyzer<'_>,
) -> Vec<&'a CompiledPolicy> {
    // A repair cannot replace principal or resource, only add memberships.
    let satisfiable = |(constraint, matches): (&ScopeConstraint, bool)| match constraint {
        ScopeConstraint::In(..) => true,
        ScopeConstraint::Any
        | ScopeConstraint::Is(_)
        | ScopeConstraint::Eq(_)
        | ScopeConstraint::UnknownType => matches,
    };
    let all =
        hypothesis.candidates.all().map(Arc::as_ref).filter(|policy| policy.info.effect == Effect::Permit);
    let all = all.map(|policy| (policy, analyzer.scope_constraints(policy)));
    let mut permits: Vec<_> = all.filter(|(_, scope)| scope.iter().copied().all(satisfiable)).collect();
    permits.sort_by_key(|(policy, scope)| (scope.iter().any(|(_, matches)| !matches), &policy.info.id));
    permits.into_iter().map(|(policy, _)| policy).collect()
}

/// The approximate cost of one decision, in steps.
fn decision_cost(analyzer: &ConditionAnalyzer<'_>) -> u32 {
    let operators =
        |policy: &CompiledPolicy| policy.condition.as_ref().map_or(0, |it| it.subexpressions().count());
    let policies = analyzer.matching_policies().map(|policy| 1 + operators(policy) / 8).sum::<usize>();
    u32::try_from(16 + policies + analyzer.slice.look_ups().len()).unwrap_or(u32::MAX)
}

/// The repairs to try, by the number of modifications that led to them; each with the permits that it is
/// meant to satisfy.
type RepairQueue<'a> = BTreeMap<(usize, Repair), Vec<&'a CompiledPolicy>>;

struct RepairSearch<'a> {
    hypothesis: &'a Hypothesis<'a>,
    meter: &'a Meter,
    /// The cost of one decision, in steps.
    cost: u32,
    permit_by_repair: HashMap<Repair, bool>,
    repairs: BTreeSet<Repair>,
    /// Every repair that was ever queued, with the id of the permit that it is for.
    queued: HashSet<(Repair, SmolStr)>,
}

impl RepairSearch<'_> {
    /// Whether the repair leads to a permit; `None` if no steps are left to decide it.
    fn is_sufficient(&mut self, repair: &Repair) -> Result<Option<bool>, DecideError> {
        if let Some(permits) = self.permit_by_repair.get(repair) {
            return Ok(Some(*permits));
        }
        let mut permits = true;
        // If a repair says that any value is enough, test two different ones, so that a lucky example is not
        // taken for a rule.
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
            // A policy that failed might have permitted.
            self.meter.mark_incomplete();
        }
        Ok(decision.is_permit())
    }

    /// Keeps the smallest part of the repair that is sufficient, if steps are left to find it.
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

    /// Keeps a repair unless a more general one was found, and drops those that it generalizes.
    fn keep_if_minimal(&mut self, repair: Repair) {
        if !self.repairs.iter().any(|found| found.generalizes(&repair)) {
            self.repairs.retain(|found| !repair.generalizes(found));
            self.repairs.insert(repair);
        }
    }

    /// Queues the repairs that follow this one.
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

    /// The repairs that could satisfy one of the permits and stop every matching forbid, in the hypothesis of
    /// this repair.
    fn next_repairs<'p>(
        &self,
        repair: &Repair,
        permits: &[&'p CompiledPolicy],
    ) -> Result<Vec<(&'p CompiledPolicy, Repair)>, DecideError> {
        let hypothesis = self.hypothesis.with_repair(repair, 0).filter(|_| self.meter.spend(self.cost));
        let Some(hypothesis) = hypothesis else { return Ok(Vec::new()) };
        let read = |analyzer: &ConditionAnalyzer<'_>| {
            let forbids = analyzer.matching_policies().filter(|policy| policy.info.effect == Effect::Forbid);
            let without_forbids = forbids.fold(vec![Repair::default()], |alternatives, forbid| {
                self.meter.combine(&alternatives, &analyzer.policy_alternatives(forbid).to_false)
            });
            let satisfied = |permit: &CompiledPolicy| {
                self.meter.combine(&analyzer.policy_alternatives(permit).to_true, &without_forbids)
            };
            let permits = permits.iter().filter(|_| !without_forbids.is_empty());
            permits
                .flat_map(|permit| satisfied(permit).into_iter().map(|alternative| (*permit, alternative)))
                .collect()
        };
        self.meter.with_half_reserved(|| analyze(&hypothesis, self.meter, read))
    }
}
