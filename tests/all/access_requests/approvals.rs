//! Asking again with an approval: what it does not change, and what a denial says.

use serde_json::{Value, json};

use super::{EVALUATION, Served, claims, registration, text, with_approval};
use crate::support::{register, until};

/// What a denial says of an approval: the reason, the next action, and whether it can be requested.
#[track_caller]
fn denied(served: &Served, question: &Value) -> (String, String, bool) {
    let answer = served.evaluate(question);
    assert_eq!(answer["decision"], false, "{answer}");
    let context = &answer["context"];
    let has_offer = context["access_request"].is_object();
    assert!(context["approval"].is_null() && context["evaluation_id"].is_string(), "{answer}");
    (text(&context["reason"]).to_owned(), text(&context["next_action"]).to_owned(), has_offer)
}

#[track_caller]
fn check(served: &Served, question: &Value, reason: &str, next_action: &str) {
    let expected = (reason.to_owned(), next_action.to_owned(), next_action == "request");
    assert_eq!(denied(served, question), expected);
}

/// Ends the consent of relecloud.
#[track_caller]
fn revoke(served: &Served) {
    let requests =
        served.send("portal", "GET", "/links/v1?requester=DirectBillPartner::fabrikam", &Value::Null, &[]);
    let created = requests.json()["requests"][0]["created"]["id"].clone();
    served.act(("DirectBillPartner", "fabrikam"), "revokeConsent", ("CspConsent", text(&created)));
}

#[test]
fn the_next_evaluation_permits() {
    let served = Served::new();
    let approval = served.approved(&registration());
    let answer = served.evaluate(&with_approval(&registration(), &approval));
    assert_eq!(answer["decision"], true);
    let shown = &answer["context"]["approval"];
    assert_eq!((&shown["id"], &shown["approved_until"]), (&approval["id"], &approval["approved_until"]));
    assert!(shown["state"].is_null(), "{answer}");
    // The right is in the entities, so it does not need the approval.
    assert_eq!(served.evaluate(&registration())["decision"], true);
    // Without the state, the approval is looked up.
    let mut by_id = approval.clone();
    by_id.as_object_mut().unwrap().remove("state");
    assert_eq!(
        served.evaluate(&with_approval(&registration(), &by_id))["context"]["approval"]["id"],
        approval["id"]
    );
}

#[test]
fn an_approval_never_overrides_the_policies() {
    let served = Served::new();
    let approval = served.approved(&registration());
    let question = with_approval(&registration(), &approval);
    served.content.edit(
        "policies/registration.cedar",
        "// Who may register",
        "@id(\"stop\") forbid (principal == Autopilot::DirectBillPartner::\"fabrikam\", action == Autopilot::Action::\"registerDevice\", resource);\n// Who may register",
    );
    served.sidecar().signal("HUP");
    until("it is forbidden", || served.evaluate(&question)["decision"] == false);
    check(&served, &question, "policy_denied", "none");
}

#[test]
fn a_right_that_was_taken_away_can_be_asked_for_again() {
    let served = Served::new();
    let approval = served.approved(&registration());
    revoke(&served);
    let question = with_approval(&registration(), &approval);
    check(&served, &question, "approval_expired", "request");
    // The fresh denial is one like any other.
    let mut submission = registration();
    submission["denial"] = super::denial(&served.evaluate(&question));
    assert_eq!(served.submit(&submission).status, 202);
}

#[test]
fn an_approval_is_about_what_was_denied() {
    let served = Served::new();
    let approval = served.approved(&registration());
    revoke(&served);
    let mut other_context = registration();
    other_context["context"]["channel"] = json!("partner-center-ui");
    let mut properties = registration();
    properties["subject"]["properties"] = json!({ "x": 1 });
    for question in [
        register(("DirectBillPartner", "fabrikam"), "northwind", "partner-center-api"),
        register(("DirectBillPartner", "adventure-works"), "relecloud", "partner-center-api"),
        other_context,
        properties,
    ] {
        check(&served, &with_approval(&question, &approval), "out_of_scope", "request");
    }
    let viewing = crate::support::question(
        ("DirectBillPartner", "fabrikam"),
        "viewCustomer",
        ("Customer", "relecloud"),
        json!({}),
    );
    check(&served, &with_approval(&viewing, &approval), "out_of_scope", "request");
    // Where no request helps, there is none to make.
    let oem = register(("DirectBillPartner", "fabrikam"), "relecloud", "oem-api");
    check(&served, &with_approval(&oem, &approval), "out_of_scope", "none");
}

