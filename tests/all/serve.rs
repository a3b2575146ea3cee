//! A running sidecar: evaluations over HTTP, the operators' port, start and shutdown. `refused` has requests with
//! errors, `batches` the evaluations of several questions at once, `metrics` the metrics.

mod batches;
mod metrics;
mod refused;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Content, Sidecar, get, pack, question, register, until};

const EVALUATION: &str = "/access/v1/evaluation";

/// A question that the pack permits.
fn permitted() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

/// A question that the pack denies, because a reseller never has the API.
fn denied() -> Value {
    register(("IndirectReseller", "tailspin"), "northwind", "partner-center-api")
}

/// The body is refused with status 400 and a short message that contains all `parts`.
#[track_caller]
fn check_refused(sidecar: &Sidecar, path: &str, body: impl AsRef<[u8]>, parts: &[&str]) {
    let reply = sidecar.post(path, body);
    assert_eq!(reply.status, 400, "{}", reply.body);
    for part in parts {
        assert!(reply.body.contains(part), "`{part}` is not in: {}", reply.body);
    }
    assert!(!reply.body.contains('\n') && reply.body.len() < 400, "not one short line: {}", reply.body);
}

#[test]
fn a_permit_has_no_reasons_and_a_denial_has_the_forbids() {
    let sidecar = Sidecar::of_pack(&[]);
    let revision = sidecar.revision();
    let (permit, denial) = (sidecar.evaluate(&permitted()), sidecar.evaluate(&denied()));
    let [permit_id, denial_id] = [&permit, &denial].map(|answer| answer["context"]["decision_id"].clone());
    assert_ne!(permit_id, denial_id);
    assert_eq!(
        permit,
        json!({ "decision": true, "context": { "decision_id": permit_id, "revision": revision } })
    );
    let en = "An indirect reseller uses the Partner Center UI (CSV upload); it never has the API.";
    let de = "Ein indirekter Reseller benutzt die Oberfläche des Partner Centers (CSV-Upload); die API hat er nie.";
    assert_eq!(
        denial,
        json!({ "decision": false, "context": {
            "decision_id": denial_id,
            "revision": revision,
            "reason_admin": { "outcome": "forbidden", "policies": ["reseller-never-has-the-api"] },
            "reason_user": { "en": en, "de": de },
        }})
    );
}

