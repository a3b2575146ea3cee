//! Small random content in which every repair of a few modifications can be tried: some entities, some
//! policies, and one question. A modification is written into the entity files, which are then loaded and
//! checked as usual.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{EntityChanges as EntityChange, LoadProgress, Origin, parse_entity_file};
use mandate_core::json::Json;
use mandate_core::policies::Policies;
use mandate_core::request::{Question, QuestionEntity};
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::Value as Stored;
use mandate_query::explain::{
    AttributeOwner, AttributePath, Budget, Explanation, Modification, Repair, RepairLocation, explain,
    types_between,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

const SCHEMA: &str = r#"
entity Channel enum ["api", "ui", "mail"];
entity Role enum ["admin", "guest"];
entity Company;
entity Club;
@member_of_one("Company")
entity Team in [Company, Team];
@only_member("invited")
entity Invitation in [Team] = { invited: User };
entity User in [Team, Invitation, Club] = { active: Bool, level: Long, roles: Set<Role>, home: Team, boss?: User };
entity Doc in [Team, User, Club] = { owner: User, secret: Bool, label?: String };
action read appliesTo { principal: User, resource: Doc, context: { channel: Channel, urgent: Bool, for_?: User } };
"#;

/// Entities by type and id, with their attributes and parents, and the context of the question.
#[derive(Debug, Clone)]
pub struct Small {
    policies: Vec<String>,
    entities: BTreeMap<Uid, (Value, Vec<Uid>)>,
    context: Value,
}

type Uid = (String, String);

/// A modification, as an edit of the entity files.
#[derive(Debug, Clone)]
pub enum Edit {
    Comes(Uid, Uid),
    Goes(Uid, Uid),
    /// Sets or removes an attribute of an entity, or (without an entity) of the context.
    Set(Option<Uid>, String, Option<Value>),
}

pub fn uid(entity_type: &str, id: &str) -> Uid {
    (entity_type.to_owned(), id.to_owned())
}

fn reference((entity_type, id): &Uid) -> Value {
    json!({ "type": entity_type, "id": id })
}

fn schema() -> Arc<Schema> {
    static SHARED: OnceLock<Arc<Schema>> = OnceLock::new();
    let parse = || Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0);
    Arc::clone(SHARED.get_or_init(parse))
}

impl Small {
    pub fn with_policies(self, policies: Vec<String>) -> Self {
        Self { policies, ..self }
    }

    pub fn policies(&self) -> Arc<Policies> {
        let files = self.policies.iter().enumerate();
        let files =
            files.map(|(n, text)| SourceText::new(format!("{n}.cedar"), format!("@id(\"p{n}\") {text}")));
        let valid = |file: &Arc<SourceText>| Policies::parse(std::slice::from_ref(file), schema()).is_ok();
        let files: Vec<_> = files.filter(valid).collect();
        Arc::new(Policies::parse(&files, schema()).unwrap().0)
    }

    /// The snapshot of these entities, if they keep the rules.
    pub fn snapshot(&self, policies: &Arc<Policies>) -> Option<Snapshot> {
        let entities = self.entities.iter().map(|(uid, (attrs, parents))| {
            let parents: Vec<Value> = parents.iter().map(reference).collect();
            json!({ "uid": reference(uid), "attrs": attrs, "parents": parents })
        });
        let file = SourceText::new("entities.json", entities.collect::<Value>().to_string());
        let upsert = parse_entity_file(&file, Origin(0), &schema(), &LoadProgress::default()).unwrap();
        let empty = Snapshot::new(Arc::clone(policies), &RequestConfig::default()).unwrap();
        empty.apply(&EntityChange { upserts: upsert, removals: Vec::new() }).ok()
    }

    /// Decides whether user `u0` may read document `d0`, and explains it if there is a budget.
    pub fn ask(&self, snapshot: &Snapshot, budget: Option<&mut Budget>) -> (Decision, Option<Explanation>) {
        let context = Json::deserialize(&self.context).unwrap();
        let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
        let question = Question {
            principal: named("User", "u0"),
            action: "read",
            action_properties: None,
            resource: named("Doc", "d0"),
            context: context.as_object(),
        };
        let request = snapshot.request_from_question(&question).unwrap();
        let decision = snapshot.decide(&request, &snapshot.gather(&request)).unwrap();
        let explanation = budget.map(|budget| explain(snapshot, &request, &decision, budget).unwrap());
        (decision, explanation)
    }

