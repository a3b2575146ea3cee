//! The question that a route makes of an HTTP request. Values come from constants, path parameters, headers, bodies,
//! claims, certificates and context extensions.

use mandate_core::clock::Clock;
use mandate_core::json::Json;
use mandate_core::request::{Request, RequestLimits};
use mandate_routes::{HttpRequest, RequestBody, RouteError};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::{parse, route_with, schema};

/// Compares the question that a request asks, or the error, with one line of text.
#[track_caller]
fn check_question(routes: &str, request: &HttpRequest<'_>, expected: &str) {
    let routes = parse(routes).unwrap();
    let schema = schema();
    let found = match routes.route(request) {
        Ok(routed) => match Request::from_question(
            &routed.question(),
            &schema,
            &RequestLimits::default(),
            Clock::InQuestion,
        ) {
            Ok(request) => format!(
                "{}: {} {} {{{}}}",
                routed.route.id,
                mandate_core::display::uid(request.principal.as_uid_ref(), &schema),
                mandate_core::display::uid(request.resource.as_uid_ref(), &schema),
                mandate_core::display::record(&request.context, &schema),
            ),
            Err(error) => format!("invalid_request: {error}"),
        },
        Err(RouteError::MissingValue { part, missing, .. }) => format!("missing: {part}: {missing}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

/// A request to the default route of [`route_with`], with more headers.
fn request<'a>(headers: &[(&'a str, &'a str)]) -> HttpRequest<'a> {
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    headers.push(("x-partner", b"fabrikam"));
    HttpRequest { method: "POST", target: "/c/contoso?x", headers, ..HttpRequest::default() }
}

#[test]
fn values_come_from_constants_path_parameters_and_headers() {
    let routes = route_with("", "");
    check_question(&routes, &request(&[]), "r: Partner::fabrikam Customer::contoso {channel: api}");
    let get = HttpRequest { method: "GET", ..request(&[]) };
    check_question(&routes, &get, "no route matches the method and path of the request");
    let nobody = HttpRequest { headers: Vec::new(), ..request(&[]) };
    check_question(&routes, &nobody, "missing: principal.id: the request has no header `x-partner`");
    let several = request(&[("x-partner", "tailspin")]);
    check_question(
        &routes,
        &several,
        "missing: principal.id: the request has more than one header `x-partner`",
    );
    let empty = HttpRequest { headers: vec![("x-partner", b" ")], ..request(&[]) };
    check_question(&routes, &empty, "missing: principal.id: the request has no header `x-partner`");
    let raw = HttpRequest { headers: vec![("x-partner", b"\xff")], ..request(&[]) };
    check_question(&routes, &raw, "missing: principal.id: the header `x-partner` is not UTF-8");
    let with_dots = HttpRequest { target: "/c/x/../contoso", ..request(&[]) };
    check_question(&routes, &with_dots, "the path has a dot segment (`.` or `..`)");
}

#[test]
fn more_specific_routes_go_first() {
    let general = route_with("", "id = 'general'\npath = '/{x}/{customer}'");
    let specific = route_with("", "id = 'specific'\npath = '/c/{customer}'");
    let expected = "specific: Partner::fabrikam Customer::contoso {channel: api}";
    check_question(&(general.clone() + &specific), &request(&[]), expected);
    check_question(&(specific + &general), &request(&[]), expected);
}

#[test]
fn strings_are_converted_to_the_type_of_the_schema() {
    let route = |name: &str, more: &str| {
        route_with("", &format!("context = {{ channel = 'api', {name} = {{ header = 'h'{more} }} }}"))
    };
    let with_header = |value| request(&[("h", value)]);
    let question =
        |context: &str| format!("r: Partner::fabrikam Customer::contoso {{channel: api, {context}}}");
    check_question(&route("count", ""), &with_header("-7"), &question("count: -7"));
    check_question(
        &route("count", ""),
        &with_header("7.0"),
        "missing: context.count: header `h` has to be a 64-bit whole number",
    );
    check_question(&route("large", ""), &with_header("true"), &question("large: true"));
    check_question(
        &route("large", ""),
        &with_header("yes"),
        "missing: context.large: header `h` has to be `true` or `false`",
    );
    check_question(&route("from", ""), &with_header("10.0.0.1"), &question("from: ip(\"10.0.0.1\")"));
    check_question(&route("from", ""), &with_header("there"), "invalid_request: `there` is not a valid `ip`");
    check_question(
        &route("note", ", pattern = 'urn:x:{}:y'"),
        &with_header("urn:x:7:y"),
        &question("note: \"7\""),
    );
    check_question(
        &route("note", ", pattern = 'urn:x:{}:y'"),
        &with_header("urn:x::y"),
        "missing: context.note: header `h` does not match the pattern of the route",
    );
    check_question(&route("count", ", map = { few = 3 }"), &with_header("few"), &question("count: 3"));
    check_question(
        &route("count", ", map = { few = 3 }"),
        &with_header("3"),
        "missing: context.count: header `h` is `3`, which is not in the `map` of the route",
    );
    check_question(&route("count", ", default = 1"), &request(&[]), &question("count: 1"));
    let without_count = "r: Partner::fabrikam Customer::contoso {channel: api}";
    check_question(&route("count", ", optional = true"), &request(&[]), without_count);
    check_question(
        &route("count", ""),
        &request(&[]),
        "missing: context.count: the request has no header `h`",
    );
    let mapped_type = route_with(
        "",
        "principal = { type = { header = 'h', map = { oem = 'Maker' } }, id = { header = 'x-partner' } }",
    );
    check_question(&mapped_type, &with_header("oem"), "r: Maker::fabrikam Customer::contoso {channel: api}");
    let any_type = route_with("", "principal = { type = { header = 'h' }, id = { header = 'x-partner' } }");
    check_question(
        &any_type,
        &with_header("Nobody"),
        "invalid_request: the schema has no entity type `Nobody`",
    );
}

/// The header of a body in JSON.
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn values_come_from_json_bodies() {
    let routes = route_with(
        "",
        "context = { channel = { body = '/a/0/b~1c' }, tags = { body = '/tags', optional = true } }",
    );
    let check = |body: RequestBody<'static>, expected: &str| {
        check_question(&routes, &HttpRequest { body, ..request(&[JSON]) }, expected);
    };
    let complete = |body: &'static str| RequestBody::Complete(body.as_bytes());
    check(complete(r#"{"a":[{"b/c":"ui"}]}"#), "r: Partner::fabrikam Customer::contoso {channel: ui}");
    check(
        complete(r#"{"a":[{"b/c":"ui"}],"tags":["x","y"]}"#),
        "r: Partner::fabrikam Customer::contoso {channel: ui, tags: [\"x\", \"y\"]}",
    );
    check(
        complete(r#"{"a":[]}"#),
        "missing: context.channel: `/a/0/b~1c` in the body cannot be found: the array has no such item",
    );
    check(complete(r#"{"a":[{}]}"#), "missing: context.channel: the request has no `/a/0/b~1c` in the body");
    check(
        complete("[1"),
        "missing: context.channel: the body is not valid JSON: EOF while parsing a list at line 1 column 2",
    );
    check(
        complete(r#"{"a":1,"a":2}"#),
        "missing: context.channel: the body is not valid JSON: duplicate key `a` at line 1 column 10",
    );
    check(
        complete(r#"{"a":[{"b/c":"ui"}],"A":[]}"#),
        "missing: context.channel: `/a/0/b~1c` in the body is ambiguous: a key differs only in upper and lower case, or in its form of a letter",
    );
    check(RequestBody::Partial, "missing: context.channel: the gateway truncated the body");
    check(RequestBody::None, "missing: context.channel: the gateway did not forward a body");
    // `optional` and `default` apply only if the whole body was read.
    let optional =
        route_with("", "context = { channel = 'api', note = { body = '/note', optional = true } }");
    check_question(
        &optional,
        &HttpRequest { body: RequestBody::Partial, ..request(&[]) },
        "missing: context.note: the gateway truncated the body",
    );
    let default = route_with("", "context.channel = { body = '/channel', default = 'api' }");
    check_question(&default, &request(&[]), "missing: context.channel: the gateway did not forward a body");
    let other = HttpRequest { body: RequestBody::Complete(br#"{"Channel":"ui"}"#), ..request(&[JSON]) };
    check_question(
        &default,
        &other,
        "missing: context.channel: `/channel` in the body is ambiguous: a key differs only in upper and lower case, or in its form of a letter",
    );
    // A route that does not read the body ignores it.
    check_question(
        &route_with("", ""),
        &HttpRequest { body: RequestBody::Partial, ..request(&[]) },
        "r: Partner::fabrikam Customer::contoso {channel: api}",
    );
}

/// The service behind the gateway may read a value where a route finds none.
#[test]
fn a_default_applies_only_in_an_object_that_is_surely_json() {
    let routes = route_with("", "context.channel = { body = '/channel', default = 'api' }");
    let check = |headers: &[(&str, &str)], body: &str, expected: &str| {
        let body = RequestBody::Complete(body.as_bytes());
        check_question(&routes, &HttpRequest { body, ..request(headers) }, expected);
    };
    let question = "r: Partner::fabrikam Customer::contoso {channel: api}";
    check(&[JSON], "{}", question);
    check(&[("content-type", "application/json; charset=utf-8")], "{}", question);
    check(&[JSON, ("content-encoding", "identity")], "{}", question);
    for body in [r#"[{"channel":"ui"}]"#, "[]", "null", "\"channel=ui\"", "7"] {
        let found = Json::parse(body.as_bytes()).unwrap().describe();
        let why = format!("`/channel` in the body cannot be found: it has to be in an object, found {found}");
        check(&[JSON], body, &format!("missing: context.channel: {why}"));
    }
    let not_json =
        "missing: context.channel: the header `content-type` has to be `application/json` in UTF-8";
    check(&[], "{}", not_json);
    for other in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-7"] {
        check(&[("content-type", other)], "{}", not_json);
        check(&[("content-type", other)], r#"{"channel":"api"}"#, not_json);
    }
    check(
        &[JSON, JSON],
        "{}",
        "missing: context.channel: the request has more than one header `content-type`",
    );
    check(
        &[JSON, ("content-encoding", "gzip")],
        "{}",
        "missing: context.channel: the body has a `content-encoding`",
    );
    for key in ["\u{131}d", "\u{130}d", "\u{ff49}d", "\u{ff29}\u{ff24}"] {
        let routes = route_with("", "context = { channel = 'api', note = { body = '/id', default = 'x' } }");
        let body = format!("{{\"{key}\":\"y\"}}");
        let body = RequestBody::Complete(body.as_bytes());
        let expected = "missing: context.note: `/id` in the body is ambiguous: a key differs only in upper and lower case, or in its form of a letter";
        check_question(&routes, &HttpRequest { body, ..request(&[JSON]) }, expected);
    }
}

#[test]
fn values_come_from_verified_claims() {
    let lines = "principal = { type = 'Partner', id = { claim = '/partner/id' } }";
    let payload = r#"{"partner":{"id":"trey"}}"#;
    let encoded = "eyJwYXJ0bmVyIjp7ImlkIjoidHJleSJ9fQ";
    let (question, unreadable) = (
        "r: Partner::trey Customer::contoso {channel: api}",
        "missing: principal.id: the claims cannot be decoded",
    );
    let routes = route_with("claims.payload-header = 'X-Payload'", lines);
    check_question(&routes, &request(&[("x-payload", encoded)]), question);
    check_question(&routes, &request(&[("x-payload", payload)]), question);
    check_question(&routes, &request(&[("x-payload", "eyJwYX!")]), unreadable);
    check_question(&routes, &request(&[]), "missing: principal.id: the request has no claims");
    let routes = route_with("claims.token-header = 'Authorization'", lines);
    check_question(&routes, &request(&[("authorization", &format!("bearer h.{encoded}.s"))]), question);
    check_question(&routes, &request(&[("authorization", &format!("h.{encoded}.s"))]), question);
    check_question(&routes, &request(&[("authorization", encoded)]), unreadable);
    check_question(&routes, &request(&[("authorization", "Basic é")]), unreadable);
    let routes = route_with("claims.metadata = '/envoy.filters.http.jwt_authn/token'", lines);
    let json = format!(r#"{{"envoy.filters.http.jwt_authn":{{"token":{payload}}}}}"#);
    let metadata = Json::parse(json.as_bytes()).unwrap().into_owned();
    let with_metadata = HttpRequest { metadata: metadata.as_object().unwrap().clone(), ..request(&[]) };
    check_question(&routes, &with_metadata, question);
    check_question(&routes, &request(&[]), "missing: principal.id: the request has no claims");
}

#[test]
fn values_come_from_certificates_and_context_extensions() {
    let mut params = CertificateParams::new(vec!["partner.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "fabrikam-cn");
    for uri in ["spiffe://mandate/partner/lucerne", "spiffe://other/x"] {
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    }
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let encoded = pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
    let id = |source: &str| format!("principal = {{ type = 'Partner', id = {{ {source} }} }}");
    let check = |before: &str, source: &str, request: &HttpRequest<'_>, expected: &str| {
        check_question(&route_with(before, &id(source)), request, expected);
    };
    let question = |id: &str| format!("r: Partner::{id} Customer::contoso {{channel: api}}");
    let with_certificate =
        HttpRequest { certificate: Some(&encoded), peer: Some("spiffe://peer"), ..request(&[]) };
    let no_name = "missing: principal.id: the request has no certificate field `cn`";
    check("", "certificate = 'cn'", &with_certificate, no_name);
    check("", "certificate = 'dns'", &with_certificate, &question("partner.example"));
    check("", "certificate = 'principal', pattern = 'spiffe://{}'", &with_certificate, &question("peer"));
    check(
        "",
        "certificate = 'uri', pattern = 'spiffe://mandate/partner/{}'",
        &with_certificate,
        &question("lucerne"),
    );
    check(
        "",
        "certificate = 'uri'",
        &with_certificate,
        "missing: principal.id: the request has several values for certificate field `uri`",
    );
    let missing = "missing: principal.id: the request has no client certificate";
    check("", "certificate = 'uri'", &request(&[]), missing);
    let header = "certificate.header = 'X-Client-Cert'";
    check(
        header,
        "certificate = 'dns'",
        &request(&[("x-client-cert", &encoded)]),
        &question("partner.example"),
    );
    let forwarded = format!("By=spiffe://me;Hash=00;Cert=\"{encoded}\";Subject=\"CN=x\"");
    check(
        header,
        "certificate = 'dns'",
        &request(&[("x-client-cert", &forwarded)]),
        &question("partner.example"),
    );
    let twice = format!("{forwarded},{forwarded}");
    let unreadable = "missing: principal.id: the client certificate cannot be decoded";
    check(header, "certificate = 'dns'", &request(&[("x-client-cert", &twice)]), unreadable);
    let der: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    check(
        header,
        "certificate = 'dns'",
        &request(&[("x-client-cert", &format!(":{der}:"))]),
        &question("partner.example"),
    );
    check(header, "certificate = 'dns'", &with_certificate, missing);
    let with_extension = HttpRequest { extensions: vec![("partner", "trey")], ..request(&[]) };
    check("", "extension = 'partner'", &with_extension, &question("trey"));
    check(
        "",
        "extension = 'partner'",
        &request(&[]),
        "missing: principal.id: the request has no context extension `partner`",
    );
}

#[test]
fn ambiguous_values_in_bodies_are_denied() {
    let check = |routes: &str, body: &'static str, expected: &str| {
        check_question(
            routes,
            &HttpRequest { body: RequestBody::Complete(body.as_bytes()), ..request(&[JSON]) },
            expected,
        );
    };
    let large =
        route_with("", "context = { channel = 'api', large = { body = '/is-large', default = false } }");
    let ambiguous_case = "missing: context.large: `/is-large` in the body is ambiguous: a key differs only in upper and lower case, or in its form of a letter";
    // Decoders that fold case by Unicode read a long s as `s`, and the Kelvin sign as `k`.
    check(&large, "{\"i\u{17f}-large\":true}", ambiguous_case);
    check(&large, r#"{"IS-LARGE":true}"#, ambiguous_case);
    let count = route_with("", "context = { channel = 'api', count = { body = '/\u{6b}ind' } }");
    check(
        &count,
        "{\"\u{212a}ind\":1,\"kind\":2}",
        "missing: context.count: `/kind` in the body is ambiguous: a key differs only in upper and lower case, or in its form of a letter",
    );
    // Only strings are mapped, so a client cannot send the mapped value itself.
    let mapped =
        route_with("", "context = { channel = 'api', large = { body = '/kind', map = { basic = false } } }");
    check(
        &mapped,
        r#"{"kind":"basic"}"#,
        "r: Partner::fabrikam Customer::contoso {channel: api, large: false}",
    );
    check(
        &mapped,
        r#"{"kind":true}"#,
        "missing: context.large: `/kind` in the body has to be a string, found a boolean",
    );
    // The service behind the gateway acts on all items of an array.
    let first = route_with("", "context.channel = { body = '/all/0' }");
    check(
        &first,
        r#"{"all":["api","ui"]}"#,
        "missing: context.channel: `/all/0` in the body is ambiguous: the array has more than one item",
    );
    check(
        &first,
        r#"{"all":[]}"#,
        "missing: context.channel: `/all/0` in the body cannot be found: the array has no such item",
    );
}

/// A certificate in PEM, percent-encoded, for a common name and other names.
fn certificate_for(common_name: &str, alternatives: Vec<SanType>) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = alternatives;
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    pem.replace('+', "%2B")
}

#[test]
fn a_common_name_counts_only_in_a_certificate_without_alternative_names() {
    let routes = route_with("", "principal = { type = 'Partner', id = { certificate = 'cn' } }");
    let check = |alternatives: Vec<SanType>, expected: &str| {
        let certificate = certificate_for("fabrikam", alternatives);
        check_question(&routes, &HttpRequest { certificate: Some(&certificate), ..request(&[]) }, expected);
    };
    check(Vec::new(), "r: Partner::fabrikam Customer::contoso {channel: api}");
    let missing = "missing: principal.id: the request has no certificate field `cn`";
    check(vec![SanType::Rfc822Name("lucerne@example.com".try_into().unwrap())], missing);
    check(vec![SanType::IpAddress([127, 0, 0, 1].into())], missing);
    check(vec![SanType::DnsName("lucerne.example".try_into().unwrap())], missing);
}

#[test]
fn ambiguous_certificate_subjects_are_not_used() {
    let certificate_for = |common_name| certificate_for(common_name, Vec::new());
    let routes = route_with("", "principal = { type = 'Partner', id = { certificate = 'subject' } }");
    let check = |certificate: &str, expected: &str| {
        check_question(&routes, &HttpRequest { certificate: Some(certificate), ..request(&[]) }, expected);
    };
    check(&certificate_for("fabrikam"), "r: Partner::\"CN=fabrikam\" Customer::contoso {channel: api}");
    check(
        &certificate_for("fabrikam, O=Partners"),
        "missing: principal.id: the request has no certificate field `subject`",
    );
    let two_certificates = certificate_for("fabrikam") + &certificate_for("tailspin");
    check(&two_certificates, "missing: principal.id: the client certificate cannot be decoded");
}
