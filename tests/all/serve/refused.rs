//! Requests with errors: each is refused with a message that says what is wrong and where.

use serde_json::{Value, json};

use super::{EVALUATION, check_refused, permitted};
use crate::support::{Sidecar, question};

/// The permitted question with another value at a JSON pointer.
fn permitted_with(pointer: &str, value: Value) -> String {
    let mut body = permitted();
    *body.pointer_mut(pointer).unwrap() = value;
    body.to_string()
}

#[test]
fn bodies_that_are_not_json_are_refused() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: String, parts: &[&str]| check_refused(&sidecar, EVALUATION, body, parts);
    check(String::new(), &["the body is empty"]);
    check("{".into(), &["not valid JSON", "line 1"]);
    check("[]".into(), &["has to be a JSON object, found an array"]);
    check("null".into(), &["found null"]);
    check(permitted().to_string() + "x", &["trailing characters"]);
    check(r#"{"subject":{"type":"a","type":"b","id":"c"}}"#.into(), &["duplicate key `type`"]);
    check(r#"{"x":{"y":1,"y":2}}"#.into(), &["duplicate key `y`"]);
    let not_utf8 = [permitted().to_string().into_bytes(), vec![0xff]].concat();
    check_refused(&sidecar, EVALUATION, not_utf8, &["not valid JSON"]);
    assert!(sidecar.permits(&permitted()), "the sidecar still answers");
}

#[test]
fn requests_with_missing_or_unknown_names_are_refused() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: String, parts: &[&str]| check_refused(&sidecar, EVALUATION, body, parts);
    check("{}".into(), &["action: missing"]);
    check(permitted_with("/subject", json!("fabrikam")), &["subject: has to be an object, found a string"]);
    check(permitted_with("/subject", json!({ "id": "x" })), &["subject.type: missing"]);
    check(permitted_with("/subject/id", json!(7)), &["subject.id: has to be a string, found a whole number"]);
    check(permitted_with("/subject/type", json!("Partner")), &["subject.type", "no entity type `Partner`"]);
    check(permitted_with("/action/name", json!("format")), &["action.name", "no action `format`"]);
    check(
        permitted_with("/resource/type", json!("Device")),
        &["resource.type", "does not apply", "`Autopilot::Customer`"],
    );
    check(permitted_with("/subject/type", json!("MicrosoftOperator")), &["subject.type", "does not apply"]);
    check(
        permitted_with("/subject/type", json!("A\u{0}\n".to_owned() + &"b".repeat(300))),
        &["\\u{0}\\n", "…"],
    );
    assert!(sidecar.permits(&permitted()), "the sidecar still answers");
}

#[test]
fn requests_with_an_invalid_context_are_refused() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: String, parts: &[&str]| check_refused(&sidecar, EVALUATION, body, parts);
    check(permitted_with("/context", json!([])), &["context: has to be an object, found an array"]);
    check(permitted_with("/context", json!({})), &["context.channel: missing", "`partner-center-api`"]);
    check(
        permitted_with("/context/channel", json!(1)),
        &["context.channel", "one of", "found a whole number"],
    );
    check(permitted_with("/context/channel", json!("fax")), &["context.channel", "`fax`", "`oem-api`"]);
    check(permitted_with("/context/channel", json!(null)), &["context.channel", "found null"]);
    check(
        permitted_with("/context/channel", json!({ "__entity": "oem-api" })),
        &["context.channel: expected an entity"],
    );
    check(
        permitted_with(
            "/context/channel",
            json!({ "__entity": { "type": "Channel", "id": "oem-api" }, "x": 1 }),
        ),
        &["context.channel"],
    );
    check(
        permitted_with("/context/channel", json!({ "type": "Customer", "id": "contoso" })),
        &["`Autopilot::Channel`"],
    );
    let delegated = question(
        ("Oem", "trey"),
        "requestConsent",
        ("Customer", "contoso"),
        json!({ "delegatedAdministration": "yes" }),
    );
    check(delegated.to_string(), &["context.delegatedAdministration: expected a boolean, found a string"]);
    assert!(sidecar.permits(&permitted()), "the sidecar still answers");
}

#[test]
fn requests_above_the_limits_are_refused() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: String, parts: &[&str]| check_refused(&sidecar, EVALUATION, body, parts);
    let many: serde_json::Map<String, Value> = (0..300).map(|n| (format!("k{n}"), json!(n))).collect();
    check(
        permitted_with("/context", Value::Object(many.clone())),
        &["context: has 300 members, at most 256"],
    );
    check(permitted_with("/subject", Value::Object(many)), &["subject: has 300 members, at most 256"]);
    check(permitted_with("/subject/id", json!("x".repeat(513))), &["subject.id: longer than 512 bytes"]);
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    check_refused(&sidecar, EVALUATION, deep, &["more than 64 levels at line 1 column 69"]);
    let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(1024 * 1024));
    check_refused(&sidecar, EVALUATION, long, &["longer than 1048576 bytes"]);
    assert!(sidecar.permits(&permitted()), "the sidecar still answers");
}

#[test]
fn evaluations_have_to_be_posted_as_json() {
    let sidecar = Sidecar::of_pack(&[]);
    let body = permitted().to_string();
    for good in ["application/json", "application/json; charset=utf-8", "Application/JSON;x=y"] {
        assert_eq!(
            sidecar.post_with_headers(EVALUATION, &body, &[("content-type", good)]).status,
            200,
            "{good}"
        );
    }
    for bad in ["text/plain", "application/jsonp", "application/xml; a=application/json"] {
        let reply = sidecar.post_with_headers(EVALUATION, &body, &[("content-type", bad)]);
        assert_eq!((reply.status, reply.body.contains("application/json")), (400, true), "{bad}");
    }
    assert_eq!(sidecar.post_with_headers(EVALUATION, &body, &[]).status, 400);
    let get = ureq::get(format!("{}{EVALUATION}", sidecar.decisions)).call();
    assert!(matches!(get, Err(ureq::Error::StatusCode(405))));
    assert_eq!(sidecar.post("/access/v1/guess", &body).status, 404);
}
