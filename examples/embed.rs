//! The decision point inside a program, without any HTTP: content from texts, questions from code.
//!
//!     cargo run --example embed
//!
//! It prints who may open which door, before and after somebody leaves.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::sync::Arc;

use mandate_pdp::embed::{
    EntityChanges, LoadProgress, Origin, Policies, Question, QuestionEntity, RequestConfig, Schema, Snapshot,
    SourceText, parse_entity_file,
};
use mandate_pdp::{DecisionContext, Pdp, PdpConfig, Transport};

const SCHEMA: &str = r"
entity Team;
entity Person in [Team] = { onLeave: Bool };
entity Door = { team: Team };
action open appliesTo { principal: Person, resource: Door };
";

const POLICIES: &str = r#"
@id("own-doors")
@reason("The doors of a team are open to its members, unless they are on leave.")
permit (principal, action == Action::"open", resource)
when { principal in resource.team && !principal.onLeave };
"#;

const ENTITIES: &str = r#"[
  {"uid": {"type": "Team", "id": "night"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Door", "id": "vault"}, "attrs": {"team": {"type": "Team", "id": "night"}}, "parents": []},
  {"uid": {"type": "Person", "id": "ana"}, "attrs": {"onLeave": false}, "parents": [{"type": "Team", "id": "night"}]}
]"#;

fn main() -> Result<(), Box<dyn Error>> {
    // A snapshot is policies, schema and entities as one value that never changes.
    let (schema, _) = Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA))?;
    let (policies, _) = Policies::parse(&[SourceText::new("doors.cedar", POLICIES)], Arc::new(schema))?;
    let snapshot = Snapshot::new(Arc::new(policies), &RequestConfig::default())?;
    let snapshot = snapshot.apply(&entities(&snapshot, ENTITIES)?)?;

    // The decision point holds the one in use, and remembers what it decided.
    let (pdp, publisher) = Pdp::new(snapshot.clone(), PdpConfig::cached(10_000));
    show(&pdp)?;

    // Whatever changes makes another snapshot; requests that are under way keep theirs.
    let leaves = r#"[{"uid": {"type": "Person", "id": "ana"}, "attrs": {"onLeave": true}, "parents": [{"type": "Team", "id": "night"}]}]"#;
    publisher.publish(snapshot.apply(&entities(&snapshot, leaves)?)?);
    show(&pdp)
}

/// Entities from JSON, by the schema of a snapshot.
fn entities(snapshot: &Snapshot, json: &str) -> Result<EntityChanges, Box<dyn Error>> {
    let source = SourceText::new("entities.json", json);
    let upsert = parse_entity_file(&source, Origin::default(), snapshot.schema(), &LoadProgress::default())?;
    Ok(EntityChanges { upserts: upsert, ..EntityChanges::default() })
}

fn show(pdp: &Pdp) -> Result<(), Box<dyn Error>> {
    let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
    let question = Question {
        principal: named("Person", "ana"),
        action: "open",
        action_properties: None,
        resource: named("Door", "vault"),
        context: None,
    };
    let view = pdp.view();
    let decision = view.decide(&question, &DecisionContext::new(Transport::InProcess))?.decision;
    let verdict = if decision.is_permit() { "may" } else { "may not" };
    println!("ana {verdict} open the vault, by revision {}", view.revision());
    if !decision.is_permit() {
        println!("  {}", decision.reason());
    }
    Ok(())
}
