//! The alternative repairs that would make a condition true or false, and how `&&`, `||`, `!` and `if`
//! combine them. They are proposals: only a decision confirms one, in `repair_search`. The repairs of one
//! comparison come from `atomic_condition`.

use super::budget::Meter;
use super::repair::Repair;

/// The value of an expression, and the repairs that would change it.
#[derive(Debug, PartialEq, Eq)]
pub struct Alternatives {
    /// `None` if the expression cannot be evaluated.
    pub value: Option<bool>,
    pub to_true: Vec<Repair>,
    pub to_false: Vec<Repair>,
}

impl Alternatives {
    /// For the value that the expression already has, the only alternative is the empty repair.
    pub fn new(value: Option<bool>, mut to: impl FnMut(bool) -> Vec<Repair>) -> Self {
        let mut alternatives =
            |wanted| if value == Some(wanted) { vec![Repair::default()] } else { to(wanted) };
        Self { value, to_true: alternatives(true), to_false: alternatives(false) }
    }

    /// A value that no repair can change.
    pub fn constant(value: Option<bool>) -> Self {
        Self::new(value, |_| Vec::new())
    }

    pub fn not(self) -> Self {
        Self { value: self.value.map(|value| !value), to_true: self.to_false, to_false: self.to_true }
    }

    /// `self && other`, which evaluates the other only if the first is true.
    pub fn and(self, other: &Self, meter: &Meter) -> Self {
        let value = if self.value == Some(true) { other.value } else { self.value };
        let to_true = self.behind_guard(&other.to_true, other.value, meter);
        let second_false = meter.combine(&self.to_true, &other.to_false);
        Self { value, to_true, to_false: meter.union(self.to_false, second_false) }.normalized()
    }

    /// Repairs that make this guard true, combined with `then`. The guarded part may fail to evaluate until
    /// the guard holds; then only the guard's repairs are returned, and the rest is found in the next round.
    fn behind_guard(&self, then: &[Repair], value: Option<bool>, meter: &Meter) -> Vec<Repair> {
        let unread = self.value != Some(true) && value.is_none() && then.is_empty();
        if unread { self.to_true.clone() } else { meter.combine(&self.to_true, then) }
    }

    pub fn or(self, other: Self, meter: &Meter) -> Self {
        self.not().and(&other.not(), meter).not()
    }

    /// `if self then yes else no`.
    pub fn if_then_else(self, yes: &Self, no: &Self, meter: &Meter) -> Self {
        let value = self.value.and_then(|test| if test { yes.value } else { no.value });
        let opposite =
            Self { value: self.value.map(|it| !it), to_true: self.to_false.clone(), to_false: Vec::new() };
        let to = |yes_to: &[Repair], no_to: &[Repair]| {
            let then = self.behind_guard(yes_to, yes.value, meter);
            meter.union(then, opposite.behind_guard(no_to, no.value, meter))
        };
        Self { value, to_true: to(&yes.to_true, &no.to_true), to_false: to(&yes.to_false, &no.to_false) }
            .normalized()
    }

    fn normalized(mut self) -> Self {
        let value = self.value;
        Self::new(value, |wanted| std::mem::take(if wanted { &mut self.to_true } else { &mut self.to_false }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::{Budget, Meter};
    use super::super::repair::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};
    use super::Alternatives;
    use mandate_core::value::Value;

    fn set(attribute: &str, value: bool) -> Repair {
        let path = AttributePath { owner: AttributeOwner::Context, path: vec![attribute.into()] };
        Repair::single(RepairLocation::Value(path), Modification::SetTo(Value::Bool(value)))
    }

    /// A boolean attribute of the context.
    fn attribute(name: &str, value: Option<bool>) -> Alternatives {
        Alternatives::new(value, |wanted| vec![set(name, wanted)])
    }

    fn both(one: &Repair, other: &Repair) -> Repair {
        one.with_overrides(other)
    }

    #[track_caller]
    fn check(
        of: impl FnOnce(&Meter) -> Alternatives,
        value: Option<bool>,
        to_true: &[Repair],
        to_false: &[Repair],
    ) {
        let found = Meter::run(&mut Budget::single(), of);
        let expected = Alternatives { value, to_true: to_true.to_vec(), to_false: to_false.to_vec() };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_conjunction_needs_both_and_fails_by_either() {
        let (a, b) = (|| attribute("a", Some(false)), || attribute("b", Some(false)));
        let nothing = Repair::default();
        let both_true = both(&set("a", true), &set("b", true));
        check(|meter| a().and(&b(), meter), Some(false), &[both_true], std::slice::from_ref(&nothing));
        check(
            |meter| a().not().and(&b().not(), meter),
            Some(true),
            &[nothing],
            &[set("a", true), set("b", true)],
        );
    }

    #[test]
    fn a_disjunction_needs_one() {
        let (a, b) = (attribute("a", Some(false)), attribute("b", Some(false)));
        let nothing = [Repair::default()];
        check(|meter| a.or(b, meter), Some(false), &[set("a", true), set("b", true)], &nothing);
    }

    #[test]
    fn what_a_guard_hides_is_left_to_the_next_round() {
        let (guard, hidden) = (attribute("a", Some(false)), Alternatives::constant(None));
        check(|meter| guard.and(&hidden, meter), Some(false), &[set("a", true)], &[Repair::default()]);
    }

    #[test]
    fn the_branch_of_a_conditional_needs_its_test() {
        let (test, yes, no) = (
            attribute("a", Some(false)),
            Alternatives::constant(Some(true)),
            Alternatives::constant(Some(false)),
        );
        let nothing = [Repair::default()];
        check(|meter| test.if_then_else(&yes, &no, meter), Some(false), &[set("a", true)], &nothing);
    }
}
