//! `prove`: each of the pack's claims is proven, and each is broken once by an edit of the policies, with a
//! counterexample that the engine replays. What `serve` does with guardrails is tested in `gate.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::support::{Content, solver};

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

/// The pack with its policies edited.
fn edited(edits: &[(&str, &str, &str)]) -> Content {
    let content = Content::of_pack();
    // The pack's routes would not fit a changed schema.
    std::fs::remove_file(content.path("policies/routes.toml")).unwrap();
    for (file, from, to) in edits {
        content.edit(&format!("policies/{file}"), from, to);
    }
    content
}

/// The edits break the claim. As a test case, its counterexample fails with the edited policies and passes
/// with the pack's.
#[track_caller]
fn check(id: &str, edits: &[(&str, &str, &str)]) {
    if !solver() {
        return;
    }
    let content = edited(edits);
    let output = prove(&content, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let claim = claim(&json(&output), id);
    assert_eq!(claim["result"], "broken", "{claim}");
    let floor = claim["form"] == "floor";
    assert_eq!(claim["counterexample"]["decided"]["decision"], !floor, "{claim}");

    let suite = prove(&content, &["--emit-test"]);
    content.write("suite.yaml", &text(&suite.stdout));
    let case = format!("--filter={id}");
    let path = content.path("suite.yaml");
    let args = [case.as_str(), path.to_str().unwrap()];
    let broken = content.mandate("test", &args);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}\n{}", text(&suite.stdout));
    let pack = Content::of_pack();
    let kept = pack.mandate("test", &args);
    assert_eq!(kept.status.code(), Some(0), "{kept:?}\n{}", text(&suite.stdout));
}

