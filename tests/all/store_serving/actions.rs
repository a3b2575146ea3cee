//! Actions that change entities.

use serde_json::{Value, json};

use super::{Served, header, question, request_consent};
use crate::support::{Content, Sidecar};

const CHANGES: &str = "/access/v1/changes";
const BATCH: &str = "/access/v1/changes/batch";

fn created(answer: &Value) -> String {
    answer["context"]["created"][0]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn register(partner: &str, device: &str) -> Value {
    let context = json!({ "channel": { "type": "Channel", "id": "partner-center-api" }, "device": device });
    let mut question =
        question(("DirectBillPartner", partner), "registerDevice", ("Customer", "relecloud"), &context);
    question["context"]["channel"] = json!("partner-center-api");
    question
}

fn administrator(action: &str, consent: &str) -> Value {
    question(("TenantUser", "admin@relecloud"), action, ("CspConsent", consent), &json!({}))
}

#[test]
fn a_consent_is_requested_accepted_used_and_ended() {
    let mut served = Served::of_pack();
    let registration = register("fabrikam", "device-1");
    assert!(!served.permits(&registration));
    assert_eq!(served.change(&registration).status, 403);

    let requested = served.change(&request_consent());
    assert_eq!(requested.status, 200, "{requested:?}");
    let consent = created(&requested.json());
    assert!(!served.permits(&registration), "a request alone gives no right");

    let accepted = served.change(&administrator("acceptConsent", &consent));
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert!(served.permits(&registration));
    let registered = served.change(&registration);
    assert_eq!(created(&registered.json()), "device-1");
    let again = served.change(&registration);
    assert_eq!((again.status, again.json()["title"].clone()), (409, json!("Conflict")));
    assert!(again.body.contains("exists already"), "{again:?}");

    let ended = served.change(&question(
        ("DirectBillPartner", "fabrikam"),
        "revokeConsent",
        ("CspConsent", &consent),
        &json!({}),
    ));
    assert_eq!(ended.status, 200, "{ended:?}");
    assert!(!served.permits(&registration), "an ended consent gives no right");
    assert_eq!(header(&ended, "mandate-at"), ended.json()["context"]["position"].as_str().unwrap());

    let log = served.entities("log", &["--json"]);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["caller"], &last["action"]), (&json!("portal"), &json!("revokeConsent")));
    assert_eq!(last["subject"], "DirectBillPartner::fabrikam");
    assert!(served.entities("verify", &[]).starts_with("verified: 5 transactions"));
}

#[test]
fn a_denied_change_changes_nothing_and_says_why() {
    let served = Served::of_pack();
    let before = served.sidecar().status();
    let context = json!({ "delegatedAdministration": true });
    let denied =
        served.change(&question(("Oem", "trey"), "requestConsent", ("Customer", "relecloud"), &context));
    assert_eq!(denied.status, 403, "{denied:?}");
    assert_eq!(header(&denied, "content-type"), "application/problem+json");
    let problem = denied.json();
    for member in ["type", "title", "status", "detail", "decision_id", "outcome", "policies"] {
        assert!(!problem[member].is_null(), "no {member}: {problem}");
    }
    assert_eq!(problem["decision"], false);
    let after = served.sidecar().status();
    assert_eq!(before["revision"], after["revision"]);
    let permitted = served.sidecar().metric("mandate_decisions_total{outcome=\"permitted\"}");
    assert!(permitted < 1.0, "{permitted}");
    let denied = served.sidecar().metric("mandate_changes_total{result=\"denied\"}");
    let sequence = served.sidecar().metric("mandate_store_sequence");
    assert!((denied - 1.0).abs() < 0.1 && (sequence - 1.0).abs() < 0.1, "{denied} {sequence}");
}

