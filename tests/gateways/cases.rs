//! Sends the same requests through every gateway and checks what the client and the upstream get.

use serde_json::Value;

use crate::gateway::{CADDY, ENVOY, ENVOY_HTTP, Gateway, Kind, NGINX, Who};
use crate::upstream::Received;

const BATCHES: &str = "/v1/customers/contoso/deviceBatches";

/// The request reaches the upstream. Returns what the upstream received.
#[track_caller]
fn check_passes(
    gateway: &Gateway,
    who: Who,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Received {
    gateway.upstream.take_received();
    let reply = gateway.send(who, method, target, more, body);
    let received = gateway.upstream.take_received();
    assert_eq!((reply.status, received.len()), (202, 1), "{} {target}: {reply:?}", gateway.kind.name);
    received.into_iter().next().unwrap()
}

/// The request does not reach the upstream. Returns the status that the client gets.
#[track_caller]
fn check_stopped(
    gateway: &Gateway,
    who: Who,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> u16 {
    gateway.upstream.take_received();
    let reply = gateway.send(who, method, target, more, body);
    let received = gateway.upstream.take_received();
    assert!(
        received.is_empty() && reply.status >= 400,
        "{} {target}: {reply:?} {received:?}",
        gateway.kind.name
    );
    reply.status
}

/// The request is denied with status 403.
#[track_caller]
fn check_denied(gateway: &Gateway, who: Who, method: &str, target: &str) {
    assert_eq!(check_stopped(gateway, who, method, target, &[], b""), 403, "{} {target}", gateway.kind.name);
}

fn check_gateway(kind: &'static Kind) {
    let Some(gateway) = Gateway::start(kind) else { return };
    permits_carry_the_decision_in_headers(&gateway);
    denials_carry_the_reason(&gateway);
    requests_without_a_permitted_route_are_denied(&gateway);
    clients_cannot_speak_for_the_gateway(&gateway);
    ambiguous_paths_are_refused(&gateway);
    bodies_are_read_as_a_whole_or_the_request_is_denied(&gateway);
    changed_entities_are_in_use_at_once(&gateway);
    without_an_answer_of_mandate_all_requests_are_stopped(&gateway);
}

#[test]
fn envoy() {
    check_gateway(&ENVOY);
}

#[test]
fn envoy_http() {
    check_gateway(&ENVOY_HTTP);
}

#[test]
fn nginx() {
    check_gateway(&NGINX);
}

#[test]
fn caddy() {
    check_gateway(&CADDY);
}

fn permits_carry_the_decision_in_headers(gateway: &Gateway) {
    let received =
        check_passes(gateway, Who::Fabrikam, "POST", BATCHES, &[], br#"{"BatchId":"b","Devices":[]}"#);
    assert_eq!((received.target.as_str(), received.body), (BATCHES, 28));
    let revision = gateway.sidecar.revision();
    for (name, value) in [
        ("x-mandate-decision", "permit"),
        ("x-mandate-outcome", "permitted"),
        ("x-mandate-policies", "direct-bill-registers"),
        ("x-mandate-reason", "-"),
        ("x-mandate-revision", &revision),
        ("x-mandate-route", "create-batch"),
    ] {
        assert_eq!(received.header(name), [value], "{name} {received:?}");
    }
    let id = received.header("x-mandate-decision-id");
    assert!(id.len() == 1 && uuid::Uuid::parse_str(id[0]).is_ok(), "{id:?}");
    // Routes ignore case, like the service behind the gateway, and the query.
    let target = "/V1/Customers/contoso/DEVICEBATCHES?x=/../y";
    assert_eq!(check_passes(gateway, Who::Fabrikam, "POST", target, &[], b"").target, target);
}

fn denials_carry_the_reason(gateway: &Gateway) {
    gateway.upstream.take_received();
    let reply = gateway.send(Who::Tailspin, "POST", "/v1/customers/northwind/deviceBatches", &[], b"{}");
    assert_eq!((reply.status, gateway.upstream.take_received().len()), (403, 0), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem: Value = serde_json::from_str(&reply.body).unwrap();
    let reason = "An indirect reseller uses the Partner Center UI (CSV upload); it never has the API.";
    assert_eq!(problem["detail"], reason, "{problem}");
    assert_eq!(reply.header("x-mandate-decision-id"), problem["decision_id"].as_str(), "{reply:?}");
    check_denied(gateway, Who::Fabrikam, "POST", "/v1/customers/northwind/deviceBatches");
    check_denied(gateway, Who::Fabrikam, "POST", "/v1/customers/nobody/deviceBatches");
}

fn requests_without_a_permitted_route_are_denied(gateway: &Gateway) {
    check_passes(gateway, Who::Fabrikam, "GET", "/v1/customers/contoso/batchjobstatus/1", &[], b"");
    check_passes(gateway, Who::Trey, "GET", "/oem/v1/customers/contoso/consent", &[], b"");
    // The OEM API is another channel than the API of Partner Center; each partner may use only one of them.
    check_denied(gateway, Who::Fabrikam, "POST", "/oem/v1/customers/contoso/devices");
    check_denied(gateway, Who::Trey, "POST", BATCHES);
    for (method, target) in
        [("GET", "/v1/customers/contoso/invoices"), ("PUT", BATCHES), ("GET", "/"), ("POST", "/forward-auth")]
    {
        check_denied(gateway, Who::Fabrikam, method, target);
    }
}

fn clients_cannot_speak_for_the_gateway(gateway: &Gateway) {
    let claims = [("x-partner-type", "DirectBillPartner"), ("x-partner-id", "fabrikam")];
    let status = check_stopped(gateway, Who::Nobody, "POST", BATCHES, &claims, b"");
    assert_eq!(status, 401, "{}", gateway.kind.name);
    let reply = gateway.send(Who::Nobody, "POST", BATCHES, &[], b"");
    let mut names = reply.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    assert!(names.any(|name| name == "www-authenticate"), "{}: {reply:?}", gateway.kind.name);
    assert_eq!(check_stopped(gateway, Who::Tailspin, "POST", BATCHES, &claims, b""), 403);
    let forwarded = [("x-forwarded-method", "GET"), ("x-forwarded-uri", BATCHES)];
    assert_eq!(
        check_stopped(
            gateway,
            Who::Fabrikam,
            "POST",
            "/v1/customers/northwind/deviceBatches",
            &forwarded,
            b""
        ),
        403
    );
    let spoofed =
        [("x-mandate-decision", "deny"), ("X-Mandate-Policies", "mine"), ("x-mandate-admin", "yes")];
    let received = check_passes(gateway, Who::Fabrikam, "POST", BATCHES, &spoofed, b"");
    assert_eq!(received.header("x-mandate-decision"), ["permit"], "{received:?}");
    assert_eq!(received.header("x-mandate-policies"), ["direct-bill-registers"], "{received:?}");
    let expected = if gateway.kind.removes_all_spoofed { vec![] } else { vec!["yes"] };
    assert_eq!(received.header("x-mandate-admin"), expected, "{received:?}");
}

/// A path is either refused, or the same for Mandate and for the upstream.
fn ambiguous_paths_are_refused(gateway: &Gateway) {
    for target in [
        "/v1/customers/contoso%2FdeviceBatches",
        "/v1/customers/contoso/deviceBatches%2f..",
        "/v1/customers/northwind%2F..%2Fcontoso/deviceBatches",
        "/v1/customers/contoso%5CdeviceBatches",
        "/v1/customers/contoso/deviceBatches/",
        "/v1/customers/%zz/deviceBatches",
        "/v1/customers/contoso%00/deviceBatches",
        "/v1/customers/contoso/deviceBatches;x=1",
        "/v1/customers/contoso/../northwind/deviceBatches",
        "/v1/customers/contoso/%2e%2e/northwind/deviceBatches",
        "/v1/customers/contoso/..;/northwind/deviceBatches",
        "/v1/customers/contoso/..%20/northwind/deviceBatches",
        "/v1/customers/contoso/policies/..%252fother",
        "/v1/customers/contoso/deviceBatches#/../x",
    ] {
        check_stopped(gateway, Who::Fabrikam, "POST", target, &[], b"");
    }
    for target in
        ["/v1/customers/northwind/../contoso/deviceBatches", "//v1//customers/contoso/deviceBatches"]
    {
        if gateway.kind.resolves_paths {
            assert_eq!(check_passes(gateway, Who::Fabrikam, "POST", target, &[], b"").target, BATCHES);
        } else {
            check_denied(gateway, Who::Fabrikam, "POST", target);
        }
    }
}

fn bodies_are_read_as_a_whole_or_the_request_is_denied(gateway: &Gateway) {
    let large = vec![b' '; 200_000];
    assert_eq!(check_passes(gateway, Who::Fabrikam, "POST", BATCHES, &[], &large).body, large.len());
    let target = "/oem/v1/customers/contoso/consentRequests";
    let consent_request = |delegated: bool| format!(r#"{{"delegatedAdministration":{delegated}}}"#);
    let json = ("Content-Type", "application/json");
    let send = |body: &str| gateway.send(Who::Trey, "POST", target, &[json], body.as_bytes()).status;
    assert_eq!(send(&consent_request(false)), if gateway.kind.passes_bodies { 202 } else { 403 });
    assert_eq!(send(&consent_request(true)), 403);
    assert_eq!(send(&format!("{}{}", consent_request(false), " ".repeat(200_000))), 403);
    assert_eq!(send(r#"{"delegatedAdministration":false,"DelegatedAdministration":true}"#), 403);
    assert_eq!(send("{\"delegatedAdmini\u{17f}tration\":true}"), 403);
    assert_eq!(send("{"), 403);
    // With another content type, the service may read another body than Mandate.
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = consent_request(false);
    assert_eq!(gateway.send(Who::Trey, "POST", target, &[form], body.as_bytes()).status, 403);
}

fn changed_entities_are_in_use_at_once(gateway: &Gateway) {
    let before = gateway.sidecar.revision();
    let customers = gateway.content.read("entities/customers.json");
    let consent = r#"{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}, "#;
    assert!(customers.contains(consent), "{customers}");
    gateway.content.replace_file("entities/customers.json", &customers.replacen(consent, "", 1));
    crate::support::until("the consent is gone", || gateway.sidecar.revision() != before);
    check_denied(gateway, Who::Fabrikam, "POST", BATCHES);
    gateway.content.replace_file("entities/customers.json", &customers);
    crate::support::until("the consent is back", || gateway.sidecar.revision() == before);
    check_passes(gateway, Who::Fabrikam, "POST", BATCHES, &[], b"");
}

fn without_an_answer_of_mandate_all_requests_are_stopped(gateway: &Gateway) {
    gateway.sidecar.signal("STOP");
    let status = check_stopped(gateway, Who::Fabrikam, "POST", BATCHES, &[], b"");
    assert!(gateway.kind.statuses_without_answer.contains(&status), "{status}");
    gateway.sidecar.signal("CONT");
    crate::support::until("requests pass again", || {
        gateway.send(Who::Fabrikam, "POST", BATCHES, &[], b"").status == 202
    });
    gateway.sidecar.signal("KILL");
    let status = check_stopped(gateway, Who::Fabrikam, "POST", BATCHES, &[], b"");
    assert!(gateway.kind.statuses_without_answer.contains(&status), "{status}");
}
