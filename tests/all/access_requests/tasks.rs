//! What becomes of a task: read, cancelled, ended.

use serde_json::{Value, json};

use super::{REQUESTS, Served, header, refused, registration, text};
use crate::support::{Content, until};

fn cancel(served: &Served, method: &str, task: &Value, body: &Value) -> crate::support::Reply {
    served.send("gateway", method, text(&task["links"]["cancel"]), body, &[])
}

#[test]
fn a_task_waits_and_says_when_to_ask_again() {
    let served = Served::new();
    let task = served.ask(&registration());
    let reply = served.send("gateway", "GET", text(&task["status_endpoint"]), &Value::Null, &[]);
    assert_eq!(reply.json()["task"], task);
    assert_eq!(header(&reply, "cache-control"), "no-store");
    assert!(header(&reply, "retry-after").parse::<u32>().unwrap() > 0);
}

#[test]
fn an_accepted_task_is_approved_with_a_result() {
    let served = Served::new();
    let task = served.ask(&registration());
    assert_eq!(served.review(&task, "accept", "relecloud").status, 200);
    let reply = served.send("gateway", "GET", text(&task["status_endpoint"]), &Value::Null, &[]);
    let (done, result) = (reply.json()["task"].clone(), reply.json()["result"].clone());
    assert_eq!((&done["status"], &done["id"]), (&json!("approved"), &task["id"]));
    assert!(done["links"].is_null() && reply.headers.get("retry-after").is_none(), "{reply:?}");
    assert_eq!(result["mode"], "reevaluate");
    let approval = &result["approval"];
    assert!(text(&approval["id"]).len() >= 32 && approval["id"] != done["id"], "{approval}");
    assert!(text(&approval["approved_at"]) < text(&approval["approved_until"]), "{approval}");
    // It stays as it is.
    assert_eq!(served.poll(&task)["task"]["status"], "approved");
    refused(&cancel(&served, "POST", &task, &Value::Null), 409, "invalid_task_state");
}

#[test]
fn only_an_eligible_reviewer_approves() {
    let served = Served::new();
    let task = served.ask(&registration());
    let link = text(&task["links"]["review"]).rsplit('/').next().unwrap().to_owned();
    for (entity_type, id) in
        [("TenantUser", "admin@contoso"), ("TenantUser", "nobody"), ("DirectBillPartner", "fabrikam")]
    {
        let subject = json!({ "subject": { "type": entity_type, "id": id } });
        let reply = served.send("portal", "POST", &format!("/links/v1/{link}/accept"), &subject, &[]);
        assert!((400..500).contains(&reply.status), "{reply:?}");
        assert_eq!(served.status(&task), "pending");
    }
}

#[test]
fn a_declined_task_is_denied() {
    let served = Served::new();
    let task = served.ask(&registration());
    assert_eq!(served.review(&task, "decline", "relecloud").status, 200);
    let answer = served.poll(&task);
    assert_eq!(answer["task"]["status"], "denied");
    assert!(answer["result"].is_null(), "{answer}");
    assert_eq!(served.review(&task, "accept", "relecloud").status, 409);
    // Asking again makes another request.
    assert_ne!(served.ask(&registration())["links"]["review"], task["links"]["review"]);
}

#[test]
fn a_request_that_its_requester_takes_back_is_cancelled() {
    let served = Served::new();
    let task = served.ask(&registration());
    let link = text(&task["links"]["review"]).rsplit('/').next().unwrap().to_owned();
    let subject = json!({ "subject": { "type": "DirectBillPartner", "id": "fabrikam" } });
    let reply = served.send("portal", "POST", &format!("/links/v1/{link}/withdraw"), &subject, &[]);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(served.status(&task), "cancelled");
}

