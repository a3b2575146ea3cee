//! Submitting an access request: what binds it to its denial, and what is refused.

use serde_json::{Value, json};

use super::{REQUESTS, Served, claims, header, refused, registration, text};
use crate::support::{Sidecar, register};

/// The submission with another member.
fn changed(submission: &Value, pointer: &str, value: Value) -> Value {
    let mut submission = submission.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    submission.pointer_mut(parent).unwrap()[name] = value;
    submission
}

/// The submission whose token has other claims, signed with the key of the decision point.
fn forged(served: &Served, submission: &Value, change: &[(&str, Value)]) -> Value {
    let token = text(&submission["denial"]["binding_token"]);
    let mut claims = claims(token);
    claims.extend(change.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let token = served.key.sign(token, &claims.into());
    changed(submission, "/denial/binding_token", token.into())
}

#[test]
fn a_submission_is_answered_with_a_task_handle() {
    let served = Served::new();
    let reply = served.submit(&served.denied(&registration()));
    assert_eq!(reply.status, 202, "{reply:?}");
    let task = reply.json()["task"].clone();
    assert_eq!(header(&reply, "location"), text(&task["status_endpoint"]));
    assert_eq!(
        text(&task["status_endpoint"]),
        format!("https://pdp.example.com{REQUESTS}/{}", text(&task["id"]))
    );
    assert!(text(&task["id"]).len() >= 32, "{task}");
    assert_eq!(task["status"], "pending");
    assert_eq!(text(&task["links"]["cancel"]), format!("{}/cancel", text(&task["status_endpoint"])));
    assert!(text(&task["links"]["review"]).starts_with("https://consent.example.com/links/"), "{task}");
    assert!(task["display"]["title"].is_string() && task["expires_at"].is_string(), "{task}");
    assert!(reply.json()["result"].is_null());
    header(&reply, "retry-after");
}

#[test]
fn only_named_callers_submit() {
    let served = Served::new();
    let submission = served.denied(&registration());
    for caller in ["portal", "plain"] {
        let reply = served.send(caller, "POST", REQUESTS, &submission, &[]);
        refused(&reply, 403, "");
        assert!(reply.body.contains("--request-callers"), "{reply:?}");
    }
    assert_eq!(served.sidecar().post(REQUESTS, submission.to_string()).status, 401);
    let reply = served.send("gateway", "GET", REQUESTS, &Value::Null, &[]);
    assert_eq!((reply.status, header(&reply, "allow")), (405, "POST"));
}

#[test]
fn context_may_be_added_and_not_changed() {
    let served = Served::new();
    let submission = served.denied(&registration());
    refused(
        &served.submit(&changed(&submission, "/context/channel", json!("partner-center-ui"))),
        400,
        "invalid_denial_binding",
    );
    refused(&served.submit(&changed(&submission, "/context", json!({}))), 400, "invalid_denial_binding");
    // A member of the schema that the denied question did not have counts, too.
    refused(
        &served.submit(&changed(&submission, "/context/device", json!("d"))),
        400,
        "invalid_denial_binding",
    );
    let more = changed(&submission, "/context/business_justification", json!({ "ticket": 1.5 }));
    assert_eq!(served.submit(&more).status, 202);
}

#[test]
fn what_is_submitted_has_to_be_what_was_denied() {
    let served = Served::new();
    let submission = served.denied(&registration());
    for (pointer, value) in [
        ("/subject/id", json!("adventure-works")),
        ("/subject/properties", json!({ "level": 1 })),
        ("/resource/id", json!("northwind")),
        ("/resource/properties", json!({ "x": null })),
        ("/action/name", json!("viewCustomer")),
        ("/denial/evaluation_id", json!("another")),
        ("/denial/expires_at", json!("2099-01-01T00:00:00Z")),
    ] {
        let reply = served.submit(&changed(&submission, pointer, value));
        refused(&reply, 400, "invalid_denial_binding");
    }
    // The actor of a subject may be named elsewhere.
    let acting = changed(&submission, "/subject/properties", json!({ "act": { "sub": "agent" } }));
    assert_eq!(served.submit(&acting).status, 202);
}

#[test]
fn numbers_and_the_order_of_members_do_not_matter() {
    let served = Served::new();
    let mut question = registration();
    question["subject"]["properties"] = json!({ "a": 1, "b": [2, 3] });
    let submission = served.denied(&question);
    let other = changed(&submission, "/subject/properties", json!({ "b": [2.0, 3e0], "a": 1.0 }));
    let wrong = changed(&submission, "/subject/properties", json!({ "a": 1, "b": [3, 2] }));
    refused(&served.submit(&wrong), 400, "invalid_denial_binding");
    assert_eq!(served.submit(&other).status, 202);
}

#[test]
fn a_submission_needs_the_token_of_its_denial() {
    let served = Served::new();
    let submission = served.denied(&registration());
    let mut without = submission.clone();
    without.as_object_mut().unwrap().remove("denial");
    refused(&served.submit(&without), 400, "invalid_denial_binding");
    // The id of an evaluation alone proves nothing here: nothing is remembered of evaluations.
    let mut only_id = submission.clone();
    only_id["denial"].as_object_mut().unwrap().remove("binding_token");
    refused(&served.submit(&only_id), 400, "invalid_denial_binding");
    let mut endless = submission.clone();
    endless["denial"].as_object_mut().unwrap().remove("expires_at");
    refused(&served.submit(&endless), 400, "invalid_denial_binding");
}

#[test]
fn a_token_that_others_made_is_refused() {
    let served = Served::new();
    let submission = served.denied(&registration());
    let token = text(&submission["denial"]["binding_token"]).to_owned();
    let stranger = super::SigningKey::new().sign(&token, &claims(&token).into());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    // "alg": "none"
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiZGVuaWFsK2p3dCJ9.{payload}.");
    for wrong in [
        stranger,
        format!("{signed}.{flipped}"),
        none,
        format!("{header}.e30.{signature}"),
        String::new(),
        "x".into(),
    ] {
        let reply = served.submit(&changed(&submission, "/denial/binding_token", wrong.into()));
        refused(&reply, 400, "invalid_denial_binding");
    }
    assert_eq!(served.submit(&submission).status, 202);
}

#[test]
fn a_token_for_another_party_is_refused() {
    let served = Served::new();
    let submission = served.denied(&registration());
    for change in [("aud", json!("https://other.example.com")), ("iss", json!("https://other.example.com"))] {
        refused(&served.submit(&forged(&served, &submission, &[change])), 400, "invalid_denial_binding");
    }
    let mut claims = claims(text(&submission["denial"]["binding_token"]));
    claims.remove("aud");
    let token = served.key.sign(text(&submission["denial"]["binding_token"]), &claims.into());
    let reply = served.submit(&changed(&submission, "/denial/binding_token", token.into()));
    refused(&reply, 400, "invalid_denial_binding");
}

#[test]
fn an_approval_is_no_denial() {
    let served = Served::new();
    let approval = served.approved(&registration());
    let question = register(("DirectBillPartner", "fabrikam"), "northwind", "partner-center-api");
    let submission = served.denied(&question);
    let reply = served.submit(&changed(&submission, "/denial/binding_token", approval["state"].clone()));
    refused(&reply, 400, "invalid_denial_binding");
}

#[test]
fn a_denial_expires() {
    let served = Served::new();
    let submission = served.denied(&registration());
    // The clocks of two machines may differ by half a minute.
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let late = |by: i64| {
        let end = time_at(now - by);
        let forged =
            forged(&served, &submission, &[("exp", json!(now - by)), ("denial_expires_at", json!(end))]);
        changed(&forged, "/denial/expires_at", json!(end))
    };
    refused(&served.submit(&late(45)), 410, "expired_denial");
    // The earlier of both ends counts.
    let end = time_at(now - 45);
    let longer = forged(&served, &submission, &[("denial_expires_at", json!(end))]);
    refused(&served.submit(&changed(&longer, "/denial/expires_at", json!(end))), 410, "expired_denial");
    assert_eq!(served.submit(&late(10)).status, 202);
}

/// A time in RFC 3339.
fn time_at(seconds: i64) -> String {
    humantime::format_rfc3339_seconds(
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.cast_unsigned()),
    )
    .to_string()
}

