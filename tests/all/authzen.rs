//! AuthZEN: published vectors where they are found, and cases of our own beside them.
//!
//! The vectors are other people's data and not part of this project. They are looked for in the
//! folder that `AUTHZEN_VECTORS` names, else in `../shared/authzen/vectors`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Content, Sidecar, pack, question};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

/// A file of vectors, or none, said aloud.
fn vectors(file: &str) -> Option<Value> {
    let default = pack("../shared/authzen/vectors");
    let folder = std::env::var_os("AUTHZEN_VECTORS").map_or(default, PathBuf::from);
    let path = folder.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            // Past the test harness's capture: a test that did not run has to be seen.
            let note = format!(
                "\nNOT RUN: no AuthZEN vectors at {}: {error}; set AUTHZEN_VECTORS\n",
                path.display()
            );
            std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes()).unwrap();
            None
        }
    }
}

fn certification() -> (Content, Sidecar) {
    let content = Content::copied(
        &pack("tests/packs/certification/policies"),
        &pack("tests/packs/certification/entities"),
    );
    let sidecar = content.serve_with(&["--described-by-callers", "user,record"]);
    (content, sidecar)
}

fn flagged(case: &Value, flag: &str) -> bool {
    case["flags"].as_array().is_some_and(|flags| flags.contains(&json!(flag)))
}

/// Runs one case; `None` if it passes, else what came instead.
fn certification_case(sidecar: &Sidecar, case: &Value) -> Option<String> {
    let body = case["raw_body"].as_str().map_or_else(
        || if case["request"].is_null() { String::new() } else { case["request"].to_string() },
        str::to_owned,
    );
    let content_type = case["content_type"].as_str().unwrap();
    let (path, method) = (case["endpoint"].as_str().unwrap(), case["method"].as_str().unwrap());
    for _ in 0..if flagged(case, "repeat_3_times_same_result") { 3 } else { 1 } {
        let headers = [("content-type", content_type), ("x-request-id", "vector")];
        let reply = sidecar.send(method, path, &body, &headers);
        let accepted = case["status"].as_array().unwrap().contains(&json!(reply.status));
        if !accepted || reply.headers.get("x-request-id").is_none_or(|id| id != "vector") {
            return Some(format!("{reply:?}"));
        }
        if reply.status == 200 && !matches(&case["expected"], &reply.json()) {
            return Some(reply.body);
        }
    }
    None
}

fn matches(expected: &Value, answer: &Value) -> bool {
    if let Some(items) = expected["evaluations"].as_array() {
        let decisions =
            |items: &[Value]| items.iter().map(|item| item["decision"].clone()).collect::<Vec<_>>();
        let answers = answer["evaluations"].as_array().map(|answers| decisions(answers));
        return answers == Some(decisions(items)) && answer.get("decision").is_none();
    }
    if let Some(results) = expected["results"].as_array() {
        let found = answer["results"].as_array().unwrap();
        return results.iter().all(|result| found.contains(result))
            && (!results.is_empty() || found.is_empty());
    }
    answer["decision"] == expected["decision"] && answer.get("evaluations").is_none()
}

#[test]
fn certification_vectors() {
    let Some(cases) = vectors("certification.json") else { return };
    let (_content, sidecar) = certification();
    let cases: Vec<&Value> = cases
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| !flagged(case, "follow_next_token_aggregate"))
        // Here nobody has to say who they are; see below.
        .filter(|case| !flagged(case, "no_credentials") && !flagged(case, "bad_credentials"))
        .collect();
    assert!(cases.len() > 50, "found only {}", cases.len());
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| certification_case(&sidecar, case).map(|came| format!("{}: {came}", case["name"])))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Where callers have to say who they are, those who do not, or lie, get what the vectors say.
#[test]
fn certification_vectors_of_credentials() {
    let Some(cases) = vectors("certification.json") else { return };
    let content = Content::copied(
        &pack("tests/packs/certification/policies"),
        &pack("tests/packs/certification/entities"),
    );
    content.write("tokens", "caller 0123456789abcdef\n");
    let sidecar = content.serve_with(&["--tokens", &content.path("tokens").display().to_string()]);
    let mut refused = 0;
    for case in cases.as_array().unwrap() {
        let token = match () {
            () if flagged(case, "no_credentials") => None,
            () if flagged(case, "bad_credentials") => Some("Bearer invalid"),
            () => continue,
        };
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.map(|token| ("authorization", token)));
        let (path, body) = (case["endpoint"].as_str().unwrap(), case["request"].to_string());
        let reply = sidecar.send("POST", path, body, &headers);
        assert!(
            case["status"].as_array().unwrap().contains(&json!(reply.status)),
            "{}: {reply:?}",
            case["name"]
        );
        refused += 1;
    }
    assert_eq!(refused, 2);
}

/// The users of the Todo scenario, in the order in which the vectors ask for them.
const TODO_USERS: [(&str, &[&str]); 5] = [
    ("rick@the-citadel.com", &["admin", "evil_genius"]),
    ("morty@the-citadel.com", &["editor"]),
    ("summer@the-smiths.com", &["editor"]),
    ("beth@the-smiths.com", &["viewer"]),
    ("jerry@the-smiths.com", &["viewer"]),
];

