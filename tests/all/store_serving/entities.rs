//! Entities that outside systems write.

use serde_json::{Value, json};

use super::{Served, header};
use crate::support::Reply;

impl Served {
    fn crm(&self, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        self.send_as("crm", method, &format!("/entities/v1/{path}"), body, headers)
    }
}

fn partner(id: &str, active: bool) -> Value {
    json!({ "uid": { "type": "Autopilot::Oem", "id": id }, "attrs": { "active": active }, "parents": [] })
}

#[test]
fn an_entity_is_written_read_and_deleted() {
    let mut served = Served::of_pack();
    assert_eq!(served.crm("GET", "Oem/acme", &Value::Null, &[]).status, 404);
    let created = served.crm("PUT", "Oem/acme", &partner("acme", true), &[("if-none-match", "*")]);
    assert_eq!(created.status, 200, "{created:?}");
    let position = created.json()["position"].as_str().unwrap().to_owned();
    assert_eq!(header(&created, "mandate-at"), position);
    let read = served.crm("GET", "Autopilot%3A%3AOem/acme", &Value::Null, &[]);
    assert_eq!(read.json(), partner("acme", true));
    assert_eq!(header(&read, "etag"), format!("\"{}\"", position.split_once(':').unwrap().1));

    let cached = served.crm("GET", "Oem/acme", &Value::Null, &[("if-none-match", header(&read, "etag"))]);
    assert_eq!(cached.status, 200, "{cached:?}");
    let twice = served.crm("PUT", "Oem/acme", &partner("acme", false), &[("if-none-match", "*")]);
    assert_eq!(twice.status, 412, "{twice:?}");
    let old = served.crm("PUT", "Oem/acme", &partner("acme", false), &[("if-match", "\"1\"")]);
    assert_eq!((old.status, &old.json()["version"]), (412, &json!(2)), "{old:?}");
    let replaced =
        served.crm("PUT", "Oem/acme", &partner("acme", false), &[("if-match", header(&read, "etag"))]);
    assert_eq!(replaced.status, 200, "{replaced:?}");
    let same = served.crm("PUT", "Oem/acme", &partner("acme", false), &[("if-match", "*")]);
    assert_eq!(same.json()["position"], replaced.json()["position"], "nothing changed");

    let deleted = served.crm("DELETE", "Oem/acme", &Value::Null, &[("if-match", "\"3\"")]);
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(served.crm("DELETE", "Oem/acme", &Value::Null, &[]).status, 404);
    let log = served.entities("log", &["--json"]);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["caller"], &last["action"]), (&json!("crm"), &json!("write")));
}

#[test]
fn what_the_schema_does_not_allow_is_refused_with_its_place() {
    let served = Served::of_pack();
    let put = |body: &Value| served.crm("PUT", "Oem/acme", body, &[]);
    let wrong =
        json!({ "uid": { "type": "Autopilot::Oem", "id": "acme" }, "attrs": { "active": 1 }, "parents": [] });
    let refused = put(&wrong);
    assert_eq!(refused.status, 400, "{refused:?}");
    let error = &refused.json()["errors"][0];
    assert!(error["message"].as_str().unwrap().starts_with("attrs.active: "), "{error}");
    assert_eq!(error["line"], 1);
    assert!(error["column"].as_u64().unwrap() > 1, "{error}");
    let other = put(&partner("other", true));
    assert!(other.status == 400 && other.body.contains("the path names"), "{other:?}");
    // A rule between entities.
    let lost = json!({
        "uid": { "type": "Autopilot::OemConsent", "id": "x" }, "parents": [{ "type": "Autopilot::Oem", "id": "none" }],
        "attrs": { "customer": { "__entity": { "type": "Autopilot::Customer", "id": "contoso" } } },
    });
    let refused = served.crm("PUT", "OemConsent/x", &lost, &[]);
    assert!(refused.status == 409 && refused.body.contains("does not exist"), "{refused:?}");
    for (path, status) in [("Nothing/x", 400), ("Oem", 404), ("Oem/a/b", 404), ("Oem/%ff", 404)] {
        assert_eq!(served.crm("PUT", path, &partner("acme", true), &[]).status, status, "{path}");
    }
    for tag in ["1", "W/\"1\"", "\"x\""] {
        assert_eq!(
            served.crm("PUT", "Oem/acme", &partner("acme", true), &[("if-match", tag)]).status,
            400,
            "{tag}"
        );
    }
}

#[test]
fn several_entities_are_written_together_or_not_at_all() {
    let served = Served::of_pack();
    let bulk = |edits: Value| served.crm("POST", "bulk", &json!({ "edits": edits }), &[]);
    let delete = json!({ "delete": { "type": "Autopilot::Oem", "id": "none" } });
    let refused = bulk(json!([{ "put": partner("acme", true) }, delete]));
    assert_eq!((refused.status, &refused.json()["index"]), (404, &json!(1)), "{refused:?}");
    assert_eq!(served.crm("GET", "Oem/acme", &Value::Null, &[]).status, 404);
    let done = bulk(json!([{ "put": partner("acme", true) }, { "put": partner("zenith", true) }]));
    assert_eq!(done.status, 200, "{done:?}");
    let stale = bulk(json!([{ "put": partner("acme", false), "if_match": 1 }]));
    assert_eq!(stale.status, 412, "{stale:?}");
    let done = bulk(json!([
        { "put": partner("acme", false), "if_match": 2 },
        { "delete": { "type": "Oem", "id": "zenith" } },
    ]));
    assert_eq!(done.status, 200, "{done:?}");
    let both = json!({ "put": partner("a", true), "delete": { "type": "Oem", "id": "a" } });
    for wrong in [json!([{}]), json!([both]), json!(1), json!([{ "put": 1 }])] {
        assert_eq!(bulk(wrong.clone()).status, 400, "{wrong}");
    }
    let twice = bulk(json!([{ "put": partner("acme", true) }, { "put": partner("acme", false) }]));
    assert!(twice.status == 400 && twice.body.contains("edits[1]: `Autopilot::Oem"), "{twice:?}");
}

#[test]
fn entities_are_for_the_callers_that_the_operator_named() {
    let served = Served::of_pack();
    let reply = served.send_as("gateway", "GET", "/entities/v1/Oem/trey", &Value::Null, &[]);
    assert!(reply.status == 403 && reply.body.contains("--entity-callers"), "{reply:?}");
    let reply = served.crm("PATCH", "Oem/trey", &Value::Null, &[]);
    assert_eq!((reply.status, header(&reply, "allow")), (405, "GET, PUT, DELETE"), "{reply:?}");
}
