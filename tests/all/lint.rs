//! `lint`: one small set of policies for each rule, and the pack without findings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::support::{Content, solver};

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
fn places(findings: &[Value]) -> Vec<String> {
    let place = |it: &Value| {
        let file = it["file"].as_str().map_or("", |file| file.rsplit('/').next().unwrap());
        format!("{} {file}:{}", it["rule"].as_str().unwrap(), it["line"])
    };
    findings.iter().map(place).collect()
}

#[track_caller]
fn check_with(args: &[&str], policies: &str, schema: &str, expected: &[&str]) -> Vec<Value> {
    let output = lint(&content(policies, schema), &[&["--format", "json"], args].concat());
    let found = findings(&output);
    assert_eq!(places(&found), expected, "{found:#?}");
    assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{output:?}");
    found
}

/// Finds exactly this, with a solver.
#[track_caller]
fn check(policies: &str, schema: &str, expected: &[&str]) {
    if solver() {
        check_with(&[], policies, schema, expected);
    }
}

/// These policies, from line 3 on after the base, have exactly these findings, with a solver.
#[track_caller]
fn check_more(more: &str, expected: &[&str]) {
    check(&format!("{BASE}{more}"), SCHEMA, expected);
}

/// The same without a solver.
#[track_caller]
fn check_written(more: &str, expected: &[&str]) {
    check_with(&["--solver", "/no/such"], &format!("{BASE}{more}"), SCHEMA, expected);
}

