//! A repair: a set of modifications of entities and context that turns a denial into a permit. This is data
//! and its order only; `hypothesis` applies a repair, and `repair_search` finds one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use mandate_core::schema::EntityUid;
use mandate_core::value::Value;

/// The owner of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeOwner {
    Context,
    Entity(EntityUid),
}

/// An attribute, or a member of a record inside an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributePath {
    pub owner: AttributeOwner,
    pub path: Vec<SmolStr>,
}

/// What a modification changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepairLocation {
    /// The direct membership of the first entity in the second.
    Membership(EntityUid, EntityUid),
    Value(AttributePath),
    /// One element of a set.
    Element(AttributePath, Value),
}

/// How a location changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Modification {
    /// Adds a membership or an element.
    Add,
    /// Removes a direct membership or an element.
    Remove,
    SetTo(Value),
    /// Any value except these. With an empty set: the attribute only has to be present.
    SetToAnyExcept(BTreeSet<Value>),
    /// Removes the value.
    Unset,
}

/// Modifications that are made together, at most one for each location.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Repair(BTreeMap<RepairLocation, Modification>);

/// The order in which repairs are tried and shown: smaller ones first.
impl Ord for Repair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.len().cmp(&other.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Repair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Repair {
    pub fn single(location: RepairLocation, modification: Modification) -> Self {
        Self(BTreeMap::from([(location, modification)]))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RepairLocation, &Modification)> {
        self.0.iter()
    }

    /// Whether a modification leaves a value open.
    pub fn has_open_values(&self) -> bool {
        self.0.values().any(|modification| matches!(modification, Modification::SetToAnyExcept(_)))
    }

    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(location, modification)| self.0.get(location) == Some(modification))
    }

    /// Both repairs together. If they contradict each other, there are two results: each of them wins once.
    pub fn merge(&self, other: &Self) -> Vec<Self> {
        let (mine, others) = (other.with_overrides(self), self.with_overrides(other));
        if mine == others { vec![mine] } else { vec![mine, others] }
    }

    /// Both repairs together; where they contradict each other, `later` wins.
    #[must_use]
    pub fn with_overrides(&self, later: &Self) -> Self {
        let mut repair = self.clone();
        for (location, modification) in later.iter() {
            let both = repair.0.get(location).and_then(|before| before.intersect(modification));
            repair.0.insert(location.clone(), both.unwrap_or_else(|| modification.clone()));
        }
        repair
    }

    /// Whether this repair is at least as general as the other, for example `any value` instead of `"a"`.
    pub fn generalizes(&self, other: &Self) -> bool {
        let covered = |location, modification: &Modification| {
            other.0.get(location).is_some_and(|it| modification.generalizes(it))
        };
        self.len() == other.len()
            && self.iter().all(|(location, modification)| covered(location, modification))
    }

    /// Whether `later` replaces a value that was only a guess: a number or a string, of which not all can be
    /// tried.
    pub fn contradicts_guess(&self, later: &Self) -> bool {
        later.iter().any(|(location, modification)| {
            let before = self.0.get(location).filter(|before| before.intersect(modification).is_none());
            before.is_some_and(|before| before.has_large_domain() || modification.has_large_domain())
        })
    }

    /// All proper subsets, smaller ones first.
    pub fn proper_subsets(&self) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        for (location, modification) in self.iter() {
            let with =
                |part: &Self| part.with_overrides(&Self::single(location.clone(), modification.clone()));
            let more: Vec<Self> = parts.iter().map(with).collect();
            parts.extend(more);
        }
        parts.pop();
        parts.sort_by_key(Self::len);
        parts
    }
}

