//! AuthZEN: the test vectors that others published, and more cases.
//!
//! The vectors are not part of this project. The environment variable `AUTHZEN_VECTORS` names their
//! folder. Without them, the tests that need them print that they did not run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Content, Sidecar, question, repository_path};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

/// Reads a file of test vectors. If it is missing, prints that the test did not run, and returns `None`.
fn read_vectors(file: &str) -> Option<Value> {
    let default = repository_path("../shared/authzen/vectors");
    let folder = std::env::var_os("AUTHZEN_VECTORS").map_or(default, PathBuf::from);
    let path = folder.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            // The test harness hides what `eprintln!` prints, and this has to be seen.
            let note = format!(
                "\nNOT RUN: no AuthZEN vectors at {}: {error}; set AUTHZEN_VECTORS\n",
                path.display()
            );
            std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes()).unwrap();
            None
        }
    }
}

/// A sidecar with the policies and entities that the certification vectors expect.
fn certification_sidecar() -> (Content, Sidecar) {
    let content = Content::copy_of(
        &repository_path("tests/packs/certification/policies"),
        &repository_path("tests/packs/certification/entities"),
    );
    let sidecar = content.serve_with(&["--described-by-callers", "user,record"]);
    (content, sidecar)
}

fn has_flag(case: &Value, flag: &str) -> bool {
    case["flags"].as_array().is_some_and(|flags| flags.contains(&json!(flag)))
}

/// Runs one case. Returns `None` if it passes, else the wrong answer.
fn wrong_answer(sidecar: &Sidecar, case: &Value) -> Option<String> {
    let body = case["raw_body"].as_str().map_or_else(
        || if case["request"].is_null() { String::new() } else { case["request"].to_string() },
        str::to_owned,
    );
    let content_type = case["content_type"].as_str().unwrap();
    let (path, method) = (case["endpoint"].as_str().unwrap(), case["method"].as_str().unwrap());
    for _ in 0..if has_flag(case, "repeat_3_times_same_result") { 3 } else { 1 } {
        let headers = [("content-type", content_type), ("x-request-id", "vector")];
        let reply = sidecar.send(method, path, &body, &headers);
        let accepted = case["status"].as_array().unwrap().contains(&json!(reply.status));
        if !accepted || reply.headers.get("x-request-id").is_none_or(|id| id != "vector") {
            return Some(format!("{reply:?}"));
        }
        if reply.status == 200 && !has_expected_results(&case["expected"], &reply.json()) {
            return Some(reply.body);
        }
    }
    None
}

