//! Batches: several questions in one request.

use serde_json::{Value, json};

use super::{check_refused, denied, permitted};
use crate::support::Sidecar;

const EVALUATIONS: &str = "/access/v1/evaluations";

#[test]
fn a_batch_answers_its_questions_in_order() {
    let sidecar = Sidecar::of_pack(&[]);
    let batch = |body: Value| sidecar.post(EVALUATIONS, body.to_string()).json();
    let (permit, deny) = (json!({ "decision": true }), json!({ "decision": false }));
    let items = json!([permitted(), denied(), permitted()]);
    assert_eq!(batch(json!({ "evaluations": items })), json!({ "evaluations": [permit, deny, permit] }));
    let options = |semantic| json!({ "evaluations": items, "options": { "evaluations_semantic": semantic } });
    assert_eq!(batch(options("deny_on_first_deny")), json!({ "evaluations": [permit, deny] }));
    assert_eq!(batch(options("permit_on_first_permit")), json!({ "evaluations": [permit] }));
    check_refused(
        &sidecar,
        EVALUATIONS,
        options("whatever").to_string(),
        &["evaluations_semantic", "`whatever`", "execute_all"],
    );
}

/// The subject, action, resource or context of an item replaces the default as a whole.
#[test]
fn items_of_a_batch_replace_the_defaults() {
    let sidecar = Sidecar::of_pack(&[]);
    let batch = |body: Value| sidecar.post(EVALUATIONS, body.to_string()).json();
    let (permit, deny) = (json!({ "decision": true }), json!({ "decision": false }));
    let mut body = permitted();
    body["evaluations"] =
        json!([{}, { "resource": { "type": "Customer", "id": "relecloud" } }, { "context": {} }]);
    let answers = batch(body);
    assert_eq!(answers["evaluations"][0], permit);
    assert_eq!(answers["evaluations"][1], deny);
    let error = &answers["evaluations"][2]["context"]["error"];
    assert_eq!(
        (&error["status"], answers["evaluations"][2]["decision"].clone()),
        (&json!(400), json!(false))
    );
    assert!(error["message"].as_str().unwrap().contains("context.channel: missing"));
}

#[test]
fn a_batch_without_items_is_a_single_evaluation() {
    let sidecar = Sidecar::of_pack(&[]);
    let batch = |body: Value| sidecar.post(EVALUATIONS, body.to_string()).json();
    let mut body = permitted();
    body["evaluations"] = json!([]);
    assert_eq!(batch(body)["decision"], json!(true));
    assert_eq!(batch(permitted())["decision"], json!(true));
}

#[test]
fn a_batch_with_the_option_explain_names_the_policies() {
    let sidecar = Sidecar::of_pack(&[]);
    let body = json!({ "evaluations": [permitted(), denied()], "options": { "explain": true } });
    let answers = sidecar.post(EVALUATIONS, body.to_string()).json();
    let policies = |n: usize| answers["evaluations"][n]["context"]["reason_admin"]["policies"].clone();
    assert_eq!(policies(0), json!(["direct-bill-registers"]));
    assert_eq!(policies(1), json!(["reseller-never-has-the-api"]));
}

#[test]
fn malformed_batches_are_refused_and_malformed_items_answered() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: Value, parts: &[&str]| check_refused(&sidecar, EVALUATIONS, body.to_string(), parts);
    check(json!({ "evaluations": 1 }), &["evaluations: has to be an array"]);
    check(json!({ "evaluations": [{}], "subject": "x" }), &["subject: has to be an object"]);
    check(json!({ "evaluations": [{}], "options": [] }), &["options: has to be an object"]);
    check(
        json!({ "evaluations": [{}], "options": { "explain": 1 } }),
        &["options.explain: has to be a boolean"],
    );
    check(json!({ "evaluations": vec![json!({}); 1001] }), &["has 1001 items, at most 1000"]);
    let answers = sidecar.post(EVALUATIONS, json!({ "evaluations": [1, permitted()] }).to_string()).json();
    assert_eq!(answers["evaluations"][0]["context"]["error"]["status"], json!(400));
    assert_eq!(answers["evaluations"][1], json!({ "decision": true }));
}
