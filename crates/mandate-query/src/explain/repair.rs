//! Facts: single points in which the request and the entities could be other than they are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use mandate_core::schema::EntityUid;
use mandate_core::value::Value;

/// Whose values a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeOwner {
    Context,
    Entity(EntityUid),
}

/// A value's place: an attribute, or a member of a record in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributePath {
    pub owner: AttributeOwner,
    pub path: Vec<SmolStr>,
}

/// What a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepairLocation {
    /// Whether the first is in the second.
    Membership(EntityUid, EntityUid),
    Value(AttributePath),
    /// Whether a set has an element.
    Element(AttributePath, Value),
}

/// What would be there instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Modification {
    /// A membership or an element comes.
    Add,
    /// A direct membership or an element goes.
    Remove,
    SetTo(Value),
    /// Any value that is none of these; none at all are ruled out where it just has to be there.
    SetToAnyExcept(BTreeSet<Value>),
    /// No value.
    Unset,
}

/// Facts that hold together, at most one for each place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Repair(BTreeMap<RepairLocation, Modification>);

/// The order in which sets are tried and shown: the smaller first.
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

    /// Whether there is more than one way to make them so.
    pub fn has_open_values(&self) -> bool {
        self.0.values().any(|modification| matches!(modification, Modification::SetToAnyExcept(_)))
    }

    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(location, modification)| self.0.get(location) == Some(modification))
    }

    /// These facts and others. Where the two cannot both hold, there is one way for each.
    pub fn merge(&self, other: &Self) -> Vec<Self> {
        let (mine, others) = (other.with_overrides(self), self.with_overrides(other));
        if mine == others { vec![mine] } else { vec![mine, others] }
    }

    /// These facts and later ones, which count where the two cannot both hold.
    #[must_use]
    pub fn with_overrides(&self, later: &Self) -> Self {
        let mut repair = self.clone();
        for (location, modification) in later.iter() {
            let both = repair.0.get(location).and_then(|before| before.intersect(modification));
            repair.0.insert(location.clone(), both.unwrap_or_else(|| modification.clone()));
        }
        repair
    }

    /// Whether these say no more than others do: a value is left open here that is a certain one there.
    pub fn generalizes(&self, other: &Self) -> bool {
        let covered = |location, modification: &Modification| {
            other.0.get(location).is_some_and(|it| modification.generalizes(it))
        };
        self.len() == other.len()
            && self.iter().all(|(location, modification)| covered(location, modification))
    }

    /// Whether later facts put something else in the place of a value of which there are too many to
    /// try each.
    pub fn contradicts_guess(&self, later: &Self) -> bool {
        later.iter().any(|(location, modification)| {
            let before = self.0.get(location).filter(|before| before.intersect(modification).is_none());
            before.is_some_and(|before| before.has_large_domain() || modification.has_large_domain())
        })
    }

    /// All proper parts, the smaller first.
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
    /// The change that is both, if there is one.
    fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a.clone()),
            (Self::SetTo(value), Self::SetToAnyExcept(not))
            | (Self::SetToAnyExcept(not), Self::SetTo(value)) => {
                (!not.contains(value)).then(|| Self::SetTo(value.clone()))
            }
            (Self::SetToAnyExcept(a), Self::SetToAnyExcept(b)) => Some(Self::SetToAnyExcept(a | b)),
            _ => None,
        }
    }

    fn generalizes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SetToAnyExcept(not), Self::SetTo(value)) => !not.contains(value),
            (Self::SetToAnyExcept(few), Self::SetToAnyExcept(more)) => few.is_subset(more),
            _ => self == other,
        }
    }

    fn has_large_domain(&self) -> bool {
        matches!(self, Self::SetToAnyExcept(_) | Self::SetTo(Value::Long(_) | Value::String(_)))
    }
}
