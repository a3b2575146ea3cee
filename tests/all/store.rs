//! The store of entities at sizes where its index branches, compared with a plain map.

use std::collections::BTreeMap;
use std::sync::Arc;

use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{Entities, Entity, EntityChanges, EntityData, EntityUpsert, Origin};
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::value::{Record, Value};
use proptest::prelude::*;

const SCHEMA: &str = "entity Team; entity User in [Team] = { level: Long };";

/// Users that can be there, and teams.
const USERS: u32 = 6_000;
const TEAMS: u32 = 300;

/// By user: the level, and the team if there is one.
type Model = BTreeMap<u32, (i64, Option<u32>)>;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0)
}

fn name(schema: &Schema, entity_type: &str, n: u32) -> EntityUid {
    EntityUid {
        entity_type: schema.resolve_entity_type(entity_type).unwrap(),
        id: format!("{entity_type}-{n}").into(),
    }
}

fn team(schema: &Schema, n: u32) -> EntityUpsert {
    let entity = EntityData {
        uid: name(schema, "Team", n),
        attributes: Record::default(),
        tags: Record::default(),
        parents: Vec::new(),
    };
    EntityUpsert { entity: Entity::pack(&entity, Origin(0), schema), span: None }
}

fn user(schema: &Schema, n: u32, (level, team): (i64, Option<u32>)) -> EntityUpsert {
    let entity = EntityData {
        uid: name(schema, "User", n),
        attributes: Record::new([("level".into(), Value::Long(level))]),
        tags: Record::default(),
        parents: team.map(|team| name(schema, "Team", team)).into_iter().collect(),
    };
    EntityUpsert { entity: Entity::pack(&entity, Origin(0), schema), span: None }
}

/// A change: users from a number on that come, each so many further, and others that go.
#[derive(Debug, Clone)]
struct Batch {
    come: (u32, u32, u32),
    level: i64,
    go: (u32, u32),
}

fn batch() -> impl Strategy<Value = Batch> {
    let count = prop_oneof![4 => 0..4_u32, 1 => 0..5_000_u32];
    let go = prop_oneof![4 => 0..4_u32, 1 => 0..5_000_u32];
    ((0..USERS, 1..50_u32, count), 0..3_i64, (0..USERS, go)).prop_map(|(come, level, go)| Batch {
        come,
        level,
        go,
    })
}

fn apply(batch: &Batch, model: &mut Model, entities: &Entities, schema: &Schema) -> Entities {
    let (first, step, count) = batch.come;
    let come: Model = (0..count)
        .map(|n| (first + n * step) % USERS)
        .map(|n| (n, (batch.level, (n % 7 != 0).then_some(n % TEAMS))))
        .collect();
    let (first, count) = batch.go;
    let go: Vec<u32> = model
        .keys()
        .filter(|n| (first..first + count).contains(n) && !come.contains_key(n))
        .copied()
        .collect();
    let change = EntityChanges {
        upserts: come.iter().map(|(n, user)| self::user(schema, *n, *user)).collect(),
        removals: go.iter().map(|n| name(schema, "User", *n)).collect(),
    };
    model.retain(|n, _| !go.contains(n));
    model.extend(come);
    entities.apply(&change, schema).unwrap()
}

fn check(model: &Model, entities: &Entities, schema: &Schema) {
    assert_eq!(entities.len(), model.len() + TEAMS as usize);
    assert_eq!(entities.iter().count(), entities.len());
    for n in 0..USERS {
        let stored = entities.get(name(schema, "User", n).as_uid_ref()).map(|stored| stored.entity.clone());
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
    fn is_a_map_with_versions(batches in prop::collection::vec(batch(), 1..12)) {
        let schema = schema();
        let teams = EntityChanges { upserts: (0..TEAMS).map(|n| team(&schema, n)).collect(), removals: Vec::new() };
        let mut versions = vec![(Model::new(), Entities::default().apply(&teams, &schema).unwrap())];
        for batch in &batches {
            let (mut model, entities) = versions.last().unwrap().clone();
            let next = apply(batch, &mut model, &entities, &schema);
            versions.push((model, next));
        }
        // Earlier versions are what they were, whatever came after them.
        for (model, entities) in &versions {
            check(model, entities, &schema);
        }
        let (model, entities) = versions.last().unwrap();
        // How many are in a team is known without looking at them: only an empty one can go.
        for n in (0..TEAMS).step_by(17) {
            let change = EntityChanges { upserts: Vec::new(), removals: vec![name(&schema, "Team", n)] };
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
fn the_same_name_twice_is_refused_however_many_there_are() {
    let schema = schema();
    let mut all: Vec<EntityUpsert> = (0..USERS).map(|n| user(&schema, n, (0, None))).collect();
    all.push(user(&schema, 4_321, (1, None)));
    let diagnostics = Entities::default()
        .apply(&EntityChanges { upserts: all, removals: Vec::new() }, &schema)
        .unwrap_err();
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics.to_string().contains("`User::\"User-4321\"` is defined twice"), "{diagnostics}");
}

/// Who is removed twice leaves once.
#[test]
fn removing_twice_is_removing() {
    let schema = schema();
    let all = vec![team(&schema, 1), user(&schema, 1, (0, Some(1))), user(&schema, 2, (0, Some(1)))];
    let all =
        Entities::default().apply(&EntityChanges { upserts: all, removals: Vec::new() }, &schema).unwrap();
    let go = |names: &[(&str, u32)], from: &Entities| {
        let remove = names.iter().map(|(entity_type, n)| name(&schema, entity_type, *n)).collect();
        from.apply(&EntityChanges { upserts: Vec::new(), removals: remove }, &schema)
    };
    let diagnostics = go(&[("User", 1), ("User", 1), ("Team", 1)], &all).unwrap_err();
    assert!(
        diagnostics.to_string().contains("`User::\"User-2\"` is still in `Team::\"Team-1\"`"),
        "{diagnostics}"
    );
    let left = go(&[("User", 1), ("User", 1)], &all).unwrap();
    assert_eq!(left.digest(), go(&[("User", 1)], &all).unwrap().digest());
    assert!(go(&[("Team", 1)], &left).is_err());
}