#[test]
fn a_denial_without_a_forbid_names_the_policies_that_could_permit() {
    let sidecar = Sidecar::of_pack(&[]);
    let answer =
        sidecar.evaluate(&register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api"));
    let admin = &answer["context"]["reason_admin"];
    assert_eq!(*admin, json!({ "outcome": "not_permitted", "policies": ["direct-bill-registers"] }));
    assert!(answer["context"]["reason_user"]["en"].as_str().unwrap().contains("has accepted no consent"));
}

#[test]
fn unknown_principals_and_resources_are_denied() {
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
    // Callers can make up any number of ids, so these decisions are not cached.
    assert!(sidecar.metric("mandate_cache_entries").abs() < f64::EPSILON);
}

#[test]
fn names_with_a_namespace_are_accepted() {
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
fn unknown_keys_and_properties_of_entities_are_ignored() {
    let sidecar = Sidecar::of_pack(&[]);
    let mut question = permitted();
    question["context"]["weather"] = json!({ "sky": ["blue"] });
    question["subject"]["properties"] = json!({ "active": false, "x": 1 });
    question["subject"]["nickname"] = json!("fab");
    question["future"] = json!([1, 2]);
    assert!(sidecar.permits(&question));
    // Attributes come from the entity files alone: a caller cannot make a suspended partner active.
    let mut suspended = register(("DirectBillPartner", "lucerne"), "margies-travel", "partner-center-api");
    suspended["subject"]["properties"] = json!({ "active": true });
    assert!(!sidecar.permits(&suspended));
}

#[test]
fn action_properties_join_the_context() {
    let sidecar = Sidecar::of_pack(&[]);
    let mut question = permitted();
    question["context"] = json!({});
    question["action"]["properties"] = json!({ "channel": "partner-center-api" });
    assert!(sidecar.permits(&question));
    question["context"] = json!({ "channel": "partner-center-ui" });
    check_refused(&sidecar, EVALUATION, question.to_string(), &["context.channel", "different values"]);
}

#[test]
fn every_answer_echoes_the_request_id() {
    let sidecar = Sidecar::of_pack(&[]);
    let json = ("content-type", "application/json");
    for (path, body) in
        [(EVALUATION, permitted().to_string()), (EVALUATION, "{".into()), ("/nowhere", "{}".into())]
    {
        let reply = sidecar.post_with_headers(path, body, &[json, ("x-request-id", "abc-1")]);
        assert_eq!(reply.headers.get("x-request-id").unwrap(), "abc-1", "{path}: {}", reply.status);
    }
}

/// The error is in the answer, in a metric and in the log, and the decision is not cached.
#[test]
fn a_forbid_that_fails_denies_and_is_reported() {
    let content = Content::of_pack();
    // The consent refers to a user that does not exist, and a forbid reads the attributes of this user.
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
    until("the log has the policy", || sidecar.log().contains("not-by-guests"));
    assert!(
        (sidecar.metric("mandate_cache_entries")).abs() < f64::EPSILON,
        "decisions with errors are not cached"
    );
}

#[test]
fn the_operators_port_has_health_status_and_metrics() {
    let sidecar = Sidecar::of_pack(&[]);
    assert_eq!(sidecar.admin("/livez").status, 200);
    assert_eq!(sidecar.admin("/readyz").status, 200);
    let status = sidecar.status();
    assert_eq!(
        (&status["phase"], &status["policies"]["count"]),
        (&json!("serving"), &json!(pack::policies()))
    );
    for track in ["policies", "entities"] {
        assert_eq!(status[track]["last_reload"]["outcome"], json!("accepted"));
        assert!(status[track]["source"].as_str().unwrap().ends_with(track));
        assert_eq!(status[track]["digest"].as_str().unwrap().len(), 64);
    }
    sidecar.evaluate(&permitted());
    sidecar.evaluate(&permitted());
    sidecar.post(EVALUATION, "{");
    let names = [
        r#"mandate_decisions_total{outcome="permitted"}"#,
        "mandate_cache_hits_total",
        "mandate_bad_requests_total",
    ];
    assert_eq!(names.map(|name| sidecar.metric(name) as u64), [2, 1, 1]);
    assert_eq!(sidecar.admin("/nowhere").status, 404);
}

#[test]
fn without_a_cache_the_answers_are_the_same() {
    let sidecar = Sidecar::of_pack(&["--cache-entries", "0"]);
    for _ in 0..2 {
        assert!(sidecar.permits(&permitted()));
        assert!(!sidecar.permits(&denied()));
    }
    assert_eq!(sidecar.metric("mandate_cache_hits_total") as u64, 0);
}

/// While the first content loads, the sidecar is alive but not ready, and refuses connections of callers.
#[test]
fn the_sidecar_is_not_ready_before_all_content_is_loaded() {
    let content = Content::of_pack();
    let customer = |n: u32| json!({ "uid": { "type": "Autopilot::Customer", "id": format!("c{n}") }, "attrs": {}, "parents": [] });
    let many = (0..30_000).map(|n| customer(n).to_string()).collect::<Vec<_>>().join("\n");
    content.write("entities/many.ndjson", &many);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let sidecar = content.serve_with_observer(&["--listen", &address.to_string()], |admin| {
        let ready = get(&format!("{admin}/readyz"));
        assert_eq!((ready.status, ready.body.as_str()), (503, "loading\n"));
        assert_eq!(get(&format!("{admin}/livez")).status, 200);
        assert_eq!(get(&format!("{admin}/status")).json()["phase"], json!("loading"));
        assert!(get(&format!("{admin}/metrics")).body.contains("mandate_ready 0"));
        assert!(TcpStream::connect(address).is_err(), "no connection before the content is loaded");
    });
    assert_eq!(sidecar.admin("/readyz").status, 200);
    assert!(sidecar.permits(&permitted()));
}

/// After SIGTERM the sidecar stops being ready, then stops accepting connections, answers the request in flight, and
/// exits with 0.
#[test]
fn shutdown_is_graceful() {
    let mut sidecar = Sidecar::of_pack(&["--shutdown-delay", "500ms"]);
    let address = sidecar.decisions.strip_prefix("http://").unwrap().to_owned();
    let body = permitted().to_string();
    let mut in_flight = TcpStream::connect(&address).unwrap();
    in_flight.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST {EVALUATION} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    in_flight.write_all(head.as_bytes()).unwrap();
    in_flight.write_all(&body.as_bytes()[..10]).unwrap();
    sidecar.signal("TERM");
    until("the sidecar is not ready", || sidecar.admin("/readyz").status == 503);
    assert!(sidecar.permits(&permitted()), "requests are answered while it is not ready");
    until("no connection is accepted", || TcpStream::connect(&address).is_err());
    in_flight.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    in_flight.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""decision":true"#), "{answer}");
    assert_eq!(sidecar.exit_code(), Some(0));
}

#[test]
fn idle_connections_do_not_delay_shutdown() {
    let mut sidecar = Sidecar::of_pack(&["--shutdown-delay", "0s"]);
    let idle = TcpStream::connect(sidecar.decisions.strip_prefix("http://").unwrap()).unwrap();
    sidecar.signal("INT");
    assert_eq!(sidecar.exit_code(), Some(0));
    drop(idle);
}

/// A policy for one principal and one resource is not named for other resources.
#[test]
fn a_denial_names_only_policies_whose_scope_matches() {
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

/// The defaults of a batch are read again for every item, so their length is limited.
#[test]
fn the_text_of_a_question_is_limited() {
    let content = Content::of_pack();
    content.edit(
        "policies/schema.cedarschema",
        "context: { channel: Channel, device?: String }",
        "context: { channel: Channel, device?: String, note?: String }",
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