#[test]
fn an_approval_that_cannot_be_verified_is_worth_nothing() {
    let served = Served::new();
    let approval = served.approved(&registration());
    revoke(&served);
    let state = text(&approval["state"]).to_owned();
    let signed = |change: (&str, Value)| {
        let mut claims = claims(&state);
        claims.insert(change.0.to_owned(), change.1);
        json!({ "id": approval["id"], "state": served.key.sign(&state, &claims.into()) })
    };
    let stranger = super::SigningKey::new().sign(&state, &claims(&state).into());
    let of_other = {
        let question = register(("DirectBillPartner", "fabrikam"), "northwind", "partner-center-api");
        served.approved(&question)
    };
    for wrong in [
        json!({ "id": "apr_unknown" }),
        json!({ "id": approval["id"], "state": "x" }),
        json!({ "id": approval["id"], "state": { "a": 1 } }),
        json!({ "id": approval["id"], "state": stranger }),
        json!({ "id": of_other["id"], "state": state }),
        json!({ "state": state }),
        json!({}),
        json!("x"),
        json!(null),
        signed(("aud", json!("https://other.example.com"))),
        signed(("iss", json!("https://other.example.com"))),
        signed(("approval_id", json!("another"))),
        signed(("task", json!("another"))),
    ] {
        check(&served, &with_approval(&registration(), &wrong), "approval_unverifiable", "none");
    }
    let expired = signed(("exp", json!(1_700_000_000)));
    check(&served, &with_approval(&registration(), &expired), "approval_expired", "request");
    // The token of a denial is no approval.
    let denial = served.denied(&registration())["denial"]["binding_token"].clone();
    let wrong = json!({ "id": approval["id"], "state": denial });
    check(&served, &with_approval(&registration(), &wrong), "approval_unverifiable", "none");
}

#[test]
fn a_permit_stays_a_permit_with_a_bad_approval() {
    let served = Served::new();
    let question = register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api");
    for approval in [json!({ "id": "unknown" }), json!(1), json!(null)] {
        let answer = served.evaluate(&with_approval(&question, &approval));
        assert_eq!(answer["decision"], true, "{answer}");
        assert!(answer["context"]["approval"].is_null(), "{answer}");
    }
}

#[test]
fn an_approval_belongs_to_its_caller() {
    let served = Served::new();
    let approval = served.approved(&registration());
    revoke(&served);
    let question = with_approval(&registration(), &approval);
    let answer = served.send("other", "POST", EVALUATION, &question, &[]).json();
    assert_eq!(answer["context"]["reason"], "approval_unverifiable", "{answer}");
    assert!(answer["context"]["access_request"].is_null(), "{answer}");
}

#[test]
fn an_approval_ends_when_its_requester_said() {
    let served = Served::new();
    let mut submission = served.denied(&registration());
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(3);
    let soon = humantime::format_rfc3339_seconds(soon).to_string();
    submission["requested_access"] = json!({ "requested_until": soon });
    let task = super::task_of(&served.submit(&submission));
    assert_eq!(served.review(&task, "accept", "relecloud").status, 200);
    let approval = served.poll(&task)["result"]["approval"].clone();
    assert_eq!(approval["approved_until"], json!(soon));
    revoke(&served);
    let question = with_approval(&registration(), &approval);
    until("the approval has ended", || {
        std::time::SystemTime::now() > humantime::parse_rfc3339(&soon).unwrap()
    });
    check(&served, &question, "approval_expired", "request");
}

#[test]
fn an_approval_survives_a_restart() {
    let mut served = Served::new();
    let approval = served.approved(&registration());
    served.start(&[]);
    let answer = served.evaluate(&with_approval(&registration(), &approval));
    assert_eq!(answer["context"]["approval"]["id"], approval["id"], "{answer}");
}

#[test]
fn items_of_a_batch_bring_their_own_approvals() {
    let served = Served::new();
    let approval = served.approved(&registration());
    let mut batch = registration();
    batch["evaluations"] = json!([
        { "context": { "channel": "partner-center-api", "approval": approval } },
        { "context": { "channel": "oem-api", "approval": approval } },
        {},
    ]);
    let reply = served.send("gateway", "POST", "/access/v1/evaluations", &batch, &[]);
    let answers = reply.json()["evaluations"].clone();
    assert_eq!(answers[0]["context"]["approval"]["id"], approval["id"], "{answers}");
    assert_eq!(answers[1]["context"]["reason"], "out_of_scope", "{answers}");
    assert_eq!(answers[2], json!({ "decision": true }), "{answers}");
}

#[test]
fn the_log_tells_the_whole_story() {
    let mut served = Served::new();
    let denied = served.evaluate(&registration());
    let evaluation = denied["context"]["evaluation_id"].clone();
    let mut submission = super::submission(&registration(), &denied);
    submission["client"] = json!({ "id": "gw-7", "source": { "session_id": "s-1" } });
    let task = super::task_of(&served.submit(&submission));
    served.review(&task, "accept", "relecloud");
    let approval = served.poll(&task)["result"]["approval"].clone();
    assert_eq!(claims(text(&approval["state"]))["evaluation_id"], evaluation);
    served.sidecar = None;
    let mut command = crate::support::mandate();
    command.args(["entities", "log", "--json", "--store"]).arg(served.content.path("store.redb"));
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&str> = lines.iter().filter_map(|line| line["action"].as_str()).collect();
    assert_eq!(actions[actions.len() - 3..], ["requestConsent", "ask", "acceptConsent"], "{output}");
    let verified = crate::support::mandate()
        .args(["entities", "verify", "--store"])
        .arg(served.content.path("store.redb"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