    /// Whether the question is permitted after some edits; `None` if the edited entities break a rule.
    pub fn permits_after(&self, edits: &[Edit], policies: &Arc<Policies>) -> Option<bool> {
        let mut world = self.clone();
        for edit in edits {
            world.edit(edit);
        }
        Some(world.ask(&world.snapshot(policies)?, None).0.is_permit())
    }

    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Comes(child, parent) => {
                // A team has exactly one company.
                let one = child.0 == "Team" && parent.0 == "Company";
                let parents = &mut self.entities.get_mut(child).unwrap().1;
                parents.retain(|it| !(one && it.0 == "Company"));
                parents.push(parent.clone());
            }
            Edit::Goes(child, parent) => {
                self.entities.get_mut(child).unwrap().1.retain(|it| it != parent);
            }
            Edit::Set(holder, name, value) => {
                let attrs = match holder {
                    Some(uid) => &mut self.entities.get_mut(uid).unwrap().0,
                    None => &mut self.context,
                };
                match value {
                    Some(value) => attrs[name] = value.clone(),
                    None => drop(attrs.as_object_mut().unwrap().remove(name)),
                }
            }
        }
    }

    /// Every single edit that is tried.
    pub fn universe(&self) -> Vec<Edit> {
        let mut universe = Vec::new();
        let allowed =
            [("User", "Team"), ("User", "Invitation"), ("Doc", "Team"), ("Doc", "User"), ("Team", "Team")];
        for (child, (_, parents)) in &self.entities {
            let of_kinds = |parent: &&Uid| allowed.contains(&(child.0.as_str(), parent.0.as_str()));
            for parent in self.entities.keys().filter(of_kinds).filter(|parent| *parent != child) {
                let there = parents.contains(parent);
                let edit = if there { Edit::Goes } else { Edit::Comes };
                universe.push(edit(child.clone(), parent.clone()));
            }
        }
        let set = |holder: Option<&Uid>, name: &str, value| {
            Edit::Set(holder.cloned(), name.to_owned(), Some(value))
        };
        for (uid, (attrs, _)) in &self.entities {
            for name in ["active", "secret"] {
                universe.extend(attrs[name].as_bool().map(|value| set(Some(uid), name, json!(!value))));
            }
        }
        universe.push(set(None, "urgent", json!(!self.context["urgent"].as_bool().unwrap())));
        let channels =
            ["api", "ui", "mail"].into_iter().filter(|channel| self.context["channel"] != *channel);
        universe.extend(channels.map(|channel| set(None, "channel", json!(channel))));
        universe
    }

    /// The number of modifications that some edits stand for. An edit that adds a membership counts once for
    /// every membership, direct or not, that users and documents gain by it.
    pub fn weight(&self, edits: &[Edit]) -> usize {
        let mut after = self.clone();
        for edit in edits {
            after.edit(edit);
        }
        let gained = after.memberships().difference(&self.memberships()).count();
        let others = edits.iter().filter(|edit| !matches!(edit, Edit::Comes(..)));
        others.count() + gained
    }

    fn memberships(&self) -> BTreeSet<(&Uid, &Uid)> {
        let mut all = BTreeSet::new();
        for member in self.entities.keys().filter(|uid| uid.0 == "User" || uid.0 == "Doc") {
            let mut open = vec![member];
            while let Some(at) = open.pop() {
                let parents = &self.entities.get(at).unwrap().1;
                open.extend(parents.iter().filter(|parent| all.insert((member, *parent))));
            }
        }
        all
    }

    /// A repair as edits of the entity files. Entities that are needed between a member and its ancestor are
    /// created.
    pub fn edits_of(&mut self, repair: &Repair) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        let mut sets: BTreeMap<(Option<Uid>, String), Value> = BTreeMap::new();
        for (location, change) in repair.iter() {
            match location {
                RepairLocation::Membership(child, parent) => {
                    edits.extend(self.membership(child, parent, change));
                }
                RepairLocation::Value(attribute_path) => {
                    let (holder, name) = at(attribute_path);
                    let value = match change {
                        Modification::SetTo(value) => Some(written(value)),
                        Modification::Unset => None,
                        // A value of the right type that is not excluded.
                        _ => Some(match name.as_str() {
                            "label" => json!("zebra"),
                            "level" => json!(-17),
                            "home" => json!({ "type": "Team", "id": "nobody" }),
                            _ => json!({ "type": "User", "id": "nobody" }),
                        }),
                    };
                    edits.push(Edit::Set(holder, name, value));
                }
                RepairLocation::Element(attribute_path, element) => {
                    let (holder, name) = at(attribute_path);
                    let now = || self.entities[holder.as_ref().unwrap()].0[&name].clone();
                    let set = sets.entry((holder.clone(), name.clone())).or_insert_with(now);
                    let set = set.as_array_mut().unwrap();
                    match change {
                        Modification::Add => set.push(written(element)),
                        _ => set.retain(|it| *it != written(element)),
                    }
                }
            }
        }
        edits.extend(sets.into_iter().map(|((holder, name), value)| Edit::Set(holder, name, Some(value))));
        edits
    }

    fn membership(&mut self, child: &EntityUid, parent: &EntityUid, change: &Modification) -> Vec<Edit> {
        let schema = schema();
        let (mut at, parent_uid) = (uid_of(child), uid_of(parent));
        if *change == Modification::Remove {
            return vec![Edit::Goes(at, parent_uid)];
        }
        let mut edits = Vec::new();
        for entity_type in types_between(&schema, child.entity_type, parent.entity_type) {
            let between =
                uid(&schema.entity_type(entity_type).name, &format!("between-{}", self.entities.len()));
            // Every team has to be in a company, until it is in another one.
            let company = ("Company".to_owned(), "c0".to_owned());
            self.entities.insert(between.clone(), (json!({}), vec![company]));
            edits.push(Edit::Comes(at, between.clone()));
            at = between;
        }
        edits.push(Edit::Comes(at, parent_uid));
        edits
    }
}

