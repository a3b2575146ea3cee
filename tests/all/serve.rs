//! The decision API and the operators' port of a running sidecar, as callers meet them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Content, Sidecar, get, question, register, until};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

fn fabrikam() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

fn reseller_by_api() -> Value {
    register(("IndirectReseller", "tailspin"), "northwind", "partner-center-api")
}

/// The body is refused with 400 and a sentence that contains each of these.
#[track_caller]
fn refused(sidecar: &Sidecar, path: &str, body: impl AsRef<[u8]>, says: &[&str]) {
    let reply = sidecar.post(path, body);
    assert_eq!(reply.status, 400, "{}", reply.body);
    for part in says {
        assert!(reply.body.contains(part), "`{part}` is not in: {}", reply.body);
    }
    assert!(!reply.body.contains('\n') && reply.body.len() < 400, "one sentence: {}", reply.body);
}

fn with(pointer: &str, value: Value) -> String {
    let mut body = fabrikam();
    *body.pointer_mut(pointer).unwrap() = value;
    body.to_string()
}

#[test]
fn a_permit_and_a_denial_with_reasons() {
    let sidecar = Sidecar::of_pack(&[]);
    let revision = sidecar.revision();
    let (permit, denial) = (sidecar.evaluate(&fabrikam()), sidecar.evaluate(&reseller_by_api()));
    let [permit_id, denial_id] = [&permit, &denial].map(|it| it["context"]["decision_id"].clone());
    assert_ne!(permit_id, denial_id);
    assert_eq!(
        permit,
        json!({ "decision": true, "context": { "decision_id": permit_id, "revision": revision } })
    );
    let reason = "An indirect reseller uses the Partner Center UI (CSV upload); it never has the API.";
    assert_eq!(
        denial,
        json!({ "decision": false, "context": {
            "decision_id": denial_id,
            "revision": revision,
            "reason_admin": { "outcome": "forbidden", "policies": ["reseller-never-has-the-api"] },
            "reason_user": { "en": reason },
        }})
    );
}

