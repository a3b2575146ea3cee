//! Invalid route files: each error is reported with its place.

use super::{parse, route_with};

/// The route file is refused, and the errors contain all `messages` and the place in the file.
#[track_caller]
fn check_refused(text: &str, messages: &[&str]) {
    let errors = parse(text).expect_err("must be refused").to_string();
    for message in messages {
        assert!(errors.contains(message), "`{message}` is not in: {errors}\n{text}");
    }
    assert!(errors.contains("routes.toml:"), "no place: {errors}");
}

#[test]
fn missing_values_and_unknown_keys_are_refused() {
    check_refused(
        "[[route]]",
        &["routes.toml:1:1: `id` is missing", "`method` is missing", "`principal` is missing"],
    );
    check_refused("route = 1", &["`[[route]]`"]);
    check_refused("[[route]\nid = 'a'", &["not valid TOML"]);
    check_refused(
        &route_with("", "colour = 'red'"),
        &["unknown key `colour`: expected one of `id`, `method`, `path`"],
    );
    check_refused(&route_with("rooute = 1", ""), &["routes.toml:1:1: unknown key `rooute`"]);
    check_refused(&route_with("", "id = 'a b'"), &["an id may have only"]);
    check_refused(
        &route_with("", "method = 'post'"),
        &["`post` is not a valid HTTP method: write it in upper case"],
    );
    check_refused(&route_with("", "method = []"), &["at least one method"]);
    check_refused(&route_with("", "path = '/c/{customer}/..'"), &["dot segment"]);
    check_refused(&route_with("", "path = 7"), &["has to be a string, found a whole number"]);
}

#[test]
fn names_and_values_that_the_schema_does_not_have_are_refused() {
    check_refused(
        &route_with("", "action = 'delete'"),
        &["the schema has no action `delete`: expected one of `register`, `view`"],
    );
    check_refused(
        &route_with("", "resource = { type = 'Partner', id = 'x' }"),
        &["`register` does not apply to the entity type `Partner`: expected one of `Customer`"],
    );
    check_refused(&route_with("", "resource = { type = 'Device', id = 'x' }"), &["no entity type `Device`"]);
    check_refused(
        &route_with("", "context.chanel = 'api'"),
        &["the context of `register` has no attribute `chanel`"],
    );
    check_refused(
        &route_with("", "context.channel = 'fax'"),
        &["`fax` is not a valid `Channel`: expected one of `api`, `ui`"],
    );
    check_refused(
        &route_with("", "context = {}"),
        &["`register` requires `context.channel`, which the route does not set"],
    );
    check_refused(
        &route_with("", "context = { channel = 'api', count = 'many' }"),
        &["expected a 64-bit whole number"],
    );
    check_refused(
        &route_with("", "context = { channel = 'api', from = 'nowhere' }"),
        &["`nowhere` is not a valid `ip`"],
    );
}

#[test]
fn invalid_extractors_are_refused() {
    let channel = |value: &str| route_with("", &format!("context.channel = {value}"));
    check_refused(&channel("{}"), &["a value needs exactly one source: one of `path`, `header`"]);
    check_refused(&channel("{ header = 'a', path = 'customer' }"), &["a value needs exactly one source"]);
    check_refused(
        &channel("{ path = 'device' }"),
        &["the path has no parameter `device`: it has `customer`"],
    );
    check_refused(
        &channel("{ claim = '/x' }"),
        &["`claim` needs a `[claims]` table that says where the gateway puts the verified claims"],
    );
    check_refused(
        &channel("{ certificate = 'serial' }"),
        &["`serial` is not a certificate field: expected one of `principal`"],
    );
    check_refused(&channel("{ body = 'x' }"), &["`x` is not a JSON pointer"]);
    check_refused(
        &channel("{ header = 'x', pattern = 'a' }"),
        &["a pattern has to contain exactly one `{}`"],
    );
    check_refused(
        &channel("{ header = 'x', optional = true }"),
        &["the value is required, so it cannot be `optional`"],
    );
    check_refused(&channel("{ header = 'x', default = 'fax' }"), &["`fax` is not a valid `Channel`"]);
    check_refused(&channel("{ header = 'x', map = { a = 'fax' } }"), &["`fax` is not a valid `Channel`"]);
    check_refused(&channel("{ header = 'x', map = {} }"), &["at least one entry"]);
    check_refused(&channel("1979-05-27"), &["a date is not allowed here"]);
    let tags = route_with("", "context = { channel = 'api', tags = { header = 'x' } }");
    check_refused(&tags, &["a header `x` is a single string", "use a claim or the body"]);
    check_refused(
        &route_with("[claims]\npayload-header = 'a'\ntoken-header = 'b'", ""),
        &["`[claims]` takes exactly one of"],
    );
    check_refused(
        &route_with("", "principal = { type = { header = 'x', map = { a = 'Customer' } }, id = 'x' }"),
        &["`register` does not apply to the entity type `Customer`: expected one of `Partner`, `Maker`"],
    );
}

#[test]
fn conflicting_routes_are_refused() {
    let resource = "{ type = 'Customer', id = 'x' }";
    let two_routes = |a: &str, b: &str| {
        let routes = route_with("", &format!("id = 'a'\npath = '{a}'"))
            + &route_with("", &format!("id = 'b'\npath = '{b}'"));
        routes.replace("{ type = 'Customer', id = { path = 'customer' } }", resource)
    };
    check_refused(
        &two_routes("/x/{a}", "/X/{b}"),
        &["`b` and `a` (at routes.toml:2) match the same requests, such as `POST /X/{b}`"],
    );
    check_refused(&two_routes("/x/{a}", "/{b}/y"), &["match the same requests"]);
    assert!(parse(&two_routes("/x/{a}", "/x/y")).is_ok());
    check_refused(
        &(route_with("", "") + &route_with("", "method = 'GET'")),
        &["the route id `r` is used twice, first at routes.toml:2"],
    );
    // All errors of a file are reported together.
    let diagnostics =
        parse(&(route_with("", "action = 'delete'") + &route_with("", "colour = 1"))).unwrap_err();
    assert_eq!(diagnostics.error_count(), 2, "{diagnostics}");
}

#[test]
fn invalid_header_names_are_refused() {
    check_refused("[certificate]", &["`header` is missing"]);
    check_refused("certificate.header = ''", &["`` is not a valid header name"]);
    check_refused("claims.payload-header = 'a b'", &["`a b` is not a valid header name"]);
    check_refused(
        &route_with("", "context.channel = { header = 'x:' }"),
        &["`x:` is not a valid header name"],
    );
}

/// Checking many conflicts has to be fast, because changed entities wait until it is done.
#[test]
fn each_route_has_at_most_one_reported_conflict() {
    let diagnostics = parse(&route_with("", "").repeat(900)).unwrap_err();
    assert_eq!(diagnostics.len(), 899);
    let different: Vec<String> = (0..900).map(|n| route_with("", &format!("id = 'r{n}'"))).collect();
    assert_eq!(parse(&different.concat()).unwrap_err().len(), 899);
    let diagnostics = parse(&route_with("", "").repeat(1_001)).unwrap_err().to_string();
    assert!(diagnostics.contains("1001 routes are defined; the maximum is 1000"), "{diagnostics}");
}
