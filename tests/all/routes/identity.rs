//! `[identity-sources]` of the configuration file: where routes may take the principal from.

use mandate_core::diagnostics::SourceText;
use mandate_routes::{IdentitySources, Routes};

use super::{forward_auth_status, route_with, schema};
use crate::support::{Content, until};

fn sources() -> IdentitySources {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    IdentitySources {
        headers: names(&["X-Partner", "x-claims", "x-cert"]),
        claims: names(&["/partner/id"]),
        metadata: names(&["/jwt/partner"]),
        certificates: names(&["uri"]),
        extensions: names(&["partner"]),
        constants: names(&["Partner"]),
    }
}

/// The diagnostics of a route file whose route takes the id of its principal from `source`; empty if it is accepted.
fn errors_of(before: &str, source: &str) -> String {
    let text = route_with(before, &format!("principal = {{ type = 'Partner', id = {source} }}"));
    let parsed =
        Routes::parse_restricted(&[SourceText::new("routes.toml", text)], &schema(), Some(&sources()));
    parsed.map_or_else(|diagnostics| diagnostics.to_string(), |_| String::new())
}

#[test]
fn a_principal_may_come_from_what_is_listed() {
    for (before, source) in [
        ("", "{ header = 'X-Partner' }"),
        ("", "{ certificate = 'uri', pattern = 'spiffe://{}' }"),
        ("certificate.header = 'x-cert'", "{ certificate = 'uri' }"),
        ("", "{ extension = 'partner' }"),
        ("claims.payload-header = 'X-Claims'", "{ claim = '/partner/id' }"),
        ("claims.metadata = '/jwt/partner'", "{ claim = '/partner/id' }"),
    ] {
        assert_eq!(errors_of(before, source), "", "{before} {source}");
    }
}

#[test]
fn a_principal_from_anywhere_else_is_refused_with_its_place() {
    let check = |before: &str, source: &str, says: &str| {
        let errors = errors_of(before, source);
        assert!(errors.starts_with("routes.toml:") && errors.contains(says), "{errors}");
    };
    check(
        "",
        "{ header = 'x-user' }",
        "routes.toml:9:38: `principal.id` comes from header `x-user`: `headers` of `[identity-sources]` has only `x-partner`, `x-claims`, `x-cert`",
    );
    check("", "{ path = 'customer' }", "comes from segment 2 of the path, which the client decides on alone");
    check("", "{ body = '/id' }", "comes from `/id` in the body, which the client decides on alone");
    check("", "{ certificate = 'cn' }", "`certificates` of `[identity-sources]` has only `uri`");
    check("", "{ extension = 'user' }", "`extensions` of `[identity-sources]` has only `partner`");
    let claim = "{ claim = '/partner/id' }";
    check("claims.payload-header = 'x-mine'", claim, "comes from claims in the header `x-mine`");
    check("claims.token-header = 'x-mine'", claim, "comes from claims in the header `x-mine`");
    check("claims.metadata = '/lua'", claim, "comes from claims in the metadata at `/lua`");
    check("claims.payload-header = 'x-claims'", "{ claim = '/sub' }", "comes from claim `/sub`");
    check("certificate.header = 'x-mine'", "{ certificate = 'uri' }", "a certificate in the header `x-mine`");
    check("", "'fabrikam'", "comes from the constant `fabrikam`");
    check("", "{ header = 'x-partner', default = 'fabrikam' }", "comes from the constant `fabrikam`");
    check("", "{ header = 'x-partner', map = { a = 'fabrikam' } }", "comes from the constant `fabrikam`");
}

#[test]
fn an_edit_beyond_the_identity_sources_is_refused_at_a_reload_and_at_the_start() {
    let content = Content::of_pack();
    let config = "listen = \"127.0.0.1:0\"\nadmin-listen = \"127.0.0.1:0\"\n[identity-sources]\nheaders = [\"x-partner-type\", \"x-partner-id\"]\n";
    let sidecar = content.serve_with_config(config, 1);
    let target = "/v1/customers/contoso/deviceBatches";
    let good = content.read("policies/routes.toml");
    assert_eq!(forward_auth_status(&sidecar, "POST", target), 200);
    content.replace_file("policies/routes.toml", &good.replace("\"x-partner-id\"", "\"x-user\""));
    until("the edit is refused", || sidecar.status()["policies"]["last_reload"]["outcome"] == "refused");
    let errors = sidecar.status()["policies"]["last_reload"]["errors"].clone();
    assert!(errors[0]["message"].as_str().unwrap().contains("comes from header `x-user`"), "{errors}");
    assert_eq!((&errors[0]["line"], &errors[0]["column"]), (&5.into(), &58.into()), "{errors}");
    assert_eq!(errors.as_array().unwrap().len(), 1, "{errors}");
    assert_eq!(forward_auth_status(&sidecar, "POST", target), 200, "the last good routes are in use");
    let config = content.path("mandate.toml");
    let config = ["--config", config.to_str().unwrap()];
    for verb in ["serve", "check"] {
        let output = content.mandate(verb, &config);
        let shown = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains("routes.toml:5:58") && shown.contains("x-user"), "{shown}");
    }
}
