//! Random entities for the pack, compared with brute force: every principal, action, resource and context is decided by
//! both versions.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Question, QuestionEntity};
use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::{ContentPaths, Loader};
use mandate_sources::policy_limits::PolicyLimits;
use serde_json::Value;

use super::diff_entities;
use crate::diff::json;
use crate::support::{Content, repository_path};

/// Choices that look random: the same for the same name, except that a later version makes some of them anew.
struct Choices {
    seed: u64,
    later: bool,
}

impl Choices {
    fn choose(&self, name: &str, options: u64) -> u64 {
        let hash = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (self.seed, salt, name).hash(&mut hasher);
            hasher.finish()
        };
        let anew = self.later && hash(1).is_multiple_of(3);
        hash(if anew { 2 } else { 3 }) % options
    }

    fn is(&self, name: &str) -> bool {
        self.choose(name, 2) == 0
    }

    fn id<'a>(&self, name: &str, ids: &[&'a str]) -> &'a str {
        ids[self.choose(name, ids.len() as u64) as usize]
    }
}

fn reference(entity_type: &str, id: &str) -> Value {
    json!({ "type": format!("Autopilot::{entity_type}"), "id": id })
}

fn entity(entity_type: &str, id: &str, attrs: Value, parents: Vec<Value>) -> Value {
    json!({ "uid": reference(entity_type, id), "attrs": attrs, "parents": parents })
}

/// Entities that obey the rules of the pack's schema; consents, devices and users may be missing.
fn random_entities(choices: &Choices) -> Vec<Value> {
    let mut all = Vec::new();
    let partners = ["DirectBillPartner", "IndirectProvider", "IndirectReseller", "Oem"];
    for partner in partners {
        for id in ["a", "b"] {
            let active = choices.choose(&format!("{partner} {id} active"), 4) != 0;
            all.push(entity(partner, id, json!({ "active": active }), Vec::new()));
        }
    }
    for id in ["s", "t"] {
        let of = |partner: &str| reference(partner, choices.id(&format!("{id} {partner}"), &["a", "b"]));
        all.push(entity("Partnership", id, json!({}), vec![of("IndirectProvider"), of("IndirectReseller")]));
    }
    for customer in ["c", "d"] {
        let mut accepted = Vec::new();
        for n in 0..4 {
            let id = format!("{customer}{n}");
            if !choices.is(&format!("{id} exists")) {
                continue;
            }
            let (kind, parents) = match choices.choose(&format!("{id} kind"), 4) {
                0 => ("OemConsent", "Oem"),
                1 => ("CspConsent", "DirectBillPartner"),
                2 => ("CspConsent", "IndirectReseller"),
                _ => ("CspConsent", "Partnership"),
            };
            let ids: &[&str] = if parents == "Partnership" { &["s", "t"] } else { &["a", "b"] };
            let parent = reference(parents, choices.id(&format!("{id} parent"), ids));
            let mut attrs = json!({ "customer": reference("Customer", customer) });
            if kind == "CspConsent" {
                attrs["delegatedAdministration"] = json!(choices.is(&format!("{id} administration")));
            }
            if choices.is(&format!("{id} accepted")) {
                attrs["acceptedBy"] = reference("TenantUser", &id);
                accepted.push(reference(kind, &id));
            }
            all.push(entity(kind, &id, attrs, vec![parent]));
        }
        all.push(entity("Customer", customer, json!({}), accepted));
        let of_customer =
            |roles: Value| json!({ "customer": reference("Customer", customer), "roles": roles });
        for n in 0..2 {
            let id = format!("{customer}{n}");
            if choices.is(&format!("{id} user")) {
                let role = choices
                    .id(&format!("{id} role"), &["global-administrator", "intune-administrator", "user"]);
                all.push(entity(
                    "TenantUser",
                    &id,
                    of_customer(json!([reference("Role", role)])),
                    Vec::new(),
                ));
            }
            if choices.is(&format!("{id} device")) {
                let partner = choices.id(&format!("{id} device partner"), &partners);
                let attrs = json!({ "customer": reference("Customer", customer) });
                let parents = vec![reference(partner, choices.id(&format!("{id} device of"), &["a", "b"]))];
                all.push(entity("Device", &id, attrs, parents));
            }
        }
    }
    all.push(entity("MicrosoftOperator", "o", json!({}), Vec::new()));
    all
}

