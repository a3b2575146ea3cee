//! Compares the OpenAPI document with a running sidecar: requests, answers, paths and statuses.

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{Content, Sidecar, get, register};

fn document(sidecar: &Sidecar) -> Value {
    get(&format!("{}/openapi.json", sidecar.decisions)).json()
}

/// A schema of the document, with the components that it refers to.
fn schema(document: &Value, pointer: &str) -> Validator {
    let mut schema = document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).clone();
    schema["components"] = document["components"].clone();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn request_schema(document: &Value, path: &str) -> Validator {
    let path = path.replace('/', "~1");
    schema(document, &format!("/paths/{path}/post/requestBody/content/application~1json/schema"))
}

fn answer_schema(document: &Value, path: &str) -> Validator {
    let path = path.replace('/', "~1");
    schema(document, &format!("/paths/{path}/post/responses/200/content/application~1json/schema"))
}

/// The request is as described, and so is the answer to it.
#[track_caller]
fn check_described(sidecar: &Sidecar, document: &Value, path: &str, body: &Value) -> Value {
    request_schema(document, path).validate(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let answer = sidecar.post(path, body.to_string()).json();
    answer_schema(document, path).validate(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    answer
}

/// A question that is permitted.
fn permitted() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

/// A question that is denied.
fn denied() -> Value {
    register(("IndirectReseller", "tailspin"), "northwind", "partner-center-api")
}

/// The body with one more key.
fn with(body: &Value, key: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[key] = value;
    body
}

#[test]
fn evaluations_are_as_described() {
    let sidecar = Sidecar::of_pack(&[]);
    let document = document(&sidecar);
    let explain = json!({ "explain": true });
    for body in [
        permitted(),
        denied(),
        with(&permitted(), "options", explain.clone()),
        with(&denied(), "options", explain.clone()),
    ] {
        check_described(&sidecar, &document, "/access/v1/evaluation", &body);
    }
    let semantic = json!({ "evaluations_semantic": "deny_on_first_deny", "explain": true });
    for body in [
        permitted(),
        with(&permitted(), "evaluations", json!([{}, { "options": explain }])),
        with(&with(&denied(), "evaluations", json!([{}, {}])), "options", semantic),
    ] {
        check_described(&sidecar, &document, "/access/v1/evaluations", &body);
    }
}

#[test]
fn searches_are_as_described() {
    let sidecar = Sidecar::of_pack(&[]);
    let document = document(&sidecar);
    let question = permitted();
    for (target, body) in [
        (
            "subject",
            json!({ "subject": { "type": "DirectBillPartner" }, "action": question["action"], "resource": question["resource"], "context": question["context"] }),
        ),
        (
            "resource",
            json!({ "subject": question["subject"], "action": { "name": "viewCustomer" }, "resource": { "type": "Customer" }, "page": { "limit": 1 } }),
        ),
        (
            "action",
            json!({ "subject": question["subject"], "resource": question["resource"], "context": question["context"] }),
        ),
    ] {
        let path = format!("/access/v1/search/{target}");
        let answer = check_described(&sidecar, &document, &path, &body);
        assert!(!answer["results"].as_array().unwrap().is_empty(), "{answer}");
    }
}

#[test]
fn the_answers_to_broken_items_of_a_batch_are_as_described() {
    let sidecar = Sidecar::of_pack(&[]);
    let (document, path) = (document(&sidecar), "/access/v1/evaluations");
    let items = json!([{ "resource": permitted()["resource"] }, 7, { "context": {} }]);
    let body = with(&permitted(), "evaluations", items);
    assert!(!request_schema(&document, path).is_valid(&body));
    let answer = sidecar.post(path, body.to_string()).json();
    answer_schema(&document, path).validate(&answer).unwrap();
}

#[test]
fn requests_that_are_not_as_described_are_refused() {
    let sidecar = Sidecar::of_pack(&[]);
    let schema = request_schema(&document(&sidecar), "/access/v1/evaluation");
    let question = permitted();
    let without = |part: &str| {
        let mut question = question.clone();
        question.as_object_mut().unwrap().remove(part);
        question
    };
    let with_changed = |pointer: &str, value: Value| {
        let mut question = question.clone();
        *question.pointer_mut(pointer).unwrap() = value;
        question
    };
    for body in [
        without("subject"),
        without("action"),
        without("resource"),
        with_changed("/subject/id", json!(7)),
        with_changed("/resource/type", Value::Null),
        with_changed("/action", json!("registerDevice")),
        with_changed("/context", json!([])),
        with_changed("/context", Value::Null),
        json!([]),
    ] {
        assert!(!schema.is_valid(&body), "{body}");
        assert_eq!(sidecar.post("/access/v1/evaluation", body.to_string()).status, 400, "{body}");
    }
    let path = "/access/v1/search/resource";
    let schema = request_schema(&document(&sidecar), path);
    let search = json!({ "subject": question["subject"], "action": { "name": "viewCustomer" }, "resource": { "type": "Customer" } });
    for page in
        [Value::Null, json!({ "limit": null }), json!({ "limit": 0 }), json!({ "token": null }), json!([])]
    {
        let mut body = search.clone();
        body["page"] = page;
        assert!(!schema.is_valid(&body), "{body}");
        assert_eq!(sidecar.post(path, body.to_string()).status, 400, "{body}");
    }
}

#[test]
fn every_described_path_exists_and_answers_with_a_described_status() {
    let content = Content::of_pack();
    let store = content.path("store.redb").display().to_string();
    let sidecar = content.serve_with(&["--store", &store, "--demo-sign-in"]);
    let document = document(&sidecar);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 5, "{paths:?}");
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let reply = sidecar.send(&method.to_ascii_uppercase(), path, "", &[]);
            // What a path names may not be there; the path itself is.
            let is_named = path.contains('{') && reply.body.contains("\"detail\":\"");
            assert!(reply.status != 405 && (reply.status != 404 || is_named), "{method} {path}: {reply:?}");
            let described = &operations[method]["responses"][reply.status.to_string()];
            assert!(described.is_object(), "{method} {path}: {} is not described", reply.status);
        }
    }
    assert_eq!(sidecar.post("/openapi.json", "").status, 405);
}