fn uid_of(entity: &EntityUid) -> Uid {
    uid(&schema().entity_type(entity.entity_type).name, &entity.id)
}

fn at(attribute_path: &AttributePath) -> (Option<Uid>, String) {
    let [name] = attribute_path.path.as_slice() else { panic!("no records here: {attribute_path:?}") };
    let holder = match &attribute_path.owner {
        AttributeOwner::Context => None,
        AttributeOwner::Entity(entity) => Some(uid_of(entity)),
    };
    (holder, name.to_string())
}

fn written(value: &Stored) -> Value {
    match value {
        Stored::Bool(bool) => json!(bool),
        Stored::Long(long) => json!(long),
        Stored::String(text) => json!(text.as_str()),
        Stored::Entity(entity) => reference(&uid_of(entity)),
        other => panic!("not part of this schema: {other:?}"),
    }
}

/// Two entities of each type, with random memberships.
pub fn small() -> impl Strategy<Value = Small> {
    let team = |n: usize| prop::sample::subsequence(if n == 0 { vec!["t1"] } else { Vec::new() }, 0..=1 - n);
    let user = || {
        (
            any::<bool>(),
            0..4_i64,
            groups(),
            prop::sample::subsequence(vec!["admin", "guest"], 0..=2),
            0..2_u8,
            prop::option::of(0..2_u8),
        )
    };
    let doc = (
        0..2_u8,
        any::<bool>(),
        groups(),
        prop::sample::subsequence(vec!["u0", "u1"], 0..=1),
        prop::option::of("[ab]"),
    );
    let context = (prop::sample::select(vec!["api", "ui", "mail"]), any::<bool>(), prop::option::of(0..2_u8));
    let policies = prop::collection::vec(policy(), 1..5);
    (policies, team(0), user(), user(), doc, context).prop_map(
        |(policies, team, u0, u1, doc, (channel, urgent, on))| {
            let user_ref = |n: u8| reference(&uid("User", &format!("u{n}")));
            let mut entities = BTreeMap::new();
            let mut put = |entity_type: &str, id: &str, attrs: Value, parents: Vec<Uid>| {
                entities.insert(uid(entity_type, id), (attrs, parents))
            };
            put("Club", "k0", json!({}), Vec::new());
            put("Club", "k1", json!({}), Vec::new());
            put("Company", "c0", json!({}), Vec::new());
            put("Company", "c1", json!({}), Vec::new());
            put("Team", "t1", json!({}), vec![uid("Company", "c1")]);
            put(
                "Team",
                "t0",
                json!({}),
                team.iter().map(|id| uid("Team", id)).chain([uid("Company", "c0")]).collect(),
            );
            put("Invitation", "i0", json!({ "invited": user_ref(0) }), vec![uid("Team", "t1")]);
            for (id, (active, level, groups, roles, home, boss)) in [("u0", u0), ("u1", u1)] {
                let roles: Vec<Value> = roles.iter().map(|role| reference(&uid("Role", role))).collect();
                let home = reference(&uid("Team", &format!("t{home}")));
                let mut attrs = json!({ "active": active, "level": level, "roles": roles, "home": home });
                if let Some(boss) = boss {
                    attrs["boss"] = user_ref(boss);
                }
                put("User", id, attrs, groups.iter().map(|(entity_type, id)| uid(entity_type, id)).collect());
            }
            let (owner, secret, groups, users, label) = doc;
            let mut attrs = json!({ "owner": user_ref(owner), "secret": secret });
            if let Some(label) = label {
                attrs["label"] = json!(label);
            }
            let parents = groups
                .iter()
                .map(|(entity_type, id)| uid(entity_type, id))
                .chain(users.iter().map(|id| uid("User", id)));
            put("Doc", "d0", attrs, parents.collect());
            let mut context = json!({ "channel": channel, "urgent": urgent });
            if let Some(on) = on {
                context["for_"] = user_ref(on);
            }
            Small { policies, entities, context }
        },
    )
}

