//! Random policies, entities, changes and questions for one small schema. It has everything that makes gathering and
//! deciding difficult: several levels of references, groups in groups, sets, records, references to entities that do
//! not exist, and arithmetic that overflows.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use mandate_core::Snapshot;
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{
    Entity, EntityChanges, EntityUpsert, LoadProgress, Origin, parse_entity_file, parse_entity_json,
};
use mandate_core::json::Json;
use mandate_core::policies::Policies;
use mandate_core::request::{Question, QuestionEntity};
use mandate_core::schema::Schema;
use mandate_core::snapshot::RequestConfig;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

const SCHEMA: &str = r#"
entity Team in [Team];
@only_member("keeper")
@member_requires("code")
entity Vault in [Team] = { keeper: User, code?: Long };
entity User in [Team, Vault] = {
  level: Long,
  boss?: User,
  friends: Set<User>,
  home: { team: Team, floor?: Long },
};
@member_of_one("Team")
entity Bot in [Team] = { level: Long };
entity Doc in [Team, User] = { owner: User, size: Long, backup?: Doc };

action any_;
action read, write in [any_] appliesTo {
  principal: [User, Bot], resource: Doc, context: { on_behalf?: User, urgent: Bool }
};
action manage in [any_] appliesTo { principal: User, resource: [User, Team], context: {} };
"#;

/// How many names there are for each entity type; only some of the entities exist.
const NAMES: usize = 4;

/// Random policies and entities.
#[derive(Debug, Clone)]
pub struct World {
    /// Each text becomes a file of its own.
    policies: Vec<String>,
    entities: BTreeMap<Name, Value>,
    /// Decides the order in which files and entities are read, and how many entities are in a file.
    seed: Option<u64>,
}

impl World {
    pub fn entities_json(&self) -> Value {
        Value::Array(self.entities.values().cloned().collect())
    }

    pub fn with_policy(mut self, text: &str) -> Self {
        self.policies.push(text.to_owned());
        self
    }

    /// How many policies there are, valid or not.
    pub fn policy_count(&self) -> usize {
        self.policies.len()
    }

    /// The same content, read in another order and from other files.
    pub fn shuffled(&self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self.clone() }
    }
}

fn shuffle<T>(items: &mut [T], seed: Option<u64>) {
    let Some(mut state) = seed else { return };
    for n in (1..items.len()).rev() {
        // Any pseudorandom numbers will do; the constants are Knuth's.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(n, (state >> 33) as usize % (n + 1));
    }
}

fn schema() -> Arc<Schema> {
    static SHARED: OnceLock<Arc<Schema>> = OnceLock::new();
    let parse = || Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0);
    Arc::clone(SHARED.get_or_init(parse))
}

/// The policies of those texts that are valid; random texts may not be.
pub fn valid_policies(texts: &[String], schema: &Arc<Schema>) -> Policies {
    valid_policies_in_order(texts, schema, None)
}

fn valid_policies_in_order(texts: &[String], schema: &Arc<Schema>, seed: Option<u64>) -> Policies {
    let files = texts
        .iter()
        .enumerate()
        .map(|(n, text)| SourceText::new(format!("{n}.cedar"), format!("@id(\"p{n}\") {text}")));
    let mut valid: Vec<_> = files
        .filter(|file| Policies::parse(std::slice::from_ref(file), Arc::clone(schema)).is_ok())
        .collect();
    shuffle(&mut valid, seed);
    Policies::parse(&valid, Arc::clone(schema)).unwrap().0
}

pub fn snapshot_of(world: &World) -> Snapshot {
    let schema = schema();
    let policies = valid_policies_in_order(&world.policies, &schema, world.seed);
    let empty = Snapshot::new(Arc::new(policies), &RequestConfig::default()).unwrap();
    let mut entities: Vec<&Value> = world.entities.values().collect();
    shuffle(&mut entities, world.seed);
    let per_file = world.seed.map_or(100, |seed| 1 + (seed % 5) as usize);
    let files = entities.chunks(per_file).enumerate().map(|(n, chunk)| {
        let source = SourceText::new(format!("{n}.json"), json!(chunk).to_string());
        parse_entity_file(&source, Origin(n as u32), &schema, &LoadProgress::default()).unwrap()
    });
    empty.apply(&EntityChanges { upserts: files.flatten().collect(), removals: Vec::new() }).unwrap()
}

