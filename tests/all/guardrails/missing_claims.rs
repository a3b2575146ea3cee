//! Claims that disappear: refused where guardrails are enforced, and never silent.

use std::fs;

use serde_json::{Value, json};

use super::{failed_start, reload_errors, reload_outcome, sidecar_with_guardrails};
use crate::support::{Content, Sidecar, has_solver, pack, until};

/// The files of the pack's claims.
const FILES: [&str; 2] = ["policies/guardrails/consent.cedar", "policies/guardrails/registration.cedar"];

/// A claim of the pack.
const CLAIM: &str = "suspended-partners-do-nothing";

fn empty_all(content: &Content) {
    for file in FILES {
        content.replace_file(file, "// Nothing.\n");
    }
}

fn proven(sidecar: &Sidecar) -> bool {
    (sidecar.metric("mandate_guardrails_proven") - 1.0).abs() < f64::EPSILON
}

fn missing(sidecar: &Sidecar) -> Vec<Value> {
    sidecar.status()["guardrails"]["proof"]["missing_claims"].as_array().cloned().unwrap_or_default()
}

#[test]
fn with_warn_claims_that_disappear_are_named_until_they_return() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--guardrails", "warn"]);
    until("the claims are proven", || proven(&sidecar));
    let before = FILES.map(|file| content.read(file));
    empty_all(&content);
    until("all are missing", || missing(&sidecar).len() == pack::claims());
    assert!(missing(&sidecar).contains(&json!(CLAIM)));
    assert_eq!(sidecar.status()["guardrails"]["state"], "incomplete");
    assert!(!proven(&sidecar));
    let says = format!("the claim `{CLAIM}` was in use before, and is gone");
    assert!(sidecar.log().contains(&says), "{}", sidecar.log());
    for (file, text) in FILES.into_iter().zip(before) {
        content.replace_file(file, &text);
    }
    until("the claims are back", || proven(&sidecar));
    assert_eq!(missing(&sidecar), [] as [Value; 0]);
}

#[test]
fn with_enforce_an_edit_that_takes_claims_away_is_refused() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    empty_all(&content);
    until("the edit is refused, for all of them", || {
        sidecar.status()["guardrails"]["refused"]["missing_claims"]
            .as_array()
            .is_some_and(|all| all.len() == pack::claims())
    });
    assert_eq!(reload_outcome(&sidecar), "refused");
    assert!(reload_errors(&sidecar).contains(&format!("the claim `{CLAIM}` was in use before, and is gone")));
    assert!(proven(&sidecar), "the policies in use still have their claims");
}

#[test]
fn claims_that_never_came_into_use_may_go() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    let (schema, revision) = (content.read("policies/schema.cedarschema"), sidecar.revision());
    // The edit is proven, and then refused: the entities do not fit the new schema.
    let claim = "@id(\"more\") @claim(\"never\") @because(\"Tests.\") forbid (principal is Autopilot::Oem, action == Autopilot::Action::\"registerDevice\", resource) when { context.channel == Autopilot::Channel::\"partner-center-ui\" };";
    content.write("policies/guardrails/more.cedar", claim);
    let edited = schema.replacen("active: Bool", "region: String, active: Bool", 1);
    assert_ne!(schema, edited);
    content.replace_file("policies/schema.cedarschema", &edited);
    until("the entities do not fit", || {
        reload_outcome(&sidecar) == "refused" && reload_errors(&sidecar).contains("region")
    });
    fs::remove_file(content.path("policies/guardrails/more.cedar")).unwrap();
    content.replace_file("policies/schema.cedarschema", &schema);
    content.write(
        "policies/more.cedar",
        "@id(\"more\") forbid (principal is Autopilot::Oem, action, resource) when { false };",
    );
    until("an edit without the claim is in use", || sidecar.revision() != revision);
}

