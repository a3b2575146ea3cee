//! What an explanation may cost. The engine has no clock, so work is counted in steps.

use std::cell::Cell;

use super::fact::Facts;

/// The most facts of one set.
pub const MOST_FACTS: usize = 5;

/// The most sets that are shown.
pub const MOST_SETS: usize = 8;

/// The most ways that are followed to make one condition true or false.
const MOST_WAYS: usize = 64;

/// What one explanation may cost, in steps.
const EACH: u32 = 50_000;

/// What explanations may still cost together, in steps: a step looks at one operator of a condition,
/// or joins two sets of facts.
#[derive(Debug)]
pub struct Budget {
    left: u32,
    each: u32,
    /// Whether all entities may be looked at once, for those that only wait for a member.
    pub(super) scan: bool,
}

impl Budget {
    /// For a single explanation, while others wait.
    pub fn single() -> Self {
        Self { left: EACH, each: EACH, scan: false }
    }

    /// For all explanations of a batch; one takes no more of it than [`Budget::single`] has.
    pub fn batch() -> Self {
        Self { left: 2 * EACH, ..Self::single() }
    }

    /// For somebody who waits for the explanation.
    pub fn patient() -> Self {
        Self { left: 50 * EACH, each: 50 * EACH, scan: true }
    }
}

/// Counts what one explanation costs, and notes if anything was left out of it.
pub struct Meter {
    left: Cell<u32>,
    /// What is kept for later.
    kept: Cell<u32>,
    complete: Cell<bool>,
}

impl Meter {
    /// Runs one explanation on a budget.
    pub fn run<T>(budget: &mut Budget, explain: impl FnOnce(&Self) -> T) -> T {
        let allowed = budget.left.min(budget.each);
        let meter = Self { left: Cell::new(allowed), kept: Cell::new(0), complete: Cell::new(true) };
        let explained = explain(&meter);
        budget.left -= allowed - meter.left.get();
        explained
    }

    /// Whether so many steps may still be made; if so, they are.
    pub fn spend(&self, steps: u32) -> bool {
        let left = self.left.get().checked_sub(steps).filter(|left| *left >= self.kept.get());
        match left {
            Some(left) => self.left.set(left),
            None => self.cut_off(),
        }
        left.is_some()
    }

    /// Reads with half of what is left, so that what was read can still be decided on.
    pub fn by_half<T>(&self, read: impl FnOnce() -> T) -> T {
        self.kept.set(self.left.get() / 2);
        let result = read();
        self.kept.set(0);
        result
    }

    /// Whether a set may have so many facts.
    pub fn fits(&self, facts: usize) -> bool {
        let fits = facts <= MOST_FACTS;
        if !fits {
            self.cut_off();
        }
        fits
    }

    /// Notes that there may be other sets.
    pub fn cut_off(&self) {
        self.complete.set(false);
    }

    /// Whether nothing was left out.
    pub fn is_complete(&self) -> bool {
        self.complete.get()
    }

    /// Every way of one with every way of the other.
    pub fn both(&self, some: &[Facts], others: &[Facts]) -> Vec<Facts> {
        if others.iter().any(Facts::is_empty) && others.len() == 1 {
            return some.to_vec();
        }
        let mut ways = Vec::new();
        for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (one, other))) {
            if !self.spend(1) {
                break;
            }
            ways.extend(one.joined(other));
        }
        self.few(ways)
    }

    /// The ways of one and the ways of the other.
    pub fn either(&self, mut some: Vec<Facts>, others: Vec<Facts>) -> Vec<Facts> {
        some.extend(others);
        self.few(some)
    }

    /// The smallest of these.
    fn few(&self, mut ways: Vec<Facts>) -> Vec<Facts> {
        ways.retain(|facts| self.fits(facts.len()));
        ways.sort();
        ways.dedup();
        if ways.len() > MOST_WAYS {
            self.cut_off();
            ways.truncate(MOST_WAYS);
        }
        ways
    }
}
