//! What an explanation may cost. The engine has no clock, so work is counted in steps.

use std::cell::Cell;

use super::repair::Repair;

/// The most facts of one set.
pub const MAX_MODIFICATIONS: usize = 5;

/// The most sets that are shown.
pub const MAX_REPAIRS: usize = 8;

/// The most ways that are followed to make one condition true or false.
const MAX_ALTERNATIVES: usize = 64;

/// What one explanation may cost, in steps.
const STEPS_PER_EXPLANATION: u32 = 50_000;

/// What explanations may still cost together, in steps: a step looks at one operator of a condition,
/// or joins two sets of facts.
#[derive(Debug)]
pub struct Budget {
    steps_left: u32,
    max_steps_each: u32,
    /// Whether all entities may be looked at once, for those that only wait for a member.
    pub(super) scan_entities: bool,
}

impl Budget {
    /// For a single explanation, while others wait.
    pub fn single() -> Self {
        Self {
            steps_left: STEPS_PER_EXPLANATION,
            max_steps_each: STEPS_PER_EXPLANATION,
            scan_entities: false,
        }
    }

    /// For all explanations of a batch; one takes no more of it than [`Budget::single`] has.
    pub fn batch() -> Self {
        Self { steps_left: 2 * STEPS_PER_EXPLANATION, ..Self::single() }
    }

    /// For somebody who waits for the explanation.
    pub fn interactive() -> Self {
        Self {
            steps_left: 50 * STEPS_PER_EXPLANATION,
            max_steps_each: 50 * STEPS_PER_EXPLANATION,
            scan_entities: true,
        }
    }
}

/// Counts what one explanation costs, and notes if anything was left out of it.
pub struct Meter {
    steps_left: Cell<u32>,
    /// What is kept for later.
    steps_reserved: Cell<u32>,
    complete: Cell<bool>,
}

impl Meter {
    /// Runs one explanation on a budget.
    pub fn run<T>(budget: &mut Budget, explain: impl FnOnce(&Self) -> T) -> T {
        let allowed = budget.steps_left.min(budget.max_steps_each);
        let meter =
            Self { steps_left: Cell::new(allowed), steps_reserved: Cell::new(0), complete: Cell::new(true) };
        let explained = explain(&meter);
        budget.steps_left -= allowed - meter.steps_left.get();
        explained
    }

    /// Whether so many steps may still be made; if so, they are.
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

    /// Reads with half of what is left, so that what was read can still be decided on.
    pub fn with_half_reserved<T>(&self, read: impl FnOnce() -> T) -> T {
        self.steps_reserved.set(self.steps_left.get() / 2);
        let result = read();
        self.steps_reserved.set(0);
        result
    }

    /// Whether a set may have so many facts.
    pub fn allows_size(&self, repair: usize) -> bool {
        let fits = repair <= MAX_MODIFICATIONS;
        if !fits {
            self.mark_incomplete();
        }
        fits
    }

    /// Notes that there may be other sets.
    pub fn mark_incomplete(&self) {
        self.complete.set(false);
    }

    /// Whether nothing was left out.
    pub fn is_complete(&self) -> bool {
        self.complete.get()
    }

    /// Every way of one with every way of the other.
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

    /// The ways of one and the ways of the other.
    pub fn union(&self, mut some: Vec<Repair>, others: Vec<Repair>) -> Vec<Repair> {
        some.extend(others);
        self.smallest(some)
    }

    /// The smallest of these.
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
