//! `@valid_until`: entities that have no members from a time of their own, such as consents that end.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use super::serving::from_now;
use super::{check, words};
use crate::support::{Content, until};

const SCHEMA: &str = r#"entity Partner;
entity Consent in [Partner] = {
    @valid_until
    validUntil?: datetime,
};
entity Customer in [Consent] = { consent?: Consent };
action register appliesTo { principal: Partner, resource: Customer };
action timed appliesTo { principal: Partner, resource: Customer, context: { @clock("1h") now: datetime } };
"#;

const POLICIES: &str = r#"
@id("register") @reason("The customer has given its consent.")
permit (principal, action, resource) when { resource in principal };
@id("blocked") @reason("The customer is blocked.")
forbid (principal, action == Action::"timed", resource in Consent::"blocked")
when { context.now < datetime("2040-01-01") };
"#;

/// Contoso has a consent to Fabrikam until this time, and one to Lucerne without an end.
fn entities(until_then: &str) -> String {
    let uid = |ty: &str, id: &str| json!({ "type": ty, "id": id });
    let entity = |ty: &str, id: &str, attrs: Value, parents: Vec<Value>| json!({ "uid": uid(ty, id), "attrs": attrs, "parents": parents });
    let consents = ["c1", "c2"].map(|id| uid("Consent", id));
    json!([
        entity("Partner", "fabrikam", json!({}), vec![]),
        entity("Partner", "lucerne", json!({}), vec![]),
        entity("Consent", "c1", json!({ "validUntil": until_then }), vec![uid("Partner", "fabrikam")]),
        entity("Consent", "c2", json!({}), vec![uid("Partner", "lucerne")]),
        entity("Consent", "blocked", json!({ "validUntil": until_then }), vec![]),
        entity("Customer", "contoso", json!({}), consents.to_vec()),
        entity("Customer", "blocked", json!({}), [&consents[..], &[uid("Consent", "blocked")]].concat()),
    ])
    .to_string()
}

fn consents(until_then: &str) -> Content {
    Content::of(&[
        ("policies/s.cedarschema", SCHEMA),
        ("policies/p.cedar", POLICIES),
        ("entities/e.json", &entities(until_then)),
    ])
}

fn decide(content: &Content, [principal, action, resource]: [&str; 3], time: &str, args: &[&str]) -> Output {
    let question = ["--principal", principal, "--action", action, "--resource", resource];
    content.command("decide").args(question).arg(format!("--at={time}")).args(args).output().unwrap()
}

const FABRIKAM: [&str; 3] = ["Partner::fabrikam", "register", "Customer::contoso"];
const LUCERNE: [&str; 3] = ["Partner::lucerne", "register", "Customer::contoso"];

#[test]
fn a_consent_that_has_ended_is_none() {
    let content = consents("2030-01-01T12:00:00Z");
    for (time, code) in
        [("2030-01-01T11:59:59.999Z", 0), ("2030-01-01T12:00:00Z", 2), ("9999-01-01T00:00:00Z", 2)]
    {
        check(&decide(&content, FABRIKAM, time, &[]), code, &[]);
        check(&decide(&content, LUCERNE, time, &[]), 0, &[]);
    }
    // Cedar writes a time in several ways.
    for text in ["2030-01-01", "2030-01-01T01:00:00+0100", "2029-12-31T19:00:00.000-0500"] {
        content.write("entities/e.json", &entities(text));
        check(
            &decide(&content, FABRIKAM, "2029-12-31T23:59:59Z", &[]),
            0,
            &["valid until 2030-01-01T00:00:00Z"],
        );
        check(&decide(&content, FABRIKAM, "2030-01-01T00:00:00Z", &[]), 2, &[]);
    }
}

#[test]
fn an_answer_holds_until_the_first_of_its_consents_ends() {
    let content = consents("2030-01-01T12:00:00Z");
    let before = "2030-01-01T09:30:00Z";
    check(&decide(&content, FABRIKAM, before, &[]), 0, &["valid until 2030-01-01T12:00:00Z"]);
    let timed = ["Partner::fabrikam", "timed", "Customer::blocked"];
    check(&decide(&content, timed, before, &[]), 2, &["blocked", "valid until 2030-01-01T10:00:00Z"]);
    // The consent that forbids has ended, as has the one that permits.
    check(&decide(&content, timed, "2030-01-01T12:30:00Z", &[]), 2, &["not permitted"]);
    let lucerne = ["Partner::lucerne", "timed", "Customer::blocked"];
    check(&decide(&content, lucerne, "2030-01-01T12:30:00Z", &[]), 0, &[]);
    let after = words(&decide(&content, FABRIKAM, "2030-01-01T12:30:00Z", &[]));
    assert!(!after.contains("valid until"), "{after}");
}

