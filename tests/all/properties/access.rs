//! Comparing what two versions of the entities permit finds exactly what a comparison of all decisions finds.

use std::collections::BTreeSet;

use mandate_core::Snapshot;
use mandate_core::json::Json;
use mandate_core::request::Request;
use mandate_core::schema::EntityUid;
use mandate_core::value::Record;
use mandate_query::access::{AccessChange, AccessComparison, ActionContexts, ChangeDirection};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::config;
use super::world::{self, RandomChange, World, snapshot_of};

/// The contexts of all actions. The attribute `on_behalf` has to be given, because it has too many values.
fn contexts(comparison: &AccessComparison<'_>, before: &Snapshot, given: &str) -> Vec<ActionContexts> {
    let given = Json::parse(given.as_bytes()).unwrap();
    ActionContexts::all(&comparison.permitted_actions(), given.as_object(), before.schema()).unwrap()
}

fn all_entities(before: &Snapshot, after: &Snapshot) -> BTreeSet<EntityUid> {
    let both = before.entities().iter().chain(after.entities().iter());
    both.map(|entity| entity.uid().to_owned()).collect()
}

/// The contexts in which a request is permitted by one version only.
fn differing(one: &Snapshot, other: &Snapshot, request: &Request, contexts: &[Record]) -> Vec<Record> {
    let permits = |snapshot: &Snapshot, context: &Record| {
        let request = Request { context: context.clone(), ..request.clone() };
        snapshot.decide(&request, &snapshot.gather(&request)).unwrap().is_permit()
    };
    contexts.iter().filter(|context| permits(one, context) && !permits(other, context)).cloned().collect()
}

/// Everything that somebody gains or loses, found by deciding every request.
fn by_brute_force(before: &Snapshot, after: &Snapshot, contexts: &[ActionContexts]) -> Vec<AccessChange> {
    let (schema, entities) = (before.schema(), all_entities(before, after));
    let mut changes = Vec::new();
    for ActionContexts { action, contexts, .. } in contexts {
        let info = schema.action(*action);
        for principal in entities.iter().filter(|uid| info.principal_types.contains(&uid.entity_type)) {
            for resource in entities.iter().filter(|uid| info.resource_types.contains(&uid.entity_type)) {
                let request = Request {
                    asked_at: None,
                    action: *action,
                    principal: principal.clone(),
                    resource: resource.clone(),
                    context: Record::default(),
                    principal_properties: None,
                    resource_properties: None,
                };
                let gained = (ChangeDirection::Gain, differing(after, before, &request, contexts));
                let lost = (ChangeDirection::Loss, differing(before, after, &request, contexts));
                for (direction, contexts) in [gained, lost].into_iter().filter(|it| !it.1.is_empty()) {
                    let (principal, resource) = (principal.clone(), resource.clone());
                    changes.push(AccessChange { principal, direction, action: *action, resource, contexts });
                }
            }
        }
    }
    changes.sort();
    changes
}

fn compared(comparison: &AccessComparison<'_>, contexts: &[ActionContexts]) -> Vec<AccessChange> {
    let mut changes = Vec::new();
    comparison.for_each_change(contexts, |change| changes.push(change)).unwrap();
    changes.sort();
    changes
}

/// A world before and after those changes that are not refused.
fn versions(world: &World, changes: &[RandomChange]) -> [Snapshot; 2] {
    let before = snapshot_of(world);
    let apply = |snapshot: Snapshot, change: &RandomChange| {
        snapshot.apply(&change.changes(&snapshot)).unwrap_or(snapshot)
    };
    let after = changes.iter().fold(before.clone(), apply);
    [before, after]
}

fn worlds_and_changes() -> impl Strategy<Value = (World, Vec<RandomChange>)> {
    // Random policies seldom permit anything. Each of these permits much, by something else.
    let policies = vec![
        "permit (principal, action, resource is Doc) when { resource in principal };",
        "permit (principal is User, action, resource is Doc) when { resource.owner.level < 2 };",
        "permit (principal in Team::\"team3\", action, resource) unless { context has urgent && context.urgent };",
        "permit (principal is User, action, resource is User) when { principal.level <= resource.level };",
        "permit (principal is User, action, resource is Doc) when { principal == resource.owner };",
    ];
    let world = (world::world(), prop::sample::subsequence(policies, 1..=3));
    let world = world.prop_map(|(world, policies)| policies.into_iter().fold(world, World::with_policy));
    (world, prop::collection::vec(world::change(), 1..4))
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn gains_and_losses_are_those_of_all_decisions((world, changes) in worlds_and_changes()) {
        let [before, after] = versions(&world, &changes);
        let comparison = AccessComparison::new(&before, &after);
        for given in ["{}", r#"{ "on_behalf": "user1" }"#] {
            let contexts = contexts(&comparison, &before, given);
            prop_assert_eq!(compared(&comparison, &contexts), by_brute_force(&before, &after, &contexts), "{}", given);
        }
    }

    /// The differences are those that a look at every entity finds.
    #[test]
    fn differences_are_those_of_all_entities((world, changes) in worlds_and_changes()) {
        let [before, after] = versions(&world, &changes);
        let mut found: Vec<EntityUid> = Vec::new();
        for difference in before.entities().differences(after.entities()) {
            let [old, new] = [&before, &after].map(|snapshot| snapshot.entities().get(difference.uid));
            prop_assert_eq!(difference.before.map(|it| it.unpack(before.schema())), old.map(|it| it.entity.unpack(before.schema())));
            prop_assert_eq!(difference.after.map(|it| it.unpack(before.schema())), new.map(|it| it.entity.unpack(before.schema())));
            found.push(difference.uid.to_owned());
        }
        found.sort();
        let differs = |uid: &EntityUid| {
            let [old, new] = [&before, &after].map(|snapshot| snapshot.entities().get(uid.as_uid_ref()));
            old.is_some() != new.is_some() || old.zip(new).is_some_and(|(old, new)| !old.entity.same_content(&new.entity))
        };
        let all = all_entities(&before, &after);
        prop_assert_eq!(found, all.into_iter().filter(differs).collect::<Vec<_>>());
    }
}

#[test]
fn random_changes_give_and_take() {
    let mut runner = TestRunner::deterministic();
    let mut directions = Vec::new();
    for _ in 0..150 {
        let (world, changes) = worlds_and_changes().new_tree(&mut runner).unwrap().current();
        let [before, after] = versions(&world, &changes);
        let comparison = AccessComparison::new(&before, &after);
        let changes = compared(&comparison, &contexts(&comparison, &before, "{}"));
        directions.extend(changes.into_iter().map(|change| change.direction));
    }
    let gains = directions.iter().filter(|direction| **direction == ChangeDirection::Gain).count();
    assert!(gains > 50 && directions.len() - gains > 50, "{gains} of {}", directions.len());
}
