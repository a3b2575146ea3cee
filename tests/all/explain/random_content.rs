//! Small random content: some entities, some policies and one question. It is so small that all repairs of
//! up to three edits can be tried. Edited entities are loaded and checked as usual.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::json::Json;
use mandate_core::policies::Policies;
use mandate_core::request::{Question, QuestionEntity};
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::Value as StoredValue;
use mandate_query::explain::{
    AttributeOwner, AttributePath, Budget, Explanation, Modification, Repair, RepairLocation, explain,
    types_between,
};
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

#[derive(Debug, Clone)]
pub struct RandomContent {
    pub policies: Vec<String>,
    /// The attributes and parents of each entity.
    pub entities: BTreeMap<Uid, (Value, Vec<Uid>)>,
    /// The context of the question.
    pub context: Value,
}

/// The type and id of an entity.
pub type Uid = (String, String);

/// An edit of the entity files or of the context.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Gives a child a parent.
    AddParent(Uid, Uid),
    /// Takes a parent from a child.
    RemoveParent(Uid, Uid),
    /// Sets or removes an attribute of an entity. Without an entity, it is an attribute of the context.
    Set(Option<Uid>, String, Option<Value>),
}

pub fn uid(entity_type: &str, id: &str) -> Uid {
    (entity_type.to_owned(), id.to_owned())
}

pub fn reference((entity_type, id): &Uid) -> Value {
    json!({ "type": entity_type, "id": id })
}

fn schema() -> Arc<Schema> {
    static SHARED: OnceLock<Arc<Schema>> = OnceLock::new();
    let parse = || Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0);
    Arc::clone(SHARED.get_or_init(parse))
}

impl RandomContent {
    pub fn with_policies(self, policies: Vec<String>) -> Self {
        Self { policies, ..self }
    }

    /// Parses the policies; those that are not valid are left out.
    pub fn policies(&self) -> Arc<Policies> {
        let files = self.policies.iter().enumerate();
        let files =
            files.map(|(n, text)| SourceText::new(format!("{n}.cedar"), format!("@id(\"p{n}\") {text}")));
        let valid = |file: &Arc<SourceText>| Policies::parse(std::slice::from_ref(file), schema()).is_ok();
        let files: Vec<_> = files.filter(valid).collect();
        Arc::new(Policies::parse(&files, schema()).unwrap().0)
    }

    /// The snapshot of these entities; `None` if they break a rule.
    pub fn snapshot(&self, policies: &Arc<Policies>) -> Option<Snapshot> {
        let entities = self.entities.iter().map(|(uid, (attrs, parents))| {
            let parents: Vec<Value> = parents.iter().map(reference).collect();
            json!({ "uid": reference(uid), "attrs": attrs, "parents": parents })
        });
        let file = SourceText::new("entities.json", entities.collect::<Value>().to_string());
        let upserts = parse_entity_file(&file, Origin(0), &schema(), &LoadProgress::default()).unwrap();
        let empty = Snapshot::new(Arc::clone(policies), &RequestConfig::default()).unwrap();
        empty.apply(&EntityChanges { upserts, removals: Vec::new() }).ok()
    }

    /// Decides whether user `u0` may read document `d0`. With a budget, also explains the decision.
    pub fn ask(&self, snapshot: &Snapshot, budget: Option<&mut Budget>) -> (Decision, Option<Explanation>) {
        let context = Json::deserialize(&self.context).unwrap();
        let entity = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
        let question = Question {
            principal: entity("User", "u0"),
            action: "read",
            action_properties: None,
            resource: entity("Doc", "d0"),
            context: context.as_object(),
        };
        let request = snapshot.request_from_question(&question, Clock::InQuestion).unwrap();
        let decision = snapshot.decide(&request, &snapshot.gather(&request)).unwrap();
        let explanation = budget.map(|budget| explain(snapshot, &request, &decision, budget).unwrap());
        (decision, explanation)
    }

    /// Whether the question is permitted after some edits; `None` if the edited entities break a rule.
    pub fn permits_after(&self, edits: &[Edit], policies: &Arc<Policies>) -> Option<bool> {
        let mut edited = self.clone();
        for edit in edits {
            edited.apply(edit);
        }
        Some(edited.ask(&edited.snapshot(policies)?, None).0.is_permit())
    }

    fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::AddParent(child, parent) => {
                // A team has exactly one company, so a new company replaces the old one.
                let replaces = child.0 == "Team" && parent.0 == "Company";
                let parents = &mut self.entities.get_mut(child).unwrap().1;
                parents.retain(|old| !(replaces && old.0 == "Company"));
                parents.push(parent.clone());
            }
            Edit::RemoveParent(child, parent) => {
                self.entities.get_mut(child).unwrap().1.retain(|old| old != parent);
            }
            Edit::Set(entity, name, value) => {
                let attrs = match entity {
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

    /// All edits that brute force combines.
    pub fn possible_edits(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        let allowed =
            [("User", "Team"), ("User", "Invitation"), ("Doc", "Team"), ("Doc", "User"), ("Team", "Team")];
        for (child, (_, parents)) in &self.entities {
            let is_allowed = |parent: &&Uid| allowed.contains(&(child.0.as_str(), parent.0.as_str()));
            for parent in self.entities.keys().filter(is_allowed).filter(|parent| *parent != child) {
                let edit = if parents.contains(parent) { Edit::RemoveParent } else { Edit::AddParent };
                edits.push(edit(child.clone(), parent.clone()));
            }
        }
        let set = |entity: Option<&Uid>, name: &str, value| {
            Edit::Set(entity.cloned(), name.to_owned(), Some(value))
        };
        for (uid, (attrs, _)) in &self.entities {
            for name in ["active", "secret"] {
                edits.extend(attrs[name].as_bool().map(|value| set(Some(uid), name, json!(!value))));
            }
        }
        edits.push(set(None, "urgent", json!(!self.context["urgent"].as_bool().unwrap())));
        let channels =
            ["api", "ui", "mail"].into_iter().filter(|channel| self.context["channel"] != *channel);
        edits.extend(channels.map(|channel| set(None, "channel", json!(channel))));
        edits
    }

    /// How many modifications a repair needs for some edits. An edit that adds a parent counts once for each
    /// membership, direct or not, that users and documents get by it.
    pub fn count_modifications(&self, edits: &[Edit]) -> usize {
        let mut after = self.clone();
        for edit in edits {
            after.apply(edit);
        }
        let new_memberships = after.memberships().difference(&self.memberships()).count();
        let other_edits = edits.iter().filter(|edit| !matches!(edit, Edit::AddParent(..)));
        other_edits.count() + new_memberships
    }

    /// All pairs of a user or document and one of its ancestors.
    fn memberships(&self) -> BTreeSet<(&Uid, &Uid)> {
        let mut all = BTreeSet::new();
        for member in self.entities.keys().filter(|uid| uid.0 == "User" || uid.0 == "Doc") {
            let mut to_visit = vec![member];
            while let Some(uid) = to_visit.pop() {
                let parents = &self.entities.get(uid).unwrap().1;
                to_visit.extend(parents.iter().filter(|parent| all.insert((member, *parent))));
            }
        }
        all
    }

    /// A repair as edits. Creates the entities that are needed between a member and its ancestor.
    pub fn edits_of(&mut self, repair: &Repair) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        let mut sets: BTreeMap<(Option<Uid>, String), Value> = BTreeMap::new();
        for (location, change) in repair.iter() {
            match location {
                RepairLocation::Membership(child, parent) => {
                    edits.extend(self.edits_of_membership(child, parent, change));
                }
                RepairLocation::Value(attribute_path) => {
                    let (entity, name) = entity_and_name(attribute_path);
                    let value = match change {
                        Modification::SetTo(value) => Some(to_json(value)),
                        Modification::Unset => None,
                        // Some value of the right type.
                        _ => Some(match name.as_str() {
                            "label" => json!("zebra"),
                            "level" => json!(-17),
                            "home" => json!({ "type": "Team", "id": "nobody" }),
                            _ => json!({ "type": "User", "id": "nobody" }),
                        }),
                    };
                    edits.push(Edit::Set(entity, name, value));
                }
                RepairLocation::Element(attribute_path, element) => {
                    let (entity, name) = entity_and_name(attribute_path);
                    let present = || self.entities[entity.as_ref().unwrap()].0[&name].clone();
                    let set = sets.entry((entity.clone(), name.clone())).or_insert_with(present);
                    let set = set.as_array_mut().unwrap();
                    match change {
                        Modification::Add => set.push(to_json(element)),
                        _ => set.retain(|old| *old != to_json(element)),
                    }
                }
            }
        }
        edits.extend(sets.into_iter().map(|((entity, name), value)| Edit::Set(entity, name, Some(value))));
        edits
    }

    fn edits_of_membership(
        &mut self,
        child: &EntityUid,
        parent: &EntityUid,
        change: &Modification,
    ) -> Vec<Edit> {
        let schema = schema();
        let (mut child_uid, parent_uid) = (uid_of(child), uid_of(parent));
        if *change == Modification::Remove {
            return vec![Edit::RemoveParent(child_uid, parent_uid)];
        }
        let mut edits = Vec::new();
        for entity_type in types_between(&schema, child.entity_type, parent.entity_type) {
            let between =
                uid(&schema.entity_type(entity_type).name, &format!("between-{}", self.entities.len()));
            // If this is a team, the schema requires a company. A later edit may replace it.
            let company = ("Company".to_owned(), "c0".to_owned());
            self.entities.insert(between.clone(), (json!({}), vec![company]));
            edits.push(Edit::AddParent(child_uid, between.clone()));
            child_uid = between;
        }
        edits.push(Edit::AddParent(child_uid, parent_uid));
        edits
    }
}

fn uid_of(entity: &EntityUid) -> Uid {
    uid(&schema().entity_type(entity.entity_type).name, &entity.id)
}

/// The entity (`None` for the context) and the name of an attribute.
fn entity_and_name(attribute_path: &AttributePath) -> (Option<Uid>, String) {
    let [name] = attribute_path.path.as_slice() else {
        panic!("the schema has no records: {attribute_path:?}")
    };
    let entity = match &attribute_path.owner {
        AttributeOwner::Context => None,
        AttributeOwner::Entity(entity) => Some(uid_of(entity)),
    };
    (entity, name.to_string())
}

fn to_json(value: &StoredValue) -> Value {
    match value {
        StoredValue::Bool(bool) => json!(bool),
        StoredValue::Long(long) => json!(long),
        StoredValue::String(text) => json!(text.as_str()),
        StoredValue::Entity(entity) => reference(&uid_of(entity)),
        other => panic!("the schema has no such values: {other:?}"),
    }
}
