//! The breadth-first walk of this crate, over the ancestors of an entity or of an entity type. The walk
//! that gathers entities for a decision is another one: `mandate_core::slice`. Used by
//! `explain::hierarchy` and `search`.

use std::hash::Hash;

use mandate_core::entities::Entities;
use mandate_core::schema::EntityUidRef;
use mandate_core::small_set::SmallSet;

/// Visits everything that can be reached from a start, the start included: each node once, nearest first.
pub struct BreadthFirst<T, F> {
    /// The nodes found so far, each with the index of the node that led to it.
    found: Vec<(T, Option<usize>)>,
    seen: SmallSet<T>,
    visited: usize,
    successors: F,
}

impl<T: Copy + Eq + Hash, F> BreadthFirst<T, F> {
    pub fn new(start: T, successors: F) -> Self {
        let mut seen = SmallSet::default();
        seen.insert(start);
        Self { found: vec![(start, None)], seen, visited: 0, successors }
    }

    /// The path from the start to the node visited last, both included.
    fn path_to_last_visited(&self) -> Vec<T> {
        let last = self.visited.checked_sub(1).and_then(|last| self.found.get(last));
        let to_start = std::iter::successors(last, |(_, from)| from.and_then(|from| self.found.get(from)));
        let mut path: Vec<T> = to_start.map(|(node, _)| *node).collect();
        path.reverse();
        path
    }
}

impl<T, F, S> Iterator for BreadthFirst<T, F>
where
    T: Copy + Eq + Hash,
    F: Fn(T) -> S,
    S: IntoIterator<Item = T>,
{
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let (node, _) = *self.found.get(self.visited)?;
        for successor in (self.successors)(node) {
            if self.seen.insert(successor) {
                self.found.push((successor, Some(self.visited)));
            }
        }
        self.visited += 1;
        Some(node)
    }
}

/// A shortest path from a start to a goal, both included.
pub fn shortest_path<T, S>(
    start: T,
    is_goal: impl Fn(T) -> bool,
    successors: impl Fn(T) -> S,
) -> Option<Vec<T>>
where
    T: Copy + Eq + Hash,
    S: IntoIterator<Item = T>,
{
    let mut walk = BreadthFirst::new(start, successors);
    walk.find(|node| is_goal(*node))?;
    Some(walk.path_to_last_visited())
}

/// The direct parents of an entity; none if it is not stored.
pub fn parents<'a>(
    entities: &'a Entities,
    uid: EntityUidRef<'_>,
) -> impl Iterator<Item = EntityUidRef<'a>> + use<'a> {
    entities.get(uid).into_iter().flat_map(|stored| stored.entity.parents())
}

/// An entity and all its ancestors.
pub fn with_ancestors<'a>(
    entities: &'a Entities,
    uid: EntityUidRef<'a>,
) -> impl Iterator<Item = EntityUidRef<'a>> {
    BreadthFirst::new(uid, |uid| parents(entities, uid))
}

/// All ancestors of an entity.
pub fn ancestors<'a>(
    entities: &'a Entities,
    uid: EntityUidRef<'a>,
) -> impl Iterator<Item = EntityUidRef<'a>> {
    with_ancestors(entities, uid).skip(1)
}

#[cfg(test)]
mod tests {
    use super::{BreadthFirst, shortest_path};

    /// 1 -> 2, 3; 2 -> 4; 3 -> 4, 5; 5 -> 1.
    fn successors(node: u32) -> Vec<u32> {
        match node {
            1 => vec![2, 3],
            2 => vec![4],
            3 => vec![4, 5],
            5 => vec![1],
            _ => Vec::new(),
        }
    }

    #[test]
    fn each_node_is_visited_once_and_the_nearest_first() {
        assert_eq!(BreadthFirst::new(1, successors).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(BreadthFirst::new(4, successors).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn the_shortest_path_includes_both_ends() {
        let path = |from, to| shortest_path(from, |node| node == to, successors);
        assert_eq!(path(1, 4), Some(vec![1, 2, 4]));
        assert_eq!(path(5, 4), Some(vec![5, 1, 2, 4]));
        assert_eq!(path(2, 2), Some(vec![2]));
        assert_eq!(path(2, 5), None);
    }

    #[test]
    fn large_graphs_are_walked_to_the_end() {
        let successors = |n: u32| (n < 1_000).then_some([n + 1, n + 2]).into_iter().flatten();
        assert_eq!(BreadthFirst::new(0, successors).count(), 1_002);
        assert_eq!(shortest_path(0, |n| n == 1_000, successors).map(|path| path.len()), Some(501));
    }
}