fn load(content: &Content) -> Snapshot {
    let content_paths = ContentPaths {
        policies: repository_path("policies"),
        entities: content.entities(),
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    };
    Loader::new(&content_paths).load().unwrap().snapshot
}

fn contexts(action: &str) -> Vec<Value> {
    match action {
        "registerDevice" | "deregisterDevice" => {
            ["partner-center-api", "partner-center-ui", "oem-api", "intune"]
                .map(|channel| json!({ "channel": channel }))
                .to_vec()
        }
        "requestConsent" | "offerConsent" => {
            [false, true].map(|it| json!({ "delegatedAdministration": it })).to_vec()
        }
        _ => vec![json!({})],
    }
}

/// Every permitted request, as JSON text: principal, action, resource and context.
fn permitted(snapshot: &Snapshot) -> BTreeSet<String> {
    let schema = snapshot.schema();
    let names = snapshot.entities().iter().map(|entity| entity.uid());
    let names: Vec<(&str, &str)> =
        names.map(|uid| (display::entity_type(uid.entity_type, schema), uid.id)).collect();
    let mut permitted = BTreeSet::new();
    for (_, info) in schema.actions() {
        for context in contexts(&info.name) {
            let text = context.to_string();
            let object = Json::parse(text.as_bytes()).unwrap();
            for principal in &names {
                for resource in &names {
                    let named = |(entity_type, id)| QuestionEntity { entity_type, id, properties: None };
                    let question = Question {
                        principal: named(*principal),
                        action: &info.name,
                        action_properties: None,
                        resource: named(*resource),
                        context: object.as_object(),
                    };
                    // Most types do not fit.
                    let Ok(request) = snapshot.request_from_question(&question, Clock::InQuestion) else {
                        continue;
                    };
                    if snapshot.decide(&request, &snapshot.gather(&request)).unwrap().is_permit() {
                        permitted.insert(json!([principal, info.name, resource, context]).to_string());
                    }
                }
            }
        }
    }
    permitted
}

/// What the command shows as gained or lost, each context by itself.
fn shown(result: &Value, direction: &str) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for change in result["changes"].as_array().unwrap().iter().filter(|it| it["change"] == direction) {
        let named = |side: &str| [&change[side]["type"], &change[side]["id"]];
        for context in change["contexts"].as_array().unwrap() {
            let text = json!([named("principal"), change["action"], named("resource"), context]).to_string();
            assert!(shown.insert(text), "shown twice: {change}");
        }
    }
    shown
}

#[test]
fn gains_and_losses_are_those_that_brute_force_finds() {
    let (mut gains, mut losses) = (0, 0);
    for seed in 0..10 {
        let [old, new] = [false, true].map(|later| {
            let entities = random_entities(&Choices { seed, later });
            let content = Content::of(&[("entities/all.json", &json!(entities).to_string())]);
            (load(&content), content)
        });
        let (before, after) = (permitted(&old.0), permitted(&new.0));
        let output =
            diff_entities(&old.1.entities(), &new.1.entities(), &["--format", "json", "--limit", "1000000"]);
        let result = json(&output);
        let gained: BTreeSet<String> = after.difference(&before).cloned().collect();
        let lost: BTreeSet<String> = before.difference(&after).cloned().collect();
        assert_eq!(shown(&result, "gain"), gained, "seed {seed}");
        assert_eq!(shown(&result, "loss"), lost, "seed {seed}");
        (gains, losses) = (gains + gained.len(), losses + lost.len());
    }
    assert!(gains > 50 && losses > 50, "{gains} gains, {losses} losses");
}
