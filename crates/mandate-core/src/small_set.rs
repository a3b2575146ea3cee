//! A set for few members that can also hold many. The first members are compared one by one, which is faster
//! than hashing; the others go to a hash set, so that a hostile number of members does not take quadratic
//! time.

use std::collections::HashSet;
use std::hash::Hash;

/// A set that is fast while it is small.
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

    /// Inserts a member. True if it was not in the set.
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