#[test]
fn a_caller_cancels_its_task() {
    let served = Served::new();
    for (method, body) in [
        ("POST", Value::Null),
        ("DELETE", Value::Null),
        ("POST", json!({ "reason": "gone", "comment": "the order was cancelled" })),
    ] {
        let task = served.ask(&registration());
        let reply = cancel(&served, method, &task, &body);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["task"]["status"], "cancelled");
        assert_eq!(served.status(&task), "cancelled");
        refused(&cancel(&served, method, &task, &body), 409, "invalid_task_state");
        // Nobody can accept it any more.
        assert_eq!(served.review(&task, "accept", "relecloud").status, 409);
    }
    let task = served.ask(&registration());
    refused(&cancel(&served, "POST", &task, &json!({ "typo": 1 })), 400, "");
    assert_eq!(served.evaluate(&registration())["decision"], false);
}

#[test]
fn cancelling_leaves_what_others_wait_for() {
    let served = Served::new();
    let (one, other) = (served.ask(&registration()), served.ask(&registration()));
    assert_eq!(cancel(&served, "POST", &one, &Value::Null).status, 200);
    assert_eq!((served.status(&one), served.status(&other)), ("cancelled".into(), "pending".into()));
    // The last one takes the request back, although the first has made it.
    assert_eq!(cancel(&served, "POST", &other, &Value::Null).status, 200);
    assert_eq!(served.review(&other, "accept", "relecloud").status, 409);

    // What the partner itself asked for before stays.
    let ask = json!({ "subject": { "type": "DirectBillPartner", "id": "fabrikam" }, "resource": { "type": "Customer", "id": "relecloud" }, "context": { "delegatedAdministration": false }, "rule": "csp-consent" });
    let made = served.send("portal", "POST", "/links/v1", &ask, &[]).json();
    let task = served.ask(&registration());
    assert_eq!(task["links"]["review"], made["links"]["review"], "{made}");
    assert_eq!(cancel(&served, "POST", &task, &Value::Null).status, 200);
    assert_eq!(served.review(&task, "accept", "relecloud").status, 200);
    assert_eq!(served.status(&task), "cancelled");
}

#[test]
fn a_task_is_nobody_elses() {
    let served = Served::new();
    let task = served.ask(&registration());
    let endpoint = text(&task["status_endpoint"]);
    refused(&served.send("other", "GET", endpoint, &Value::Null, &[]), 404, "unknown_task");
    refused(
        &served.send("other", "POST", text(&task["links"]["cancel"]), &Value::Null, &[]),
        404,
        "unknown_task",
    );
    refused(&served.send("plain", "GET", endpoint, &Value::Null, &[]), 403, "");
    for id in ["nothing", "", "a/b", "%00"] {
        let reply = served.send("gateway", "GET", &format!("{REQUESTS}/{id}"), &Value::Null, &[]);
        refused(&reply, 404, "unknown_task");
    }
    let path = endpoint.strip_prefix("https://pdp.example.com").unwrap();
    assert_eq!(served.sidecar().send("GET", path, "", &[]).status, 401);
}

#[test]
fn a_task_survives_the_process_and_the_token_of_its_caller() {
    let mut served = Served::new();
    let task = served.ask(&registration());
    served.start(&[]);
    // Another instance of the same caller, with another token.
    let tokens = served.content.read("tokens");
    served.content.replace_file("tokens", &format!("{tokens}gateway another-instance-of-it\n"));
    let path = text(&task["status_endpoint"]).strip_prefix("https://pdp.example.com").unwrap().to_owned();
    let poll =
        || served.sidecar().send("GET", &path, "", &[("authorization", "Bearer another-instance-of-it")]);
    until("the token is in use", || poll().status == 200);
    assert_eq!(poll().json()["task"]["status"], "pending");
}

#[test]
fn methods_that_a_task_does_not_have_are_named() {
    let served = Served::new();
    let task = served.ask(&registration());
    let (endpoint, cancel) = (text(&task["status_endpoint"]), text(&task["links"]["cancel"]));
    for (path, method, allowed) in
        [(endpoint, "POST", "GET"), (endpoint, "DELETE", "GET"), (cancel, "GET", "POST, DELETE")]
    {
        let reply = served.send("gateway", method, path, &Value::Null, &[]);
        assert_eq!((reply.status, header(&reply, "allow")), (405, allowed), "{method} {path}");
    }
}

