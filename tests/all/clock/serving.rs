//! The time in the requests of a sidecar, over each of its transports.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::content::{content, user};
use crate::support::{Reply, mandate, until};

pub fn question(action: &str, context: Value) -> Value {
    let eve = json!({ "type": "User", "id": "eve" });
    json!({ "subject": eve, "action": { "name": action }, "resource": eve, "context": context })
}

#[track_caller]
fn check_refused(reply: &Reply, path: &str) {
    assert_eq!(reply.status, 400, "{}", reply.body);
    let expected = format!("{path}: comes from the clock of the decision point: leave it out");
    assert!(reply.body.contains(&expected), "{}", reply.body);
}

/// A time from now, in RFC 3339.
pub fn from_now(later: Duration) -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() + later).to_string()
}

#[test]
fn callers_get_the_time_of_the_machine_and_never_send_one() {
    let content = content();
    let sidecar = content.serve();
    assert!(sidecar.permits(&question("today", json!({}))));
    assert!(!sidecar.permits(&question("before-1970", json!({}))));
    // Another action may have an attribute of the same name, which is the caller's.
    assert!(sidecar.permits(&question("timeless", json!({ "now": "later" }))));

    for value in [json!("2000-01-01"), json!(7), Value::Null] {
        let sent = question("today", json!({ "now": value }));
        check_refused(&sidecar.post("/access/v1/evaluation", sent.to_string()), "context.now");
        for search in ["subject", "resource"] {
            let path = format!("/access/v1/search/{search}");
            check_refused(&sidecar.post(&path, sent.to_string()), "context.now");
        }
    }
    let mut sent = question("today", json!({}));
    sent["action"]["properties"] = json!({ "now": "2000-01-01" });
    check_refused(&sidecar.post("/access/v1/evaluation", sent.to_string()), "action.properties.now");

    let mut batch = question("today", json!({}));
    batch["evaluations"] = json!([{}, { "context": { "now": "2000-01-01" } }]);
    let reply = sidecar.post("/access/v1/evaluations", batch.to_string()).json();
    assert_eq!(reply["evaluations"][0]["decision"], true);
    assert_eq!(reply["evaluations"][1]["context"]["error"]["status"], 400, "{reply}");
}

