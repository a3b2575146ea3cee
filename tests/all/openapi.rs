//! The document that describes the API, held to what the API takes and says.

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{Sidecar, get, register};

fn document(sidecar: &Sidecar) -> Value {
    get(&format!("{}/openapi.json", sidecar.decisions)).json()
}

/// A schema of the document, with the components that it refers to.
fn schema(document: &Value, pointer: &str) -> Validator {
    let mut schema = document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).clone();
    schema["components"] = document["components"].clone();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn of_request(document: &Value, path: &str) -> Validator {
    let path = path.replace('/', "~1");
    schema(document, &format!("/paths/{path}/post/requestBody/content/application~1json/schema"))
}

fn of_answer(document: &Value, path: &str) -> Validator {
    let path = path.replace('/', "~1");
    schema(document, &format!("/paths/{path}/post/responses/200/content/application~1json/schema"))
}

#[test]
fn requests_and_answers_are_as_described() {
    let sidecar = Sidecar::of_pack(&[]);
    let document = document(&sidecar);
    let contoso = register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api");
    let northwind = register(("IndirectReseller", "tailspin"), "northwind", "partner-center-api");
    let with = |base: &Value, key: &str, value: Value| {
        let mut base = base.clone();
        base[key] = value;
        base
    };
    let explain = json!({ "explain": true });
    let semantic = json!({ "evaluations_semantic": "deny_on_first_deny", "explain": true });
    let items = json!([{ "resource": contoso["resource"] }, 7, { "context": {} }]);
    let asked = [
        ("/access/v1/evaluation", contoso.clone()),
        ("/access/v1/evaluation", northwind.clone()),
        ("/access/v1/evaluation", with(&contoso, "options", explain.clone())),
        ("/access/v1/evaluation", with(&northwind, "options", explain)),
        ("/access/v1/evaluations", contoso.clone()),
        (
            "/access/v1/evaluations",
            with(&contoso, "evaluations", json!([{}, { "options": { "explain": true } }])),
        ),
        (
            "/access/v1/evaluations",
            with(&with(&northwind, "evaluations", json!([{}, {}])), "options", semantic),
        ),
    ];
    for (path, body) in asked {
        of_request(&document, path).validate(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let reply = sidecar.post(path, body.to_string());
        let answer = reply.json();
        of_answer(&document, path).validate(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    }
    let searches = [
        (
            "subject",
            json!({ "subject": { "type": "DirectBillPartner" }, "action": contoso["action"], "resource": contoso["resource"], "context": contoso["context"] }),
        ),
        (
            "resource",
            json!({ "subject": contoso["subject"], "action": { "name": "viewCustomer" }, "resource": { "type": "Customer" }, "page": { "limit": 1 } }),
        ),
        (
            "action",
            json!({ "subject": contoso["subject"], "resource": contoso["resource"], "context": contoso["context"] }),
        ),
    ];
    for (side, body) in searches {
        let path = format!("/access/v1/search/{side}");
        of_request(&document, &path).validate(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let answer = sidecar.post(&path, body.to_string()).json();
        assert!(!answer["results"].as_array().unwrap().is_empty(), "{answer}");
        of_answer(&document, &path).validate(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    }
    // Broken items are answered, though they are not as described.
    let body = with(&contoso, "evaluations", items);
    assert!(!of_request(&document, "/access/v1/evaluations").is_valid(&body));
    let answer = sidecar.post("/access/v1/evaluations", body.to_string()).json();
    of_answer(&document, "/access/v1/evaluations").validate(&answer).unwrap();
}

#[test]
fn what_is_not_as_described_is_refused() {
    let sidecar = Sidecar::of_pack(&[]);
    let schema = of_request(&document(&sidecar), "/access/v1/evaluation");
    let question = register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api");
    let without = |part: &str| {
        let mut question = question.clone();
        question.as_object_mut().unwrap().remove(part);
        question
    };
    let with = |pointer: &str, value: Value| {
        let mut question = question.clone();
        *question.pointer_mut(pointer).unwrap() = value;
        question
    };
    for body in [
        without("subject"),
        without("action"),
        without("resource"),
        with("/subject/id", json!(7)),
        with("/resource/type", Value::Null),
        with("/action", json!("registerDevice")),
        with("/context", json!([])),
        with("/context", Value::Null),
        json!([]),
    ] {
        assert!(!schema.is_valid(&body), "{body}");
        assert_eq!(sidecar.post("/access/v1/evaluation", body.to_string()).status, 400, "{body}");
    }
    let path = "/access/v1/search/resource";
    let schema = of_request(&document(&sidecar), path);
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
fn every_path_that_is_described_is_there() {
    let sidecar = Sidecar::of_pack(&[]);
    let document = document(&sidecar);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 5, "{paths:?}");
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let reply = sidecar.send(&method.to_ascii_uppercase(), path, "", &[]);
            assert!(![404, 405].contains(&reply.status), "{method} {path}: {reply:?}");
            let described = &operations[method]["responses"][reply.status.to_string()];
            assert!(described.is_object(), "{method} {path}: {} is not described", reply.status);
        }
    }
    assert_eq!(sidecar.post("/openapi.json", "").status, 405);
}