fn groups() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop::sample::subsequence(vec![("Team", "t0"), ("Team", "t1"), ("Club", "k0"), ("Club", "k1")], 0..=3)
}

/// A random policy; a few of them do not validate.
fn policy() -> impl Strategy<Value = String> {
    let principals = vec![
        "principal",
        "principal",
        "principal in Team::\"t1\"",
        "principal == User::\"u1\"",
        "principal in Company::\"c1\"",
    ];
    let resources = vec![
        "resource",
        "resource",
        "resource in Team::\"t0\"",
        "resource in Company::\"c1\"",
        "resource == Doc::\"d0\"",
    ];
    let effect = prop_oneof![3 => Just("permit"), 2 => Just("forbid")];
    let conditions = prop::collection::vec((any::<bool>(), condition()), 1..3);
    (effect, prop::sample::select(principals), prop::sample::select(resources), conditions).prop_map(
        |(effect, principal, resource, conditions)| {
            let clause = |(when, text): (bool, String)| {
                format!("{} {{ {text} }}", if when { "when" } else { "unless" })
            };
            let clauses: Vec<String> = conditions.into_iter().map(clause).collect();
            format!("{effect} ({principal}, action == Action::\"read\", {resource}) {};", clauses.join(" "))
        },
    )
}

fn condition() -> impl Strategy<Value = String> {
    let term = prop::sample::select(vec![
        "principal.active",
        "resource.owner.active",
        "resource.secret",
        "context.urgent",
        "context.channel == Channel::\"ui\"",
        "[Channel::\"ui\", Channel::\"api\"].contains(context.channel)",
        "context.channel != Channel::\"api\"",
        "resource in principal",
        "principal in resource.owner.home",
        "resource in principal.home",
        "principal in Team::\"t1\"",
        "principal in [Team::\"t0\", Company::\"c1\"]",
        "resource.owner == principal",
        "resource.owner in Team::\"t0\"",
        "principal.roles.contains(Role::\"admin\")",
        "principal.roles.containsAll([Role::\"admin\", Role::\"guest\"])",
        "principal.roles.containsAny([Role::\"admin\", Role::\"guest\"])",
        "principal.level > 1",
        "principal.level <= resource.owner.level",
        "principal.level < 3 && principal.level > 1",
        "principal has boss",
        "principal has boss && principal.boss == resource.owner",
        "principal has boss && principal.boss.active",
        "resource has label && resource.label like \"a*\"",
        "resource has label && resource.label != \"b\"",
        "context has for_ && context.for_ in Team::\"t1\"",
        "context has for_ && context.for_ == resource.owner",
        "resource in Company::\"c0\"",
        "principal.active == resource.secret",
        "principal in Club::\"k0\"",
        "principal in [Club::\"k0\", Club::\"k1\"]",
        "resource in Club::\"k1\"",
        "resource.owner in Club::\"k0\"",
    ]);
    term.prop_map(|term| format!("({term})")).prop_recursive(2, 5, 3, |inner| {
        prop_oneof![
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            1 => inner.clone().prop_map(|a| format!("!{a}")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}