#[test]
fn a_denial_without_a_forbid_names_what_would_permit() {
    let sidecar = Sidecar::of_pack(&[]);
    let answer =
        sidecar.evaluate(&register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api"));
    let admin = &answer["context"]["reason_admin"];
    assert_eq!(*admin, json!({ "outcome": "not_permitted", "policies": ["direct-bill-registers"] }));
    assert!(
        answer["context"]["reason_user"]["en"].as_str().unwrap().contains("once the customer has accepted")
    );
}

#[test]
fn unknown_ids_are_denied() {
    let sidecar = Sidecar::of_pack(&[]);
    let partner =
        sidecar.evaluate(&register(("DirectBillPartner", "nobody"), "contoso", "partner-center-api"));
    assert_eq!(partner["context"]["reason_admin"]["outcome"], "unknown_principal");
    let customer =
        sidecar.evaluate(&register(("DirectBillPartner", "fabrikam"), "nobody", "partner-center-api"));
    assert_eq!(customer["context"]["reason_admin"]["outcome"], "unknown_resource");
    for answer in [partner, customer] {
        assert_eq!(answer["decision"], json!(false));
    }
    // Anybody can make up names, so they are not remembered.
    assert!(sidecar.metric("mandate_cache_entries").abs() < f64::EPSILON);
}

#[test]
fn full_names_mean_the_same() {
    let sidecar = Sidecar::of_pack(&[]);
    let mut question = question(
        ("Autopilot::DirectBillPartner", "fabrikam"),
        "registerDevice",
        ("Autopilot::Customer", "contoso"),
        json!({}),
    );
    question["context"] = json!({ "channel": { "type": "Autopilot::Channel", "id": "partner-center-api" } });
    assert!(sidecar.permits(&question));
    question["action"]["name"] = json!("Autopilot::Action::\"registerDevice\"");
    assert!(sidecar.permits(&question));
}

#[test]
fn what_nobody_knows_is_ignored() {
    let sidecar = Sidecar::of_pack(&[]);
    let mut question = fabrikam();
    question["context"]["weather"] = json!({ "sky": ["blue"] });
    question["subject"]["properties"] = json!({ "active": false, "x": 1 });
    question["subject"]["nickname"] = json!("fab");
    question["future"] = json!([1, 2]);
    assert!(sidecar.permits(&question));
    // The store is the authority: a caller cannot make a suspended partner active.
    let mut suspended = register(("DirectBillPartner", "lucerne"), "margies-travel", "partner-center-api");
    suspended["subject"]["properties"] = json!({ "active": true });
    assert!(!sidecar.permits(&suspended));
}

#[test]
fn action_properties_join_the_context() {
    let sidecar = Sidecar::of_pack(&[]);
    let mut question = fabrikam();
    question["context"] = json!({});
    question["action"]["properties"] = json!({ "channel": "partner-center-api" });
    assert!(sidecar.permits(&question));
    question["context"] = json!({ "channel": "partner-center-ui" });
    refused(&sidecar, EVALUATION, question.to_string(), &["context.channel", "different values"]);
}

#[test]
fn malformed_requests_say_what_to_fix_and_where() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: String, says: &[&str]| refused(&sidecar, EVALUATION, body, says);
    check(String::new(), &["the body is empty"]);
    check("{".into(), &["not valid JSON", "line 1"]);
    check("[]".into(), &["has to be a JSON object, found an array"]);
    check("null".into(), &["found null"]);
    check(fabrikam().to_string() + "x", &["trailing characters"]);
    check(r#"{"subject":{"type":"a","type":"b","id":"c"}}"#.into(), &["duplicate key `type`"]);
    check(r#"{"x":{"y":1,"y":2}}"#.into(), &["duplicate key `y`"]);
    check("{}".into(), &["action: missing"]);
    check(with("/subject", json!("fabrikam")), &["subject: has to be an object, found a string"]);
    check(with("/subject", json!({ "id": "x" })), &["subject.type: missing"]);
    check(with("/subject/id", json!(7)), &["subject.id: has to be a string, found a whole number"]);
    check(with("/subject/type", json!("Partner")), &["subject.type", "no entity type `Partner`"]);
    check(with("/action/name", json!("format")), &["action.name", "no action `format`"]);
    check(
        with("/resource/type", json!("Device")),
        &["resource.type", "does not apply", "`Autopilot::Customer`"],
    );
    check(with("/subject/type", json!("MicrosoftOperator")), &["subject.type", "does not apply"]);
    check(with("/context", json!([])), &["context: has to be an object, found an array"]);
    check(with("/context", json!({})), &["context.channel: missing", "`partner-center-api`"]);
    check(with("/context/channel", json!(1)), &["context.channel", "one of", "found a whole number"]);
    check(with("/context/channel", json!("fax")), &["context.channel", "`fax`", "`oem-api`"]);
    check(with("/context/channel", json!(null)), &["context.channel", "found null"]);
    check(
        with("/context/channel", json!({ "__entity": "oem-api" })),
        &["context.channel: expected an entity"],
    );
    check(
        with("/context/channel", json!({ "__entity": { "type": "Channel", "id": "oem-api" }, "x": 1 })),
        &["context.channel"],
    );
    let many: serde_json::Map<String, Value> = (0..300).map(|n| (format!("k{n}"), json!(n))).collect();
    check(with("/context", Value::Object(many.clone())), &["context: has 300 members, at most 256"]);
    check(with("/subject", Value::Object(many)), &["subject: has 300 members, at most 256"]);
    check(with("/subject/id", json!("x".repeat(513))), &["subject.id: longer than 512 bytes"]);
    check(
        with("/context/channel", json!({ "type": "Customer", "id": "contoso" })),
        &["`Autopilot::Channel`"],
    );
    check(with("/subject/type", json!("A\u{0}\n".to_owned() + &"b".repeat(300))), &["\\u{0}\\n", "…"]);
    let not_utf8 = [fabrikam().to_string().into_bytes(), vec![0xff]].concat();
    refused(&sidecar, EVALUATION, not_utf8, &["not valid JSON"]);
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    refused(&sidecar, EVALUATION, deep, &["more than 64 levels at line 1 column 69"]);
    let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(1024 * 1024));
    refused(&sidecar, EVALUATION, long, &["longer than 1048576 bytes"]);
    let delegated = question(
        ("Oem", "trey"),
        "requestConsent",
        ("Customer", "contoso"),
        json!({ "delegatedAdministration": "yes" }),
    );
    check(delegated.to_string(), &["context.delegatedAdministration: expected a boolean, found a string"]);
    assert!(sidecar.permits(&fabrikam()), "and it goes on");
}

#[test]
fn content_type_and_method() {
    let sidecar = Sidecar::of_pack(&[]);
    let body = fabrikam().to_string();
    for good in ["application/json", "application/json; charset=utf-8", "Application/JSON;x=y"] {
        assert_eq!(sidecar.post_as(EVALUATION, &body, &[("content-type", good)]).status, 200, "{good}");
    }
    for bad in ["text/plain", "application/jsonp", "application/xml; a=application/json"] {
        let reply = sidecar.post_as(EVALUATION, &body, &[("content-type", bad)]);
        assert_eq!((reply.status, reply.body.contains("application/json")), (400, true), "{bad}");
    }
    assert_eq!(sidecar.post_as(EVALUATION, &body, &[]).status, 400);
    let get = ureq::get(format!("{}{EVALUATION}", sidecar.decisions)).call();
    assert!(matches!(get, Err(ureq::Error::StatusCode(405))));
    assert_eq!(sidecar.post("/access/v1/guess", &body).status, 404);
}

#[test]
fn request_ids_are_echoed_always() {
    let sidecar = Sidecar::of_pack(&[]);
    let json = ("content-type", "application/json");
    for (path, body) in
        [(EVALUATION, fabrikam().to_string()), (EVALUATION, "{".into()), ("/nowhere", "{}".into())]
    {
        let reply = sidecar.post_as(path, body, &[json, ("x-request-id", "abc-1")]);
        assert_eq!(reply.headers.get("x-request-id").unwrap(), "abc-1", "{path}: {}", reply.status);
    }
}

#[test]
fn batches() {
    let sidecar = Sidecar::of_pack(&[]);
    let batch = |body: Value| sidecar.post(EVALUATIONS, body.to_string()).json();
    let (permit, deny) = (json!({ "decision": true }), json!({ "decision": false }));
    let items = json!([fabrikam(), reseller_by_api(), fabrikam()]);
    assert_eq!(batch(json!({ "evaluations": items })), json!({ "evaluations": [permit, deny, permit] }));
    let options = |semantic| json!({ "evaluations": items, "options": { "evaluations_semantic": semantic } });
    assert_eq!(batch(options("deny_on_first_deny")), json!({ "evaluations": [permit, deny] }));
    assert_eq!(batch(options("permit_on_first_permit")), json!({ "evaluations": [permit] }));
    refused(
        &sidecar,
        EVALUATIONS,
        options("whatever").to_string(),
        &["evaluations_semantic", "`whatever`", "execute_all"],
    );
    // Defaults stand around the items; an item's part replaces the whole of a default.
    let mut body = fabrikam();
    body["evaluations"] =
        json!([{}, { "resource": { "type": "Customer", "id": "relecloud" } }, { "context": {} }]);
    let answers = batch(body);
    assert_eq!(answers["evaluations"][0], permit);
    assert_eq!(answers["evaluations"][1], deny);
    let error = &answers["evaluations"][2]["context"]["error"];
    assert_eq!(
        (&error["status"], answers["evaluations"][2]["decision"].clone()),
        (&json!(400), json!(false))
    );
    assert!(error["message"].as_str().unwrap().contains("context.channel: missing"));
    // Without items it is a single evaluation.
    let mut body = fabrikam();
    body["evaluations"] = json!([]);
    assert_eq!(batch(body)["decision"], json!(true));
    assert_eq!(batch(fabrikam())["decision"], json!(true));
}

#[test]
fn batches_explain_when_asked() {
    let sidecar = Sidecar::of_pack(&[]);
    let body = json!({ "evaluations": [fabrikam(), reseller_by_api()], "options": { "explain": true } });
    let answers = sidecar.post(EVALUATIONS, body.to_string()).json();
    let policies = |n: usize| answers["evaluations"][n]["context"]["reason_admin"]["policies"].clone();
    assert_eq!(policies(0), json!(["direct-bill-registers"]));
    assert_eq!(policies(1), json!(["reseller-never-has-the-api"]));
}

#[test]
fn malformed_batches() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |body: Value, says: &[&str]| refused(&sidecar, EVALUATIONS, body.to_string(), says);
    check(json!({ "evaluations": 1 }), &["evaluations: has to be an array"]);
    check(json!({ "evaluations": [{}], "subject": "x" }), &["subject: has to be an object"]);
    check(json!({ "evaluations": [{}], "options": [] }), &["options: has to be an object"]);
    check(
        json!({ "evaluations": [{}], "options": { "explain": 1 } }),
        &["options.explain: has to be a boolean"],
    );
    check(json!({ "evaluations": vec![json!({}); 1001] }), &["has 1001 items, at most 1000"]);
    let odd = sidecar.post(EVALUATIONS, json!({ "evaluations": [1, fabrikam()] }).to_string()).json();
    assert_eq!(odd["evaluations"][0]["context"]["error"]["status"], json!(400));
    assert_eq!(odd["evaluations"][1], json!({ "decision": true }));
}

