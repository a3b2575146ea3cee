//! The budget of explanations: work is counted in steps, because the engine has no clock. It also holds the
//! limits on the size and number of repairs. What a step pays for is decided where `Meter::spend` is called.

use std::cell::Cell;

use super::repair::Repair;

/// The most modifications in one repair.
pub const MAX_MODIFICATIONS: usize = 5;

/// The most repairs in one explanation.
pub const MAX_REPAIRS: usize = 8;

/// The most alternatives that are kept for one value of one condition.
const MAX_ALTERNATIVES: usize = 64;

/// The limit of one explanation, in steps.
const STEPS_PER_EXPLANATION: u32 = 50_000;

/// The steps that are left for one or more explanations. One step reads one operator of a condition, or
/// combines two repairs.
#[derive(Debug)]
pub struct Budget {
    steps_left: u32,
    max_steps_each: u32,
    /// Whether one scan over all entities is allowed, to find those whose `@only_member` names an entity of
    /// the request.
    pub(super) scan_entities: bool,
}

impl Budget {
    /// For a single explanation on a server that has other requests to answer.
    pub fn single() -> Self {
        Self {
            steps_left: STEPS_PER_EXPLANATION,
            max_steps_each: STEPS_PER_EXPLANATION,
            scan_entities: false,
        }
    }

    /// For all explanations of a batch together; each of them is limited like [`Budget::single`].
    pub fn batch() -> Self {
        Self { steps_left: 2 * STEPS_PER_EXPLANATION, ..Self::single() }
    }

    /// For a person who waits for the explanation, as on the command line.
    pub fn interactive() -> Self {
        Self {
            steps_left: 50 * STEPS_PER_EXPLANATION,
            max_steps_each: 50 * STEPS_PER_EXPLANATION,
            scan_entities: true,
        }
    }
}

/// Counts the steps of one explanation, and whether anything was left out of it.
pub struct Meter {
    steps_left: Cell<u32>,
    /// Steps that `spend` may not use yet.
    steps_reserved: Cell<u32>,
    complete: Cell<bool>,
}

impl Meter {
    /// Runs one explanation, and takes its steps from the budget.
    pub fn run<T>(budget: &mut Budget, explain: impl FnOnce(&Self) -> T) -> T {
        let allowed = budget.steps_left.min(budget.max_steps_each);
        let meter =
            Self { steps_left: Cell::new(allowed), steps_reserved: Cell::new(0), complete: Cell::new(true) };
        let explained = explain(&meter);
        budget.steps_left -= allowed - meter.steps_left.get();
        explained
    }

    /// Takes steps from the budget; returns false, and takes none, if fewer are left.
    pub fn spend(&self, steps: u32) -> bool {
        let steps_left = self
            .steps_left
            .get()
            .checked_sub(steps)
            .filter(|steps_left| *steps_left >= self.steps_reserved.get());
        match steps_left {
            Some(steps_left) => self.steps_left.set(steps_left),
            None => self.mark_incomplete(),
        }
        steps_left.is_some()
    }

    /// Runs `analyze` with half of the remaining steps, so that the other half is left for the decisions.
    pub fn with_half_reserved<T>(&self, analyze: impl FnOnce() -> T) -> T {
        self.steps_reserved.set(self.steps_left.get() / 2);
        let result = analyze();
        self.steps_reserved.set(0);
        result
    }

    /// Whether a repair may have this many modifications.
    pub fn allows_size(&self, modifications: usize) -> bool {
        let fits = modifications <= MAX_MODIFICATIONS;
        if !fits {
            self.mark_incomplete();
        }
        fits
    }

    /// Records that there may be more repairs.
    pub fn mark_incomplete(&self) {
        self.complete.set(false);
    }

    /// Whether nothing was left out.
    pub fn is_complete(&self) -> bool {
        self.complete.get()
    }

    /// Each repair of the one list combined with each of the other.
    pub fn combine(&self, some: &[Repair], others: &[Repair]) -> Vec<Repair> {
        if others.iter().any(Repair::is_empty) && others.len() == 1 {
            return some.to_vec();
        }
        let mut alternatives = Vec::new();
        for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (one, other))) {
            if !self.spend(1) {
                break;
            }
            alternatives.extend(one.merge(other));
        }
        self.smallest(alternatives)
    }

    /// The repairs of both lists.
    pub fn union(&self, mut some: Vec<Repair>, others: Vec<Repair>) -> Vec<Repair> {
        some.extend(others);
        self.smallest(some)
    }

    /// The smallest repairs, sorted, without duplicates.
    fn smallest(&self, mut alternatives: Vec<Repair>) -> Vec<Repair> {
        alternatives.retain(|repair| self.allows_size(repair.len()));
        alternatives.sort();
        alternatives.dedup();
        if alternatives.len() > MAX_ALTERNATIVES {
            self.mark_incomplete();
            alternatives.truncate(MAX_ALTERNATIVES);
        }
        alternatives
    }
}

#[cfg(test)]
mod tests {
    use super::super::repair::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};
    use super::{Budget, MAX_ALTERNATIVES, MAX_MODIFICATIONS, Meter, STEPS_PER_EXPLANATION};

    fn unset(n: usize) -> Repair {
        let path = vec![format!("attribute-{n:03}").into()];
        let location = RepairLocation::Value(AttributePath { owner: AttributeOwner::Context, path });
        Repair::single(location, Modification::Unset)
    }

    #[test]
    fn a_batch_pays_for_its_explanations_one_after_another() {
        let mut budget = Budget::batch();
        for expected in [true, true, false] {
            let spent = Meter::run(&mut budget, |meter| {
                assert!(!meter.spend(STEPS_PER_EXPLANATION + 1) && !meter.is_complete());
                meter.spend(STEPS_PER_EXPLANATION)
            });
            assert_eq!(spent, expected);
        }
    }

    #[test]
    fn half_of_the_steps_can_be_reserved() {
        Meter::run(&mut Budget::single(), |meter| {
            meter.with_half_reserved(|| {
                assert!(meter.spend(STEPS_PER_EXPLANATION / 2));
                assert!(!meter.spend(1));
            });
            assert!(meter.spend(STEPS_PER_EXPLANATION / 2));
        });
    }

    #[test]
    fn combining_leaves_out_repairs_that_are_too_large_or_too_many() {
        Meter::run(&mut Budget::single(), |meter| {
            let large =
                (0..MAX_MODIFICATIONS).fold(Repair::default(), |all, n| all.with_overrides(&unset(n)));
            let unchanged = meter.combine(std::slice::from_ref(&large), &[unset(0)]);
            assert_eq!(unchanged, std::slice::from_ref(&large));
            assert!(meter.is_complete());
            assert!(meter.combine(&[large], &[unset(MAX_MODIFICATIONS)]).is_empty());
            assert!(!meter.is_complete());
        });
        Meter::run(&mut Budget::single(), |meter| {
            let many: Vec<Repair> = (0..=MAX_ALTERNATIVES).map(unset).collect();
            assert_eq!(meter.union(many.clone(), many).len(), MAX_ALTERNATIVES);
            assert!(!meter.is_complete());
        });
    }
}