impl Modification {
    /// The modification that fulfils both, if there is one.
    fn intersect(&self, other: &Self) -> Option<Self> {
        if self == other {
            return Some(self.clone());
        }
        match (self, other) {
            (Self::SetTo(value), Self::SetToAnyExcept(not))
            | (Self::SetToAnyExcept(not), Self::SetTo(value)) => {
                (!not.contains(value)).then(|| Self::SetTo(value.clone()))
            }
            (Self::SetToAnyExcept(a), Self::SetToAnyExcept(b)) => Some(Self::SetToAnyExcept(a | b)),
            (Self::SetTo(_), Self::SetTo(_))
            | (Self::Add | Self::Remove | Self::Unset, _)
            | (_, Self::Add | Self::Remove | Self::Unset) => None,
        }
    }

    fn generalizes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SetToAnyExcept(not), Self::SetTo(value)) => !not.contains(value),
            (Self::SetToAnyExcept(few), Self::SetToAnyExcept(more)) => few.is_subset(more),
            (Self::SetToAnyExcept(_), Self::Add | Self::Remove | Self::Unset) => false,
            (Self::SetTo(_) | Self::Add | Self::Remove | Self::Unset, _) => self == other,
        }
    }

    fn has_large_domain(&self) -> bool {
        matches!(self, Self::SetToAnyExcept(_) | Self::SetTo(Value::Long(_) | Value::String(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};
    use mandate_core::value::Value;

    fn at(attribute: &str, modification: Modification) -> Repair {
        let path = AttributePath { owner: AttributeOwner::Context, path: vec![attribute.into()] };
        Repair::single(RepairLocation::Value(path), modification)
    }

    fn set(attribute: &str, number: i64) -> Repair {
        at(attribute, Modification::SetTo(Value::Long(number)))
    }

    fn except(attribute: &str, numbers: &[i64]) -> Repair {
        let values = numbers.iter().copied().map(Value::Long).collect();
        at(attribute, Modification::SetToAnyExcept(values))
    }

    #[test]
    fn smaller_repairs_come_first() {
        let both = set("a", 1).with_overrides(&set("b", 1));
        assert!(Repair::default() < set("b", 1) && set("b", 1) < both);
        assert!(set("a", 2) < set("b", 1));
    }

    #[test]
    fn merging_gives_both_results_of_a_contradiction() {
        assert_eq!(set("a", 1).merge(&set("a", 2)), [set("a", 1), set("a", 2)]);
        assert_eq!(set("a", 1).merge(&except("a", &[2])), [set("a", 1)]);
        assert_eq!(except("a", &[1]).merge(&except("a", &[2])), [except("a", &[1, 2])]);
        assert_eq!(set("a", 1).merge(&except("a", &[1])), [set("a", 1), except("a", &[1])]);
    }

    #[test]
    fn an_open_value_is_more_general_than_a_certain_one() {
        assert!(except("a", &[1]).generalizes(&set("a", 2)));
        assert!(except("a", &[1]).generalizes(&except("a", &[1, 2])));
        assert!(set("a", 2).generalizes(&set("a", 2)));
        assert!(!except("a", &[1]).generalizes(&set("a", 1)));
        assert!(!set("a", 2).generalizes(&except("a", &[1])));
        assert!(!except("a", &[]).generalizes(&at("a", Modification::Unset)));
        assert!(!except("a", &[]).generalizes(&set("b", 1)));
    }

    #[test]
    fn only_guesses_are_contradicted() {
        let boolean = |value| at("a", Modification::SetTo(Value::Bool(value)));
        assert!(set("a", 1).contradicts_guess(&set("a", 2)));
        assert!(!set("a", 1).contradicts_guess(&except("a", &[2])));
        assert!(!set("a", 1).contradicts_guess(&set("b", 2)));
        assert!(!boolean(true).contradicts_guess(&boolean(false)));
    }

    #[test]
    fn proper_subsets_leave_out_the_repair_itself() {
        let both = set("a", 1).with_overrides(&set("b", 2));
        assert_eq!(both.proper_subsets(), [Repair::default(), set("a", 1), set("b", 2)]);
        assert!(Repair::default().proper_subsets().is_empty());
    }
}
