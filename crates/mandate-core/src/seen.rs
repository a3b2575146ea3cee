//! A set for few members that can also hold many: the first are compared one by one, which is
//! quicker than hashing; from then on a hash set keeps hostile numbers of them from costing more.

use std::collections::HashSet;
use std::hash::Hash;

#[derive(Debug)]
pub struct Seen<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { few: Vec::new(), many: HashSet::new() }
    }
}

impl<T: Eq + Hash> Seen<T> {
    const FEW: usize = 16;

    /// Whether this is the first time.
    pub fn insert(&mut self, member: T) -> bool {
        if self.few.contains(&member) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(member);
            return true;
        }
        self.many.insert(member)
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn few_and_many_are_told_apart() {
        let mut seen = Seen::default();
        assert!((0..100).all(|n| seen.insert(n)));
        assert!((0..100).all(|n| !seen.insert(n)));
    }
}
