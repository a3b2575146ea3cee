//! Until when an answer holds.

use serde_json::{Value, json};

use super::content::{at, content};
use super::serving::{from_now, question};
use crate::support::Content;

/// `context.valid_until` of a decision at a time.
#[track_caller]
fn valid_until(content: &Content, action: &str, time: &str, args: &[&str]) -> Value {
    let output = at(content, action, time, &[&["--format", "json"], args].concat());
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    answer["context"]["valid_until"].clone()
}

#[test]
fn an_answer_holds_until_the_time_that_its_policies_read_changes() {
    let content = content();
    for (action, time, zone, expected) in [
        // A permit and a denial.
        ("quarter", "2030-01-01T12:07:00Z", "UTC", "2030-01-01T12:15:00Z"),
        ("quarter", "2030-01-01T23:59:59Z", "UTC", "2030-01-02T00:00:00Z"),
        ("quarter", "1969-12-31T23:50:00Z", "UTC", "1970-01-01T00:00:00Z"),
        ("today", "2030-01-01T12:00:00Z", "America/New_York", "2030-01-02T00:00:00Z"),
        ("soon", "2030-01-01T12:00:00Z", "UTC", "2030-01-01T12:00:01Z"),
        ("weekend", "2030-01-01T12:00:00Z", "UTC", "2030-01-02T00:00:00Z"),
        ("weekend", "2030-01-02T04:00:00Z", "America/New_York", "2030-01-02T05:00:00Z"),
        // A day of 25 hours, one without midnight, and one that the zone left out.
        ("weekend", "2026-10-24T22:00:00Z", "Europe/Berlin", "2026-10-25T23:00:00Z"),
        ("weekend", "2018-11-03T12:00:00Z", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ("weekend", "2011-12-30T09:59:59Z", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        // The last time that can be written, and the first.
        ("weekend", "9999-12-30T22:00:00Z", "Pacific/Kiritimati", "9999-12-30T22:00:00Z"),
        ("quarter", "9999-12-30T21:59:59Z", "UTC", "9999-12-30T22:00:00Z"),
        ("quarter", "-000001-01-01T00:00:00Z", "UTC", "0000-01-01T00:15:00Z"),
    ] {
        let found = valid_until(&content, action, time, &["--time-zone", zone]);
        assert_eq!(found, expected, "{action} {time} {zone}");
    }
    let text = at(&content, "quarter", "2030-01-01T12:07:00Z", &[]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("\n  valid until 2030-01-01T12:15:00Z\n"));
}

#[test]
fn an_answer_that_does_not_depend_on_the_time_has_no_end() {
    let content = content();
    let time = "2030-01-01T12:00:00Z";
    assert_eq!(valid_until(&content, "timeless", time, &[]), Value::Null);
    // The context has the time, and no policy reads it any more.
    content.edit("policies/p.cedar", "context.now < datetime(\"1970-01-01\")", "context has now");
    assert_eq!(valid_until(&content, "before-1970", time, &[]), Value::Null);
    // Who is unknown now is so until the entities change.
    content.write("entities/users.json", "[]");
    assert_eq!(valid_until(&content, "quarter", time, &[]), Value::Null);
    content.write("policies/deny-all", "An exercise.");
    assert_eq!(valid_until(&content, "quarter", time, &[]), Value::Null);
}

#[test]
fn answers_over_http_say_until_when_they_hold() {
    let content = content();
    let sidecar = content.serve();
    let now = from_now(std::time::Duration::ZERO);
    let check = |context: &Value| {
        let end = context["valid_until"].as_str().unwrap_or_else(|| panic!("{context}"));
        assert!(end > now.as_str() && end.ends_with("T00:00:00Z"), "{end}");
    };
    // The first is decided, and the second remembered.
    for _ in 0..2 {
        check(&sidecar.evaluate(&question("today", json!({})))["context"]);
    }
    let mut batch = question("today", json!({}));
    batch["evaluations"] =
        json!([{}, { "action": { "name": "timeless" } }, { "options": { "explain": true } }]);
    let answers = sidecar.post("/access/v1/evaluations", batch.to_string()).json();
    check(&answers["evaluations"][0]["context"]);
    assert_eq!(answers["evaluations"][1], json!({ "decision": true }));
    check(&answers["evaluations"][2]["context"]);
    let timeless = sidecar.evaluate(&question("timeless", json!({})));
    assert_eq!(timeless["context"]["valid_until"], Value::Null, "{timeless}");
}