#[test]
fn a_token_is_used_once() {
    let mut served = Served::new();
    let submission = served.denied(&registration());
    assert_eq!(served.submit(&submission).status, 202);
    refused(&served.submit(&submission), 400, "invalid_denial_binding");
    // The store remembers it, not the process.
    served.start(&[]);
    refused(&served.submit(&submission), 400, "invalid_denial_binding");
}

#[test]
fn a_repetition_with_a_key_gets_the_same_task() {
    let mut served = Served::new();
    let submission = served.denied(&registration());
    let key = [("idempotency-key", "order 66")];
    let first = served.send("gateway", "POST", REQUESTS, &submission, &key);
    let task = super::task_of(&first);
    assert!(first.headers.get("idempotency-replayed").is_none());
    // The same in another order.
    let members: Vec<(String, Value)> = submission.as_object().unwrap().clone().into_iter().collect();
    let reordered: Value = Value::Object(members.into_iter().rev().collect());
    served.start(&[]);
    for body in [&submission, &reordered] {
        let again = served.send("gateway", "POST", REQUESTS, body, &key);
        assert_eq!(super::task_of(&again)["id"], task["id"]);
        assert_eq!(header(&again, "idempotency-replayed"), "true");
    }
    let other =
        served.send("gateway", "POST", REQUESTS, &changed(&submission, "/context/more", json!(1)), &key);
    refused(&other, 409, "duplicate_request");
    // Each caller has keys of its own.
    let question = register(("DirectBillPartner", "fabrikam"), "northwind", "partner-center-api");
    let denied = served.send("other", "POST", super::EVALUATION, &question, &[]).json();
    let of_other = super::submission(&question, &denied);
    let reply = served.send("other", "POST", REQUESTS, &of_other, &key);
    assert_ne!(super::task_of(&reply)["id"], task["id"]);
    // It is found after it has ended, too.
    assert_eq!(served.review(&task, "accept", "relecloud").status, 200);
    let done = served.send("gateway", "POST", REQUESTS, &submission, &key);
    assert_eq!((done.status, &done.json()["task"]["status"]), (201, &json!("approved")));
    assert_eq!(done.json()["result"]["mode"], "reevaluate");
}