#[test]
fn nothing_to_find() {
    check_more("", &[]);
    if solver() {
        let output = lint(&content(BASE, SCHEMA), &[]);
        assert_eq!(text(&output.stdout), "ok: nothing found in 2 policies\n");
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn policies_that_never_match() {
    let impossible = "(principal, action, resource) when { principal.age < 1 && principal.age > 1 };";
    for effect in ["permit", "forbid"] {
        check_more(&format!("@id(\"x\") @reason(\"r\") {effect} {impossible}"), &["never-matches a.cedar:3"]);
    }
    // A forbid that errors denies, so it has an effect.
    check_more(
        "@id(\"x\") @reason(\"r\") forbid (principal, action, resource) when { principal.age + 1 > 9223372036854775807 };",
        &[],
    );
    // No action applies to this type of principal.
    let unfit = "@id(\"x\") @reason(\"r\") permit (principal is Doc, action, resource) when { true };";
    check_more(unfit, &["never-matches a.cedar:3"]);
    check_written(unfit, &["never-matches a.cedar:3"]);
}

#[test]
fn redundant_policies() {
    let copy = "@id(\"copy\") @reason(\"r\") permit (principal, action == Action::\"read\", resource) when { principal.active };";
    check_more(copy, &["redundant a.cedar:1", "redundant a.cedar:3"]);
    let narrower = "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal.active && principal.age > 3 };";
    check_more(narrower, &["redundant a.cedar:3"]);
    let nothing =
        "@id(\"x\") @reason(\"r\") forbid (principal, action, resource) unless { principal.active };";
    check_more(nothing, &["redundant a.cedar:3"]);
    // A policy that changes decisions in one environment is not redundant.
    let matters = "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal == resource.owner && (principal.active || action == Action::\"write\") };";
    check_more(matters, &[]);
}

/// Policies with disjoint scopes do not make each other redundant; others can.
#[test]
fn redundant_policies_by_their_scopes() {
    let of = |id: &str, principal: &str| {
        format!(
            "@id(\"{id}\") @reason(\"r\") permit (principal == User::\"{principal}\", action, resource) when {{ principal.age > 3 }};\n"
        )
    };
    check_more(&(of("x", "a") + &of("y", "b")), &[]);
    check_more(&(of("x", "a") + &of("y", "a")), &["redundant a.cedar:3", "redundant a.cedar:4"]);
    let all = "@id(\"z\") @reason(\"r\") permit (principal, action, resource) when { principal.age > 2 };";
    check_more(&(of("x", "a") + all), &["redundant a.cedar:3"]);
}

/// Removing both of two equal policies changes decisions, so each finding names the other policy.
#[test]
fn redundant_policies_name_each_other() {
    if !solver() {
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
fn shadowed_permits() {
    let forbid =
        "@id(\"no\") @reason(\"r\") forbid (principal, action, resource) when { principal.age < 18 };\n";
    let shadowed =
        "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal.age == 7 };";
    check_more(&format!("{forbid}{shadowed}"), &["shadowed a.cedar:4"]);
    let partly =
        "@id(\"x\") @reason(\"r\") permit (principal, action, resource) when { principal.age == 20 };";
    check_more(&format!("{forbid}{partly}"), &[]);
}

#[test]
fn what_policies_do_not_say() {
    let open = "@id(\"x\") @reason(\"r\") permit (principal, action, resource == Doc::\"a\");";
    check_written(open, &["unconditional a.cedar:3"]);
    check_written(&open.replace("permit", "forbid"), &[]);
    check_written(&open.replace(';', " when { principal.active };"), &[]);
    check_written(
        &open.replace("@reason(\"r\")", "@reason(\"\")").replace("permit", "forbid"),
        &["missing-reason a.cedar:3"],
    );
    check_written(&open.replace("@id(\"x\")", "").replace("permit", "forbid"), &["missing-id a.cedar:3"]);
    check_written(
        "permit (principal, action, resource);",
        &["unconditional a.cedar:3", "missing-id a.cedar:3", "missing-reason a.cedar:3"],
    );
}

#[test]
fn findings_are_accepted() {
    let redundant = "forbid (principal, action, resource) unless { principal.active };";
    check_more(&format!("@id(\"x\") @reason(\"r\") @allow(\"redundant\") {redundant}"), &[]);
    check_more(&format!("@id(\"x\") @allow(\"missing-reason, redundant\") {redundant}"), &[]);
    let open = "permit (principal, action, resource == Doc::\"a\");";
    check_written(&format!("@id(\"x\") @reason(\"r\") @allow(\"unconditional\") {open}"), &[]);
    check_written(&format!("@allow(\"unconditional,missing-id,missing-reason\") {open}"), &[]);
}

#[test]
fn what_there_is_no_need_to_accept() {
    let policy = "@id(\"x\") @reason(\"r\") @allow(\"RULE\") forbid (principal, action, resource) when { principal.age < 18 };";
    let allows = |rules: &str| policy.replace("RULE", rules);
    check_more(&allows("redundant"), &["unneeded-allow a.cedar:3"]);
    check_more(&allows("shadowed,never-matches"), &["unneeded-allow a.cedar:3"; 2]);
    // A rule that was not checked may need its `@allow`.
    check_written(&allows("redundant"), &[]);
    check_written(&allows("missing-id"), &["unneeded-allow a.cedar:3"]);
    for unknown in ["", "all", "redundant;", "unused-action", "unneeded-allow"] {
        check_written(&allows(unknown), &["unneeded-allow a.cedar:3"]);
    }
}

/// The base's policies with a larger schema have these findings; no solver is needed.
#[track_caller]
fn check_schema(more: &str, expected: &[&str]) {
    check_with(&["--solver", "/no/such"], BASE, &format!("{SCHEMA}{more}"), expected);
}

#[test]
fn unused_entity_types() {
    check_schema("entity Spare;", &["unused-entity-type s.cedarschema:5"]);
    check_schema("entity Spare, Other;", &["unused-entity-type s.cedarschema:5"; 2]);
    check_schema("\n@doc(\"x\")\nentity Kind enum [\"a\"];", &["unused-entity-type s.cedarschema:7"]);
    // A type that only an unused type refers to is unused, and so is one that is only a child of a used type.
    check_schema(
        "entity A = { b: B };\nentity B in [Folder];",
        &["unused-entity-type s.cedarschema:5", "unused-entity-type s.cedarschema:6"],
    );
    check_schema("namespace N {\nentity Spare;\n}", &["unused-entity-type s.cedarschema:6"]);
}

#[test]
fn used_entity_types() {
    let read = |edit: (&str, &str), more: &str| {
        let schema = SCHEMA.replace(edit.0, edit.1);
        assert_ne!(schema, SCHEMA);
        check_with(&["--solver", "/no/such"], BASE, &format!("{schema}{more}"), &[]);
    };
    read(("owner: User", "owner: User, more?: { deep: Set<Kind> }"), "entity Kind enum [\"a\"];");
    read(("resource: Doc", "resource: Doc, context: { via: Kind }"), "entity Kind enum [\"a\"];");
    read(("entity Folder;", "entity Folder in [Drive] tags Kind;"), "entity Drive; entity Kind;");
}

#[test]
fn unused_actions() {
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
    check_with(&["--solver", "/no/such"], BASE, &grouped, &[]);
    // With only a forbid, an action is always denied.
    let forbid = "@id(\"x\") @reason(\"r\") forbid (principal, action == Action::\"share\", resource);";
    check_with(
        &["--solver", "/no/such"],
        &format!("{BASE}{forbid}"),
        &format!("{SCHEMA}action share {action}"),
        &["unused-action s.cedarschema:5"],
    );
}

#[test]
fn the_pack_is_clean() {
    let content = Content::of_pack();
    for args in [&["--solver", "/no/such"][..], if solver() { &[] } else { &["--solver", "/no/such"] }] {
        let output = lint(&content, args);
        assert_eq!(text(&output.stdout), "ok: nothing found in 24 policies\n");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn without_a_solver() {
    let never =
        "@id(\"x\") permit (principal, action, resource) when { principal.age < 1 && principal.age > 1 };";
    let content = content(&format!("{BASE}{never}"), SCHEMA);
    let output = lint(&content, &["--solver", "/no/such"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with(
            "not checked: never-matches, shadowed, redundant: there is no solver `/no/such`: install cvc5"
        ),
        "{said}"
    );
    let shown = text(&output.stdout);
    assert!(shown.contains("missing-reason: `x` has no `@reason`"), "{shown}");
    assert!(shown.contains("a.cedar:3:1"), "{shown}");
    assert!(shown.ends_with("0 errors, 1 warning\n"), "{shown}");
}

/// The solver is a program that always answers `unknown`.
#[test]
fn what_the_solver_does_not_know() {
    let content = content(BASE, SCHEMA);
    let path = content.path("solver");
    let script = crate::support::UNKNOWING;
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = lint(&content, &["--solver", path.to_str().unwrap(), "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = findings(&output);
    let expected = ["never-matches", "shadowed", "redundant"].map(|rule| format!("{rule} a.cedar:1"));
    assert_eq!(places(&found)[..3], expected);
    assert_eq!(found.len(), 6);
    for finding in found {
        assert!(
            finding["message"].as_str().unwrap().starts_with("could not determine whether `"),
            "{finding}"
        );
    }
}

#[test]
fn findings_as_data() {
    let content = content(&format!("{BASE}@id(\"x\") forbid (principal, action, resource);"), SCHEMA);
    let path = content.path("policies/a.cedar");
    let output = lint(&content, &["--format", "json", "--solver", "/no/such"]);
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
    let output = lint(&content, &["--format", "github", "--solver", "/no/such"]);
    assert!(text(&output.stdout).starts_with(&annotation), "{output:?}");
    let mut command = content.command("lint");
    let output = command.args(["--solver", "/no/such"]).env("GITHUB_ACTIONS", "true").output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("0 errors, 1 warning\n::warning file="), "{shown}");
}

/// Policies that do not load are not linted; guardrails are checked as in `prove`.
#[test]
fn broken_content() {
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
