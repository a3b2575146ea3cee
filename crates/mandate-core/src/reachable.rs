//! One breadth-first walk over everything that can be reached from a start: ancestors of an entity, types
//! above a type, groups of an action. It knows no entities and no schema; the callers say what comes next.

use std::hash::Hash;
use std::ops::Range;

use super::seen::Seen;

/// Appends everything that is reachable: `first`, then what `next` gives for each item, nearest first, each
/// item once. `next` gives `None` for an item that leads nowhere. Returns where the items stand in `found`.
///
/// # Errors
/// The first error that `first` or `next` gives.
pub fn extend_with_reachable<T, E, I>(
    found: &mut Vec<T>,
    first: impl Iterator<Item = Result<T, E>>,
    mut next: impl FnMut(T) -> Option<I>,
) -> Result<Range<usize>, E>
where
    T: Copy + Eq + Hash,
    I: Iterator<Item = Result<T, E>>,
{
    let (start, mut seen) = (found.len(), Seen::default());
    extend_with_new(found, start, &mut seen, first)?;
    let mut at = start;
    while let Some(item) = found.get(at).copied() {
        at += 1;
        if let Some(more) = next(item) {
            extend_with_new(found, start, &mut seen, more)?;
        }
    }
    Ok(start..at)
}

fn extend_with_new<T: Copy + Eq + Hash, E>(
    found: &mut Vec<T>,
    start: usize,
    seen: &mut Seen<T>,
    mut items: impl Iterator<Item = Result<T, E>>,
) -> Result<(), E> {
    items.try_for_each(|item| {
        let item = item?;
        if seen.is_new(found.get(start..).unwrap_or_default(), |other| *other, item) {
            found.push(item);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    fn walk(edges: &BTreeMap<u32, Vec<u32>>, from: u32) -> Vec<u32> {
        let next = |item: u32| edges.get(&item).map(|next| next.iter().copied().map(Ok::<_, Infallible>));
        // What stands there already is neither an item nor a start.
        let mut found = vec![77];
        let Ok(range) = extend_with_reachable(&mut found, next(from).into_iter().flatten(), next);
        assert_eq!(range, 1..found.len());
        found.split_off(1)
    }

    #[test]
    fn nearest_first_and_each_once() {
        let edges = BTreeMap::from([(1, vec![2, 3]), (2, vec![4, 5]), (3, vec![5, 2]), (5, vec![6])]);
        assert_eq!(walk(&edges, 1), [2, 3, 4, 5, 6]);
        assert!(walk(&edges, 6).is_empty());
    }

    #[test]
    fn cycles_end() {
        let edges = BTreeMap::from([(1, vec![2]), (2, vec![3]), (3, vec![1])]);
        assert_eq!(walk(&edges, 1), [2, 3, 1]);
    }

    #[test]
    fn many_are_each_reached_once() {
        let edges = (0..1_000).map(|n| (n, vec![(n * 7) % 1_000, n / 2, n, (n + 1) % 1_000])).collect();
        let mut reached = walk(&edges, 999);
        let count = reached.len();
        reached.sort_unstable();
        reached.dedup();
        assert_eq!((count, reached.len()), (1_000, 1_000));
    }

    #[test]
    fn the_first_error_ends_the_walk() {
        let next = |item: u32| Some([Ok(item + 1), if item < 3 { Ok(0) } else { Err(item) }].into_iter());
        let mut found = Vec::new();
        assert_eq!(extend_with_reachable(&mut found, [Ok(1)].into_iter(), next), Err(3));
    }
}