#[test]
fn it_is_decided_again_when_it_is_submitted() {
    let served = Served::new();
    let submission = served.denied(&registration());
    // Somebody else gets the consent meanwhile.
    let task = served.ask(&registration());
    assert_eq!(served.review(&task, "accept", "relecloud").status, 200);
    let reply = served.submit(&submission);
    refused(&reply, 400, "not_requestable");
    assert!(reply.body.contains("permitted by now"), "{reply:?}");
    // Or the partner may not ask any more.
    let question = register(("DirectBillPartner", "fabrikam"), "northwind", "partner-center-api");
    let submission = served.denied(&question);
    served.content.edit(
        "policies/registration.cedar",
        "permit (\n  principal is Autopilot::DirectBillPartner,\n  action == Autopilot::Action::\"registerDevice\"",
        "permit (\n  principal == Autopilot::DirectBillPartner::\"another\",\n  action == Autopilot::Action::\"registerDevice\"",
    );
    let before = served.sidecar().revision();
    served.sidecar().signal("HUP");
    crate::support::until("the policies are in use", || served.sidecar().revision() != before);
    refused(&served.submit(&submission), 400, "not_requestable");
}

#[test]
fn a_denial_without_an_offer_cannot_be_submitted() {
    let served = Served::new();
    let question = register(("DirectBillPartner", "lucerne"), "relecloud", "partner-center-api");
    let denied = served.evaluate(&question);
    let mut submission = question.clone();
    submission["denial"] =
        json!({ "evaluation_id": denied["context"]["decision_id"], "expires_at": "2099-01-01T00:00:00Z" });
    refused(&served.submit(&submission), 400, "invalid_denial_binding");
    // Nor with a token for it, as the decision point would never make one.
    let submission =
        forged(&served, &served.denied(&registration()), &[("subject", question["subject"].clone())]);
    let submission = changed(&submission, "/subject", question["subject"].clone());
    refused(&served.submit(&submission), 400, "not_requestable");
}

#[test]
fn who_asks_for_the_same_again_waits_for_the_same() {
    let served = Served::new();
    let one = served.ask(&registration());
    let other = served.ask(&registration());
    assert_ne!(one["id"], other["id"]);
    assert_eq!(one["links"]["review"], other["links"]["review"]);
    // Seeing a customer needs the same consent.
    let viewing = crate::support::question(
        ("DirectBillPartner", "fabrikam"),
        "viewCustomer",
        ("Customer", "relecloud"),
        json!({}),
    );
    assert_eq!(served.ask(&viewing)["links"]["review"], one["links"]["review"]);
    assert_eq!(served.review(&one, "accept", "relecloud").status, 200);
    assert_eq!((served.status(&one), served.status(&other)), ("approved".into(), "approved".into()));
    let approvals = [&one, &other].map(|task| served.poll(task)["result"]["approval"]["id"].clone());
    assert_ne!(approvals[0], approvals[1]);
}