/// A world whose entities obey the rules of loading. Attributes may refer to entities that do not exist.
pub fn world() -> impl Strategy<Value = World> {
    let entity_types = prop::sample::subsequence(all_names(), 6..=5 * NAMES);
    (prop::collection::vec(policy(), 0..7), entity_types).prop_flat_map(|(policies, names)| {
        let existing = names.clone();
        // A bot has to be in a team.
        let has_team = names.iter().any(|(entity_type, _)| entity_type == "Team");
        let names = names.into_iter().filter(|(entity_type, _)| has_team || entity_type != "Bot");
        let entities: Vec<_> = names.map(move |name| entity(name, existing.clone(), Rules::Obeyed)).collect();
        (Just(policies), entities).prop_map(|(policies, entities)| World {
            policies,
            entities: entities.into_iter().collect(),
            seed: None,
        })
    })
}

fn all_names() -> Vec<(String, usize)> {
    let entity_types = ["Team", "User", "Bot", "Doc", "Vault"];
    entity_types
        .iter()
        .flat_map(|entity_type| (0..NAMES).map(move |n| ((*entity_type).to_owned(), n)))
        .collect()
}

fn uid(entity_type: &str, n: usize) -> Value {
    json!({ "type": entity_type, "id": format!("{}{n}", entity_type.to_lowercase()) })
}

/// A number that may overflow when policies multiply it.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..4_i64, 1 => Just(i64::MAX)]
}

/// The type of an entity, and a number below `NAMES`.
type Name = (String, usize);

/// Whether an entity obeys the rules of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Teams are only in teams with a higher number, a bot is in one team, the keeper of a vault has the number of
    /// the vault, and every vault has a code.
    Obeyed,
    /// The entity may break each of these rules.
    Ignored,
}

/// An entity with random attributes and with random parents among the existing entities.
fn entity((entity_type, n): Name, existing: Vec<Name>, rules: Rules) -> impl Strategy<Value = (Name, Value)> {
    let obeyed = rules == Rules::Obeyed;
    let parents: Vec<Name> = existing
        .into_iter()
        .filter(|(parent, p)| match (entity_type.as_str(), parent.as_str()) {
            ("Team", "Team") => !obeyed || *p > n,
            ("User", "Vault") => !obeyed || *p == n,
            ("User" | "Bot" | "Doc" | "Vault", "Team") | ("Doc", "User") => true,
            _ => false,
        })
        .collect();
    let parent_count = if obeyed && entity_type == "Bot" { 1..=1 } else { 0..=parents.len().min(3) };
    let target = 0..NAMES;
    let attrs = (
        number(),
        prop::option::of(target.clone()),
        prop::collection::vec(target.clone(), 0..3),
        target,
        prop::option::of(number()),
    );
    (prop::sample::subsequence(parents, parent_count), attrs).prop_map(move |(parents, (long, maybe, several, one, floor))| {
        let attrs = match entity_type.as_str() {
            "User" => optional(
                json!({
                    "level": long,
                    "friends": several.iter().map(|n| uid("User", *n)).collect::<Vec<_>>(),
                    "home": optional(json!({ "team": uid("Team", one) }), "floor", floor.map(|floor| json!(floor))),
                }),
                "boss",
                maybe.map(|n| uid("User", n)),
            ),
            "Bot" => json!({ "level": long }),
            "Vault" => {
                let code = floor.or(obeyed.then_some(1)).map(|code| json!(code));
                optional(json!({ "keeper": uid("User", if obeyed { n } else { one }) }), "code", code)
            }
            "Doc" => optional(json!({ "owner": uid("User", one), "size": long }), "backup", maybe.map(|n| uid("Doc", n))),
            _ => json!({}),
        };
        let parents: Vec<Value> = parents.iter().map(|(entity_type, n)| uid(entity_type, *n)).collect();
        ((entity_type.clone(), n), json!({ "uid": uid(&entity_type, n), "attrs": attrs, "parents": parents }))
    })
}

fn optional(mut object: Value, key: &str, value: Option<Value>) -> Value {
    if let Some(value) = value {
        object[key] = value;
    }
    object
}

