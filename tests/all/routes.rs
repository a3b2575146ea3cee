//! Routes in a running sidecar and in `mandate route`. `identity` pins where principals come from, `refused` has invalid route files, `questions` the question that
//! each request asks.

mod changes;
mod identity;
mod questions;
mod refused;
mod suites;

use std::sync::Arc;

use mandate_core::diagnostics::SourceText;
use mandate_core::schema::Schema;
use mandate_routes::{HttpRequest, RouteError, Routes};
use mandate_sources::loader::PolicyFolder;
use mandate_sources::policy_limits::PolicyLimits;

use crate::support::{Content, Sidecar, repository_path, until};

const SCHEMA: &str = r#"
entity Partner, Maker;
entity Customer;
entity Channel enum ["api", "ui"];
action register appliesTo { principal: [Partner, Maker], resource: Customer, context: {
  channel: Channel, count?: Long, large?: Bool, tags?: Set<String>, note?: String, from?: ipaddr,
} };
action view appliesTo { principal: Partner, resource: Customer };
"#;

fn schema() -> Schema {
    Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0
}

fn parse(text: &str) -> Result<Routes, mandate_core::diagnostics::Diagnostics> {
    Routes::parse(&[SourceText::new("routes.toml", text)], &schema())
}

/// A route file with one route. `lines` replace its keys or add to them; `before` is put before the route.
fn route_with(before: &str, lines: &str) -> String {
    let defaults = [
        "id = 'r'",
        "method = 'POST'",
        "path = '/c/{customer}'",
        "action = 'register'",
        "principal = { type = 'Partner', id = { header = 'x-partner' } }",
        "resource = { type = 'Customer', id = { path = 'customer' } }",
        "context.channel = 'api'",
    ];
    let key = |line: &str| line.split([' ', '.']).next().unwrap().to_owned();
    let given: Vec<String> = lines.lines().map(key).collect();
    let kept = defaults.iter().filter(|line| !given.contains(&key(line))).copied();
    format!("{before}\n[[route]]\n{}\n{lines}\n", kept.collect::<Vec<_>>().join("\n"))
}

/// The headers that name the partner Fabrikam in the pack's routes.
const FABRIKAM: [(&str, &str); 2] = [("x-partner-type", "DirectBillPartner"), ("x-partner-id", "fabrikam")];

/// The status with which `/forward-auth` answers when Fabrikam sends a request.
fn forward_auth_status(sidecar: &Sidecar, method: &str, uri: &str) -> u16 {
    let headers = [("x-forwarded-method", method), ("x-forwarded-uri", uri), FABRIKAM[0], FABRIKAM[1]];
    sidecar.send("GET", "/forward-auth", "", &headers).status
}

#[test]
fn routes_reload_with_the_policies_or_not_at_all() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    let (old, new) = ("/v1/customers/contoso/deviceBatches", "/v2/customers/contoso/deviceBatches");
    assert_eq!(
        (forward_auth_status(&sidecar, "POST", old), forward_auth_status(&sidecar, "POST", new)),
        (200, 403)
    );
    let before = sidecar.revision();
    content.edit("policies/routes.toml", "/v1/", "/v2/");
    until("the new routes are in use", || sidecar.revision() != before);
    assert_eq!(
        (forward_auth_status(&sidecar, "POST", old), forward_auth_status(&sidecar, "POST", new)),
        (403, 200)
    );
    // An invalid file changes nothing, and the status has the error.
    let text = content.read("policies/routes.toml");
    content.replace_file("policies/routes.toml", &text.replacen("registerDevice", "registerDevices", 1));
    until("the invalid routes are refused", || {
        sidecar.status()["policies"]["error"].is_object()
            || sidecar.status()["policies"].to_string().contains("registerDevices")
    });
    assert_eq!(forward_auth_status(&sidecar, "POST", new), 200);
    content.replace_file("policies/routes.toml", &text);
    until("the corrected routes are accepted", || {
        !sidecar.status()["policies"].to_string().contains("registerDevices")
    });
    std::fs::remove_file(content.path("policies/routes.toml")).unwrap();
    until("there are no routes", || forward_auth_status(&sidecar, "POST", new) == 403);
    content.replace_file("policies/more.routes.toml", &text);
    until("there are routes again", || forward_auth_status(&sidecar, "POST", new) == 200);
}

