//! `@clock`: the time in the context of requests, for every transport and command.

mod consents;
mod content;
mod docs;
mod serving;
mod valid_until;

use std::process::Output;

use content::{at, content, decide};

use crate::support::has_solver;

/// All that a command printed, with its lines joined.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a command has to print.
#[track_caller]
fn check(output: &Output, exit_code: i32, expected: &[&str]) {
    let text = words(output);
    assert_eq!(output.status.code(), Some(exit_code), "{text}");
    for expected in expected {
        assert!(text.contains(expected), "no `{expected}` in: {text}");
    }
}

#[test]
fn the_time_is_floored_to_its_granularity() {
    let content = content();
    for (time, permitted) in [
        ("2030-01-01T11:59:59Z", false),
        ("2030-01-01T12:00:00Z", true),
        ("2030-01-01T12:14:59.999Z", true),
        ("2030-01-01T12:15:00Z", false),
        ("2030-01-01T13:00:01+01:00", true),
    ] {
        assert_eq!(decide(&content, "quarter", time, &[]), permitted, "{time}");
    }
}

#[test]
fn any_time_has_an_answer() {
    let content = content();
    for time in [
        "-009999-01-02T01:59:59Z",
        "-000001-06-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.5Z",
        "1970-01-01T00:00:00Z",
        "9999-12-30T22:00:00Z",
    ] {
        for zone in ["UTC", "Pacific/Kiritimati", "America/Adak"] {
            let before = time < "1970" || time.starts_with('-');
            assert_eq!(
                decide(&content, "before-1970", time, &["--time-zone", zone]),
                before,
                "{time} {zone}"
            );
            decide(&content, "weekend", time, &["--time-zone", zone]);
        }
    }
    let nonsense = at(&content, "quarter", "noon", &[]);
    check(&nonsense, 1, &["invalid value 'noon' for '--at <TIME>'", "such as `2026-11-28T10:00:00Z`"]);
}

#[test]
fn days_of_the_week_are_those_of_the_time_zone() {
    let content = content();
    // 2026-11-28 is a Saturday. New York is five hours behind, Kiritimati 14 hours ahead.
    for (time, zone, is_weekend) in [
        ("2026-11-27T23:59:59Z", "UTC", false),
        ("2026-11-28T00:00:00Z", "UTC", true),
        ("2026-11-30T00:00:00Z", "UTC", false),
        ("2026-11-28T04:59:59Z", "America/New_York", false),
        ("2026-11-28T05:00:00Z", "America/New_York", true),
        ("2026-11-27T10:00:00Z", "Pacific/Kiritimati", true),
        ("2026-11-29T10:00:00Z", "Pacific/Kiritimati", false),
        // In summer, Berlin is two hours ahead, and the clocks go back on a Sunday.
        ("2026-07-03T21:59:59Z", "Europe/Berlin", false),
        ("2026-07-03T22:00:00Z", "Europe/Berlin", true),
        ("2026-10-25T22:59:59Z", "Europe/Berlin", true),
        ("2026-10-25T23:00:00Z", "Europe/Berlin", false),
    ] {
        assert_eq!(decide(&content, "weekend", time, &["--time-zone", zone]), is_weekend, "{time} {zone}");
    }
    let configured = content.path("mandate.toml");
    content.write("mandate.toml", "time-zone = \"America/New_York\"\n");
    let config = ["--config", configured.to_str().unwrap()];
    assert!(!decide(&content, "weekend", "2026-11-28T04:59:59Z", &config));
    content.write("mandate.toml", "max-id-bytes = 100\ntime-zone = \"Mars/Base\"\n");
    let wrong = at(&content, "weekend", "2026-11-28T04:59:59Z", &config);
    check(
        &wrong,
        1,
        &["`Mars/Base` is not a time zone: use its IANA name, such as `Europe/Berlin`", "mandate.toml:2:13"],
    );
}

#[test]
fn nobody_but_the_clock_gives_the_time() {
    let content = content();
    let sent = at(&content, "quarter", "2030-01-01T12:00:00Z", &["--context", "now=2030-01-01T12:00:00Z"]);
    check(&sent, 1, &["context.now: comes from the clock of the decision point: leave it out"]);
    let now = content.mandate(
        "decide",
        &["--principal", "User::eve", "--action", "before-1970", "--resource", "User::eve"],
    );
    check(&now, 2, &["deny"]);
}

