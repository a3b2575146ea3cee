//! Explanations compared with brute force: each repair leads to a permit, no part of it does, and no smaller
//! repair exists. And the limits of the search.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mandate_core::policies::Policies;
use mandate_query::explain::{Budget, Explanation, MAX_MODIFICATIONS, Repair};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::generator::random_content;
use super::random_content::{Edit, RandomContent};

/// Tries all repairs of at most three edits. Returns one that leads to a permit and has fewer than `limit`
/// modifications.
fn find_smaller_repair(content: &RandomContent, policies: &Arc<Policies>, limit: usize) -> Option<Vec<Edit>> {
    let possible_edits = content.possible_edits();
    let all = || 0..possible_edits.len();
    let one = all().map(|a| vec![a]);
    let two = all().flat_map(|a| (0..a).map(move |b| vec![b, a]));
    let three = all().flat_map(|a| (0..a).flat_map(move |b| (0..b).map(move |c| vec![c, b, a])));
    let mut combinations = one
        .chain(two)
        .chain(three)
        .map(|indexes| indexes.iter().map(|index| possible_edits[*index].clone()).collect::<Vec<_>>());
    combinations.find(|edits| {
        edits.len() < limit
            && content.count_modifications(edits) < limit
            && content.permits_after(edits, policies) == Some(true)
    })
}

/// Each repair leads to a permit, and no part of it does.
fn check_repairs(
    content: &RandomContent,
    policies: &Arc<Policies>,
    repairs: &[Repair],
) -> Result<(), TestCaseError> {
    for repair in repairs {
        let permits = |repair: &Repair| {
            let mut content = content.clone();
            let edits = content.edits_of(repair);
            content.permits_after(&edits, policies)
        };
        prop_assert_eq!(permits(repair), Some(true), "{:?}", repair);
        for part in repair.proper_subsets() {
            prop_assert_ne!(permits(&part), Some(true), "{:?} of {:?} is enough", part, repair);
        }
    }
    Ok(())
}

/// Each repair is written into the entity files, which are loaded and checked as usual.
#[test]
fn repairs_are_as_small_as_those_that_brute_force_finds() {
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let (with_repairs, complete_ones) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&random_content(), |content| {
        let policies = content.policies();
        let snapshot = content.snapshot(&policies).unwrap();
        let (decision, explanation) = content.ask(&snapshot, Some(&mut Budget::single()));
        let Some(Explanation::Denial { missing, complete }) = explanation else {
            prop_assert!(decision.is_permit());
            return Ok(());
        };
        prop_assert!(!decision.is_permit());
        check_repairs(&content, &policies, &missing)?;
        let smallest = missing.first().map_or(MAX_MODIFICATIONS + 1, Repair::len);
        prop_assert_eq!(
            find_smaller_repair(&content, &policies, smallest).map(|edits| format!("{edits:?}")),
            None,
            "{:?}",
            missing
        );
        with_repairs.set(with_repairs.get() + usize::from(!missing.is_empty()));
        complete_ones.set(complete_ones.get() + usize::from(complete));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(
        with_repairs.get() > 5 && complete_ones.get() > 5,
        "{with_repairs:?} explanations with repairs, {complete_ones:?} complete ones"
    );
}

/// Explains a denial by these policies and checks the number of repairs. The time limit is generous: only a
/// search without limits would exceed it.
#[track_caller]
fn check_limits(policies: impl IntoIterator<Item = String>, repairs: usize, is_complete: bool) {
    let mut runner = TestRunner::deterministic();
    let content = random_content().new_tree(&mut runner).unwrap().current();
    let content = content.with_policies(policies.into_iter().collect());
    let policies = content.policies();
    let snapshot = content.snapshot(&policies).unwrap();
    let started = Instant::now();
    let Some(Explanation::Denial { missing, complete }) =
        content.ask(&snapshot, Some(&mut Budget::single())).1
    else {
        panic!("expected a denial");
    };
    assert_eq!((missing.len(), complete), (repairs, is_complete), "{policies:?}: {missing:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// `principal in …` for so many teams, joined by an operator.
fn teams(prefix: &str, count: usize, operator: &str) -> String {
    let terms: Vec<String> = (0..count).map(|n| format!("principal in Team::\"{prefix}-{n}\"")).collect();
    format!("({})", terms.join(operator))
}

fn all_of(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" && ")
}

/// Cedar evaluates long chains by recursion, which needs more stack in debug builds.
#[test]
fn the_search_for_repairs_has_limits() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(check_all_limits).unwrap();
    thread.join().unwrap();
}

fn check_all_limits() {
    let when = |condition: String| format!("permit (principal, action, resource) when {{ {condition} }};");
    check_limits([when(teams("x", 3, " || "))], 3, true);
    check_limits([when(teams("x", 5, " && "))], 1, true);
    // More modifications than a repair may have.
    check_limits([when(teams("x", 6, " && "))], 0, false);
    // More repairs than are shown.
    check_limits([when(teams("x", 9, " || "))], 8, false);
    check_limits((0..40).map(|n| when(teams(&n.to_string(), 60, " || "))), 8, false);
    // More alternatives than can be tried: 30^3 and 30^12.
    check_limits([when(all_of((0..3).map(|n| teams(&n.to_string(), 30, " || "))))], 8, false);
    check_limits([when(all_of((0..12).map(|n| teams(&n.to_string(), 30, " || "))))], 0, false);
    let forbids = (0..40).map(|n| {
        format!("forbid (principal, action, resource) unless {{ {} }};", teams(&n.to_string(), 40, " || "))
    });
    check_limits(forbids.chain(["permit (principal, action, resource);".to_owned()]), 0, false);
    // Many permits that no repair satisfies.
    let never_met = |n| {
        format!(
            "permit (principal in Team::\"{n}\", action, resource) when {{ resource.secret && !resource.secret }};"
        )
    };
    check_limits((0..1_000).map(never_met), 0, false);
}
