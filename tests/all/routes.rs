//! Routes: invalid route files, the question that each request asks, and how routes reload.

use std::sync::Arc;

use mandate_core::diagnostics::SourceText;
use mandate_core::json::Json;
use mandate_core::request::{Request, RequestLimits};
use mandate_core::schema::Schema;
use mandate_routes::{HttpRequest, RequestBody, RouteError, Routes};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use crate::support::{Content, Sidecar, pack, until};

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

/// A file with one route: `lines` replace or extend its keys, and `before` stands before it.
fn one(before: &str, lines: &str) -> String {
    let all = ["id = 'r'", "method = 'POST'", "path = '/c/{customer}'", "action = 'register'"];
    let more = [
        "principal = { type = 'Partner', id = { header = 'x-partner' } }",
        "resource = { type = 'Customer', id = { path = 'customer' } }",
        "context.channel = 'api'",
    ];
    let key = |line: &str| line.split([' ', '.']).next().unwrap().to_owned();
    let given: Vec<String> = lines.lines().map(key).collect();
    let own = all.iter().chain(&more).filter(|line| !given.contains(&key(line))).copied();
    format!("{before}\n[[route]]\n{}\n{lines}\n", own.collect::<Vec<_>>().join("\n"))
}

/// The file is refused with these messages.
#[track_caller]
fn wrong(text: &str, says: &[&str]) {
    let found = parse(text).expect_err("must be refused").to_string();
    for say in says {
        assert!(found.contains(say), "`{say}` is not in: {found}\n{text}");
    }
    assert!(found.contains("routes.toml:"), "no place: {found}");
}

#[test]
fn missing_values_and_unknown_keys_are_refused() {
    wrong(
        "[[route]]",
        &["routes.toml:1:1: `id` is missing", "`method` is missing", "`principal` is missing"],
    );
    wrong("route = 1", &["`[[route]]`"]);
    wrong("[[route]\nid = 'a'", &["not valid TOML"]);
    wrong(&one("", "colour = 'red'"), &["unknown key `colour`: expected one of `id`, `method`, `path`"]);
    wrong(&one("rooute = 1", ""), &["routes.toml:1:1: unknown key `rooute`"]);
    wrong(&one("", "id = 'a b'"), &["an id may have only"]);
    wrong(&one("", "method = 'post'"), &["`post` is not a valid HTTP method: write it in upper case"]);
    wrong(&one("", "method = []"), &["at least one method"]);
    wrong(&one("", "path = '/c/{customer}/..'"), &["dot segment"]);
    wrong(&one("", "path = 7"), &["has to be a string, found a whole number"]);
}

#[test]
fn what_the_schema_does_not_have_is_refused() {
    wrong(
        &one("", "action = 'delete'"),
        &["the schema has no action `delete`: expected one of `register`, `view`"],
    );
    wrong(
        &one("", "resource = { type = 'Partner', id = 'x' }"),
        &["`register` does not apply to the entity type `Partner`: expected one of `Customer`"],
    );
    wrong(&one("", "resource = { type = 'Device', id = 'x' }"), &["no entity type `Device`"]);
    wrong(&one("", "context.chanel = 'api'"), &["the context of `register` has no attribute `chanel`"]);
    wrong(
        &one("", "context.channel = 'fax'"),
        &["`fax` is not a valid `Channel`: expected one of `api`, `ui`"],
    );
    wrong(&one("", "context = {}"), &["`register` requires `context.channel`, which the route does not set"]);
    wrong(&one("", "context = { channel = 'api', count = 'many' }"), &["expected a 64-bit whole number"]);
    wrong(&one("", "context = { channel = 'api', from = 'nowhere' }"), &["`nowhere` is not a valid `ip`"]);
}

