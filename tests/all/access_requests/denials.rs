//! What a denied evaluation says.

use serde_json::{Value, json};

use super::{EVALUATION, Served, claims, registration, text};
use crate::support::register;

#[test]
fn a_denial_that_a_consent_would_turn_is_requestable() {
    let served = Served::new();
    let denied = served.evaluate(&registration());
    assert_eq!(denied["decision"], false);
    let (context, offer) = (&denied["context"], &denied["context"]["access_request"]);
    assert_eq!(context["evaluation_id"], context["decision_id"]);
    assert_eq!(context["reason"], "approval_required");
    assert!(text(&context["evaluated_at"]) < text(&offer["expires_at"]), "{context}");
    assert_eq!(offer["endpoint"], "https://pdp.example.com/access/v1/requests");
    assert_eq!(offer["template"], "csp-consent");
    assert!(offer["request_schema_url"].is_null(), "{offer}");
    assert!(context["reason_user"]["en"].is_string(), "what was there stays: {context}");
}

#[test]
fn the_token_binds_what_was_asked_inline() {
    let served = Served::new();
    let mut question = registration();
    question["context"]["time"] = json!("2026-11-29T10:00:00Z");
    question["subject"]["properties"] = json!({ "level": 1.5, "act": { "sub": "agent" } });
    let denied = served.evaluate(&question);
    let claims = claims(text(&denied["context"]["access_request"]["binding_token"]));
    for member in ["subject", "resource", "action"] {
        assert_eq!(claims[member], question[member], "{member}");
    }
    // What the schema does not have does not count.
    assert_eq!(claims["context"], registration()["context"]);
    assert_eq!(claims["binding_context_members"], json!(["channel", "device"]));
    assert_eq!(claims["denial_expires_at"], denied["context"]["access_request"]["expires_at"]);
    assert_eq!(claims["evaluation_id"], denied["context"]["evaluation_id"]);
    assert!(claims["iat"].is_number() && claims["exp"].is_number() && text(&claims["jti"]).len() > 20);
}