#[test]
fn the_pack_keeps_its_promises() {
    if !solver() {
        return;
    }
    let output = prove(&Content::of_pack(), &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let result = json(&output);
    let claims = result["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 16);
    assert!(claims.iter().all(|claim| claim["result"] == "proven"), "{result}");
}

const REGISTRATION: &str = "registration.cedar";
const CONSENT: &str = "consent.cedar";

#[test]
fn no_consent_no_registration() {
    check("no-consent-no-registration", &[(REGISTRATION, "resource in principal &&\n  (", "true &&\n  (")]);
}

#[test]
fn resellers_use_the_ui_alone() {
    let from = "unless { context.channel == Autopilot::Channel::\"partner-center-ui\" }";
    check("resellers-use-the-ui-alone", &[(REGISTRATION, from, "when { !principal.active }")]);
}

#[test]
fn oems_use_their_api_alone() {
    check("oems-use-their-api-alone", &[(REGISTRATION, "\"oem-api\"", "\"partner-center-ui\"")]);
}

#[test]
fn the_oem_api_is_for_oems() {
    let from = "(context.channel == Autopilot::Channel::\"partner-center-api\"";
    let more = format!("(context.channel == Autopilot::Channel::\"oem-api\" || {}", &from[1..]);
    check("the-oem-api-is-for-oems", &[(REGISTRATION, from, &more)]);
}

const INTUNE: &str = "  principal.roles.contains(Autopilot::Role::\"intune-administrator\") &&\n";

#[test]
fn intune_registers_for_the_own_tenant() {
    check("intune-registers-for-the-own-tenant", &[(REGISTRATION, INTUNE, "")]);
}

#[test]
fn intune_deregisters_in_the_own_tenant() {
    check("intune-deregisters-in-the-own-tenant", &[(REGISTRATION, INTUNE, "")]);
}

#[test]
fn direct_bill_partners_can_work() {
    let forbid = "@id(\"freeze\")\nforbid (principal, action, resource);\n\n@id(\"direct-bill-registers\")";
    check("direct-bill-partners-can-work", &[(REGISTRATION, "@id(\"direct-bill-registers\")", forbid)]);
}

#[test]
fn suspended_partners_do_nothing() {
    let from = "{ principal.active && resource in principal }";
    check("suspended-partners-do-nothing", &[(REGISTRATION, from, "{ resource in principal }")]);
}

#[test]
fn oems_never_administer() {
    check("oems-never-administer", &[("administration.cedar", "forbid (", "permit (")]);
}

#[test]
fn oems_never_ask_to_administer() {
    let (from, to) = ("{ context.delegatedAdministration }", "{ !context.delegatedAdministration }");
    check("oems-never-ask-to-administer", &[(CONSENT, from, to)]);
}

#[test]
fn only_the_own_global_administrator_accepts() {
    let (from, to) = ("Role::\"global-administrator\"", "Role::\"user\"");
    check("only-the-own-global-administrator-accepts", &[(CONSENT, from, to)]);
}

#[test]
fn only_microsoft_ends_an_oem_consent() {
    let (from, to) = ("is Autopilot::MicrosoftOperator", "is Autopilot::TenantUser");
    check("only-microsoft-ends-an-oem-consent", &[(CONSENT, from, to)]);
}

#[test]
fn tenants_end_no_csp_consent() {
    let (from, to) =
        ("forbid (\n  principal is Autopilot::TenantUser", "permit (\n  principal is Autopilot::TenantUser");
    check("tenants-end-no-csp-consent", &[(CONSENT, from, to)]);
}

#[test]
fn resellers_end_nothing() {
    let (from, to) = (
        "forbid (\n  principal is Autopilot::IndirectReseller",
        "permit (\n  principal is Autopilot::IndirectReseller",
    );
    check("resellers-end-nothing", &[(CONSENT, from, to)]);
}

/// The schema is edited too: without the attribute in the context, no policy can depend on it.
#[test]
fn registering_needs_no_delegated_administration() {
    if !solver() {
        return;
    }
    let content = edited(&[
        (
            "schema.cedarschema",
            "context: { channel: Channel }",
            "context: { channel: Channel, delegatedAdministration: Bool }",
        ),
        (
            REGISTRATION,
            "  principal.active &&\n",
            "  principal.active && context.delegatedAdministration &&\n",
        ),
    ]);
    let output = prove(&content, &["--format", "json"]);
    let claim = claim(&json(&output), "registering-needs-no-delegated-administration");
    assert_eq!(claim["result"], "broken", "{claim}");
    let found = &claim["counterexample"];
    assert_ne!(found["decided"]["decision"], found["otherwise"]["decision"], "{claim}");
}

#[test]
fn never_errors() {
    if !solver() {
        return;
    }
    let content = edited(&[(
        REGISTRATION,
        "{ principal.active && resource in principal }",
        "{ 9223372036854775807 + 1 > 0 }",
    )]);
    let output = prove(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("On this request a policy errors: partner-views-customer ("), "{shown}");
    assert!(shown.contains("overflow"), "{shown}");
}

/// Guardrails can error too, and one that errors covers less than it says.
#[test]
fn guardrails_never_fail() {
    if !solver() {
        return;
    }
    let content = edited(&[(
        "guardrails/consent.cedar",
        "unless { principal.active }",
        "unless { principal.active && 9223372036854775807 + 1 > 0 }",
    )]);
    let output = prove(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("On this request a policy errors: suspended-partners-do-nothing ("), "{shown}");
}

/// A policy that reads the whole record or context may depend on an attribute that it does not name.
#[test]
fn independence_of_what_is_read_as_a_whole() {
    let schema = |context: &str| {
        ("schema.cedarschema", "context: { channel: Channel }", format!("context: {context}"))
    };
    let claim = |schema: &(&str, &str, String), policies: &[(&str, &str, &str)]| {
        let (file, from, to) = schema;
        prove(&edited(&[&[(*file, *from, to.as_str())], policies].concat()), &["--format", "json"])
    };
    let nested = claim(&schema("{ channel: Channel, consent: { delegatedAdministration: Bool } }"), &[]);
    assert!(text(&nested.stderr).contains("which is also a field of a record"), "{nested:?}");
    if solver() {
        let whole = "  principal.active && context == context &&\n";
        let own = schema("{ channel: Channel, delegatedAdministration: Bool }");
        let output = claim(&own, &[(REGISTRATION, "  principal.active &&\n", whole)]);
        let claim = self::claim(&json(&output), "registering-needs-no-delegated-administration");
        assert_eq!(claim["result"], "unknown", "{claim}");
        assert!(claim["why"].as_str().unwrap().contains("reads the context as a whole"), "{claim}");
    }
}

/// This guardrail is refused with these messages.
#[track_caller]
fn check_refused(guardrail: &str, says: &[&str]) {
    let content = Content::of_pack();
    content.write("policies/guardrails/more.cedar", guardrail);
    let output = prove(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    for wanted in says {
        assert!(shown.contains(wanted), "no `{wanted}` in:\n{shown}");
    }
}

#[test]
fn broken_guardrails_are_explained() {
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

/// A claim that no request can break says nothing, so it is not proven.
#[test]
fn empty_claims_are_not_proven() {
    if !solver() {
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
fn a_solver_that_is_not_there() {
    let content = Content::of_pack();
    let output = prove(&content, &["--solver", "/no/such/solver"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("there is no solver `/no/such/solver`: install cvc5"), "{said}");
}

/// Proves claims on a schema and policies other than the pack's, and checks the result of each.
#[track_caller]
fn check_claims(schema: &str, policies: &str, claims: &str, results: &[(&str, &str, &str)]) {
    if !solver() {
        return;
    }
    let content = Content::of_pack();
    fs::remove_dir_all(content.policies()).unwrap();
    fs::create_dir_all(content.path("policies/guardrails")).unwrap();
    content.write("policies/schema.cedarschema", schema);
    content.write("policies/all.cedar", policies);
    content.write("policies/guardrails/all.cedar", claims);
    let result = json(&prove(&content, &["--format", "json"]));
    for (id, wanted, why) in results {
        let claim = claim(&result, id);
        assert_eq!(claim["result"], *wanted, "{claim}");
        assert!(claim.to_string().contains(why), "{claim}");
    }
}

/// A forbid that errors denies, and a claim that errors covers less than it says.
#[test]
fn no_proof_rests_on_what_may_fail() {
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
    let fails =
        "@id(\"p\") permit(principal, action, resource) when { principal.n > 0 && principal.n + 1 > 1 };";
    check_claims(schema, fails, never, &[("never-errors", "broken", "overflow"), ("never", "proven", "")]);
}

/// Patterns with several wildcards, dates, and a `@because` of several lines.
#[test]
fn values_of_every_kind() {
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

/// An `independent` claim that no request matches, and one with the id of a policy.
#[test]
fn independence_has_to_be_about_something() {
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
    let same = policies.replace("principal.b }", "principal.b && (principal.c || !principal.c) }");
    check_claims(schema, &same, claims, &[("p", "proven", "")]);
}

/// Actions with the same name in two namespaces are written in full, so that the test case is valid.
#[test]
fn actions_of_one_name() {
    if !solver() {
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

/// A claim among the policies would permit what it is meant to limit.
#[test]
fn claims_are_no_policies() {
    let content = Content::of_pack();
    fs::create_dir_all(content.path("policies/sub/guardrails")).unwrap();
    let claim = "@id(\"c\") @claim(\"ceiling\") @because(\"x\") permit (principal, action, resource);";
    content.write("policies/sub/guardrails/more.cedar", claim);
    let output = content.mandate("check", &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("`c` is a claim among the policies"), "{said}");
}

/// Every command that needs the solver reads its path from the configuration file.
#[test]
fn the_configuration_file_names_the_solver() {
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
            .current_dir(crate::support::pack("."));
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert!(said.contains("there is no solver `/no/such/solver`"), "{args:?}: {said}");
    }
}

/// Runs a proof with a program in place of the solver.
fn with_solver(script: &str) -> Output {
    let content = Content::of_pack();
    let path = content.path("solver");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    prove(&content, &["--solver", path.to_str().unwrap(), "--solver-limit", "100ms", "--format", "json"])
}

/// In doubt, nothing is proven: the solver does not know, ends, or writes an invalid answer.
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
    let once = "touch \"$0.dead\"; exit 3";
    for script in ["echo unknown", once] {
        let output = with_solver(&answers(script));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(claim(&json(&output), "suspended-partners-do-nothing")["result"], "unknown");
    }
    assert_eq!(with_solver(&answers("echo maybe")).status.code(), Some(1));
    assert_eq!(with_solver("exit 0").status.code(), Some(1));
}