/// A policy with a random scope and random conditions. Not all of them are valid, because scope and conditions are
/// chosen independently.
fn policy() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 2 => Just("forbid")];
    (effect, scope(), prop::collection::vec((proptest::bool::ANY, condition()), 0..3)).prop_map(
        |(effect, (principal, action, resource), conditions)| {
            let clause = |(when, text): &(bool, String)| {
                format!("{} {{ {text} }}", if *when { "when" } else { "unless" })
            };
            let clauses = conditions.iter().map(clause).collect::<Vec<_>>().join(" ");
            format!("{effect} ({principal}, {action}, {resource}) {clauses};")
        },
    )
}

fn scope() -> impl Strategy<Value = (String, String, String)> {
    let named = |entity_type: &'static str| {
        (0..NAMES).prop_map(move |n| format!("{entity_type}::\"{}{n}\"", entity_type.to_lowercase()))
    };
    let principal = prop_oneof![
        3 => Just("principal is User".to_owned()),
        1 => Just("principal is Bot".to_owned()),
        1 => Just("principal".to_owned()),
        1 => named("User").prop_map(|name| format!("principal == {name}")),
        1 => named("Team").prop_map(|name| format!("principal in {name}")),
        1 => named("Team").prop_map(|name| format!("principal is User in {name}")),
    ];
    let action = prop::sample::select(vec![
        "action",
        "action == Action::\"read\"",
        "action in [Action::\"read\", Action::\"write\"]",
        "action in Action::\"any_\"",
        "action == Action::\"manage\"",
    ]);
    let resource = prop_oneof![
        3 => Just("resource is Doc".to_owned()),
        1 => Just("resource".to_owned()),
        1 => Just("resource is User".to_owned()),
        1 => named("Doc").prop_map(|name| format!("resource == {name}")),
        1 => named("Team").prop_map(|name| format!("resource in {name}")),
        1 => named("User").prop_map(|name| format!("resource is Doc in {name}")),
    ];
    (principal, action.prop_map(str::to_owned), resource)
}

fn condition() -> impl Strategy<Value = String> {
    let term = prop::sample::select(vec![
        "principal.level > 1",
        "principal.level * 2 > 3",
        "resource in principal",
        "principal in resource",
        "resource.owner == principal",
        "resource.owner in Team::\"team1\"",
        "resource.owner.level + 1 > principal.level",
        "resource.owner.home.team in Team::\"team2\"",
        "resource.owner has boss && resource.owner.boss.level > 1",
        "resource.owner has boss && resource.owner.boss in principal.home.team",
        "resource has backup && resource.backup.owner == principal",
        "resource has backup && resource.backup.owner.home.team in Team::\"team3\"",
        "resource.size * resource.size > 2",
        "principal.friends.contains(resource.owner)",
        "principal has boss && principal.boss == resource.owner",
        "principal has boss && principal.boss has boss && principal.boss.boss.level > 0",
        "principal.home has floor && principal.home.floor < 2",
        "context.urgent",
        "context has on_behalf && context.on_behalf.level > 1",
        "context has on_behalf && context.on_behalf in Team::\"team1\"",
        "context has on_behalf && context.on_behalf has boss && context.on_behalf.boss in Team::\"team2\"",
        "principal in Team::\"team2\"",
        "principal is User in Team::\"team3\"",
        "resource in [Team::\"team1\", Team::\"team2\"]",
        "action in Action::\"any_\"",
        "true",
    ]);
    term.prop_map(|term| format!("({term})")).prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!{a}")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

/// A question that fits the schema. Its principal and its resource may not exist.
#[derive(Debug, Clone)]
pub struct RandomQuestion {
    principal: Name,
    action: &'static str,
    resource: Name,
    on_behalf: Option<usize>,
    urgent: bool,
}

pub fn question() -> impl Strategy<Value = RandomQuestion> {
    let doc =
        (prop::sample::select(vec!["User", "Bot"]), prop::sample::select(vec!["read", "write"]), Just("Doc"));
    let manage = (Just("User"), Just("manage"), prop::sample::select(vec!["User", "Team"]));
    let entity_types = prop_oneof![3 => doc, 1 => manage];
    (entity_types, 0..NAMES, 0..NAMES, prop::option::of(0..NAMES), proptest::bool::ANY).prop_map(
        |((principal, action, resource), p, r, on_behalf, urgent)| RandomQuestion {
            principal: (principal.to_owned(), p),
            action,
            resource: (resource.to_owned(), r),
            on_behalf,
            urgent,
        },
    )
}

fn id((entity_type, n): &Name) -> &'static str {
    // Leaked, so that questions need no lifetimes; there are only a few names.
    Box::leak(format!("{}{n}", entity_type.to_lowercase()).into_boxed_str())
}

