//! What every gateway has to do with the same requests.

use serde_json::Value;

use crate::gateway::{CADDY, ENVOY, ENVOY_HTTP, Gateway, Kind, NGINX, Who};
use crate::upstream::Got;

const BATCHES: &str = "/v1/customers/contoso/deviceBatches";

/// A request that gets through; gives what the upstream got.
#[track_caller]
fn passes(
    gateway: &Gateway,
    who: Who,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Got {
    gateway.upstream.got();
    let reply = gateway.send(who, method, target, more, body);
    let got = gateway.upstream.got();
    assert_eq!((reply.status, got.len()), (202, 1), "{} {target}: {reply:?}", gateway.kind.name);
    got.into_iter().next().unwrap()
}

/// A request that does not; gives the status that the client saw.
#[track_caller]
fn stopped(
    gateway: &Gateway,
    who: Who,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> u16 {
    gateway.upstream.got();
    let reply = gateway.send(who, method, target, more, body);
    let got = gateway.upstream.got();
    assert!(got.is_empty() && reply.status >= 400, "{} {target}: {reply:?} {got:?}", gateway.kind.name);
    reply.status
}

#[track_caller]
fn denied(gateway: &Gateway, who: Who, method: &str, target: &str) {
    assert_eq!(stopped(gateway, who, method, target, &[], b""), 403, "{} {target}", gateway.kind.name);
}

fn all(kind: &'static Kind) {
    let Some(gateway) = Gateway::start(kind) else { return };
    permits_say_why(&gateway);
    denials_say_why(&gateway);
    routes_decide(&gateway);
    clients_cannot_speak_for_the_gateway(&gateway);
    paths_mean_one_thing(&gateway);
    bodies_are_read_whole_or_not_at_all(&gateway);
    changes_count_at_once(&gateway);
    without_mandate_nobody_gets_through(&gateway);
}

#[test]
fn envoy() {
    all(&ENVOY);
}

#[test]
fn envoy_http() {
    all(&ENVOY_HTTP);
}

#[test]
fn nginx() {
    all(&NGINX);
}

#[test]
fn caddy() {
    all(&CADDY);
}

fn permits_say_why(gateway: &Gateway) {
    let got = passes(gateway, Who::Fabrikam, "POST", BATCHES, &[], br#"{"BatchId":"b","Devices":[]}"#);
    assert_eq!((got.target.as_str(), got.body), (BATCHES, 28));
    let revision = gateway.sidecar.revision();
    for (name, value) in [
        ("x-mandate-decision", "permit"),
        ("x-mandate-outcome", "permitted"),
        ("x-mandate-policies", "direct-bill-registers"),
        ("x-mandate-reason", "-"),
        ("x-mandate-revision", &revision),
        ("x-mandate-route", "create-batch"),
    ] {
        assert_eq!(got.header(name), [value], "{name} {got:?}");
    }
    let id = got.header("x-mandate-decision-id");
    assert!(id.len() == 1 && uuid::Uuid::parse_str(id[0]).is_ok(), "{id:?}");
    // The service behind does not tell upper from lower case, nor does the query count.
    let target = "/V1/Customers/contoso/DEVICEBATCHES?x=/../y";
    assert_eq!(passes(gateway, Who::Fabrikam, "POST", target, &[], b"").target, target);
}

fn denials_say_why(gateway: &Gateway) {
    gateway.upstream.got();
    let reply = gateway.send(Who::Tailspin, "POST", "/v1/customers/northwind/deviceBatches", &[], b"{}");
    assert_eq!((reply.status, gateway.upstream.got().len()), (403, 0), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem: Value = serde_json::from_str(&reply.body).unwrap();
    let reason = "An indirect reseller uses the Partner Center UI (CSV upload); it never has the API.";
    assert_eq!(problem["detail"], reason, "{problem}");
    assert_eq!(reply.header("x-mandate-decision-id"), problem["decision_id"].as_str(), "{reply:?}");
    denied(gateway, Who::Fabrikam, "POST", "/v1/customers/northwind/deviceBatches");
    denied(gateway, Who::Fabrikam, "POST", "/v1/customers/nobody/deviceBatches");
}

fn routes_decide(gateway: &Gateway) {
    passes(gateway, Who::Fabrikam, "GET", "/v1/customers/contoso/batchjobstatus/1", &[], b"");
    passes(gateway, Who::Trey, "GET", "/oem/v1/customers/contoso/consent", &[], b"");
    // The manufacturers' API is another channel, and so is Partner Center's for them.
    denied(gateway, Who::Fabrikam, "POST", "/oem/v1/customers/contoso/devices");
    denied(gateway, Who::Trey, "POST", BATCHES);
    for (method, target) in
        [("GET", "/v1/customers/contoso/invoices"), ("PUT", BATCHES), ("GET", "/"), ("POST", "/forward-auth")]
    {
        denied(gateway, Who::Fabrikam, method, target);
    }
}

fn clients_cannot_speak_for_the_gateway(gateway: &Gateway) {
    let claims = [("x-partner-type", "DirectBillPartner"), ("x-partner-id", "fabrikam")];
    let status = stopped(gateway, Who::Nobody, "POST", BATCHES, &claims, b"");
    assert_eq!(status, gateway.kind.unauthenticated);
    assert_eq!(stopped(gateway, Who::Tailspin, "POST", BATCHES, &claims, b""), 403);
    let forwarded = [("x-forwarded-method", "GET"), ("x-forwarded-uri", BATCHES)];
    assert_eq!(
        stopped(gateway, Who::Fabrikam, "POST", "/v1/customers/northwind/deviceBatches", &forwarded, b""),
        403
    );
    let spoofed =
        [("x-mandate-decision", "deny"), ("X-Mandate-Policies", "mine"), ("x-mandate-admin", "yes")];
    let got = passes(gateway, Who::Fabrikam, "POST", BATCHES, &spoofed, b"");
    assert_eq!(got.header("x-mandate-decision"), ["permit"], "{got:?}");
    assert_eq!(got.header("x-mandate-policies"), ["direct-bill-registers"], "{got:?}");
    let left = if gateway.kind.removes_all_spoofed { vec![] } else { vec!["yes"] };
    assert_eq!(got.header("x-mandate-admin"), left, "{got:?}");
}

/// A path is refused, or Mandate and the upstream take it for the same.
fn paths_mean_one_thing(gateway: &Gateway) {
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
        stopped(gateway, Who::Fabrikam, "POST", target, &[], b"");
    }
    for target in
        ["/v1/customers/northwind/../contoso/deviceBatches", "//v1//customers/contoso/deviceBatches"]
    {
        if gateway.kind.resolves_paths {
            assert_eq!(passes(gateway, Who::Fabrikam, "POST", target, &[], b"").target, BATCHES);
        } else {
            denied(gateway, Who::Fabrikam, "POST", target);
        }
    }
}

fn bodies_are_read_whole_or_not_at_all(gateway: &Gateway) {
    let large = vec![b' '; 200_000];
    assert_eq!(passes(gateway, Who::Fabrikam, "POST", BATCHES, &[], &large).body, large.len());
    let target = "/oem/v1/customers/contoso/consentRequests";
    let asks = |delegated: bool| format!(r#"{{"delegatedAdministration":{delegated}}}"#);
    let send = |body: &str| gateway.send(Who::Trey, "POST", target, &[], body.as_bytes()).status;
    assert_eq!(send(&asks(false)), if gateway.kind.passes_bodies { 202 } else { 403 });
    assert_eq!(send(&asks(true)), 403);
    assert_eq!(send(&format!("{}{}", asks(false), " ".repeat(200_000))), 403);
    assert_eq!(send(r#"{"delegatedAdministration":false,"DelegatedAdministration":true}"#), 403);
    assert_eq!(send("{\"delegatedAdmini\u{17f}tration\":true}"), 403);
    assert_eq!(send("{"), 403);
}

fn changes_count_at_once(gateway: &Gateway) {
    let before = gateway.sidecar.revision();
    let consents = gateway.content.read("entities/customers.json");
    let parents = r#"{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}, "#;
    assert!(consents.contains(parents), "{consents}");
    gateway.content.place("entities/customers.json", &consents.replacen(parents, "", 1));
    crate::support::until("the consent is gone", || gateway.sidecar.revision() != before);
    denied(gateway, Who::Fabrikam, "POST", BATCHES);
    gateway.content.place("entities/customers.json", &consents);
    crate::support::until("the consent is back", || gateway.sidecar.revision() == before);
    passes(gateway, Who::Fabrikam, "POST", BATCHES, &[], b"");
}

fn without_mandate_nobody_gets_through(gateway: &Gateway) {
    gateway.sidecar.signal("STOP");
    let status = stopped(gateway, Who::Fabrikam, "POST", BATCHES, &[], b"");
    assert!(gateway.kind.without_answer.contains(&status), "{status}");
    gateway.sidecar.signal("CONT");
    crate::support::until("it gets through again", || {
        gateway.send(Who::Fabrikam, "POST", BATCHES, &[], b"").status == 202
    });
    gateway.sidecar.signal("KILL");
    let status = stopped(gateway, Who::Fabrikam, "POST", BATCHES, &[], b"");
    assert!(gateway.kind.without_answer.contains(&status), "{status}");
}
