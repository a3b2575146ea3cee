//! Facts: single points in which the request and the entities could be other than they are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use mandate_core::schema::EntityRef;
use mandate_core::value::Value;

/// Whose values a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    Context,
    Entity(EntityRef),
}

/// A value's place: an attribute, or a member of a record in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    pub holder: Holder,
    pub path: Vec<SmolStr>,
}

/// What a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Whether the first is in the second.
    Membership(EntityRef, EntityRef),
    Value(Spot),
    /// Whether a set has an element.
    Element(Spot, Value),
}

/// What would be there instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// A membership or an element comes.
    Comes,
    /// A direct membership or an element goes.
    Goes,
    Is(Value),
    /// Any value that is none of these; none at all are ruled out where it just has to be there.
    NoneOf(BTreeSet<Value>),
    /// No value.
    Absent,
}

/// Facts that hold together, at most one for each place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Facts(BTreeMap<Place, Change>);

/// The order in which sets are tried and shown: the smaller first.
impl Ord for Facts {
    fn cmp(&self, other: &Self) -> Ordering {
        self.len().cmp(&other.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Facts {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Facts {
    pub fn one(place: Place, change: Change) -> Self {
        Self(BTreeMap::from([(place, change)]))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Change)> {
        self.0.iter()
    }

    /// Whether there is more than one way to make them so.
    pub fn leave_open(&self) -> bool {
        self.0.values().any(|change| matches!(change, Change::NoneOf(_)))
    }

    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(place, change)| self.0.get(place) == Some(change))
    }

    /// These facts and others. Where the two cannot both hold, there is one way for each.
    pub fn joined(&self, other: &Self) -> Vec<Self> {
        let (mine, others) = (other.then(self), self.then(other));
        if mine == others { vec![mine] } else { vec![mine, others] }
    }

    /// These facts and later ones, which count where the two cannot both hold.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let mut facts = self.clone();
        for (place, change) in later.iter() {
            let both = facts.0.get(place).and_then(|before| before.and(change));
            facts.0.insert(place.clone(), both.unwrap_or_else(|| change.clone()));
        }
        facts
    }

    /// Whether these say no more than others do: a value is left open here that is a certain one there.
    pub fn cover(&self, other: &Self) -> bool {
        let covered = |place, change: &Change| other.0.get(place).is_some_and(|it| change.covers(it));
        self.len() == other.len() && self.iter().all(|(place, change)| covered(place, change))
    }

    /// Whether later facts put something else in the place of a value of which there are too many to
    /// try each.
    pub fn guessed_wrong(&self, later: &Self) -> bool {
        later.iter().any(|(place, change)| {
            let before = self.0.get(place).filter(|before| before.and(change).is_none());
            before.is_some_and(|before| before.is_one_of_many() || change.is_one_of_many())
        })
    }

    /// All proper parts, the smaller first.
    pub fn parts(&self) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        for (place, change) in self.iter() {
            let with = |part: &Self| part.then(&Self::one(place.clone(), change.clone()));
            let more: Vec<Self> = parts.iter().map(with).collect();
            parts.extend(more);
        }
        parts.pop();
        parts.sort_by_key(Self::len);
        parts
    }
}

impl Change {
    /// The change that is both, if there is one.
    fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a.clone()),
            (Self::Is(value), Self::NoneOf(not)) | (Self::NoneOf(not), Self::Is(value)) => {
                (!not.contains(value)).then(|| Self::Is(value.clone()))
            }
            (Self::NoneOf(a), Self::NoneOf(b)) => Some(Self::NoneOf(a | b)),
            _ => None,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NoneOf(not), Self::Is(value)) => !not.contains(value),
            (Self::NoneOf(few), Self::NoneOf(more)) => few.is_subset(more),
            _ => self == other,
        }
    }

    fn is_one_of_many(&self) -> bool {
        matches!(self, Self::NoneOf(_) | Self::Is(Value::Long(_) | Value::String(_)))
    }
}
