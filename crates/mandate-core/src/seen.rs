//! Tells which items a list already has. The first items are compared one by one, which is faster than hashing and
//! needs no memory; the others are in a hash set as well, so that a hostile number of items does not take quadratic
//! time.

use std::collections::HashSet;
use std::hash::Hash;

/// Which items a list has, beyond its first ones.
#[derive(Debug)]
pub struct Seen<T>(HashSet<T>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Eq + Hash> Seen<T> {
    const MAX_LINEAR: usize = 16;

    /// Whether an item is not in a list, to which the caller appends it then. `key` is what tells the items of the
    /// list apart.
    pub fn is_new<I>(&mut self, list: &[I], key: impl Fn(&I) -> T, item: T) -> bool {
        let first = list.get(..Self::MAX_LINEAR);
        let is_among_first = first.unwrap_or(list).iter().any(|other| key(other) == item);
        !is_among_first && (first.is_none() || self.0.insert(item))
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn few_and_many_are_told_apart() {
        let (mut list, mut seen) = (Vec::new(), Seen::default());
        for n in (0..100).flat_map(|n| [n, n, n / 2]) {
            let is_new = !list.contains(&n);
            assert_eq!(seen.is_new(&list, |item| *item, n), is_new, "{n}");
            if is_new {
                list.push(n);
            }
        }
        assert_eq!(list.len(), 100);
    }
}
