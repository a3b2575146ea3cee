//! `mandate prove`: proofs, refused guardrails, and solvers that are missing or give no answer. `pack_claims` has the
//! claims of the pack; `guardrails.rs` tests what `mandate serve` does with guardrails.

mod pack_claims;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::support::{Content, has_solver};

/// The policy file that most tests edit.
const REGISTRATION: &str = "registration.cedar";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn prove(content: &Content, args: &[&str]) -> Output {
    let policies = content.policies();
    crate::support::mandate().args(["prove", "--policies"]).arg(policies).args(args).output().unwrap()
}

fn claim(result: &Value, id: &str) -> Value {
    let claims = result["claims"].as_array().unwrap();
    claims
        .iter()
        .find(|claim| claim["claim"] == id)
        .unwrap_or_else(|| panic!("no `{id}` in {result}"))
        .clone()
}

/// The pack after edits `(file, from, to)` of its policies.
fn edited_pack(edits: &[(&str, &str, &str)]) -> Content {
    let content = Content::of_pack();
    // The pack's routes would not fit a changed schema.
    std::fs::remove_file(content.path("policies/routes.toml")).unwrap();
    for (file, from, to) in edits {
        content.edit(&format!("policies/{file}"), from, to);
    }
    content
}

/// A guardrail that errors covers less than it claims.
#[test]
fn a_guardrail_that_can_error_breaks_never_errors() {
    if !has_solver() {
        return;
    }
    let content = edited_pack(&[(
        "guardrails/consent.cedar",
        "unless { principal.active }",
        "unless { principal.active && 9223372036854775807 + 1 > 0 }",
    )]);
    let output = prove(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("On this request a policy errors: suspended-partners-do-nothing ("), "{shown}");
}

/// A policy that reads a whole record or the whole context may depend on an attribute that it does not name.
#[test]
fn independence_is_not_proven_if_a_policy_reads_the_whole_context() {
    let schema = |context: &str| {
        ("schema.cedarschema", "context: { channel: Channel }", format!("context: {context}"))
    };
    let prove_with = |schema: &(&str, &str, String), policies: &[(&str, &str, &str)]| {
        let (file, from, to) = schema;
        prove(&edited_pack(&[&[(*file, *from, to.as_str())], policies].concat()), &["--format", "json"])
    };
    let nested = prove_with(&schema("{ channel: Channel, consent: { delegatedAdministration: Bool } }"), &[]);
    assert!(text(&nested.stderr).contains("which is also a field of a record"), "{nested:?}");
    if has_solver() {
        let whole = "  principal.active && context == context &&\n";
        let direct = schema("{ channel: Channel, delegatedAdministration: Bool }");
        let output = prove_with(&direct, &[(REGISTRATION, "  principal.active &&\n", whole)]);
        let claim = claim(&json(&output), "registering-needs-no-delegated-administration");
        assert_eq!(claim["result"], "unknown", "{claim}");
        assert!(claim["why"].as_str().unwrap().contains("reads the context as a whole"), "{claim}");
    }
}