#[test]
fn every_answer_to_a_gateway_has_all_headers() {
    let sidecar = Sidecar::of_pack(&[]);
    let names = ["decision", "decision-id", "outcome", "policies", "reason", "revision", "route"];
    let check = |headers: &[(&str, &str)], status: u16, outcome: &str| {
        let reply = sidecar.send("GET", "/forward-auth?and=more", "", headers);
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.headers["x-mandate-outcome"], outcome, "{reply:?}");
        for name in names {
            let value = reply.headers.get(format!("x-mandate-{name}"));
            assert!(value.is_some_and(|value| !value.is_empty()), "{name}: {reply:?}");
        }
        assert_eq!(reply.headers.get("x-request-id").map(|id| id.to_str().unwrap()), Some("me"));
    };
    let uri = ("x-forwarded-uri", "/v1/customers/contoso/deviceBatches");
    let (method, id) = (("x-forwarded-method", "POST"), ("x-request-id", "me"));
    check(&[method, uri, id, FABRIKAM[0], FABRIKAM[1]], 200, "permitted");
    check(&[method, uri, id, FABRIKAM[0], ("x-partner-id", "lucerne")], 403, "not_permitted");
    check(&[method, uri, id, FABRIKAM[0], ("x-partner-id", "nobody")], 403, "unknown_principal");
    check(&[method, uri, id, ("x-partner-type", "Nobody"), FABRIKAM[1]], 403, "invalid_request");
    check(&[method, uri, id], 401, "unauthenticated");
    check(&[method, uri, id, FABRIKAM[0], ("x-partner-id", "")], 401, "unauthenticated");
    check(&[method, ("x-forwarded-uri", "/elsewhere"), id], 403, "no_route");
    check(&[method, ("x-forwarded-uri", "/a//b"), id], 403, "bad_path");
    check(&[method, id], 403, "gateway_misconfigured");
    check(&[uri, id], 403, "gateway_misconfigured");
    check(&[method, uri, uri, id], 403, "gateway_misconfigured");
    assert!((sidecar.metric("mandate_unrouted_total") - 4.0).abs() < 0.5);
}