impl RandomQuestion {
    /// The context as a caller sends it: an entity is a plain string.
    pub fn context(&self) -> Json<'static> {
        let value: &'static Value = Box::leak(Box::new(self.context_value(|n| json!(format!("user{n}")))));
        Json::deserialize(value).unwrap()
    }

    /// The context as Cedar reads it: an entity is written as `__entity`.
    pub fn cedar_context(&self) -> Value {
        self.context_value(|n| json!({ "__entity": uid("User", n) }))
    }

    fn context_value(&self, entity: impl Fn(usize) -> Value) -> Value {
        if self.action == "manage" {
            return json!({});
        }
        optional(json!({ "urgent": self.urgent }), "on_behalf", self.on_behalf.map(entity))
    }

    pub fn question<'a>(&'a self, context: &'a Json<'a>) -> Question<'a> {
        let named = |name: &'a Name| QuestionEntity { entity_type: &name.0, id: id(name), properties: None };
        Question {
            principal: named(&self.principal),
            action: self.action,
            action_properties: None,
            resource: named(&self.resource),
            context: context.as_object(),
        }
    }

    pub fn principal_uid(&self) -> String {
        format!("{}::\"{}\"", self.principal.0, id(&self.principal))
    }

    pub fn resource_uid(&self) -> String {
        format!("{}::\"{}\"", self.resource.0, id(&self.resource))
    }

    pub fn action_uid(&self) -> String {
        format!("Action::\"{}\"", self.action)
    }
}

/// A change of entities: some are added or replaced, some are removed.
#[derive(Debug, Clone)]
pub struct RandomChange {
    upserts: Vec<(Name, Value)>,
    removals: Vec<Name>,
}

pub fn change() -> impl Strategy<Value = RandomChange> {
    let names = |most| prop::sample::subsequence(all_names(), 0..=most);
    let rules = prop_oneof![2 => Just(Rules::Obeyed), 1 => Just(Rules::Ignored)];
    (names(2), names(1), rules).prop_flat_map(|(upserts, removals, rules)| {
        let upserts: Vec<_> = upserts.into_iter().map(|name| entity(name, all_names(), rules)).collect();
        (upserts, Just(removals)).prop_map(|(upserts, removals)| RandomChange { upserts, removals })
    })
}

impl RandomChange {
    /// The change for a snapshot: it removes only entities that exist there.
    pub fn changes(&self, snapshot: &Snapshot) -> EntityChanges {
        let schema = snapshot.schema();
        let upserts = self.upserts.iter().map(|(_, json)| {
            let json: &'static Value = Box::leak(Box::new(json.clone()));
            let entity = parse_entity_json(&Json::deserialize(json).unwrap(), schema).unwrap();
            EntityUpsert { entity: Entity::pack(&entity, Origin(0), schema), span: None }
        });
        let uids = self.removals.iter().map(|name| mandate_core::schema::EntityUid {
            entity_type: schema.resolve_entity_type(&name.0).unwrap(),
            id: id(name).into(),
        });
        let removals = uids.filter(|uid| snapshot.entities().get(uid.as_uid_ref()).is_some());
        EntityChanges { upserts: upserts.collect(), removals: removals.collect() }
    }
}

/// Whether every vault that somebody is in has a code: `@member_requires`, read off all entities.
pub fn vaults_with_members_have_codes(snapshot: &Snapshot) -> bool {
    let (entities, schema) = (snapshot.entities(), snapshot.schema());
    let vault = schema.resolve_entity_type("Vault").unwrap();
    let lacks_code = |parent| entities.get(parent).is_some_and(|it| !it.entity.has_attribute("code", schema));
    let mut in_vaults =
        entities.iter().flat_map(Entity::parents).filter(|parent| parent.entity_type == vault);
    in_vaults.all(|parent| !lacks_code(parent))
}

/// What can happen to a decision point.
#[derive(Debug, Clone)]
pub enum Step {
    Question(RandomQuestion),
    Entities(RandomChange),
    Policies(Vec<String>),
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => question().prop_map(Step::Question),
        3 => change().prop_map(Step::Entities),
        1 => prop::collection::vec(policy(), 0..5).prop_map(Step::Policies),
    ]
}