/// The scenario's store: its users under the vectors' ids, and the resources that nobody describes.
fn todo_store(vectors: &Value) -> String {
    let mut entities = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    let mut resources = BTreeSet::new();
    for case in vectors["evaluation"].as_array().unwrap() {
        let request = &case["request"];
        let subject = request["subject"]["id"].as_str().unwrap();
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
        let resource = &request["resource"];
        if resource["properties"].is_null() {
            resources.insert((resource["type"].as_str().unwrap(), resource["id"].as_str().unwrap()));
        }
    }
    for (id, (email, roles)) in subjects.iter().zip(TODO_USERS) {
        let uid = json!({ "type": "user", "id": id });
        entities.push(json!({ "uid": uid, "attrs": { "email": email, "roles": roles }, "parents": [] }));
    }
    for (kind, id) in resources {
        let attrs = if kind == "user" { json!({ "roles": [] }) } else { json!({}) };
        entities.push(json!({ "uid": { "type": kind, "id": id }, "attrs": attrs, "parents": [] }));
    }
    Value::Array(entities).to_string()
}

#[test]
fn todo_vectors() {
    let Some(vectors) = vectors("todo.json") else { return };
    let content = Content::copied(&pack("tests/packs/todo/policies"), &pack("tests/packs/todo/entities"));
    content.write("entities/vectors.json", &todo_store(&vectors));
    let sidecar = content.serve_with(&["--described-by-callers", "todo"]);
    let cases = |kind: &str| vectors[kind].as_array().unwrap().clone();
    assert_eq!((cases("evaluation").len(), cases("evaluations").len()), (40, 3));
    for case in cases("evaluation") {
        let answer = sidecar.evaluate(&case["request"]);
        assert_eq!(answer["decision"], case["expected"], "{}", case["request"]);
    }
    for case in cases("evaluations") {
        let answer = sidecar.post(EVALUATIONS, case["request"].to_string()).json();
        assert_eq!(answer, json!({ "evaluations": case["expected"] }), "{}", case["request"]);
    }
}

/// The scenario's store, from the vectors' own users and records.
fn search_store(users: &Value, records: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entity = |kind: &str, of: &Value, attrs: Value| json!({ "uid": { "type": kind, "id": text(&of["id"]) }, "attrs": attrs, "parents": [] });
    let user = |of: &Value| entity("user", of, json!({ "role": of["role"], "department": of["department"] }));
    let record = |of: &Value| {
        let owner = json!({ "type": "user", "id": of["owner"] });
        entity("record", of, json!({ "title": of["title"], "department": of["department"], "owner": owner }))
    };
    let users = users.as_array().unwrap().iter().map(user);
    Value::Array(users.chain(records.as_array().unwrap().iter().map(record)).collect()).to_string()
}

#[test]
fn search_vectors() {
    let files = ["search-users.json", "search-records.json"].map(vectors);
    let [Some(users), Some(records)] = files else { return };
    let content = Content::copied(&pack("tests/packs/search/policies"), &pack("tests/packs/search/entities"));
    content.write("entities/none.json", &search_store(&users, &records));
    let sidecar = content.serve();
    for side in ["subject", "resource", "action"] {
        let vectors = vectors(&format!("search-{side}.json")).unwrap();
        let cases = vectors["evaluation"].as_array().unwrap();
        assert!(cases.len() > 5, "only {} of {side}", cases.len());
        for case in cases {
            let answer =
                sidecar.post(&format!("/access/v1/search/{side}"), case["request"].to_string()).json();
            let sorted = |results: &Value| {
                let mut results: Vec<String> =
                    results.as_array().unwrap().iter().map(Value::to_string).collect();
                results.sort();
                results
            };
            assert_eq!(
                sorted(&answer["results"]),
                sorted(&case["expected"]["results"]),
                "{}",
                case["request"]
            );
        }
    }
}

fn todo(id: &str, properties: Value) -> Value {
    let mut body = question(("user", "ada"), "can_update_todo", ("todo", id), json!({}));
    body["resource"]["properties"] = properties;
    body
}

/// A caller may describe entities of the types that the operator names, and only those.
#[test]
fn described_by_callers() {
    let content = Content::copied(&pack("tests/packs/todo/policies"), &pack("tests/packs/todo/entities"));
    let own = json!({ "ownerID": "ada@example.com" });
    {
        let sidecar = content.serve_with(&["--described-by-callers", "todo"]);
        assert!(sidecar.permits(&todo("new", own.clone())), "described, so it exists");
        assert!(sidecar.permits(&todo("stored", own.clone())), "the description goes before the store");
        assert!(!sidecar.permits(&todo("stored", json!({}))), "what is not described is as stored");
        assert!(!sidecar.permits(&todo("new", json!({ "ownerID": "bo@example.com" }))));
        assert!(!sidecar.permits(&question(("user", "ada"), "can_update_todo", ("todo", "new"), json!({}))));
        let wrong = sidecar.post(EVALUATION, todo("new", json!({ "ownerID": 1 })).to_string());
        assert_eq!(wrong.status, 400);
        assert!(wrong.body.contains("resource.properties.ownerID: expected a string"), "{}", wrong.body);
        // The user's type is not declared: its stored roles stand.
        let mut body = todo("new", json!({ "ownerID": "bo@example.com" }));
        body["subject"]["properties"] = json!({ "roles": ["evil_genius"] });
        assert!(!sidecar.permits(&body));
    }
    let sidecar = content.serve();
    assert!(!sidecar.permits(&todo("new", own.clone())));
    assert!(!sidecar.permits(&todo("stored", own)), "off by default");
}

/// The same question of the same entity with different descriptions is never confused.
#[test]
fn descriptions_are_part_of_what_is_remembered() {
    let (_content, sidecar) = certification();
    let write = |status: &str| {
        let mut body = question(("user", "alice"), "write", ("record", "record-1"), json!({}));
        body["resource"]["properties"] = json!({ "status": status });
        sidecar.permits(&body)
    };
    for _ in 0..2 {
        assert!(write("active"));
        assert!(!write("archived"));
    }
}