#[test]
fn searches_have_the_time() {
    let content = content();
    let sidecar = content.serve();
    let eve = json!({ "type": "User", "id": "eve" });
    let resources = json!({ "subject": eve, "action": { "name": "today" }, "resource": { "type": "User" } });
    let found = sidecar.post("/access/v1/search/resource", resources.to_string()).json();
    assert_eq!(found["results"], json!([eve]));
    let search = |context: Value| {
        let body = json!({ "subject": eve, "resource": eve, "context": context });
        sidecar.post("/access/v1/search/action", body.to_string())
    };
    let names = |reply: Reply| -> Vec<String> {
        let results = reply.json()["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["name"].as_str().unwrap().to_owned()).collect()
    };
    let found = names(search(json!({})));
    assert!(["soon", "timeless", "today"].iter().all(|name| found.iter().any(|it| it == name)), "{found:?}");
    check_refused(&search(json!({ "now": "2000-01-01" })), "context.now");
}

#[test]
fn a_search_goes_on_while_time_does() {
    let content = content();
    let users: Vec<String> = ["ann", "bob", "eve"]
        .iter()
        .map(|id| format!(r#"{{ "uid": {{ "type": "User", "id": "{id}" }}, "attrs": {{}}, "parents": [] }}"#))
        .collect();
    content.write("entities/users.json", &format!("[{}]", users.join(",")));
    let sidecar = content.serve();
    let mut search = question("soon", json!({}));
    search["page"] = json!({ "limit": 2 });
    let asked = from_now(Duration::ZERO);
    let first = sidecar.post("/access/v1/search/resource", search.to_string()).json();
    assert_eq!(first["results"].as_array().unwrap().len(), 2, "{first}");
    until("the time is another one", || from_now(Duration::ZERO) > asked);
    search["page"] = json!({ "token": first["page"]["next_token"] });
    let second = sidecar.post("/access/v1/search/resource", search.to_string()).json();
    assert_eq!(second["results"].as_array().unwrap().len(), 1, "{second}");
    assert_eq!(second["page"]["next_token"], "");
}

#[test]
fn the_answer_changes_with_the_time_and_is_remembered_while_it_holds() {
    let content = content();
    let until_then = from_now(Duration::from_secs(3));
    content.write("entities/users.json", &user(&format!(r#""pausedUntil": "{until_then}""#)));
    let sidecar = content.serve();
    let soon = question("soon", json!({}));
    let is_permitted = || {
        let permitted = sidecar.permits(&soon);
        assert!(!permitted || from_now(Duration::ZERO) >= until_then);
        permitted
    };
    until("the pause is over", is_permitted);

    // Nothing but the day is in this context, so all of these questions are one request.
    let today = question("today", json!({}));
    let hits = || sidecar.metric("mandate_cache_hits_total");
    assert!(sidecar.permits(&today));
    let before = hits();
    for _ in 0..5 {
        assert!(sidecar.permits(&today));
    }
    // One of them may be the first of another day.
    assert!(hits() - before >= 4.0, "{before} {}", hits());
}

#[test]
fn gateways_get_the_time_of_the_machine() {
    let content = content();
    let route = "[[route]]\nid = 'soon'\nmethod = 'GET'\npath = '/soon/{user}'\naction = 'soon'\nprincipal = { type = 'User', id = { header = 'x-user' } }\nresource = { type = 'User', id = { path = 'user' } }\n";
    content.write("policies/routes.toml", route);
    let until_then = from_now(Duration::from_secs(3));
    content.write("entities/users.json", &user(&format!(r#""pausedUntil": "{until_then}""#)));
    let sidecar = content.serve();
    let forwarded = [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/soon/eve"), ("x-user", "eve")];
    let status = || sidecar.send("GET", "/forward-auth", "", &forwarded).status;
    until("the pause is over", || {
        let status = status();
        assert!(status == 403 || from_now(Duration::ZERO) >= until_then, "{status}");
        status == 200
    });
}

#[test]
fn changes_have_the_time_in_a_sidecar_and_on_the_command_line() {
    let content = content();
    let change = "[[change]]\naction = 'weekend'\n[[change.set]]\nentity = 'resource'\nattributes = { pausedUntil = 'context.now' }\n";
    content.write("policies/changes.toml", change);
    let store = content.path("store.redb").display().to_string();
    let import = mandate()
        .args(["entities", "import", "--store", &store, "--policies"])
        .args([content.policies(), content.entities()])
        .output()
        .unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    let at = |time: &str, zone: &str| {
        let question = ["--principal", "User::eve", "--action", "weekend", "--resource", "User::eve"];
        let (at, zone) = (format!("--at={time}"), format!("--time-zone={zone}"));
        let mut command = content.command("change");
        command.args(["--store", &store, &at, &zone]).args(question).output().unwrap().status.code()
    };
    assert_eq!(at("2026-11-27T10:14:00Z", "UTC"), Some(2));
    assert_eq!(at("2026-11-27T10:14:00Z", "Pacific/Kiritimati"), Some(0));
    let paused = || {
        let args = ["entities", "get", "User::eve", "--store", &store];
        String::from_utf8(mandate().args(args).output().unwrap().stdout).unwrap()
    };
    assert!(paused().contains("2026-11-27T10:00:00Z"), "{}", paused());

    content.edit(
        "policies/p.cedar",
        "[Weekday::\"saturday\", Weekday::\"sunday\"].contains(context.day)",
        "true",
    );
    let sidecar = content.serve_with(&["--store", &store, "--demo-sign-in"]);
    let sent = question("weekend", json!({ "now": "2000-01-01" }));
    let refused = sidecar.post("/access/v1/changes", sent.to_string());
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("context.now: comes from the clock"), "{}", refused.body);
    let changed = sidecar.post("/access/v1/changes", question("weekend", json!({})).to_string());
    assert_eq!(changed.status, 200, "{}", changed.body);
    drop(sidecar);
    let year = from_now(Duration::ZERO)[..5].to_owned();
    assert!(!paused().contains("2026-11-27T10:00:00Z") && paused().contains(&year), "{}", paused());
}