#[test]
fn a_schema_with_a_wrong_clock_is_refused() {
    let content = content();
    content.edit("policies/s.cedarschema", "@clock(\"15m\")", "@clock(\"7m\")");
    let checked = content.mandate("check", &[]);
    check(
        &checked,
        1,
        &["`@clock(\"7m\")` on `now` is not a granularity", "s.cedarschema:4:16", "divides a day"],
    );
}

#[test]
fn cases_give_the_time_as_a_value_of_the_context() {
    let content = content();
    let case = |name: &str, context: &str, expect: &str| {
        format!(
            "  - {{ name: {name}, principal: 'User::eve', action: quarter, resource: 'User::eve', context: {{ {context} }}, expect: {expect} }}\n"
        )
    };
    let day = "day: sunday";
    let suite = [
        "cases:\n".to_owned(),
        case("noon", &format!("now: '2030-01-01T12:00:00Z', {day}"), "permit"),
        case("evening", &format!("now: '2030-01-01T20:00:00Z', {day}"), "deny"),
        case("no time", day, "error"),
    ];
    std::fs::create_dir_all(content.path("policies/tests")).unwrap();
    content.write("policies/tests/time.yaml", &suite.concat());
    check(&content.mandate("test", &[]), 0, &["3 passed"]);

    content.write("policies/tests/time.yaml", &format!("cases:\n{}", case("no time", day, "permit")));
    let missing = "error: context: missing: no clock gives `now` here: expected a valid `datetime` string";
    check(&content.mandate("test", &[]), 1, &[missing]);
}

#[test]
fn routes_do_not_set_the_time_and_cases_about_them_give_it() {
    let content = content();
    let route = "[[route]]\nid = 'noon'\nmethod = 'GET'\npath = '/noon/{user}'\naction = 'quarter'\nprincipal = { type = 'User', id = { header = 'x-user' } }\nresource = { type = 'User', id = { path = 'user' } }\n";
    content.write("policies/routes.toml", route);
    let case = "cases:\n  - { name: noon, request: GET /noon/eve, headers: { x-user: eve }, context: { now: '2030-01-01T12:00:00Z', day: sunday }, expect: permit }\n";
    std::fs::create_dir_all(content.path("policies/tests")).unwrap();
    content.write("policies/tests/routes.yaml", case);
    check(&content.mandate("test", &[]), 0, &["1 passed"]);
    content.write(
        "policies/tests/routes.yaml",
        &case.replace("context: { now: '2030-01-01T12:00:00Z', day: sunday }, ", ""),
    );
    check(&content.mandate("test", &[]), 1, &["no clock gives `day` here"]);

    let routed = content.command("route").args(["GET", "/noon/eve", "-H", "x-user: eve"]).output().unwrap();
    check(&routed, 0, &["action quarter", "resource User::eve context"]);

    content.write("policies/routes.toml", &format!("{route}context = {{ now = {{ header = 'x-now' }} }}\n"));
    let wrong = content.mandate("check", &[]);
    check(&wrong, 1, &["`now` comes from the clock (`@clock`), so no route sets it", "routes.toml:8:13"]);
}

#[test]
fn proofs_and_differences_treat_the_time_like_any_value() {
    if !has_solver() {
        return;
    }
    let content = content();
    std::fs::create_dir_all(content.path("policies/guardrails")).unwrap();
    let claim = "@id(\"closed\") @claim(\"never\") @because(\"Nothing is open before.\") forbid (principal, action == Action::\"quarter\", resource) when { context.now < datetime(\"2030-01-01\") };";
    content.write("policies/guardrails/claims.cedar", claim);
    check(&content.mandate("prove", &[]), 0, &["closed"]);
    content.edit("policies/guardrails/claims.cedar", "2030-01-01", "2031-01-01");
    check(&content.mandate("prove", &[]), 1, &["closed", "now: datetime(\"2030-01-01T12:00"]);

    let old = content.path("old");
    crate::support::copy_folder(&content.policies(), &old);
    content.edit("policies/p.cedar", "Weekday::\"sunday\"", "Weekday::\"monday\"");
    let output = crate::support::mandate().arg("diff").args([&old, &content.policies()]).output().unwrap();
    check(&output, 0, &["User weekend User", "day: sunday", "day: monday"]);
}