#[test]
fn invalid_extractors_are_refused() {
    let channel = |value: &str| one("", &format!("context.channel = {value}"));
    wrong(&channel("{}"), &["a value needs exactly one source: one of `path`, `header`"]);
    wrong(&channel("{ header = 'a', path = 'customer' }"), &["a value needs exactly one source"]);
    wrong(&channel("{ path = 'device' }"), &["the path has no parameter `device`: it has `customer`"]);
    wrong(
        &channel("{ claim = '/x' }"),
        &["`claim` needs a `[claims]` table that says where the gateway puts the verified claims"],
    );
    wrong(
        &channel("{ certificate = 'serial' }"),
        &["`serial` is not a certificate field: expected one of `principal`"],
    );
    wrong(&channel("{ body = 'x' }"), &["`x` is not a JSON pointer"]);
    wrong(&channel("{ header = 'x', pattern = 'a' }"), &["a pattern has to contain exactly one `{}`"]);
    wrong(
        &channel("{ header = 'x', optional = true }"),
        &["the value is required, so it cannot be `optional`"],
    );
    wrong(&channel("{ header = 'x', default = 'fax' }"), &["`fax` is not a valid `Channel`"]);
    wrong(&channel("{ header = 'x', map = { a = 'fax' } }"), &["`fax` is not a valid `Channel`"]);
    wrong(&channel("{ header = 'x', map = {} }"), &["at least one entry"]);
    wrong(&channel("1979-05-27"), &["a date is not allowed here"]);
    let tags = one("", "context = { channel = 'api', tags = { header = 'x' } }");
    wrong(&tags, &["a header `x` is a single string", "use a claim or the body"]);
    wrong(
        &one("[claims]\npayload-header = 'a'\ntoken-header = 'b'", ""),
        &["`[claims]` takes exactly one of"],
    );
    wrong(
        &one("", "principal = { type = { header = 'x', map = { a = 'Customer' } }, id = 'x' }"),
        &["`register` does not apply to the entity type `Customer`: expected one of `Partner`, `Maker`"],
    );
}

#[test]
fn conflicting_routes_are_refused() {
    let two = |a: &str, b: &str| {
        one("", &format!("id = 'a'\npath = '{a}'")) + &one("", &format!("id = 'b'\npath = '{b}'"))
    };
    let resource = "{ type = 'Customer', id = 'x' }";
    let two = |a, b| two(a, b).replace("{ type = 'Customer', id = { path = 'customer' } }", resource);
    wrong(
        &two("/x/{a}", "/X/{b}"),
        &["`b` and `a` (at routes.toml:2) match the same requests, such as `POST /X/{b}`"],
    );
    wrong(&two("/x/{a}", "/{b}/y"), &["match the same requests"]);
    assert!(parse(&two("/x/{a}", "/x/y")).is_ok());
    wrong(
        &(one("", "") + &one("", "method = 'GET'")),
        &["the route id `r` is used twice, first at routes.toml:2"],
    );
    // All errors of a file are reported together.
    let diagnostics = parse(&(one("", "action = 'delete'") + &one("", "colour = 1"))).unwrap_err();
    assert_eq!(diagnostics.error_count(), 2, "{diagnostics}");
}

