//! A set for few members that can also hold many: the first are compared one by one, which is
//! quicker than hashing; from then on a hash set keeps hostile numbers of them from costing more.

use std::collections::HashSet;
use std::hash::Hash;

#[derive(Debug)]
pub struct SmallSet<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

impl<T> Default for SmallSet<T> {
    fn default() -> Self {
        Self { few: Vec::new(), many: HashSet::new() }
    }
}

impl<T: Eq + Hash> SmallSet<T> {
    const MAX_LINEAR: usize = 16;

    /// Whether this is the first time.
    pub fn insert(&mut self, member: T) -> bool {
        if self.few.contains(&member) {
            return false;
        }
        if self.few.len() < Self::MAX_LINEAR {
            self.few.push(member);
            return true;
        }
        self.many.insert(member)
    }
}

#[cfg(test)]
mod tests {
    use super::SmallSet;

    #[test]
    fn few_and_many_are_told_apart() {
        let mut seen = SmallSet::default();
        assert!((0..100).all(|n| seen.insert(n)));
        assert!((0..100).all(|n| !seen.insert(n)));
    }
}