/// A forbid that cannot be evaluated denies, and shows in the answer, a metric and the log; the
/// decision is not remembered.
#[test]
fn failing_forbid_denies_aloud() {
    let content = Content::of_pack();
    // A reference of a consent that leads nowhere, and a forbid that follows it.
    content.edit(
        "entities/consents.json",
        r#""id": "admin@contoso"}}, "parents": [{"type": "Autopilot::DirectBillPartner""#,
        r#""id": "gone@contoso"}}, "parents": [{"type": "Autopilot::DirectBillPartner""#,
    );
    content.write(
        "policies/extra.cedar",
        r#"@id("not-by-guests")
        forbid (principal, action == Autopilot::Action::"administer", resource is Autopilot::CspConsent)
        when { resource has acceptedBy && resource.acceptedBy.roles.contains(Autopilot::Role::"user") };"#,
    );
    let sidecar = content.serve();
    let administer = question(
        ("DirectBillPartner", "fabrikam"),
        "administer",
        ("CspConsent", "contoso--fabrikam"),
        json!({}),
    );
    for _ in 0..2 {
        let answer = sidecar.evaluate(&administer);
        assert_eq!(answer["decision"], json!(false));
        let admin = &answer["context"]["reason_admin"];
        assert_eq!(
            (&admin["outcome"], &admin["policies"]),
            (&json!("forbid_failed"), &json!(["not-by-guests"]))
        );
        assert!(admin["errors"][0].as_str().unwrap().contains("gone@contoso"), "{admin}");
    }
    assert!((sidecar.metric(r#"mandate_policy_errors_total{effect="forbid"}"#) - 2.0).abs() < f64::EPSILON);
    until("the log tells", || sidecar.log().contains("not-by-guests"));
    assert!((sidecar.metric("mandate_cache_entries")).abs() < f64::EPSILON, "errors are not remembered");
}

#[test]
fn operators_port() {
    let sidecar = Sidecar::of_pack(&[]);
    assert_eq!(sidecar.admin("/livez").status, 200);
    assert_eq!(sidecar.admin("/readyz").status, 200);
    let status = sidecar.status();
    assert_eq!((status["phase"].as_str(), status["policies"]["count"].as_u64()), (Some("serving"), Some(24)));
    for track in ["policies", "entities"] {
        assert_eq!(status[track]["last_reload"]["outcome"], json!("accepted"));
        assert!(status[track]["source"].as_str().unwrap().ends_with(track));
        assert_eq!(status[track]["digest"].as_str().unwrap().len(), 64);
    }
    sidecar.evaluate(&fabrikam());
    sidecar.evaluate(&fabrikam());
    sidecar.post(EVALUATION, "{");
    let count = |name| sidecar.metric(name);
    let names = [
        r#"mandate_decisions_total{outcome="permitted"}"#,
        "mandate_cache_hits_total",
        "mandate_bad_requests_total",
    ];
    assert_eq!(names.map(|name| count(name) as u64), [2, 1, 1]);
    assert_eq!(sidecar.admin("/nowhere").status, 404);
}

#[test]
fn without_a_cache_the_answers_are_the_same() {
    let sidecar = Sidecar::of_pack(&["--cache-entries", "0"]);
    for _ in 0..2 {
        assert!(sidecar.permits(&fabrikam()));
        assert!(!sidecar.permits(&reseller_by_api()));
    }
    assert_eq!(sidecar.metric("mandate_cache_hits_total") as u64, 0);
}

/// While the first content loads, the sidecar is alive and not ready, and takes no questions.
#[test]
fn not_ready_before_everything_is_loaded() {
    let content = Content::of_pack();
    let customer = |n: u32| json!({ "uid": { "type": "Autopilot::Customer", "id": format!("c{n}") }, "attrs": {}, "parents": [] });
    let many = (0..30_000).map(|n| customer(n).to_string()).collect::<Vec<_>>().join("\n");
    content.write("entities/many.ndjson", &many);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let sidecar = content.serve_watched(&["--listen", &address.to_string()], |admin| {
        let ready = get(&format!("{admin}/readyz"));
        assert_eq!((ready.status, ready.body.as_str()), (503, "loading\n"));
        assert_eq!(get(&format!("{admin}/livez")).status, 200);
        assert_eq!(get(&format!("{admin}/status")).json()["phase"], json!("loading"));
        assert!(get(&format!("{admin}/metrics")).body.contains("mandate_ready 0"));
        assert!(TcpStream::connect(address).is_err(), "no connection before the content is loaded");
    });
    assert_eq!(sidecar.admin("/readyz").status, 200);
    assert!(sidecar.permits(&fabrikam()));
}

/// On SIGTERM readiness falls first, a request in flight ends, and the exit code is 0.
#[test]
fn graceful_shutdown() {
    let mut sidecar = Sidecar::of_pack(&["--shutdown-delay", "500ms"]);
    let address = sidecar.decisions.strip_prefix("http://").unwrap().to_owned();
    let body = fabrikam().to_string();
    let mut in_flight = TcpStream::connect(&address).unwrap();
    in_flight.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST {EVALUATION} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    in_flight.write_all(head.as_bytes()).unwrap();
    in_flight.write_all(&body.as_bytes()[..10]).unwrap();
    sidecar.signal("TERM");
    until("readiness falls", || sidecar.admin("/readyz").status == 503);
    assert!(sidecar.permits(&fabrikam()), "requests are answered while it is not ready");
    until("no connection is accepted", || TcpStream::connect(&address).is_err());
    in_flight.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    in_flight.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""decision":true"#), "{answer}");
    assert_eq!(sidecar.exit_code(), Some(0));
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let mut sidecar = Sidecar::of_pack(&["--shutdown-delay", "0s"]);
    let idle = TcpStream::connect(sidecar.decisions.strip_prefix("http://").unwrap()).unwrap();
    sidecar.signal("INT");
    assert_eq!(sidecar.exit_code(), Some(0));
    drop(idle);
}

/// A policy for two parties is nothing to whom only one of them concerns.
#[test]
fn a_denial_names_only_policies_whose_scope_takes_it() {
    let content = Content::of_pack();
    content.write(
        "policies/agreement.cedar",
        r#"@id("agreement") @reason("An agreement.")
        permit (principal == Autopilot::Oem::"trey", action == Autopilot::Action::"registerDevice", resource == Autopilot::Customer::"relecloud")
        when { context.channel == Autopilot::Channel::"intune" };"#,
    );
    let sidecar = content.serve();
    let policies = |oem, customer| {
        let body = register(("Oem", oem), customer, "oem-api").to_string();
        let answer = sidecar.post("/access/v1/evaluation", body).json();
        assert_eq!(answer["decision"], false, "{answer}");
        answer["context"]["reason_admin"]["policies"].clone()
    };
    assert_eq!(policies("trey", "relecloud"), json!(["agreement", "oem-registers"]));
    assert_eq!(policies("trey", "northwind"), json!(["oem-registers"]));
}

/// What is read of a text is bounded, because a batch's defaults are read for every item.
#[test]
fn texts_of_callers_are_bounded() {
    let content = Content::of_pack();
    content.edit(
        "policies/schema.cedarschema",
        "context: { channel: Channel }",
        "context: { channel: Channel, note?: String }",
    );
    let sidecar = content.serve();
    let ask = |length| {
        let mut body = register(("Oem", "trey"), "contoso", "oem-api");
        body["context"]["note"] = json!("x".repeat(length));
        sidecar.post("/access/v1/evaluation", body.to_string())
    };
    assert_eq!(ask(65_536).json()["decision"], true);
    assert_eq!(ask(65_537).status, 400);
    assert_eq!(ask(65_537).body, "context.note: too long: at most 65536 bytes of text are read in all");
}