fn has_expected_results(expected: &Value, answer: &Value) -> bool {
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
fn certification_vectors_get_the_expected_answers() {
    let Some(cases) = read_vectors("certification.json") else { return };
    let (_content, sidecar) = certification_sidecar();
    let cases: Vec<&Value> = cases
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| !has_flag(case, "follow_next_token_aggregate"))
        // This sidecar does not authenticate callers. The next test has one that does.
        .filter(|case| !has_flag(case, "no_credentials") && !has_flag(case, "bad_credentials"))
        .collect();
    assert!(cases.len() > 50, "only {} cases", cases.len());
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| wrong_answer(&sidecar, case).map(|answer| format!("{}: {answer}", case["name"])))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The certification vectors about missing and wrong credentials.
#[test]
fn requests_without_valid_credentials_are_refused() {
    let Some(cases) = read_vectors("certification.json") else { return };
    let content = Content::copy_of(
        &repository_path("tests/packs/certification/policies"),
        &repository_path("tests/packs/certification/entities"),
    );
    content.write("tokens", "caller 0123456789abcdef\n");
    let sidecar = content.serve_with(&["--tokens", &content.path("tokens").display().to_string()]);
    let mut checked = 0;
    for case in cases.as_array().unwrap() {
        let token = if has_flag(case, "no_credentials") {
            None
        } else if has_flag(case, "bad_credentials") {
            Some("Bearer invalid")
        } else {
            continue;
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
        checked += 1;
    }
    assert_eq!(checked, 2);
}

/// The users of the Todo scenario, in the order in which they first appear in the vectors.
const TODO_USERS: [(&str, &[&str]); 5] = [
    ("rick@the-citadel.com", &["admin", "evil_genius"]),
    ("morty@the-citadel.com", &["editor"]),
    ("summer@the-smiths.com", &["editor"]),
    ("beth@the-smiths.com", &["viewer"]),
    ("jerry@the-smiths.com", &["viewer"]),
];

/// The entities of the Todo scenario: the users by the ids in the vectors, and the resources that the
/// requests do not describe by properties.
fn todo_entities(vectors: &Value) -> String {
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
    for (entity_type, id) in resources {
        let attrs = if entity_type == "user" { json!({ "roles": [] }) } else { json!({}) };
        entities.push(json!({ "uid": { "type": entity_type, "id": id }, "attrs": attrs, "parents": [] }));
    }
    Value::Array(entities).to_string()
}

#[test]
fn todo_vectors_get_the_expected_answers() {
    let Some(vectors) = read_vectors("todo.json") else { return };
    let content = Content::copy_of(
        &repository_path("tests/packs/todo/policies"),
        &repository_path("tests/packs/todo/entities"),
    );
    content.write("entities/vectors.json", &todo_entities(&vectors));
    let sidecar = content.serve_with(&["--described-by-callers", "todo"]);
    let cases = |endpoint: &str| vectors[endpoint].as_array().unwrap().clone();
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

/// The entities of the search scenario, made of the users and records of the vectors.
fn search_entities(users: &Value, records: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entity = |entity_type: &str, id: &Value, attrs: Value| json!({ "uid": { "type": entity_type, "id": text(id) }, "attrs": attrs, "parents": [] });
    let user = |user: &Value| {
        let attrs = json!({ "role": user["role"], "department": user["department"] });
        entity("user", &user["id"], attrs)
    };
    let record = |record: &Value| {
        let owner = json!({ "type": "user", "id": record["owner"] });
        let attrs = json!({ "title": record["title"], "department": record["department"], "owner": owner });
        entity("record", &record["id"], attrs)
    };
    let users = users.as_array().unwrap().iter().map(user);
    Value::Array(users.chain(records.as_array().unwrap().iter().map(record)).collect()).to_string()
}

#[test]
fn search_vectors_get_the_expected_answers() {
    let files = ["search-users.json", "search-records.json"].map(read_vectors);
    let [Some(users), Some(records)] = files else { return };
    let content = Content::copy_of(
        &repository_path("tests/packs/search/policies"),
        &repository_path("tests/packs/search/entities"),
    );
    content.write("entities/none.json", &search_entities(&users, &records));
    let sidecar = content.serve();
    for target in ["subject", "resource", "action"] {
        let vectors = read_vectors(&format!("search-{target}.json")).unwrap();
        let cases = vectors["evaluation"].as_array().unwrap();
        assert!(cases.len() > 5, "only {} cases for {target}", cases.len());
        for case in cases {
            let answer =
                sidecar.post(&format!("/access/v1/search/{target}"), case["request"].to_string()).json();
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

/// Whether Ada may update a todo that the caller describes by these properties.
fn update_todo(id: &str, properties: Value) -> Value {
    let mut body = question(("user", "ada"), "can_update_todo", ("todo", id), json!({}));
    body["resource"]["properties"] = properties;
    body
}

#[test]
fn callers_can_describe_only_entities_of_the_configured_types() {
    let content = Content::copy_of(
        &repository_path("tests/packs/todo/policies"),
        &repository_path("tests/packs/todo/entities"),
    );
    let owned_by_ada = json!({ "ownerID": "ada@example.com" });
    {
        let sidecar = content.serve_with(&["--described-by-callers", "todo"]);
        assert!(
            sidecar.permits(&update_todo("new", owned_by_ada.clone())),
            "an entity that is described exists"
        );
        assert!(
            sidecar.permits(&update_todo("stored", owned_by_ada.clone())),
            "the description overrides the stored entity"
        );
        assert!(
            !sidecar.permits(&update_todo("stored", json!({}))),
            "attributes that are not described are as stored"
        );
        assert!(!sidecar.permits(&update_todo("new", json!({ "ownerID": "bo@example.com" }))));
        assert!(!sidecar.permits(&question(("user", "ada"), "can_update_todo", ("todo", "new"), json!({}))));
        let wrong = sidecar.post(EVALUATION, update_todo("new", json!({ "ownerID": 1 })).to_string());
        assert_eq!(wrong.status, 400);
        assert!(wrong.body.contains("resource.properties.ownerID: expected a string"), "{}", wrong.body);
        // Callers cannot describe a `user` here, so its stored roles count.
        let mut body = update_todo("new", json!({ "ownerID": "bo@example.com" }));
        body["subject"]["properties"] = json!({ "roles": ["evil_genius"] });
        assert!(!sidecar.permits(&body));
    }
    let sidecar = content.serve();
    assert!(!sidecar.permits(&update_todo("new", owned_by_ada.clone())));
    assert!(
        !sidecar.permits(&update_todo("stored", owned_by_ada)),
        "by default, callers cannot describe entities"
    );
}

/// Two questions that differ only in the description of an entity get different decisions, also from the
/// cache.
#[test]
fn the_decision_cache_takes_descriptions_into_account() {
    let (_content, sidecar) = certification_sidecar();
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