#[test]
fn the_claims_that_an_operator_requires_decide_what_may_disappear() {
    let Some(content) = has_solver().then(Content::of_pack) else { return };
    content.write("required", &format!("# What must stay.\n{CLAIM}   # a promise\n\nnever-errors\n"));
    let required = content.path("required");
    let args = ["--guardrails", "enforce", "--require-claims", required.to_str().unwrap()];
    let sidecar = content.serve_with(&args);
    content.replace_file(FILES[1], "// Nothing.\n");
    until("claims that are not required may go", || {
        sidecar.status()["guardrails"]["proof"]["claims"].as_array().unwrap().len() < 18
    });
    assert!(proven(&sidecar));

    let text = content.read(FILES[0]);
    content.replace_file(FILES[0], &text.replace(CLAIM, "renamed"));
    until("a required claim may not", || reload_outcome(&sidecar) == "refused");
    assert!(reload_errors(&sidecar).contains(&format!("the claim `{CLAIM}` is missing: `")));
    drop(sidecar);
    let output = failed_start(&content, &args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&format!("the claim `{CLAIM}` is missing")), "{errors}");

    let output = content.mandate("prove", &["--require-claims", required.to_str().unwrap()]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains(&format!("MISSING  {CLAIM}")), "{shown}");
    content.replace_file("required", "renamed\n");
    let output = content.mandate("prove", &["--require-claims", required.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let sidecar = content.serve_with(&args);
    assert!(proven(&sidecar), "the operator agrees to the new name");
}

#[test]
fn the_list_of_required_claims_is_outside_the_policy_folder() {
    let content = Content::of_pack();
    let refused = |file: &str, args: &[&str]| {
        let file = content.path(file);
        let output = failed_start(&content, &[&["--require-claims", file.to_str().unwrap()], args].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    content.write("policies/required", CLAIM);
    assert!(refused("policies/required", &[]).contains("has to be outside the policy folder"));
    assert!(refused("no-such-file", &[]).contains("cannot read"));
    content.write("required", "\n");
    assert!(refused("required", &[]).contains("is empty"));
    content.write("required", CLAIM);
    assert!(refused("required", &["--guardrails", "off"]).contains("has no effect with `--guardrails off`"));
    assert!(refused("required", &["--solver", "/no/such/solver"]).contains("there is no solver"));
}

#[test]
fn diff_shows_the_claims_that_changed() {
    if !has_solver() {
        return;
    }
    let old = Content::of_pack();
    let new = Content::of_pack();
    new.edit(FILES[0], &format!("@id(\"{CLAIM}\")"), "@id(\"renamed\")");
    new.edit(FILES[1], "context.channel == Autopilot::Channel::\"partner-center-ui\"", "true");
    let diff = |args: &[&str]| {
        let folders = [old.policies(), new.policies()];
        crate::support::mandate().arg("diff").args(&folders).args(args).output().unwrap()
    };
    let shown = String::from_utf8(diff(&[]).stdout).unwrap();
    assert!(shown.contains(&format!("claim     {CLAIM} removed\n")), "{shown}");
    assert!(shown.contains("claim     renamed added\n"), "{shown}");
    assert!(shown.contains("claim     resellers-use-the-ui-alone changed\n"), "{shown}");
    assert!(shown.contains(&format!("{} the same, 0 not", pack::environments())), "{shown}");
    let result: Value = serde_json::from_slice(&diff(&["--format", "json"]).stdout).unwrap();
    assert!(result["claims"].as_array().unwrap().contains(&json!({ "claim": CLAIM, "change": "removed" })));
    let markdown = String::from_utf8(diff(&["--format", "markdown"]).stdout).unwrap();
    assert!(markdown.contains(&format!("| {CLAIM} | **removed** |")), "{markdown}");
    for (fail_on, code) in [("claims", 1), ("any", 1), ("wider", 0)] {
        assert_eq!(diff(&["--fail-on", fail_on]).status.code(), Some(code), "{fail_on}");
    }
}

#[test]
fn check_warns_of_guardrail_files_without_claims() {
    let content = Content::of_pack();
    for file in FILES {
        fs::write(content.path(file), "// Nothing.\n").unwrap();
    }
    let output = content.mandate("check", &[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("the guardrail files hold no claims"), "{shown}");
}