#[test]
fn envoy_over_http_forwards_the_request_with_its_body() {
    let sidecar = Sidecar::of_pack(&[]);
    let target = "/ext-authz/oem/v1/customers/contoso/consentRequests";
    let trey = [
        ("x-partner-type", "Oem"),
        ("x-partner-id", "trey"),
        ("x-mandate-x", "1"),
        ("content-type", "application/json"),
    ];
    let reply = sidecar.post_with_headers(target, r#"{"delegatedAdministration":false}"#, &trey);
    assert_eq!(
        (reply.status, &reply.headers["x-envoy-auth-headers-to-remove"]),
        (200, &"x-mandate-x".parse().unwrap())
    );
    let reply = sidecar.post_with_headers(target, r#"{"delegatedAdministration":true}"#, &trey);
    assert_eq!((reply.status, &reply.headers["x-mandate-outcome"]), (403, &"forbidden".parse().unwrap()));
    let partial = [trey[0], trey[1], trey[3], ("x-envoy-auth-partial-body", "true")];
    let reply = sidecar.post_with_headers(target, r#"{"delegatedAdministration":false}"#, &partial);
    assert_eq!((reply.status, &reply.headers["x-mandate-outcome"]), (403, &"missing".parse().unwrap()));
    assert_eq!(sidecar.post("/ext-authzz", "").status, 404);
    let long = format!("{{{}}}", " ".repeat(2 << 20));
    assert_eq!(sidecar.post_with_headers(target, long, &trey).status, 403);
}

/// `mandate route` ends with the exit code, and prints all `parts`.
#[track_caller]
fn check_output(args: &[&str], code: i32, parts: &[&str]) {
    let output = Content::of_pack().mandate("route", args);
    let shown =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    for part in parts {
        assert!(shown.contains(part), "`{part}` is not in: {shown}");
    }
}

#[test]
fn the_command_line_shows_the_question() {
    let headers = ["-H", "X-Partner-Type: DirectBillPartner", "-H", "X-Partner-Id:fabrikam"];
    let request = ["POST", "/V1/customers/contoso/devicebatches"];
    let text = [
        "create-batch (",
        "routes.toml:9)",
        "principal  DirectBillPartner::fabrikam",
        "channel: partner-center-api",
    ];
    check_output(&[&request[..], &headers].concat(), 0, &text);
    let json = r#""subject":{"type":"DirectBillPartner","id":"fabrikam"}"#;
    check_output(&[&request[..], &headers, &["--format", "json"]].concat(), 0, &[json]);
    let denied = r#"{"decision":false,"route":"create-batch","reason":"principal.type: "#;
    check_output(&[&request[..], &["--format", "json"]].concat(), 2, &[denied]);
    let denied = r#"{"decision":false,"route":null,"reason":"no route"#;
    check_output(&["GET", "/nothing", "--format", "json"], 2, &[denied]);
    check_output(
        &request,
        2,
        &["create-batch (", "deny: principal.type: the request has no header `x-partner-type`"],
    );
    check_output(&["GET", "/v1/x"], 2, &["deny: no route matches the method and path of the request"]);
    check_output(&["GET", "/v1//x"], 2, &["deny: the path has an empty segment"]);
    check_output(&["GET"], 1, &["<PATH>"]);
    check_output(&["GET", "/", "-H", "x"], 1, &["`x` has to be a name and a value with `:` between them"]);
    check_output(&["GET", "/", "--metadata", "[]"], 1, &["`--metadata` has to be a JSON object"]);
    check_output(&["GET", "/", "--body", "/nowhere"], 1, &["cannot read `/nowhere`"]);
    check_output(
        &[],
        0,
        &["create-batch (", "takes      POST /v1/customers/{customer}/deviceBatches", "oem-request-consent"],
    );
}

#[test]
fn the_routes_of_the_pack_match_the_device_api() {
    let folder = PolicyFolder::load(&repository_path("policies"), PolicyLimits::default()).unwrap();
    let routes = Arc::new(folder.routes);
    let check = |method: &str, target: &str, id: Option<&str>| {
        let request = HttpRequest { method, target, ..HttpRequest::default() };
        let found = match routes.route(&request) {
            Err(RouteError::MissingValue { route, .. }) => Some(route.id.clone()),
            Ok(routed) => Some(routed.route.id.clone()),
            Err(_) => None,
        };
        assert_eq!(found.as_deref(), id, "{method} {target}");
    };
    let base = "/v1/customers/47021739-3426-40bf-9601-61b4b6d7c793";
    for (method, rest, id) in [
        ("POST", "/deviceBatches", Some("create-batch")),
        ("GET", "/deviceBatches", Some("list-batches")),
        ("GET", "/deviceBatches/Test/devices", Some("list-devices")),
        ("POST", "/devicebatches/Test/devices", Some("add-to-batch")),
        ("DELETE", "/deviceBatches/Test/devices/1", Some("delete-device")),
        ("PATCH", "/DevicePolicyUpdates", Some("apply-policies")),
        ("GET", "/batchJobStatus/1", Some("batch-status")),
        ("GET", "/batchjobstatus/1", Some("batch-status")),
        ("POST", "/policies", Some("create-policy")),
        ("GET", "/policies/1", Some("read-policy")),
        ("PUT", "/policies/1", Some("change-policy")),
        ("DELETE", "/policies/1", Some("change-policy")),
        ("DELETE", "/deviceBatches", None),
        ("GET", "", None),
    ] {
        check(method, &format!("{base}{rest}"), id);
    }
}

#[test]
fn the_example_in_docs_routes_md_works_as_shown() {
    let text = std::fs::read_to_string(repository_path("docs/routes.md")).unwrap();
    let block = |kind: &str| text.split(&format!("```{kind}\n")).nth(1).unwrap().split("```").next().unwrap();
    let content = Content::of_pack();
    content.write("policies/routes.toml", block("toml"));
    let list = content.mandate("route", &[]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("create-batch"), "{list:?}");
    let (command, shown) = block("console").split_once('\n').unwrap();
    let words = command
        .split('\'')
        .enumerate()
        .flat_map(|(n, part)| if n % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
    let words: Vec<&str> = words.skip_while(|word| *word != "route").collect();
    let output = crate::support::mandate().current_dir(repository_path("")).args(&words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{output:?}");
}

/// Gateways limit the size of headers.
#[test]
fn the_headers_of_a_denial_stay_small_with_many_policies() {
    let content = Content::of_pack();
    let policy = |n| {
        format!(
            "@id(\"agreement-number-{n}\") @reason(\"Agreement {n} is suspended: ask the office.\")
            permit (principal is Autopilot::DirectBillPartner, action, resource) when {{ !principal.active }};"
        )
    };
    let policies: Vec<String> = (0..300).map(policy).collect();
    content.write("policies/agreements.cedar", &policies.join("\n"));
    let sidecar = content.serve();
    let headers = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/v1/customers/northwind/deviceBatches"),
        FABRIKAM[0],
        FABRIKAM[1],
    ];
    let reply = sidecar.send("GET", "/forward-auth", "", &headers);
    let length: usize = reply.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    assert!(reply.status == 403 && length < 3_000, "{length}: {reply:?}");
    assert!(
        reply.headers["x-mandate-policies"].to_str().unwrap().starts_with("agreement-number-0,"),
        "{reply:?}"
    );
}

/// A client without known credentials is asked for some. Who is known, but lacks something else, is denied.
#[test]
fn a_client_without_known_credentials_gets_401() {
    let content = Content::of_pack();
    let routes = [
        r#"principal = { type = "Oem", id = { header = "x-api-key", map = { "example-key" = "trey" } } }
[[route]]
id = "by-key"
method = "GET"
path = "/key"
action = "viewCustomer"
resource = { type = "Customer", id = { header = "x-customer" } }
"#,
        r#"[[route]]
id = "by-path"
method = "GET"
path = "/customers/{customer}"
principal = { type = "Oem", id = { body = "/oem" } }
action = "viewCustomer"
resource = { type = "Customer", id = { path = "customer" } }
"#,
    ];
    content.write("policies/routes.toml", &routes.concat());
    let sidecar = content.serve();
    let (key, customer) = (("x-api-key", "example-key"), ("x-customer", "contoso"));
    let check = |uri: &str, headers: &[(&str, &str)], status: u16, outcome: &str| {
        let described = [("x-forwarded-method", "GET"), ("x-forwarded-uri", uri)];
        let reply = sidecar.send("GET", "/forward-auth", "", &[&described, headers].concat());
        assert_eq!((reply.status, &reply.headers["x-mandate-outcome"]), (status, &outcome.parse().unwrap()));
        let challenge = reply.headers.get("www-authenticate");
        assert_eq!(challenge.map(|it| it.to_str().unwrap()), (status == 401).then_some("Bearer"));
        if status != 200 {
            assert_eq!(reply.json()["status"], status);
        }
    };
    check("/key", &[key, customer], 200, "permitted");
    check("/key", &[customer], 401, "unauthenticated");
    check("/key", &[("x-api-key", "unknown"), customer], 401, "unauthenticated");
    check("/key", &[key], 403, "missing");
    check("/customers/contoso", &[], 403, "missing");
}