#[test]
fn a_request_with_a_key_is_done_once() {
    let mut served = Served::of_pack();
    let key = [("idempotency-key", "order 66")];
    let first = served.send_as("portal", "POST", CHANGES, &request_consent(), &key);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(first.headers.get("idempotency-replayed").is_none());
    let same = |served: &Served| {
        let again = served.send_as("portal", "POST", CHANGES, &request_consent(), &key);
        assert_eq!(header(&again, "idempotency-replayed"), "true");
        assert_eq!(created(&again.json()), created(&first.json()));
        assert_eq!(again.json()["context"]["position"], first.json()["context"]["position"]);
    };
    same(&served);
    let other = served.send_as("portal", "POST", CHANGES, &register("fabrikam", "d"), &key);
    assert_eq!(other.status, 422, "{other:?}");
    // The store remembers it, not the process.
    served.start();
    same(&served);
    let unusable = served.send_as("portal", "POST", CHANGES, &request_consent(), &[("idempotency-key", "")]);
    assert_eq!(unusable.status, 400, "{unusable:?}");
    assert!(served.entities("verify", &[]).starts_with("verified: 2 transactions"));
}

#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let served = Served::of_pack();
    let consent = created(&served.change(&request_consent()).json());
    let accept = administrator("acceptConsent", &consent);
    let channel = json!({ "channel": "partner-center-api" });
    let deregister =
        question(("DirectBillPartner", "fabrikam"), "deregisterDevice", ("Device", "one"), &channel);
    let batch = |changes: &[&Value]| {
        served.send_as("portal", "POST", BATCH, &json!({ "changes": changes }), &[("idempotency-key", "k")])
    };
    let denied = batch(&[&accept, &register("fabrikam", "one"), &register("tailspin-2", "two")]);
    assert_eq!((denied.status, &denied.json()["index"]), (403, &json!(2)), "{denied:?}");
    assert!(!served.permits(&register("fabrikam", "one")), "the acceptance was not committed alone");

    // Each is decided on what those before it leave.
    let done = batch(&[&accept, &register("fabrikam", "one"), &deregister, &register("fabrikam", "one")]);
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(done.json()["changes"][1]["context"]["created"][0]["id"], "one");
    assert!(done.json()["context"]["position"].as_str().unwrap().ends_with(":6"), "{done:?}");
    let again = batch(&[&accept, &register("fabrikam", "one"), &deregister, &register("fabrikam", "one")]);
    assert_eq!(again.json()["changes"], done.json()["changes"]);
    for wrong in [json!({}), json!({ "changes": [] }), json!({ "changes": [1] }), json!({ "changes": [{}] })]
    {
        assert_eq!(served.send_as("portal", "POST", BATCH, &wrong, &[]).status, 400, "{wrong}");
    }
}

#[test]
fn an_action_without_a_rule_or_a_value_is_not_performed() {
    let served = Served::of_pack();
    let consent = ("CspConsent", "contoso--fabrikam");
    let administer = question(("DirectBillPartner", "fabrikam"), "administer", consent, &json!({}));
    let reply = served.change(&administer);
    assert!(reply.status == 409 && reply.body.contains("no rule of changes.toml"), "{reply:?}");
    let context = json!({ "channel": "partner-center-api" });
    let nameless =
        question(("DirectBillPartner", "fabrikam"), "registerDevice", ("Customer", "contoso"), &context);
    let reply = served.change(&nameless);
    assert!(reply.status == 409 && reply.body.contains("`context.device` is missing"), "{reply:?}");
}

#[test]
fn only_callers_that_the_operator_named_change_anything() {
    let served = Served::of_pack();
    let as_gateway = served.send_as("gateway", "POST", CHANGES, &request_consent(), &[]);
    assert_eq!(as_gateway.status, 403);
    assert!(as_gateway.body.contains("--change-callers"), "{as_gateway:?}");
    let nobody = served.sidecar().post(CHANGES, request_consent().to_string());
    assert_eq!(nobody.status, 401, "{nobody:?}");
    assert_eq!(served.send_as("portal", "GET", CHANGES, &Value::Null, &[]).status, 405);

    let content = Content::of_pack();
    let files = content.serve();
    let reply = files.post(CHANGES, request_consent().to_string());
    assert!(reply.status == 404 && reply.body.contains("--store"), "{reply:?}");
    assert!(reply.headers.get("mandate-at").is_none(), "{reply:?}");

    let store = content.path("store.redb").display().to_string();
    let ask = |sidecar: &Sidecar| sidecar.post(CHANGES, request_consent().to_string());
    let open = content.serve_with(&["--store", &store]);
    let reply = ask(&open);
    assert!(reply.status == 403 && reply.body.contains("does not authenticate callers"), "{reply:?}");
    drop(open);
    let demo = content.serve_with(&["--store", &store, "--demo-sign-in"]);
    assert_eq!(ask(&demo).status, 200);
    // As a page of the web that leads a browser here.
    let headers = [("content-type", "application/json"), ("host", "evil.example:8181")];
    let foreign = demo.post_with_headers(CHANGES, request_consent().to_string(), &headers);
    assert!(foreign.status == 403 && foreign.body.contains("ask `localhost`"), "{foreign:?}");
    assert!(demo.log().contains("demo sign-in: everybody on this machine may change entities"));
}

