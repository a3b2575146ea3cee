//! Compares the store of entities with a plain map, at sizes where the index of the store has several levels.

use std::collections::BTreeMap;
use std::sync::Arc;

use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{Entities, Entity, EntityChanges, EntityData, EntityUpsert, Origin};
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::value::{Record, Value};
use proptest::prelude::*;

const SCHEMA: &str = "entity Team; entity User in [Team] = { level: Long };";

/// How many users can exist.
const USERS: u32 = 6_000;
/// How many teams exist.
const TEAMS: u32 = 300;

/// For each user: the level, and the team, if the user is in one.
type Model = BTreeMap<u32, (i64, Option<u32>)>;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0)
}

fn uid(schema: &Schema, entity_type: &str, n: u32) -> EntityUid {
    EntityUid {
        entity_type: schema.resolve_entity_type(entity_type).unwrap(),
        id: format!("{entity_type}-{n}").into(),
    }
}

fn team(schema: &Schema, n: u32) -> EntityUpsert {
    let entity = EntityData {
        uid: uid(schema, "Team", n),
        attributes: Record::default(),
        tags: Record::default(),
        parents: Vec::new(),
    };
    EntityUpsert { entity: Entity::pack(&entity, Origin(0), schema), span: None }
}

fn user(schema: &Schema, n: u32, (level, team): (i64, Option<u32>)) -> EntityUpsert {
    let entity = EntityData {
        uid: uid(schema, "User", n),
        attributes: Record::new([("level".into(), Value::Long(level))]),
        tags: Record::default(),
        parents: team.map(|team| uid(schema, "Team", team)).into_iter().collect(),
    };
    EntityUpsert { entity: Entity::pack(&entity, Origin(0), schema), span: None }
}

/// A change: some users are added or replaced, others are removed.
#[derive(Debug, Clone)]
struct Batch {
    /// The users that are added or replaced: the first, the step from one to the next, and how many.
    upserts: (u32, u32, u32),
    /// The new level of these users.
    level: i64,
    /// The users that are removed, if they exist: the first, and how many.
    removals: (u32, u32),
}

fn batch() -> impl Strategy<Value = Batch> {
    let upsert_count = prop_oneof![4 => 0..4_u32, 1 => 0..5_000_u32];
    let removal_count = prop_oneof![4 => 0..4_u32, 1 => 0..5_000_u32];
    ((0..USERS, 1..50_u32, upsert_count), 0..3_i64, (0..USERS, removal_count))
        .prop_map(|(upserts, level, removals)| Batch { upserts, level, removals })
}

/// Applies a change to the map and to the store.
fn apply(batch: &Batch, model: &mut Model, entities: &Entities, schema: &Schema) -> Entities {
    let (first, step, count) = batch.upserts;
    let upserts: Model = (0..count)
        .map(|n| (first + n * step) % USERS)
        .map(|n| (n, (batch.level, (n % 7 != 0).then_some(n % TEAMS))))
        .collect();
    let (first, count) = batch.removals;
    let removals: Vec<u32> = model
        .keys()
        .filter(|n| (first..first + count).contains(n) && !upserts.contains_key(n))
        .copied()
        .collect();
    let change = EntityChanges {
        upserts: upserts.iter().map(|(n, user)| self::user(schema, *n, *user)).collect(),
        removals: removals.iter().map(|n| uid(schema, "User", *n)).collect(),
    };
    model.retain(|n, _| !removals.contains(n));
    model.extend(upserts);
    entities.apply(&change, schema).unwrap()
}

/// The store holds exactly the users of the map, and the teams.
fn check_equal(model: &Model, entities: &Entities, schema: &Schema) {
    assert_eq!(entities.len(), model.len() + TEAMS as usize);
    assert_eq!(entities.iter().count(), entities.len());
    for n in 0..USERS {
        let stored = entities.get(uid(schema, "User", n).as_uid_ref()).map(|stored| stored.entity.clone());
        let expected = model.get(&n).map(|expected| user(schema, n, *expected).entity);
        assert_eq!(stored.is_some(), expected.is_some(), "user {n}");
        assert!(
            stored.zip(expected).is_none_or(|(stored, expected)| stored.same_content(&expected)),
            "user {n}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_equals_a_map_and_keeps_earlier_states(batches in prop::collection::vec(batch(), 1..12)) {
        let schema = schema();
        let teams = EntityChanges { upserts: (0..TEAMS).map(|n| team(&schema, n)).collect(), removals: Vec::new() };
        let mut states = vec![(Model::new(), Entities::default().apply(&teams, &schema).unwrap())];
        for batch in &batches {
            let (mut model, entities) = states.last().unwrap().clone();
            let next = apply(batch, &mut model, &entities, &schema);
            states.push((model, next));
        }
        // Later changes leave all earlier states unchanged.
        for (model, entities) in &states {
            check_equal(model, entities, &schema);
        }
        let (model, entities) = states.last().unwrap();
        // Only a team without users can be removed.
        for n in (0..TEAMS).step_by(17) {
            let change = EntityChanges { upserts: Vec::new(), removals: vec![uid(&schema, "Team", n)] };
            let empty = !model.values().any(|(_, team)| *team == Some(n));
            prop_assert_eq!(entities.apply(&change, &schema).is_ok(), empty, "team {}", n);
        }
        let mut all: Vec<EntityUpsert> = model.iter().map(|(n, user)| self::user(&schema, *n, *user)).collect();
        all.extend((0..TEAMS).map(|n| team(&schema, n)));
        let at_once = Entities::default().apply(&EntityChanges { upserts: all, removals: Vec::new() }, &schema).unwrap();
        prop_assert_eq!(at_once.digest(), entities.digest());
    }
}

#[test]
fn a_uid_that_is_defined_twice_among_thousands_is_refused() {
    let schema = schema();
    let mut all: Vec<EntityUpsert> = (0..USERS).map(|n| user(&schema, n, (0, None))).collect();
    all.push(user(&schema, 4_321, (1, None)));
    let diagnostics = Entities::default()
        .apply(&EntityChanges { upserts: all, removals: Vec::new() }, &schema)
        .unwrap_err();
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics.to_string().contains("`User::\"User-4321\"` is defined twice"), "{diagnostics}");
}

/// A second removal in the same change would count the members of a team wrong.
#[test]
fn an_entity_that_is_removed_twice_in_one_change_is_removed_once() {
    let schema = schema();
    let all = vec![team(&schema, 1), user(&schema, 1, (0, Some(1))), user(&schema, 2, (0, Some(1)))];
    let all =
        Entities::default().apply(&EntityChanges { upserts: all, removals: Vec::new() }, &schema).unwrap();
    let remove = |uids: &[(&str, u32)], from: &Entities| {
        let removals = uids.iter().map(|(entity_type, n)| uid(&schema, entity_type, *n)).collect();
        from.apply(&EntityChanges { upserts: Vec::new(), removals }, &schema)
    };
    let diagnostics = remove(&[("User", 1), ("User", 1), ("Team", 1)], &all).unwrap_err();
    assert!(
        diagnostics.to_string().contains("`User::\"User-2\"` is still in `Team::\"Team-1\"`"),
        "{diagnostics}"
    );
    let left = remove(&[("User", 1), ("User", 1)], &all).unwrap();
    assert_eq!(left.digest(), remove(&[("User", 1)], &all).unwrap().digest());
    assert!(remove(&[("Team", 1)], &left).is_err());
}
