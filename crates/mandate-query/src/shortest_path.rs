//! Shortest paths for explanations, on the walk of `mandate_core::reachable`. Used by `explain::hierarchy`.

use std::collections::HashMap;
use std::hash::Hash;

use mandate_core::reachable::extend_with_reachable;

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
    // The walk ends with the first goal as its error.
    let until_goal = |node| if is_goal(node) { Err(node) } else { Ok(node) };
    let mut predecessors = HashMap::new();
    let next = |node| {
        let successors: Vec<T> = successors(node).into_iter().collect();
        for successor in &successors {
            predecessors.entry(*successor).or_insert(node);
        }
        Some(successors.into_iter().map(until_goal))
    };
    let goal = extend_with_reachable(&mut Vec::new(), [until_goal(start)].into_iter(), next).err()?;
    let to_start = std::iter::successors(Some(goal), |node| {
        if *node == start { None } else { predecessors.get(node).copied() }
    });
    let mut path: Vec<T> = to_start.collect();
    path.reverse();
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::shortest_path;

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
        assert_eq!(shortest_path(0, |n| n == 1_000, successors).map(|path| path.len()), Some(501));
        assert_eq!(shortest_path(0, |n| n == 2_000, successors), None);
    }
}