#[test]
fn options_of_changes_need_a_store() {
    let content = Content::of_pack();
    let output = content.mandate("serve", &["--change-callers", "portal", "--demo-sign-in"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for option in ["`change-callers` needs `store`", "`demo-sign-in` needs `store`"] {
        assert!(errors.contains(option), "{errors}");
    }
}

#[test]
fn everything_is_denied_while_the_operator_says_so() {
    let served = Served::of_pack();
    served.content.write("policies/deny-all", "incident 42");
    served.wait(|sidecar| !sidecar.status()["suspended"].is_null());
    let denied = served.change(&request_consent());
    assert_eq!((denied.status, &denied.json()["outcome"]), (403, &json!("deny_all")), "{denied:?}");
    std::fs::remove_file(served.content.path("policies/deny-all")).unwrap();
    served.wait(|sidecar| sidecar.status()["suspended"].is_null());
    assert_eq!(served.change(&request_consent()).status, 200);
}

#[test]
fn new_policies_decide_changes_too_and_keep_the_position() {
    let served = Served::of_pack();
    let at = header(&served.change(&request_consent()), "mandate-at").to_owned();
    let revision = served.sidecar().revision();
    let forbid =
        "@id(\"no-requests\") forbid (principal, action == Autopilot::Action::\"requestConsent\", resource);";
    served.content.write("policies/freeze.cedar", forbid);
    served.wait(|sidecar| sidecar.revision() != revision);
    let denied = served.change(&request_consent());
    assert_eq!((denied.status, header(&denied, "mandate-at")), (403, &*at), "{denied:?}");
    assert_eq!(denied.json()["policies"], json!(["no-requests"]));
    // A new schema reads all entities again, from the store.
    served.content.edit(
        "policies/schema.cedarschema",
        "entity MicrosoftOperator;",
        "entity MicrosoftOperator, Auditor;",
    );
    std::fs::remove_file(served.content.path("policies/freeze.cedar")).unwrap();
    let revision = served.sidecar().revision();
    served.wait(|sidecar| sidecar.revision() != revision);
    let requested = served.change(&request_consent());
    assert_eq!(requested.status, 200, "{requested:?}");
    assert!(header(&requested, "mandate-at").ends_with(":3"), "{requested:?}");
}

#[test]
fn a_store_that_is_removed_while_it_is_served_takes_nothing_more() {
    let mut served = Served::of_pack();
    served.sidecar = None;
    std::fs::copy(served.content.path("store.redb"), served.content.path("older.redb")).unwrap();
    served.start();
    assert_eq!(served.change(&request_consent()).status, 200);
    std::fs::rename(served.content.path("store.redb"), served.content.path("elsewhere.redb")).unwrap();
    let refused = served.change(&request_consent());
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("nothing was changed") && !refused.body.contains("redb"), "{refused:?}");
    assert_eq!(header(&refused, "retry-after"), "1");
    served.wait(|sidecar| {
        let status = sidecar.status();
        !status["entities"]["last_reload"]["errors"].is_null()
            && status["entities"]["last_reload"].to_string().contains("was moved, removed or replaced")
    });
    served.permits(&request_consent());
    // An older copy in its place is not adopted.
    std::fs::copy(served.content.path("older.redb"), served.content.path("store.redb")).unwrap();
    let refused = served.change(&request_consent());
    assert_eq!(refused.status, 503, "{refused:?}");
    std::fs::rename(served.content.path("elsewhere.redb"), served.content.path("store.redb")).unwrap();
    assert_eq!(served.change(&request_consent()).status, 200);
}