#[test]
fn explanations_count_what_has_ended_as_absent() {
    let content = consents("2030-01-01T12:00:00Z");
    let permit = decide(&content, FABRIKAM, "2030-01-01T11:00:00Z", &["--explain"]);
    check(&permit, 0, &["Customer::contoso in Consent::c1 in Partner::fabrikam"]);
    let denial = decide(&content, FABRIKAM, "2030-01-01T13:00:00Z", &["--explain"]);
    check(&denial, 2, &["missing for a permit", "Customer::contoso in Partner::fabrikam, through a Consent"]);
}

#[test]
fn a_remembered_answer_ends_with_its_consent() {
    let content = consents("9999-01-01");
    let sidecar = content.serve();
    let question =
        crate::support::question(("Partner", "fabrikam"), "register", ("Customer", "contoso"), json!({}));
    let search = json!({ "subject": question["subject"], "action": question["action"], "resource": { "type": "Customer" } });
    assert!(sidecar.permits(&question));
    let until_then = from_now(Duration::from_secs(4));
    content.replace_file("entities/e.json", &entities(&until_then));
    let mut remembered = 0;
    until("the consent has ended", || {
        let started = from_now(Duration::ZERO);
        let answer = sidecar.evaluate(&question);
        if answer["decision"] == false {
            assert!(from_now(Duration::ZERO) >= until_then, "{answer}");
            return true;
        }
        if answer["context"]["valid_until"] == json!(until_then) {
            assert!(started < until_then, "{started}: {answer}");
            remembered += 1;
        }
        false
    });
    assert!(remembered > 1 && sidecar.metric("mandate_cache_hits_total") > 0.0);
    let found = sidecar.post("/access/v1/search/resource", search.to_string()).json();
    assert_eq!(found["results"], json!([]), "{found}");
    // What was decided afterwards holds as well.
    assert!(!sidecar.permits(&question));
    let lucerne =
        crate::support::question(("Partner", "lucerne"), "register", ("Customer", "contoso"), json!({}));
    assert_eq!(sidecar.evaluate(&lucerne)["context"]["valid_until"], Value::Null);
}

#[test]
fn cases_with_the_time_end_consents_and_others_do_not() {
    let content = consents("2030-01-01T12:00:00Z");
    let case = |name: &str, action: &str, context: &str, expect: &str| {
        format!(
            "  - {{ name: {name}, principal: 'Partner::fabrikam', action: {action}, resource: 'Customer::contoso', context: {context}, expect: {expect} }}\n"
        )
    };
    let suite = [
        "cases:\n".to_owned(),
        case("before", "timed", "{ now: '2030-01-01T11:00:00Z' }", "permit"),
        case("after", "timed", "{ now: '2030-01-01T12:00:00Z' }", "deny"),
        case("no time", "register", "{}", "permit"),
    ];
    std::fs::create_dir_all(content.path("policies/tests")).unwrap();
    content.write("policies/tests/time.yaml", &suite.concat());
    check(&content.mandate("test", &[]), 0, &["3 passed"]);
}

#[test]
fn who_loses_access_by_an_end_is_compared_now() {
    let content = consents("2000-01-01");
    content.write("new.json", &entities("9999-01-01"));
    std::fs::create_dir_all(content.path("new")).unwrap();
    std::fs::rename(content.path("new.json"), content.path("new/e.json")).unwrap();
    let (old, new) = (content.entities(), content.path("new"));
    let compare = |old, new| {
        let mut command = content.command("diff");
        command
            .arg("--entities")
            .args([old, new])
            .args(["--context", "{\"now\": \"2030-01-01\"}"])
            .output()
            .unwrap()
    };
    let gains = "Partner::\"fabrikam\" gains register on Customer::\"contoso\"";
    check(&compare(&old, &new), 0, &[gains]);
    check(&compare(&new, &old), 0, &[&gains.replace("gains", "loses")]);
}

#[test]
fn a_wrong_place_or_type_is_an_error_with_its_place() {
    let content = consents("2030-01-01");
    for (from, to, expected) in [
        (
            "validUntil?: datetime",
            "validUntil?: Long",
            "`@valid_until` on `validUntil` needs an attribute of type `datetime`",
        ),
        (
            "entity Partner;",
            "@valid_until(\"x\") entity Partner;",
            "`@valid_until` on `Partner`: only an attribute of an entity type",
        ),
        (
            "@clock(\"1h\") now",
            "@valid_until(\"x\") now",
            "`@valid_until` on `now`: only an attribute of an entity type",
        ),
        (
            "validUntil?: datetime,",
            "validUntil?: datetime, @valid_until other?: datetime,",
            "`Consent` has `@valid_until` on `other` and on `validUntil`",
        ),
        (
            "consent?: Consent",
            "home?: { @valid_until(\"\") end: datetime }",
            "`@valid_until` on `end`: only an attribute of an entity type",
        ),
    ] {
        content.write("policies/s.cedarschema", &SCHEMA.replace(from, to));
        check(&content.mandate("check", &[]), 1, &[expected, "s.cedarschema:"]);
    }
}
