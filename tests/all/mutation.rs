//! `mandate test --mutate`: each mutant fails a case, breaks a claim, is proven to change no decision, or is shown as
//! a survivor.

use std::process::Output;

use crate::support::{Content, has_solver};

const SCHEMA: &str = "
entity Level enum [\"low\", \"high\"];
entity User = { admin: Bool, level: Level };
entity Doc = { public: Bool };
action view appliesTo { principal: User, resource: Doc };
";

const POLICY: &str = "@id(\"view\")
permit (
  principal is User,
  action == Action::\"view\",
  resource is Doc
)
when { principal.admin && principal.level == Level::\"high\" }
unless { !resource.public };
";

/// Ada is an admin of level high, Bob is not an admin, Cy is an admin of level low.
const ENTITIES: &str = r#"[
    {"uid": {"type": "User", "id": "ada"}, "attrs": {"admin": true, "level": {"__entity": {"type": "Level", "id": "high"}}}, "parents": []},
    {"uid": {"type": "User", "id": "bob"}, "attrs": {"admin": false, "level": {"__entity": {"type": "Level", "id": "high"}}}, "parents": []},
    {"uid": {"type": "User", "id": "cy"}, "attrs": {"admin": true, "level": {"__entity": {"type": "Level", "id": "low"}}}, "parents": []},
    {"uid": {"type": "Doc", "id": "open"}, "attrs": {"public": true}, "parents": []},
    {"uid": {"type": "Doc", "id": "closed"}, "attrs": {"public": false}, "parents": []}
]"#;

const CASES: &[(&str, &str, &str)] = &[
    ("ada", "open", "{ permit: [view] }"),
    ("ada", "closed", "deny"),
    ("bob", "open", "deny"),
    ("cy", "open", "deny"),
];

/// A pack with one policy and the test cases `(user, doc, expect)`.
fn content(policy: &str, cases: &[(&str, &str, &str)]) -> Content {
    let content = Content::of_pack();
    std::fs::remove_dir_all(content.policies()).unwrap();
    std::fs::remove_dir_all(content.entities()).unwrap();
    std::fs::create_dir_all(content.path("policies/tests")).unwrap();
    std::fs::create_dir_all(content.path("policies/guardrails")).unwrap();
    std::fs::create_dir_all(content.entities()).unwrap();
    content.write("policies/schema.cedarschema", SCHEMA);
    content.write("policies/view.cedar", policy);
    content.write("entities/all.json", ENTITIES);
    let cases: Vec<String> = cases
        .iter()
        .map(|(user, doc, expect)| format!("  - {{ name: {user} {doc}, principal: \"User::{user}\", action: view, resource: \"Doc::{doc}\", expect: {expect} }}\n"))
        .collect();
    content.write("policies/tests/cases.yaml", &format!("cases:\n{}", cases.concat()));
    content
}

/// Runs `mandate test --mutate`; the string is what it prints.
fn mutate(content: &Content, args: &[&str]) -> (Output, String) {
    let output = content.mandate("test", &[&["--mutate"], args].concat());
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    (output, shown)
}

/// The surviving mutants, each as `LINE: POLICY: OPERATOR`.
fn survivors(shown: &str) -> Vec<String> {
    let lines = shown.lines().filter_map(|line| line.strip_prefix("SURVIVED "));
    lines.map(|line| line.rsplit_once("view.cedar:").unwrap().1.to_owned()).collect()
}

/// Checks which mutants survive, and returns what was printed; nothing without a solver.
#[track_caller]
fn check_survivors(policy: &str, cases: &[(&str, &str, &str)], expected: &[&str]) -> String {
    if !has_solver() {
        return String::new();
    }
    let (output, shown) = mutate(&content(policy, cases), &[]);
    assert_eq!(survivors(&shown), expected, "{shown}");
    assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{shown}");
    shown
}

#[test]
fn a_complete_suite_catches_every_mutant() {
    let shown = check_survivors(POLICY, CASES, &[]);
    if !shown.is_empty() {
        assert!(shown.contains("caught, 100.0 %"), "{shown}");
    }
}

/// The steps of a case catch mutants as cases do.
#[test]
fn steps_catch_mutants() {
    if !has_solver() {
        return;
    }
    let content = content(POLICY, &[]);
    let rule =
        "[[change]]\naction = 'view'\n[[change.set]]\nentity = 'resource'\nattributes = { public = true }\n";
    content.write("policies/changes.toml", rule);
    let step = |(user, doc, expect): &(&str, &str, &str)| {
        format!("{{ principal: \"User::{user}\", action: view, resource: \"Doc::{doc}\", expect: {expect} }}")
    };
    let (first, steps) = CASES.split_first().unwrap();
    let first = step(first).replacen("{ ", "{ name: ada, then: [STEPS], ", 1);
    let suite = |steps: &[(&str, &str, &str)]| {
        let steps: Vec<String> = steps.iter().map(step).collect();
        content.write(
            "policies/tests/cases.yaml",
            &format!("cases:\n  - {}\n", first.replace("STEPS", &steps.join(", "))),
        );
        mutate(&content, &[])
    };
    let (output, shown) = suite(steps);
    assert!(output.status.success() && shown.contains("1 case: 1 passed"), "{shown}");
    assert_eq!(survivors(&shown), [] as [&str; 0], "{shown}");
    let (_, shown) = suite(&steps[1..]);
    assert_eq!(survivors(&shown), ["8: view: drop a clause"], "{shown}");
}

#[test]
fn a_mutant_survives_without_the_case_that_catches_it() {
    let without = |user: &str, doc: &str| -> Vec<_> {
        CASES.iter().filter(|case| (case.0, case.1) != (user, doc)).copied().collect()
    };
    let shown = check_survivors(POLICY, &without("bob", "open"), &["7: view: drop a clause"]);
    if !shown.is_empty() {
        assert!(shown.contains("-when { principal.admin && "), "{shown}");
        assert!(shown.contains("+when { true && "), "{shown}");
        assert!(shown.contains("before: no policy permits it\n    now: permitted by view"), "{shown}");
    }
    check_survivors(POLICY, &without("cy", "open"), &["7: view: drop a clause"]);
    check_survivors(POLICY, &without("ada", "closed"), &["8: view: drop a clause"]);
}

#[test]
fn a_mutant_that_changes_no_decision_is_not_counted() {
    let redundant =
        POLICY.replace("principal.admin &&", "principal.admin && (principal.admin || principal.admin) &&");
    check_survivors(&redundant, CASES, &[]);
}

#[test]
fn a_claim_catches_mutants_like_a_case() {
    if !has_solver() {
        return;
    }
    let content = content(POLICY, &CASES[..2]);
    let claim = "@id(\"admins\") @claim(\"ceiling\") @because(\"Admins of the high level only.\")\npermit (principal, action, resource) when { principal.admin && principal.level == Level::\"high\" };";
    content.write("policies/guardrails/admins.cedar", claim);
    let (output, shown) = mutate(&content, &[]);
    assert_eq!(survivors(&shown), [""; 0], "{shown}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn conditions_with_if_and_or_are_mutated() {
    let policy = "@id(\"view\") permit (principal is User, action, resource)
when { if principal.admin then (resource.public || principal.level == Level::\"high\") else false };";
    let cases = [
        ("ada", "open", "permit"),
        ("ada", "closed", "permit"),
        ("bob", "open", "deny"),
        ("cy", "open", "permit"),
        ("cy", "closed", "deny"),
    ];
    check_survivors(policy, &cases, &[]);
    let open: Vec<_> = cases.iter().filter(|case| case.1 == "open").copied().collect();
    let expected =
        ["2: view: drop a clause", "2: view: negate a clause", "2: view: swap an enumerated value"];
    check_survivors(policy, &open, &expected);
}

#[test]
fn each_when_and_unless_is_mutated_separately() {
    let policy = "@id(\"view\") permit (principal is User, action, resource)
when { principal.admin }
when { principal.level == Level::\"high\" }
unless { !resource.public };";
    let cases = [("ada", "open", "permit"), ("bob", "closed", "deny"), ("cy", "open", "deny")];
    check_survivors(policy, &cases, &["2: view: drop a clause", "4: view: drop a clause"]);
}

/// A claim that is already broken cannot tell which mutants break it.
#[test]
fn claims_have_to_hold_before_mutants_are_tried() {
    if !has_solver() {
        return;
    }
    let content = content(POLICY, CASES);
    let claim = "@id(\"no\") @claim(\"never\") @because(\"x\") forbid (principal, action, resource);";
    content.write("policies/guardrails/no.cedar", claim);
    let (output, _) = mutate(&content, &[]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("the guardrails have to be proven before mutants are tried"), "{errors}");
}

#[test]
fn without_a_solver_no_mutant_is_proven_equivalent() {
    let (output, shown) = mutate(&content(POLICY, &CASES[..2]), &["--solver", "/no/such/solver"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("it was not proven whether this changes any decision"), "{shown}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("guardrails and equivalent mutants were not proven: there is no solver"),
        "{errors}"
    );
}

#[test]
fn cases_have_to_pass_before_mutants_are_tried() {
    let (output, shown) = mutate(&content(POLICY, &[("bob", "open", "permit")]), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!shown.contains("mutants"), "{shown}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("the cases have to pass before mutants are tried"), "{errors}");
}