#[test]
fn a_denial_that_stays_is_not_requestable() {
    let served = Served::new();
    for (question, why) in [
        (
            register(("IndirectReseller", "tailspin"), "contoso", "partner-center-api"),
            "forbidden over the API",
        ),
        (register(("DirectBillPartner", "lucerne"), "relecloud", "partner-center-api"), "suspended"),
        (register(("DirectBillPartner", "nobody"), "relecloud", "partner-center-api"), "unknown"),
        (register(("DirectBillPartner", "fabrikam"), "relecloud", "oem-api"), "the wrong channel"),
        (register(("TenantUser", "user@contoso"), "contoso", "intune"), "nobody can give a role"),
    ] {
        let answer = served.evaluate(&question);
        assert_eq!(answer["decision"], false, "{why}");
        for member in ["access_request", "evaluation_id", "next_action", "reason"] {
            assert!(answer["context"][member].is_null(), "{why}: {answer}");
        }
    }
    let permitted =
        served.evaluate(&register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api"));
    assert_eq!(permitted["decision"], true);
    assert!(permitted["context"]["access_request"].is_null());
}

#[test]
fn nothing_is_requestable_while_everything_is_denied() {
    let served = Served::with(&["--deny-all"]);
    let answer = served.evaluate(&registration());
    assert!(answer["decision"] == false && answer["context"]["access_request"].is_null(), "{answer}");
}

#[test]
fn only_callers_that_may_ask_are_told() {
    let served = Served::new();
    for caller in ["portal", "plain"] {
        let answer = served.send(caller, "POST", EVALUATION, &registration(), &[]).json();
        assert!(answer["decision"] == false && answer["context"]["access_request"].is_null(), "{answer}");
        assert!(answer["context"]["evaluation_id"].is_null(), "{answer}");
    }
    let with_approval = super::with_approval(&registration(), &json!({ "id": "x" }));
    let answer = served.send("plain", "POST", EVALUATION, &with_approval, &[]).json();
    assert!(answer["decision"] == false && answer["context"]["next_action"].is_null(), "{answer}");
}

#[test]
fn people_read_it_in_their_language() {
    let served = Served::new();
    let display = |language: &str| {
        let answer = served
            .send("gateway", "POST", EVALUATION, &registration(), &[("accept-language", language)])
            .json();
        answer["context"]["access_request"]["display"].clone()
    };
    let english = display("fr, en;q=0.5");
    assert_eq!(english["title"], "Reseller relationship");
    assert_eq!(english["description"], "Fabrikam Devices asks to become a reseller of Relecloud.");
    assert_eq!(display("de-AT, en;q=0.8")["title"], "Resellerbeziehung");
}

#[test]
fn a_choice_is_described_by_a_schema() {
    let served = Served::new();
    let question = register(("IndirectProvider", "wingtip"), "contoso", "partner-center-api");
    let denied = served.evaluate(&question);
    let url = text(&denied["context"]["access_request"]["request_schema_url"]);
    let reply = served.send("gateway", "GET", url, &Value::Null, &[]);
    let schema = reply.json();
    let requested = &schema["properties"]["requested_access"]["properties"];
    let mut partnerships = requested["partnership"]["enum"].as_array().unwrap().clone();
    partnerships.sort_by_key(ToString::to_string);
    assert_eq!(partnerships, [json!("wingtip--adventure-works"), json!("wingtip--tailspin")]);
    assert!(jsonschema::validator_for(&schema).is_ok(), "{schema}");
    assert_eq!(served.send("plain", "GET", url, &Value::Null, &[]).status, 403);
    let unknown = served.send("gateway", "GET", "/access/v1/request-schemas/nothing", &Value::Null, &[]);
    assert_eq!(unknown.status, 404);

    let mut submission = served.denied(&question);
    let reply = served.submit(&submission);
    super::refused(&reply, 400, "");
    assert!(reply.body.contains("requested_access.partnership") && reply.body.contains("wingtip--tailspin"));
    submission["requested_access"] = json!({ "partnership": "proseware--tailspin" });
    super::refused(&served.submit(&submission), 400, "not_requestable");
    submission["requested_access"] = json!({ "partnership": "wingtip--tailspin" });
    let task = super::task_of(&served.submit(&submission));
    assert_eq!(served.review(&task, "accept", "contoso").status, 200);
    assert_eq!(served.evaluate(&question)["decision"], true);
    // The consent under a partnership covers its reseller, too.
    let reseller = register(("IndirectReseller", "tailspin"), "contoso", "partner-center-ui");
    assert_eq!(served.evaluate(&reseller)["decision"], true);
}

#[test]
fn items_of_a_batch_are_requestable_each() {
    let served = Served::new();
    let mut batch = json!({ "subject": registration()["subject"], "action": registration()["action"], "context": { "channel": "partner-center-api" } });
    batch["evaluations"] = json!([
        { "resource": { "type": "Customer", "id": "contoso" } },
        { "resource": { "type": "Customer", "id": "relecloud" } },
        { "resource": { "type": "Customer", "id": "relecloud" }, "context": { "channel": "oem-api" } },
        { "resource": { "type": "Customer", "id": "northwind" } },
    ]);
    let reply = served.send("gateway", "POST", "/access/v1/evaluations", &batch, &[]);
    let answers = reply.json()["evaluations"].clone();
    let requestable: Vec<bool> =
        answers.as_array().unwrap().iter().map(|it| it["context"]["access_request"].is_object()).collect();
    assert_eq!(requestable, [false, true, false, true], "{answers}");
    let claims = claims(text(&answers[1]["context"]["access_request"]["binding_token"]));
    assert_eq!(claims["resource"], batch["evaluations"][1]["resource"]);
    assert_eq!((&claims["subject"], &claims["context"]), (&batch["subject"], &batch["context"]));
    let as_plain = served.send("plain", "POST", "/access/v1/evaluations", &batch, &[]).json();
    assert!(as_plain["evaluations"][1]["context"].is_null(), "{as_plain}");
}
