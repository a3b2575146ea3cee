//! What the log says of a change of the entities: which entities and edges came and went, from which file.

use std::fs;

use serde_json::{Value, json};

use super::CONSENT_EDGE;
use crate::support::{Content, Sidecar, until};

/// Waits until the log has so many events of accepted changes of the entities, and returns the last one.
#[track_caller]
fn accepted_change(sidecar: &Sidecar, count: usize) -> Value {
    let events = || -> Vec<Value> {
        let log = sidecar.log();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_change = |event: &Value| event["message"] == "change accepted" && event["track"] == "entities";
        events.filter(is_change).collect()
    };
    until("the log says that the change was accepted", || events().len() == count);
    events().pop().unwrap()
}

/// The numbers of entities that were added, removed and changed, and of edges that were added and removed.
fn counts(event: &Value) -> [u64; 5] {
    ["added", "removed", "changed", "edges_added", "edges_removed"]
        .map(|field| event[field].as_u64().unwrap_or_else(|| panic!("no {field}: {event}")))
}

/// Puts a change into use, and checks what the log says of it.
#[track_caller]
fn check(change: impl FnOnce(&Content), expected: [u64; 5], changes: &str) {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--log-format", "json", "--poll", "1h"]);
    change(&content);
    let event = accepted_change(&sidecar, 1);
    assert_eq!((counts(&event), event["changes"].as_str()), (expected, Some(changes)), "{event}");
    assert_eq!(event["level"], "INFO");
}

#[test]
fn a_revoked_consent_is_an_edge_that_went() {
    check(
        |content| content.edit("entities/customers.json", CONSENT_EDGE, ""),
        [0, 0, 0, 0, 1],
        r#"- Autopilot::Customer::"contoso" in Autopilot::CspConsent::"contoso--fabrikam" (customers.json)"#,
    );
}

#[test]
fn changed_attributes_are_named_without_their_values() {
    let lucerne = r#""Lucerne Publishing", "active": "#;
    check(
        |content| {
            content.edit("entities/partners.json", &format!("{lucerne}false"), &format!("{lucerne}true"));
        },
        [0, 0, 1, 0, 0],
        r#"~ Autopilot::DirectBillPartner::"lucerne": active (partners.json)"#,
    );
}

#[test]
fn entities_come_and_go_with_their_edges_and_name_their_files() {
    let device = json!({
        "uid": { "type": "Autopilot::Device", "id": "a" },
        "attrs": { "customer": { "type": "Autopilot::Customer", "id": "contoso" } },
        "parents": [{ "type": "Autopilot::Oem", "id": "trey" }],
    });
    check(
        |content| {
            fs::create_dir(content.path("entities/more")).unwrap();
            content.write("entities/more/new.ndjson", &device.to_string());
        },
        [1, 0, 0, 1, 0],
        r#"+ Autopilot::Device::"a" (more/new.ndjson); + Autopilot::Device::"a" in Autopilot::Oem::"trey" (more/new.ndjson)"#,
    );
    let last = r#"- Autopilot::Device::"northwind-laptop-3" (devices.ndjson); - Autopilot::Device::"northwind-laptop-3" in Autopilot::IndirectProvider::"proseware" (devices.ndjson)"#;
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--log-format", "json", "--poll", "1h"]);
    fs::remove_file(content.path("entities/devices.ndjson")).unwrap();
    let event = accepted_change(&sidecar, 1);
    assert_eq!(counts(&event), [0, 6, 0, 0, 6], "{event}");
    assert!(event["changes"].as_str().unwrap().ends_with(last), "{event}");
}

/// Ids are data of callers: neither their number nor their length, nor control characters in them, may harm the log.
#[test]
fn many_changes_and_long_ids_are_cut() {
    let operator = |id: &str| json!({ "uid": { "type": "Autopilot::MicrosoftOperator", "id": id }, "attrs": {}, "parents": [] });
    let long = "x".repeat(100_000);
    let ids = ["\n\u{1b}[31m\"; + forged".to_owned(), long].into_iter();
    let all: Vec<Value> = ids.chain((0..1_250).map(|n| format!("n{n:04}"))).map(|id| operator(&id)).collect();
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--log-format", "json", "--poll", "1h"]);
    content.write("entities/operators.json", &json!(all).to_string());
    let event = accepted_change(&sidecar, 1);
    assert_eq!(counts(&event), [1_252, 0, 0, 0, 0]);
    let changes = event["changes"].as_str().unwrap();
    let first = r#"+ Autopilot::MicrosoftOperator::"\n\u{1b}[31m\"; + forged" (operators.json); + Autopilot::MicrosoftOperator::"n0000" (operators.json); "#;
    assert!(changes.starts_with(first) && changes.ends_with("; and 1232 more"), "{changes}");
    assert_eq!(changes.matches("(operators.json)").count(), 20);
    // Only what is new differs now, although the file is read as a whole.
    let mut edited = all;
    edited.truncate(2);
    content.write("entities/operators.json", &json!(edited).to_string());
    assert_eq!(counts(&accepted_change(&sidecar, 2)), [0, 1_250, 0, 0, 0]);
    content.write("entities/operators.json", &json!(edited[..1]).to_string());
    let changes = accepted_change(&sidecar, 3)["changes"].as_str().unwrap().to_owned();
    assert!(changes.contains("xxx…") && changes.len() < 300, "{changes}");
}

#[test]
fn the_text_of_the_log_can_be_read() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--poll", "1h"]);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    let edge = r#"edges_removed=1 changes=- Autopilot::Customer::"contoso" in Autopilot::CspConsent::"contoso--fabrikam" (customers.json)"#;
    until("the log names the edge", || sidecar.log().lines().any(|line| line.ends_with(edge)));
    // The entities of the start are only counted.
    assert_eq!(sidecar.log().matches("changes=").count(), 1);
}

/// The content is the same, so nothing came or went.
#[test]
fn a_file_that_is_only_formatted_changes_no_entity() {
    check(|content| content.edit("entities/partners.json", "{\"uid\"", "{  \"uid\""), [0; 5], "");
}