/// A sidecar whose clock can be moved.
fn with_clock(content: &Content) -> Option<(crate::support::Sidecar, impl Fn(&str) + use<'_>)> {
    let program = std::env::var_os("FAKETIME").unwrap_or_else(|| "faketime".into());
    if std::process::Command::new(program).arg("--version").output().is_err() {
        eprintln!("NOT RUN: there is no faketime");
        return None;
    }
    let clock = content.path("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let library = "export LD_PRELOAD=/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1";
    let fake = format!(
        "{library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1",
        clock.display()
    );
    let store = content.path("store.redb").display().to_string();
    let sidecar = content.serve_in_shell(&fake, &["--store", &store, "--demo-sign-in"]);
    Some((sidecar, move |to: &str| std::fs::write(&clock, format!("{to}\n")).unwrap()))
}

#[test]
fn requests_tasks_and_approvals_end_with_time() {
    let content = Content::of_pack();
    let Some((sidecar, jump)) = with_clock(&content) else { return };
    let ask = |customer: &str| {
        let question =
            crate::support::register(("DirectBillPartner", "fabrikam"), customer, "partner-center-api");
        let submission = super::submission(&question, &sidecar.evaluate(&question));
        let reply = sidecar.post(REQUESTS, submission.to_string());
        assert_eq!(reply.status, 202, "{reply:?}");
        (question, reply.json()["task"].clone())
    };
    let poll = |task: &Value| {
        let path = format!("{REQUESTS}/{}", text(&task["id"]));
        sidecar.send("GET", &path, "", &[])
    };
    let (_, waiting) = ask("northwind");
    let (question, accepted) = ask("relecloud");
    let requests = sidecar.send("GET", "/links/v1?requester=DirectBillPartner::fabrikam", "", &[]).json();
    let requests = requests["requests"].as_array().unwrap();
    let of_relecloud = requests.iter().find(|request| request["resource"]["id"] == "relecloud").unwrap();
    let accept = format!("/links/v1/{}/accept", text(&of_relecloud["link"]));
    let administrator = json!({ "subject": { "type": "TenantUser", "id": "admin@relecloud" } });
    assert_eq!(sidecar.post(&accept, administrator.to_string()).status, 200);
    let approval = poll(&accepted).json()["result"]["approval"].clone();

    jump("+31d");
    assert_eq!(poll(&waiting).json()["task"]["status"], "expired");
    let again = super::with_approval(&question, &approval);
    // What was consented to stays, and an approval that has ended is no part of it.
    let answer = sidecar.evaluate(&again);
    assert!(answer["decision"] == true && answer["context"]["approval"].is_null(), "{answer}");
    let end = crate::support::question(
        ("DirectBillPartner", "fabrikam"),
        "revokeConsent",
        ("CspConsent", text(&of_relecloud_created(&sidecar)["id"])),
        json!({}),
    );
    let ended = sidecar.post("/access/v1/changes", end.to_string());
    assert_eq!(ended.status, 200, "{ended:?}");
    let context = sidecar.evaluate(&again)["context"].clone();
    assert_eq!(
        (&context["reason"], &context["next_action"]),
        (&json!("approval_expired"), &json!("request"))
    );
    assert!(context["access_request"].is_object(), "{context}");

    jump("+61d");
    for task in [&waiting, &accepted] {
        refused(&poll(task), 410, "task_expired");
    }
}

/// The consent that was made for the request of relecloud.
fn of_relecloud_created(sidecar: &crate::support::Sidecar) -> Value {
    let requests = sidecar.send("GET", "/links/v1?requester=DirectBillPartner::fabrikam", "", &[]).json();
    let requests = requests["requests"].as_array().unwrap();
    requests.iter().find(|request| request["resource"]["id"] == "relecloud").unwrap()["created"].clone()
}