#[test]
fn requested_until_is_an_end_that_the_rule_allows() {
    let served = Served::new();
    let submission = served.denied(&registration());
    for wrong in [json!("2020-01-01T00:00:00Z"), json!("2099-01-01T00:00:00Z"), json!("soon"), json!(3)] {
        let reply =
            served.submit(&changed(&submission, "/requested_access", json!({ "requested_until": wrong })));
        refused(&reply, 400, "");
        assert!(reply.body.contains("requested_access.requested_until"), "{reply:?}");
    }
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let until = time_at(now + 60 * 24 * 60 * 60);
    let asked = changed(&submission, "/requested_access", json!({ "requested_until": until }));
    let task = super::task_of(&served.submit(&asked));
    served.review(&task, "accept", "relecloud");
    assert_eq!(served.poll(&task)["result"]["approval"]["approved_until"], json!(until));
}

#[test]
fn emergencies_are_refused_and_unknown_members_ignored() {
    let served = Served::new();
    let submission = served.denied(&registration());
    let reply = served.submit(&changed(&submission, "/requested_access", json!({ "emergency": true })));
    refused(&reply, 400, "");
    let extended = json!({ "emergency": false, "https://example.com/more": { "x": 1 }, "delegatedAdministration": true });
    let mut asked = changed(&submission, "/requested_access", extended);
    asked["client"] =
        json!({ "id": "gw", "name": "Gateway", "vendor.example.com/x": 1, "source": { "session_id": "s" } });
    let task = super::task_of(&served.submit(&asked));
    // What the rule lets a requester choose counts: delegated administration was asked for, too.
    let link = text(&task["links"]["review"]).rsplit('/').next().unwrap().to_owned();
    let shown = served.send("portal", "GET", &format!("/links/v1/{link}"), &Value::Null, &[]).json();
    assert_eq!(shown["request"]["context"]["delegatedAdministration"], true, "{shown}");
}

#[test]
fn an_actor_that_cannot_be_verified_is_refused() {
    let served = Served::new();
    let submission = served.denied(&registration());
    for actor in [json!({ "id": "agent" }), json!({ "id": "gateway", "act": { "sub": "x", "iss": "y" } })] {
        let reply = served.submit(&changed(&submission, "/client", json!({ "actor": actor })));
        refused(&reply, 403, "");
    }
    refused(&served.submit(&changed(&submission, "/client", json!({ "actor": {} }))), 400, "");
    let own = changed(&submission, "/client", json!({ "actor": { "id": "gateway", "type": "service" } }));
    assert_eq!(served.submit(&own).status, 202);
}

#[test]
fn bodies_that_are_no_access_requests_are_refused() {
    let served = Served::new();
    let submission = served.denied(&registration());
    for (body, words) in [
        (json!({}), "subject"),
        (json!([]), "object"),
        (changed(&submission, "/typo", json!(1)), "typo"),
        (changed(&submission, "/denial/typo", json!(1)), "typo"),
        (changed(&submission, "/context", json!("x")), "map"),
    ] {
        let reply = served.submit(&body);
        refused(&reply, 400, "");
        assert!(reply.body.contains(words) || words == "object", "{words}: {reply:?}");
    }
    for member in ["resource", "action"] {
        let mut body = submission.clone();
        body.as_object_mut().unwrap().remove(member);
        let reply = served.submit(&body);
        refused(&reply, 400, "");
        assert!(reply.body.contains(member), "{reply:?}");
    }
    let long = changed(&submission, "/context/long", json!("x".repeat(70_000)));
    refused(&served.submit(&long), 413, "");
    let wrong_type = served.sidecar().send(
        "POST",
        REQUESTS,
        submission.to_string(),
        &[("authorization", "Bearer gateway-0123456789abcdef0123"), ("content-type", "text/plain")],
    );
    refused(&wrong_type, 400, "");
}

#[test]
fn a_requester_has_only_so_many_requests() {
    let content = crate::support::Content::of_pack();
    content.edit("policies/consent.changes.toml", "open_at_most = 1000", "open_at_most = 1");
    let store = content.path("store.redb").display().to_string();
    let sidecar: Sidecar = content.serve_with(&["--store", &store, "--demo-sign-in"]);
    let submit = |customer: &str| {
        let question = register(("DirectBillPartner", "fabrikam"), customer, "partner-center-api");
        let submission = super::submission(&question, &sidecar.evaluate(&question));
        sidecar.post(REQUESTS, submission.to_string())
    };
    assert_eq!(submit("relecloud").status, 202);
    let reply = submit("northwind");
    assert_eq!(reply.status, 429, "{reply:?}");
}