/// The guardrail is refused, and the errors contain all `messages`.
#[track_caller]
fn check_refused(guardrail: &str, messages: &[&str]) {
    let content = Content::of_pack();
    content.write("policies/guardrails/more.cedar", guardrail);
    let output = prove(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    for message in messages {
        assert!(shown.contains(message), "no `{message}` in:\n{shown}");
    }
}

#[test]
fn invalid_guardrails_are_refused_with_the_reason() {
    check_refused(
        "permit (principal, action, resource);",
        &["a claim has no `@id`", "has no `@because`", "has no `@claim`"],
    );
    check_refused(
        "@id(\"x\") @claim(\"always\") @because(\"y\") permit (principal, action, resource);",
        &[
            "`always` is not a valid `@claim` for `x`",
            "expected one of `never`, `ceiling`, `floor`, `independent`",
        ],
    );
    check_refused(
        "@id(\"x\") @claim(\"never\") @because(\"y\") permit (principal, action, resource);",
        &["the claim `x` is `never`, so it has to be a `forbid`"],
    );
    check_refused(
        "@id(\"x\") @claim(\"independent\") @because(\"y\") permit (principal, action, resource);",
        &["has no `@attribute`"],
    );
    check_refused(
        "@id(\"x\") @claim(\"independent\") @attribute(\"roles\") @because(\"y\") permit (principal, action, resource);",
        &["which is not a required `Bool` everywhere"],
    );
    check_refused(
        "@id(\"x\") @claim(\"independent\") @attribute(\"nothing\") @because(\"y\") permit (principal, action, resource);",
        &["which is no attribute in the schema"],
    );
    check_refused(
        "@id(\"never-errors\") @claim(\"never\") @because(\"y\") forbid (principal, action, resource);",
        &["holds without being written"],
    );
    check_refused(
        "@id(\"x\") @claim(\"never\") @because(\"y\") forbid (principal == ?principal, action, resource);",
        &["template"],
    );
    check_refused(
        "@id(\"x\") @claim(\"never\") @because(\"y\") forbid (principal, action, resource) when { resource.nothing };",
        &["nothing"],
    );
}

/// A claim that no request can break is most likely a mistake.
#[test]
fn claims_that_match_no_request_are_not_proven() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    content.write(
        "policies/guardrails/more.cedar",
        "@id(\"empty\") @claim(\"never\") @because(\"x\") forbid (principal, action, resource) when { principal has active && !(principal has active) };",
    );
    let output = prove(&content, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let claim = claim(&json(&output), "empty");
    assert_eq!(claim["result"], "unknown");
    assert!(claim["why"].as_str().unwrap().contains("claims nothing"), "{claim}");
}

#[test]
fn a_missing_solver_is_reported_in_one_line() {
    let content = Content::of_pack();
    let output = prove(&content, &["--solver", "/no/such/solver"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("there is no solver `/no/such/solver`: install cvc5"), "{errors}");
}

/// Proves claims for another schema and other policies than the pack's, and checks the results `(id, result, detail)`.
#[track_caller]
fn check_claims(schema: &str, policies: &str, claims: &str, results: &[(&str, &str, &str)]) {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    fs::remove_dir_all(content.policies()).unwrap();
    fs::create_dir_all(content.path("policies/guardrails")).unwrap();
    content.write("policies/schema.cedarschema", schema);
    content.write("policies/all.cedar", policies);
    content.write("policies/guardrails/all.cedar", claims);
    let result = json(&prove(&content, &["--format", "json"]));
    for (id, expected, detail) in results {
        let claim = claim(&result, id);
        assert_eq!(claim["result"], *expected, "{claim}");
        assert!(claim.to_string().contains(detail), "{claim}");
    }
}

/// A forbid that errors denies, so a floor does not hold. A ceiling that errors covers less than it claims.
#[test]
fn a_claim_is_not_proven_if_it_depends_on_a_policy_that_may_error() {
    let schema = "entity U = { n: Long }; entity D; action a appliesTo { principal: U, resource: D };";
    let policies = "@id(\"p\") permit(principal, action, resource);
        @id(\"f\") forbid(principal, action, resource) when { principal.n + 1 < -9223372036854775807 };";
    let floor = "@id(\"floor\") @claim(\"floor\") @because(\"x\") permit(principal, action, resource);";
    check_claims(
        schema,
        policies,
        floor,
        &[("never-errors", "broken", "U::u"), ("floor", "unknown", "`f` may error")],
    );
    let permit = "@id(\"p\") permit(principal, action, resource) when { principal.n == 9223372036854775807 || principal.n < 2 };";
    let ceiling = "@id(\"ceiling\") @claim(\"ceiling\") @because(\"x\") permit(principal, action, resource) when { principal.n + 1 < 6 };";
    check_claims(schema, permit, ceiling, &[("ceiling", "unknown", "`ceiling` may error")]);
    let never = "@id(\"never\") @claim(\"never\") @because(\"x\") forbid(principal, action, resource) when { principal.n < 0 };";
    let may_error =
        "@id(\"p\") permit(principal, action, resource) when { principal.n > 0 && principal.n + 1 > 1 };";
    check_claims(
        schema,
        may_error,
        never,
        &[("never-errors", "broken", "overflow"), ("never", "proven", "")],
    );
}

/// A `@because` may have several lines.
#[test]
fn claims_about_patterns_and_dates_are_proven_or_broken() {
    let schema =
        "entity U = { at: datetime, s: String }; entity D; action a appliesTo { principal: U, resource: D };";
    let policies = "@id(\"p\") permit(principal, action, resource)
        when { principal.s like \"*foo*\" && principal.at > datetime(\"2024-01-01\") };";
    let claims = "@id(\"never\") @claim(\"never\") @because(\"two\nlines\") forbid(principal, action, resource);
        @id(\"p\") @claim(\"never\") @because(\"x\") forbid(principal, action, resource) unless { principal.s like \"*foo*\" };";
    check_claims(
        schema,
        policies,
        claims,
        &[("never", "broken", "2024-01-01T00:00:00.001Z"), ("p", "proven", "")],
    );
}

/// The claim `p` has the id of a policy, and no request matches the claim `r`.
#[test]
fn independent_claims_are_proven_broken_or_unknown() {
    let schema =
        "entity U = { b: Bool, c: Bool }; entity D; action a appliesTo { principal: U, resource: D };";
    let policies = "@id(\"p\") permit(principal, action, resource) when { principal.b };";
    let claims = "@id(\"p\") @claim(\"independent\") @attribute(\"c\") @because(\"x\") permit(principal, action, resource);
        @id(\"q\") @claim(\"independent\") @attribute(\"b\") @because(\"x\") permit(principal, action, resource);
        @id(\"r\") @claim(\"independent\") @attribute(\"b\") @because(\"x\") permit(principal, action, resource) when { principal.b && !principal.b };";
    check_claims(
        schema,
        policies,
        claims,
        &[("p", "proven", ""), ("q", "broken", "otherwise"), ("r", "unknown", "claims nothing")],
    );
    let equivalent = policies.replace("principal.b }", "principal.b && (principal.c || !principal.c) }");
    check_claims(schema, &equivalent, claims, &[("p", "proven", "")]);
}

/// Otherwise the emitted test case would not be valid.
#[test]
fn actions_with_the_same_name_in_two_namespaces_are_written_in_full() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    fs::remove_dir_all(content.policies()).unwrap();
    fs::remove_dir_all(content.entities()).unwrap();
    fs::create_dir_all(content.path("policies/guardrails")).unwrap();
    fs::create_dir_all(content.entities()).unwrap();
    let types = "entity U; entity D; action a appliesTo { principal: U, resource: D };";
    content.write(
        "policies/schema.cedarschema",
        &format!("namespace A {{ {types} }} namespace B {{ {types} }}"),
    );
    content.write("policies/all.cedar", "@id(\"p\") permit(principal, action, resource);");
    content.write(
        "policies/guardrails/all.cedar",
        "@id(\"n\") @claim(\"never\") @because(\"two\nlines\") forbid(principal, action, resource);",
    );
    let suite = prove(&content, &["--emit-test"]);
    content.write("suite.yaml", &text(&suite.stdout));
    let output = content.mandate("test", &[content.path("suite.yaml").to_str().unwrap()]);
    assert!(text(&output.stdout).contains("+ permit by p"), "{output:?}\n{}", text(&suite.stdout));
}

/// As a policy, a claim would permit what it is meant to limit.
#[test]
fn a_claim_among_the_policies_is_an_error() {
    let content = Content::of_pack();
    fs::create_dir_all(content.path("policies/sub/guardrails")).unwrap();
    let claim = "@id(\"c\") @claim(\"ceiling\") @because(\"x\") permit (principal, action, resource);";
    content.write("policies/sub/guardrails/more.cedar", claim);
    let output = content.mandate("check", &[]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stdout);
    assert!(errors.contains("`c` is a claim among the policies"), "{errors}");
}

#[test]
fn every_command_reads_the_path_of_the_solver_from_the_configuration_file() {
    let content = Content::of_pack();
    content.write("mandate.toml", "solver = \"/no/such/solver\"\n");
    let config = content.path("mandate.toml");
    for args in [&["prove"][..], &["diff", "policies"], &["lint"], &["test", "--mutate"]] {
        let mut command = crate::support::mandate();
        command
            .args(args)
            .env_remove("CVC5")
            .arg("--config")
            .arg(&config)
            .current_dir(crate::support::repository_path("."));
        let output = command.output().unwrap();
        let errors = text(&output.stderr);
        assert!(errors.contains("there is no solver `/no/such/solver`"), "{args:?}: {errors}");
    }
}

/// Runs `mandate prove` with a shell script as the solver.
fn prove_with_script(script: &str) -> Output {
    let content = Content::of_pack();
    let path = content.path("solver");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    prove(&content, &["--solver", path.to_str().unwrap(), "--solver-limit", "100ms", "--format", "json"])
}

/// The solver answers `unknown`, exits, or writes an invalid answer.
#[test]
fn what_the_solver_does_not_know_is_not_proven() {
    // The first two questions check that the program is a solver.
    let answers = |answer: &str| {
        format!(
            "[ -e \"$0.dead\" ] && exit 3; n=0
while read -r line; do case \"$line\" in *check-sat*)
  n=$((n + 1)); case $n in 1) echo sat ;; 2) echo unsat ;; *) {answer} ;; esac ;;
esac; done"
        )
    };
    let exits = "touch \"$0.dead\"; exit 3";
    for script in ["echo unknown", exits] {
        let output = prove_with_script(&answers(script));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(claim(&json(&output), "suspended-partners-do-nothing")["result"], "unknown");
    }
    assert_eq!(prove_with_script(&answers("echo maybe")).status.code(), Some(1));
    assert_eq!(prove_with_script("exit 0").status.code(), Some(1));
}

/// The memberships that changes can write are listed, with what is proven of them and what is not.
#[test]
fn the_memberships_that_changes_can_write_are_listed() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    let shown = text(&prove(&content, &[]).stdout);
    for line in [
        "memberships that permitted actions can write, by changes.toml:",
        "  requestConsent by DirectBillPartner, IndirectReseller: adds CspConsent in DirectBillPartner, CspConsent in IndirectReseller, CspConsent in Partnership",
        "  acceptConsent: adds Customer in CspConsent, Customer in OemConsent",
        "  revokeConsent: takes away Customer in CspConsent, Customer in OemConsent",
        "  removeDelegatedAdministration: none",
        "  What is proven holds for decisions on all entities that fit the schema, so also after every change.",
        "  Not proven: that a change adds only memberships that the guardrails of its action allow.",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "`{line}` is not in:\n{shown}");
    }
    let result = json(&prove(&content, &["--format", "json"]));
    let writes = &result["writes"];
    assert!(writes["not_proven"].as_str().unwrap().contains("guardrails"), "{writes}");
    let changes = writes["changes"].as_array().unwrap();
    let by_oem = changes.iter().find(|change| change["change"] == "requestConsent by Oem").unwrap();
    assert_eq!(
        *by_oem,
        serde_json::json!({
            "change": "requestConsent by Oem", "action": "requestConsent", "principal": ["Autopilot::Oem"],
            "resource": ["Autopilot::Customer"], "takes_away": [],
            "adds": [{ "member": "Autopilot::OemConsent", "parent": "Autopilot::Oem" }],
        })
    );
    content.remove_changes();
    let shown = text(&prove(&content, &[]).stdout);
    assert!(shown.contains(" proven, 0 broken, ") && !shown.contains("memberships that"), "{shown}");
}
