//! `lint`: a few policies for each rule, and no findings in the pack.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::support::{Content, has_solver, pack};

const SCHEMA: &str = "\
entity User = { active: Bool, age: Long };
entity Doc in [Folder] = { owner: User };
entity Folder;
action read, write appliesTo { principal: User, resource: Doc };
";

/// Policies without findings: both actions are permitted under a condition.
const BASE: &str = "\
@id(\"reads\") @reason(\"r\") permit (principal, action == Action::\"read\", resource) when { principal.active };
@id(\"writes\") @reason(\"r\") permit (principal, action == Action::\"write\", resource) when { principal.active };
";

const NO_SOLVER: &[&str] = &["--no-solver"];

const MISSING_SOLVER: &[&str] = &["--solver", "/no/such"];

fn content(policies: &str, schema: &str) -> Content {
    Content::of(&[("policies/a.cedar", policies), ("policies/s.cedarschema", schema)])
}

fn lint(content: &Content, args: &[&str]) -> Output {
    content.mandate("lint", args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn findings(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The findings as `rule file:line`.
fn rules_and_places(findings: &[Value]) -> Vec<String> {
    let rule_and_place = |finding: &Value| {
        let file = finding["file"].as_str().map_or("", |file| file.rsplit('/').next().unwrap());
        format!("{} {file}:{}", finding["rule"].as_str().unwrap(), finding["line"])
    };
    findings.iter().map(rule_and_place).collect()
}

/// Checks that `lint` with these arguments has exactly these findings.
#[track_caller]
fn check_with(args: &[&str], policies: &str, schema: &str, expected: &[&str]) -> Vec<Value> {
    let output = lint(&content(policies, schema), &[&["--format", "json"], args].concat());
    let found = findings(&output);
    assert_eq!(rules_and_places(&found), expected, "{found:#?}");
    assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{output:?}");
    found
}

/// Checks that these policies have exactly these findings, with a solver.
#[track_caller]
fn check(policies: &str, schema: &str, expected: &[&str]) {
    if has_solver() {
        check_with(&[], policies, schema, expected);
    }
}

/// Checks the findings of these policies after those of [`BASE`], so from line 3 on, with a solver.
#[track_caller]
fn check_policies(policies: &str, expected: &[&str]) {
    check(&format!("{BASE}{policies}"), SCHEMA, expected);
}

/// Like [`check_policies`], but without a solver.
#[track_caller]
fn check_without_solver(policies: &str, expected: &[&str]) {
    check_with(NO_SOLVER, &format!("{BASE}{policies}"), SCHEMA, expected);
}

#[test]
fn good_policies_have_no_findings() {
    check_policies("", &[]);
    if has_solver() {
        let output = lint(&content(BASE, SCHEMA), &[]);
        assert_eq!(text(&output.stdout), "ok: nothing found in 2 policies\n");
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_policy_that_never_matches_is_found() {
    let impossible = "(principal, action, resource) when { principal.age < 1 && principal.age > 1 };";
    for effect in ["permit", "forbid"] {
        check_policies(
            &format!("@id(\"x\") @reason(\"r\") {effect} {impossible}"),
            &["never-matches a.cedar:3"],
        );
    }
    // A forbid that fails denies, so it has an effect.
    check_policies(
        "@id(\"x\") @reason(\"r\") forbid (principal, action, resource) when { principal.age + 1 > 9223372036854775807 };",
        &[],
    );
    // No action applies to this type of principal.
    let no_action = "@id(\"x\") @reason(\"r\") permit (principal is Doc, action, resource) when { true };";
    check_policies(no_action, &["never-matches a.cedar:3"]);
    check_without_solver(no_action, &["never-matches a.cedar:3"]);
}

#[test]
fn a_redundant_policy_is_found() {
    let copy = "@id(\"copy\") @reason(\"r\") permit (principal, action == Action::\"read\", resource) when { principal.active };";
    check_policies(copy, &["redundant a.cedar:1", "redundant a.cedar:3"]);
    let narrower = "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal.active && principal.age > 3 };";
    check_policies(narrower, &["redundant a.cedar:3"]);
    let forbids_what_is_denied =
        "@id(\"x\") @reason(\"r\") forbid (principal, action, resource) unless { principal.active };";
    check_policies(forbids_what_is_denied, &["redundant a.cedar:3"]);
    // A policy that changes decisions in one environment is not redundant.
    let needed_for_write = "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal == resource.owner && (principal.active || action == Action::\"write\") };";
    check_policies(needed_for_write, &[]);
}

#[test]
fn policies_are_redundant_only_if_scopes_overlap() {
    let policy = |id: &str, principal: &str| {
        format!(
            "@id(\"{id}\") @reason(\"r\") permit (principal == User::\"{principal}\", action, resource) when {{ principal.age > 3 }};\n"
        )
    };
    check_policies(&(policy("x", "a") + &policy("y", "b")), &[]);
    check_policies(&(policy("x", "a") + &policy("y", "a")), &["redundant a.cedar:3", "redundant a.cedar:4"]);
    let all = "@id(\"z\") @reason(\"r\") permit (principal, action, resource) when { principal.age > 2 };";
    check_policies(&(policy("x", "a") + all), &["redundant a.cedar:3"]);
}

/// Either of two equal policies can be removed, but not both.
#[test]
fn a_finding_about_a_redundant_policy_names_the_other_policy() {
    if !has_solver() {
        return;
    }
    let copy = "@id(\"copy\") @reason(\"r\") permit (principal, action == Action::\"read\", resource) when { principal.active };";
    let found = findings(&lint(&content(&format!("{BASE}{copy}"), SCHEMA), &["--format", "json"]));
    for (finding, other) in found.iter().zip(["`copy`", "`reads`"]) {
        let help = finding["help"].as_str().unwrap();
        assert!(help.contains(&format!("permitted by {other} as well: remove one and lint again")), "{help}");
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn a_permit_that_a_forbid_always_overrides_is_shadowed() {
    let forbid =
        "@id(\"no\") @reason(\"r\") forbid (principal, action, resource) when { principal.age < 18 };\n";
    let shadowed =
        "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal.age == 7 };";
    check_policies(&format!("{forbid}{shadowed}"), &["shadowed a.cedar:4"]);
    let not_shadowed =
        "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal.age == 20 };";
    check_policies(&format!("{forbid}{not_shadowed}"), &[]);
}

#[test]
fn missing_conditions_ids_and_reasons_are_found() {
    let unconditional = "@id(\"x\") @reason(\"r\") permit (principal, action, resource == Doc::\"a\");";
    check_without_solver(unconditional, &["unconditional a.cedar:3"]);
    check_without_solver(&unconditional.replace("permit", "forbid"), &[]);
    check_without_solver(&unconditional.replace(';', " when { principal.active };"), &[]);
    check_without_solver(
        &unconditional.replace("@reason(\"r\")", "@reason(\"\")").replace("permit", "forbid"),
        &["missing-reason a.cedar:3"],
    );
    check_without_solver(
        &unconditional.replace("@id(\"x\")", "").replace("permit", "forbid"),
        &["missing-id a.cedar:3"],
    );
    check_without_solver(
        "permit (principal, action, resource);",
        &["unconditional a.cedar:3", "missing-id a.cedar:3", "missing-reason a.cedar:3"],
    );
}

#[test]
fn an_allow_annotation_suppresses_findings() {
    let redundant = "forbid (principal, action, resource) unless { principal.active };";
    check_policies(&format!("@id(\"x\") @reason(\"r\") @allow(\"redundant\") {redundant}"), &[]);
    check_policies(&format!("@id(\"x\") @allow(\"missing-reason, redundant\") {redundant}"), &[]);
    let unconditional = "permit (principal, action, resource == Doc::\"a\");";
    check_without_solver(
        &format!("@id(\"x\") @reason(\"r\") @allow(\"unconditional\") {unconditional}"),
        &[],
    );
    check_without_solver(
        &format!("@allow(\"unconditional,missing-id,missing-reason\") {unconditional}"),
        &[],
    );
}

#[test]
fn an_allow_annotation_without_a_finding_is_unneeded() {
    let policy = "@id(\"x\") @reason(\"r\") @allow(\"RULE\") forbid (principal, action, resource) when { principal.age < 18 };";
    let with_allow = |rules: &str| policy.replace("RULE", rules);
    check_policies(&with_allow("redundant"), &["unneeded-allow a.cedar:3"]);
    check_policies(&with_allow("shadowed,never-matches"), &["unneeded-allow a.cedar:3"; 2]);
    // A rule that was not checked may need its `@allow`.
    check_without_solver(&with_allow("redundant"), &[]);
    check_without_solver(&with_allow("missing-id"), &["unneeded-allow a.cedar:3"]);
    for unknown in ["", "all", "redundant;", "unused-action", "unneeded-allow"] {
        check_without_solver(&with_allow(unknown), &["unneeded-allow a.cedar:3"]);
    }
}

/// Checks the findings of the policies of [`BASE`] with these additions to the schema. The rules about
/// schemas need no solver.
#[track_caller]
fn check_schema(additions: &str, expected: &[&str]) {
    check_with(NO_SOLVER, BASE, &format!("{SCHEMA}{additions}"), expected);
}

#[test]
fn an_unused_entity_type_is_found() {
    check_schema("entity Spare;", &["unused-entity-type s.cedarschema:5"]);
    check_schema("entity Spare, Other;", &["unused-entity-type s.cedarschema:5"; 2]);
    check_schema("\n@doc(\"x\")\nentity Kind enum [\"a\"];", &["unused-entity-type s.cedarschema:7"]);
    // A type is unused if only unused types refer to it, or if it is only a child of a used type.
    check_schema(
        "entity A = { b: B };\nentity B in [Folder];",
        &["unused-entity-type s.cedarschema:5", "unused-entity-type s.cedarschema:6"],
    );
    check_schema("namespace N {\nentity Spare;\n}", &["unused-entity-type s.cedarschema:6"]);
}

#[test]
fn an_entity_type_that_is_referred_to_is_used() {
    let check = |(from, to): (&str, &str), additions: &str| {
        let schema = SCHEMA.replace(from, to);
        assert_ne!(schema, SCHEMA);
        check_with(NO_SOLVER, BASE, &format!("{schema}{additions}"), &[]);
    };
    check(("owner: User", "owner: User, more?: { deep: Set<Kind> }"), "entity Kind enum [\"a\"];");
    check(("resource: Doc", "resource: Doc, context: { via: Kind }"), "entity Kind enum [\"a\"];");
    check(("entity Folder;", "entity Folder in [Drive] tags Kind;"), "entity Drive; entity Kind;");
}

#[test]
fn an_unused_action_is_found() {
    let action = "appliesTo { principal: User, resource: Doc };";
    check_schema(&format!("action share {action}"), &["unused-action s.cedarschema:5"]);
    check_schema(&format!("action share,\n \"send off\" {action}"), &["unused-action s.cedarschema:5"; 2]);
    check_schema(
        "namespace N {\naction view appliesTo { principal: [User], resource: [Doc] };\n}",
        &["unused-action s.cedarschema:6"],
    );
    // An action group is used if it has members.
    check_schema("action all;", &["unused-action s.cedarschema:5"]);
    let grouped = SCHEMA.replace("action read, write", "action all;\naction read, write in all");
    check_with(NO_SOLVER, BASE, &grouped, &[]);
    // An action with a forbid and no permit is always denied.
    let forbid = "@id(\"x\") @reason(\"r\") forbid (principal, action == Action::\"share\", resource);";
    check_with(
        NO_SOLVER,
        &format!("{BASE}{forbid}"),
        &format!("{SCHEMA}action share {action}"),
        &["unused-action s.cedarschema:5"],
    );
}

#[test]
fn the_pack_has_no_findings() {
    let content = Content::of_pack();
    for args in [NO_SOLVER, if has_solver() { &[] } else { NO_SOLVER }] {
        let output = lint(&content, args);
        assert_eq!(text(&output.stdout), format!("ok: nothing found in {} policies\n", pack::policies()));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn without_a_solver_some_rules_are_not_checked() {
    let never =
        "@id(\"x\") permit (principal, action, resource) when { principal.age < 1 && principal.age > 1 };";
    let content = content(&format!("{BASE}{never}"), SCHEMA);
    let output = lint(&content, MISSING_SOLVER);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with(
            "not checked: never-matches, shadowed, redundant: there is no solver `/no/such`: install cvc5"
        ),
        "{errors}"
    );
    let shown = text(&output.stdout);
    assert!(shown.contains("missing-reason: `x` has no `@reason`"), "{shown}");
    assert!(shown.contains("a.cedar:3:1"), "{shown}");
    assert!(shown.ends_with("0 errors, 1 warning\n"), "{shown}");
}

#[test]
fn a_missing_solver_fails_unless_that_is_intended() {
    let content = content(BASE, SCHEMA);
    let output = lint(&content, MISSING_SOLVER);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("--no-solver"), "{output:?}");
    let output = lint(&content, &["--no-solver"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stderr), "");
}

/// The solver is a program that always answers `unknown`.
#[test]
fn what_the_solver_cannot_determine_is_a_finding() {
    let content = content(BASE, SCHEMA);
    let path = content.path("solver");
    let script = crate::support::SOLVER_WITHOUT_ANSWERS;
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = lint(&content, &["--solver", path.to_str().unwrap(), "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = findings(&output);
    let expected = ["never-matches", "shadowed", "redundant"].map(|rule| format!("{rule} a.cedar:1"));
    assert_eq!(rules_and_places(&found)[..3], expected);
    assert_eq!(found.len(), 6);
    for finding in found {
        assert!(
            finding["message"].as_str().unwrap().starts_with("could not determine whether `"),
            "{finding}"
        );
    }
}

#[test]
fn findings_are_printed_as_json_and_as_github_annotations() {
    let content = content(&format!("{BASE}@id(\"x\") forbid (principal, action, resource);"), SCHEMA);
    let path = content.path("policies/a.cedar");
    let output = lint(&content, &["--format", "json", "--no-solver"]);
    let expected = serde_json::json!([{
        "rule": "missing-reason",
        "policy": "x",
        "file": path,
        "line": 3,
        "column": 1,
        "message": "`x` has no `@reason`",
        "help": "write in one sentence what the policy requires: gateways show it when they deny a request",
    }]);
    assert_eq!(Value::from(findings(&output)), expected);

    let annotation =
        format!("::warning file={},line=3,col=1::missing-reason: `x` has no `@reason` (", path.display());
    let output = lint(&content, &["--format", "github", "--no-solver"]);
    assert!(text(&output.stdout).starts_with(&annotation), "{output:?}");
    let mut command = content.command("lint");
    let output = command.args(["--no-solver"]).env("GITHUB_ACTIONS", "true").output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("0 errors, 1 warning\n::warning file="), "{shown}");
}

#[test]
fn broken_policies_and_guardrails_are_errors() {
    let broken = content("permit (principal, action, resource) when { principal.nothing };", SCHEMA);
    let output = lint(&broken, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nothing"), "{output:?}");
    let content = Content::of_pack();
    content.write("policies/guardrails/more.cedar", "forbid (principal, action, resource);");
    let output = lint(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("has no `@claim`"), "{output:?}");
}