/// The question that a request asks, or the error, in one line.
#[track_caller]
fn comes_to(routes: &str, request: &HttpRequest<'_>, expected: &str) {
    let routes = parse(routes).unwrap();
    let schema = schema();
    let found = match routes.route(request) {
        Ok(routed) => match Request::from_question(&routed.question(), &schema, &RequestLimits::default()) {
            Ok(asks) => format!(
                "{}: {} {} {{{}}}",
                routed.route.id,
                mandate_core::display::uid(asks.principal.as_uid_ref(), &schema),
                mandate_core::display::uid(asks.resource.as_uid_ref(), &schema),
                mandate_core::display::record(&asks.context, &schema),
            ),
            Err(error) => format!("invalid_request: {error}"),
        },
        Err(RouteError::MissingValue { part, missing, .. }) => format!("missing: {part}: {missing}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

fn request<'a>(headers: &[(&'a str, &'a str)]) -> HttpRequest<'a> {
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    headers.push(("x-partner", b"fabrikam"));
    HttpRequest { method: "POST", target: "/c/contoso?x", headers, ..HttpRequest::default() }
}

#[test]
fn constants_parameters_and_headers() {
    let routes = one("", "");
    comes_to(&routes, &request(&[]), "r: Partner::fabrikam Customer::contoso {channel: api}");
    let get = HttpRequest { method: "GET", ..request(&[]) };
    comes_to(&routes, &get, "no route matches the method and path of the request");
    let nobody = HttpRequest { headers: Vec::new(), ..request(&[]) };
    comes_to(&routes, &nobody, "missing: principal.id: the request has no header `x-partner`");
    let several = request(&[("x-partner", "tailspin")]);
    comes_to(&routes, &several, "missing: principal.id: the request has more than one header `x-partner`");
    let empty = HttpRequest { headers: vec![("x-partner", b" ")], ..request(&[]) };
    comes_to(&routes, &empty, "missing: principal.id: the request has no header `x-partner`");
    let raw = HttpRequest { headers: vec![("x-partner", b"\xff")], ..request(&[]) };
    comes_to(&routes, &raw, "missing: principal.id: the header `x-partner` is not UTF-8");
    let twisted = HttpRequest { target: "/c/x/../contoso", ..request(&[]) };
    comes_to(&routes, &twisted, "the path has a dot segment (`.` or `..`)");
}

#[test]
fn more_specific_routes_go_first() {
    let general = one("", "id = 'general'\npath = '/{x}/{customer}'");
    let specific = one("", "id = 'specific'\npath = '/c/{customer}'");
    let wanted = "specific: Partner::fabrikam Customer::contoso {channel: api}";
    comes_to(&(general.clone() + &specific), &request(&[]), wanted);
    comes_to(&(specific + &general), &request(&[]), wanted);
}

#[test]
fn strings_are_converted_to_the_type_of_the_schema() {
    let route = |name: &str, more: &str| {
        one("", &format!("context = {{ channel = 'api', {name} = {{ header = 'h'{more} }} }}"))
    };
    let with = |value| request(&[("h", value)]);
    let fine = |context: &str| format!("r: Partner::fabrikam Customer::contoso {{channel: api, {context}}}");
    comes_to(&route("count", ""), &with("-7"), &fine("count: -7"));
    comes_to(
        &route("count", ""),
        &with("7.0"),
        "missing: context.count: header `h` has to be a 64-bit whole number",
    );
    comes_to(&route("large", ""), &with("true"), &fine("large: true"));
    comes_to(
        &route("large", ""),
        &with("yes"),
        "missing: context.large: header `h` has to be `true` or `false`",
    );
    comes_to(&route("from", ""), &with("10.0.0.1"), &fine("from: ip(\"10.0.0.1\")"));
    comes_to(&route("from", ""), &with("there"), "invalid_request: `there` is not a valid `ip`");
    comes_to(&route("note", ", pattern = 'urn:x:{}:y'"), &with("urn:x:7:y"), &fine("note: \"7\""));
    comes_to(
        &route("note", ", pattern = 'urn:x:{}:y'"),
        &with("urn:x::y"),
        "missing: context.note: header `h` does not match the pattern of the route",
    );
    comes_to(&route("count", ", map = { few = 3 }"), &with("few"), &fine("count: 3"));
    comes_to(
        &route("count", ", map = { few = 3 }"),
        &with("3"),
        "missing: context.count: header `h` is `3`, which is not in the `map` of the route",
    );
    comes_to(&route("count", ", default = 1"), &request(&[]), &fine("count: 1"));
    let optional = "r: Partner::fabrikam Customer::contoso {channel: api}";
    comes_to(&route("count", ", optional = true"), &request(&[]), optional);
    comes_to(&route("count", ""), &request(&[]), "missing: context.count: the request has no header `h`");
    let kinds = one(
        "",
        "principal = { type = { header = 'h', map = { oem = 'Maker' } }, id = { header = 'x-partner' } }",
    );
    comes_to(&kinds, &with("oem"), "r: Maker::fabrikam Customer::contoso {channel: api}");
    let any = one("", "principal = { type = { header = 'h' }, id = { header = 'x-partner' } }");
    comes_to(&any, &with("Nobody"), "invalid_request: the schema has no entity type `Nobody`");
}

#[test]
fn bodies() {
    let routes =
        one("", "context = { channel = { body = '/a/0/b~1c' }, tags = { body = '/tags', optional = true } }");
    let with = |body: RequestBody<'static>, expected: &str| {
        comes_to(&routes, &HttpRequest { body, ..request(&[]) }, expected);
    };
    let whole = |body: &'static str| RequestBody::Complete(body.as_bytes());
    with(whole(r#"{"a":[{"b/c":"ui"}]}"#), "r: Partner::fabrikam Customer::contoso {channel: ui}");
    with(
        whole(r#"{"a":[{"b/c":"ui"}],"tags":["x","y"]}"#),
        "r: Partner::fabrikam Customer::contoso {channel: ui, tags: [\"x\", \"y\"]}",
    );
    with(whole(r#"{"a":[]}"#), "missing: context.channel: the request has no `/a/0/b~1c` in the body");
    with(
        whole("[1"),
        "missing: context.channel: the body is not valid JSON: EOF while parsing a list at line 1 column 2",
    );
    with(
        whole(r#"{"a":1,"a":2}"#),
        "missing: context.channel: the body is not valid JSON: duplicate key `a` at line 1 column 10",
    );
    with(
        whole(r#"{"a":[{"b/c":"ui"}],"A":[]}"#),
        "missing: context.channel: `/a/0/b~1c` in the body is ambiguous: a key differs only in upper and lower case",
    );
    with(RequestBody::Partial, "missing: context.channel: the gateway truncated the body");
    with(RequestBody::None, "missing: context.channel: the gateway did not forward a body");
    // `optional` and `default` count only in a body that was read.
    let optional = one("", "context = { channel = 'api', note = { body = '/note', optional = true } }");
    comes_to(
        &optional,
        &HttpRequest { body: RequestBody::Partial, ..request(&[]) },
        "missing: context.note: the gateway truncated the body",
    );
    let default = one("", "context.channel = { body = '/channel', default = 'api' }");
    comes_to(&default, &request(&[]), "missing: context.channel: the gateway did not forward a body");
    let other = HttpRequest { body: RequestBody::Complete(br#"{"Channel":"ui"}"#), ..request(&[]) };
    comes_to(
        &default,
        &other,
        "missing: context.channel: `/channel` in the body is ambiguous: a key differs only in upper and lower case",
    );
    // A route that does not read the body ignores it.
    comes_to(
        &one("", ""),
        &HttpRequest { body: RequestBody::Partial, ..request(&[]) },
        "r: Partner::fabrikam Customer::contoso {channel: api}",
    );
}

#[test]
fn claims() {
    let lines = "principal = { type = 'Partner', id = { claim = '/partner/id' } }";
    let payload = r#"{"partner":{"id":"trey"}}"#;
    let encoded = "eyJwYXJ0bmVyIjp7ImlkIjoidHJleSJ9fQ";
    let (fine, unreadable) = (
        "r: Partner::trey Customer::contoso {channel: api}",
        "missing: principal.id: the claims cannot be decoded",
    );
    let routes = one("claims.payload-header = 'X-Payload'", lines);
    comes_to(&routes, &request(&[("x-payload", encoded)]), fine);
    comes_to(&routes, &request(&[("x-payload", payload)]), fine);
    comes_to(&routes, &request(&[("x-payload", "eyJwYX!")]), unreadable);
    comes_to(&routes, &request(&[]), "missing: principal.id: the request has no claims");
    let routes = one("claims.token-header = 'Authorization'", lines);
    comes_to(&routes, &request(&[("authorization", &format!("bearer h.{encoded}.s"))]), fine);
    comes_to(&routes, &request(&[("authorization", &format!("h.{encoded}.s"))]), fine);
    comes_to(&routes, &request(&[("authorization", encoded)]), unreadable);
    comes_to(&routes, &request(&[("authorization", "Basic é")]), unreadable);
    let routes = one("claims.metadata = '/envoy.filters.http.jwt_authn/token'", lines);
    let json = format!(r#"{{"envoy.filters.http.jwt_authn":{{"token":{payload}}}}}"#);
    let metadata = Json::parse(json.as_bytes()).unwrap().into_owned();
    let with = HttpRequest { metadata: metadata.as_object().unwrap().clone(), ..request(&[]) };
    comes_to(&routes, &with, fine);
    comes_to(&routes, &request(&[]), "missing: principal.id: the request has no claims");
}

#[test]
fn certificates_and_extensions() {
    let mut params = CertificateParams::new(vec!["partner.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "fabrikam-cn");
    for uri in ["spiffe://mandate/partner/lucerne", "spiffe://other/x"] {
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    }
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let encoded = pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
    let id = |source: &str| format!("principal = {{ type = 'Partner', id = {{ {source} }} }}");
    let check = |before: &str, source: &str, request: &HttpRequest<'_>, expected: &str| {
        comes_to(&one(before, &id(source)), request, expected);
    };
    let is = |id: &str| format!("r: Partner::{id} Customer::contoso {{channel: api}}");
    let shown = HttpRequest { certificate: Some(&encoded), peer: Some("spiffe://peer"), ..request(&[]) };
    check("", "certificate = 'cn'", &shown, &is("fabrikam-cn"));
    check("", "certificate = 'dns'", &shown, &is("partner.example"));
    check("", "certificate = 'principal', pattern = 'spiffe://{}'", &shown, &is("peer"));
    check("", "certificate = 'uri', pattern = 'spiffe://mandate/partner/{}'", &shown, &is("lucerne"));
    check(
        "",
        "certificate = 'uri'",
        &shown,
        "missing: principal.id: the request has several values for certificate field `uri`",
    );
    let none = "missing: principal.id: the request has no client certificate";
    check("", "certificate = 'uri'", &request(&[]), none);
    let header = "certificate.header = 'X-Client-Cert'";
    check(header, "certificate = 'cn'", &request(&[("x-client-cert", &encoded)]), &is("fabrikam-cn"));
    let forwarded = format!("By=spiffe://me;Hash=00;Cert=\"{encoded}\";Subject=\"CN=x\"");
    check(header, "certificate = 'cn'", &request(&[("x-client-cert", &forwarded)]), &is("fabrikam-cn"));
    let twice = format!("{forwarded},{forwarded}");
    let unreadable = "missing: principal.id: the client certificate cannot be decoded";
    check(header, "certificate = 'cn'", &request(&[("x-client-cert", &twice)]), unreadable);
    let der: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    check(
        header,
        "certificate = 'cn'",
        &request(&[("x-client-cert", &format!(":{der}:"))]),
        &is("fabrikam-cn"),
    );
    check(header, "certificate = 'cn'", &shown, none);
    let extended = HttpRequest { extensions: vec![("partner", "trey")], ..request(&[]) };
    check("", "extension = 'partner'", &extended, &is("trey"));
    check(
        "",
        "extension = 'partner'",
        &request(&[]),
        "missing: principal.id: the request has no context extension `partner`",
    );
}

/// The headers by which the pack's routes recognize the partner Fabrikam.
const FABRIKAM: [(&str, &str); 2] = [("x-partner-type", "DirectBillPartner"), ("x-partner-id", "fabrikam")];

fn forward(sidecar: &Sidecar, method: &str, uri: &str) -> u16 {
    let headers = [("x-forwarded-method", method), ("x-forwarded-uri", uri), FABRIKAM[0], FABRIKAM[1]];
    sidecar.send("GET", "/forward-auth", "", &headers).status
}

#[test]
fn routes_reload_with_the_policies_or_not_at_all() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    let (old, new) = ("/v1/customers/contoso/deviceBatches", "/v2/customers/contoso/deviceBatches");
    assert_eq!((forward(&sidecar, "POST", old), forward(&sidecar, "POST", new)), (200, 403));
    let before = sidecar.revision();
    content.edit("policies/routes.toml", "/v1/", "/v2/");
    until("the new routes are in use", || sidecar.revision() != before);
    assert_eq!((forward(&sidecar, "POST", old), forward(&sidecar, "POST", new)), (403, 200));
    // An invalid file changes nothing, and the status says what is wrong and where.
    let text = content.read("policies/routes.toml");
    content.place("policies/routes.toml", &text.replacen("registerDevice", "registerDevices", 1));
    until("the edit is refused", || {
        sidecar.status()["policies"]["error"].is_object()
            || sidecar.status()["policies"].to_string().contains("registerDevices")
    });
    assert_eq!(forward(&sidecar, "POST", new), 200);
    // The corrected file is accepted.
    content.place("policies/routes.toml", &text);
    until("the edit is accepted", || !sidecar.status()["policies"].to_string().contains("registerDevices"));
    std::fs::remove_file(content.path("policies/routes.toml")).unwrap();
    until("there are no routes", || forward(&sidecar, "POST", new) == 403);
    content.place("policies/more.routes.toml", &text);
    until("there are routes again", || forward(&sidecar, "POST", new) == 200);
}

#[test]
fn gateways_get_every_header_always() {
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
    check(&[method, uri, id], 403, "missing");
    check(&[method, ("x-forwarded-uri", "/elsewhere"), id], 403, "no_route");
    check(&[method, ("x-forwarded-uri", "/a//b"), id], 403, "bad_path");
    check(&[method, id], 403, "gateway_misconfigured");
    check(&[uri, id], 403, "gateway_misconfigured");
    check(&[method, uri, uri, id], 403, "gateway_misconfigured");
    assert!((sidecar.metric("mandate_unrouted_total") - 3.0).abs() < 0.5);
}

#[test]
fn envoy_over_http_sends_the_request_itself() {
    let sidecar = Sidecar::of_pack(&[]);
    let target = "/ext-authz/oem/v1/customers/contoso/consentRequests";
    let trey = [("x-partner-type", "Oem"), ("x-partner-id", "trey"), ("x-mandate-x", "1")];
    let reply = sidecar.post_as(target, r#"{"delegatedAdministration":false}"#, &trey);
    assert_eq!(
        (reply.status, &reply.headers["x-envoy-auth-headers-to-remove"]),
        (200, &"x-mandate-x".parse().unwrap())
    );
    let reply = sidecar.post_as(target, r#"{"delegatedAdministration":true}"#, &trey);
    assert_eq!((reply.status, &reply.headers["x-mandate-outcome"]), (403, &"forbidden".parse().unwrap()));
    let partial = [trey[0], trey[1], ("x-envoy-auth-partial-body", "true")];
    let reply = sidecar.post_as(target, r#"{"delegatedAdministration":false}"#, &partial);
    assert_eq!((reply.status, &reply.headers["x-mandate-outcome"]), (403, &"missing".parse().unwrap()));
    assert_eq!(sidecar.post("/ext-authzz", "").status, 404);
    let long = format!("{{{}}}", " ".repeat(2 << 20));
    assert_eq!(sidecar.post_as(target, long, &trey).status, 403);
}

/// What `mandate route` prints, and its exit code.
#[track_caller]
fn shows(args: &[&str], code: i32, says: &[&str]) {
    let output = Content::of_pack().mandate("route", args);
    let shown =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    for say in says {
        assert!(shown.contains(say), "`{say}` is not in: {shown}");
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
    shows(&[&request[..], &headers].concat(), 0, &text);
    let json = r#""subject":{"type":"DirectBillPartner","id":"fabrikam"}"#;
    shows(&[&request[..], &headers, &["--format", "json"]].concat(), 0, &[json]);
    shows(
        &request,
        2,
        &["create-batch (", "deny: principal.type: the request has no header `x-partner-type`"],
    );
    shows(&["GET", "/v1/x"], 2, &["deny: no route matches the method and path of the request"]);
    shows(&["GET", "/v1//x"], 2, &["deny: the path has an empty segment"]);
    shows(&["GET"], 1, &["<PATH>"]);
    shows(&["GET", "/", "-H", "x"], 1, &["`x` has to be a name and a value with `:` between them"]);
    shows(&["GET", "/", "--metadata", "[]"], 1, &["`--metadata` has to be a JSON object"]);
    shows(&["GET", "/", "--body", "/nowhere"], 1, &["cannot read `/nowhere`"]);
    shows(
        &[],
        0,
        &["create-batch (", "takes      POST /v1/customers/{customer}/deviceBatches", "oem-request-consent"],
    );
}

/// The pack's routes match the documented device API.
#[test]
fn the_pack_routes_the_device_api() {
    let folder = mandate_sources::loader::PolicyFolder::load(&pack("policies")).unwrap();
    let routes = Arc::new(folder.routes);
    let takes = |method: &str, target: &str, id: Option<&str>| {
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
        takes(method, &format!("{base}{rest}"), id);
    }
}

/// The example in docs/routes.md works as shown.
#[test]
fn the_example_in_the_docs_works() {
    let text = std::fs::read_to_string(pack("docs/routes.md")).unwrap();
    let block = |kind: &str| text.split(&format!("```{kind}\n")).nth(1).unwrap().split("```").next().unwrap();
    let content = Content::of_pack();
    content.write("policies/routes.toml", block("toml"));
    let quoted_list = content.mandate("route", &[]);
    assert!(String::from_utf8_lossy(&quoted_list.stdout).contains("create-batch"), "{quoted_list:?}");
    let (command, shown) = block("console").split_once('\n').unwrap();
    let words = command
        .split('\'')
        .enumerate()
        .flat_map(|(n, part)| if n % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
    let words: Vec<&str> = words.skip_while(|word| *word != "route").collect();
    let output = crate::support::mandate().current_dir(pack("")).args(&words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{output:?}");
}

/// The headers of a denial stay below a few KiB, no matter how many policies could have permitted.
#[test]
fn denials_stay_small() {
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

#[test]
fn ambiguous_values_are_denied() {
    let with = |routes: &str, body: &'static str, expected: &str| {
        comes_to(
            routes,
            &HttpRequest { body: RequestBody::Complete(body.as_bytes()), ..request(&[]) },
            expected,
        );
    };
    let large = one("", "context = { channel = 'api', large = { body = '/is-large', default = false } }");
    let spelled = "missing: context.large: `/is-large` in the body is ambiguous: a key differs only in upper and lower case";
    // Decoders that fold case by Unicode read a long s as `s`, and the Kelvin sign as `k`.
    with(&large, "{\"i\u{17f}-large\":true}", spelled);
    with(&large, r#"{"IS-LARGE":true}"#, spelled);
    let count = one("", "context = { channel = 'api', count = { body = '/\u{6b}ind' } }");
    with(
        &count,
        "{\"\u{212a}ind\":1,\"kind\":2}",
        "missing: context.count: `/kind` in the body is ambiguous: a key differs only in upper and lower case",
    );
    // Only strings are mapped: the client must not send the mapped value itself.
    let mapped =
        one("", "context = { channel = 'api', large = { body = '/kind', map = { basic = false } } }");
    with(
        &mapped,
        r#"{"kind":"basic"}"#,
        "r: Partner::fabrikam Customer::contoso {channel: api, large: false}",
    );
    with(
        &mapped,
        r#"{"kind":true}"#,
        "missing: context.large: `/kind` in the body has to be a string, found a boolean",
    );
    // The service acts on all items of an array.
    let first = one("", "context.channel = { body = '/all/0' }");
    with(
        &first,
        r#"{"all":["api","ui"]}"#,
        "missing: context.channel: `/all/0` in the body is ambiguous: the array has more than one item",
    );
    with(&first, r#"{"all":[]}"#, "missing: context.channel: the request has no `/all/0` in the body");
}

#[test]
fn ambiguous_subjects_are_not_used() {
    let subject = |common: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        pem.replace('+', "%2B")
    };
    let routes = one("", "principal = { type = 'Partner', id = { certificate = 'subject' } }");
    let check = |certificate: &str, expected: &str| {
        comes_to(&routes, &HttpRequest { certificate: Some(certificate), ..request(&[]) }, expected);
    };
    check(&subject("fabrikam"), "r: Partner::\"CN=fabrikam\" Customer::contoso {channel: api}");
    check(
        &subject("fabrikam, O=Partners"),
        "missing: principal.id: the request has no certificate field `subject`",
    );
    let two = subject("fabrikam") + &subject("tailspin");
    check(&two, "missing: principal.id: the client certificate cannot be decoded");
}

#[test]
fn header_names_are_checked() {
    wrong("[certificate]", &["`header` is missing"]);
    wrong("certificate.header = ''", &["`` is not a valid header name"]);
    wrong("claims.payload-header = 'a b'", &["`a b` is not a valid header name"]);
    wrong(&one("", "context.channel = { header = 'x:' }"), &["`x:` is not a valid header name"]);
}

/// Many conflicts are checked quickly, because entities wait meanwhile: each route has at most one report.
#[test]
fn each_conflict_is_reported_once() {
    let diagnostics = parse(&one("", "").repeat(900)).unwrap_err();
    assert_eq!(diagnostics.len(), 899);
    let different: Vec<String> = (0..900).map(|n| one("", &format!("id = 'r{n}'"))).collect();
    assert_eq!(parse(&different.concat()).unwrap_err().len(), 899);
    let diagnostics = parse(&one("", "").repeat(1_001)).unwrap_err().to_string();
    assert!(diagnostics.contains("1001 routes are defined; the maximum is 1000"), "{diagnostics}");
}
