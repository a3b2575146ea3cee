//! A forbid with `@emergency` takes effect although a floor promises what it denies, and is named as long as it is
//! there.

use std::fs;

use serde_json::json;

use super::{register_with_consent, reload_outcome, sidecar_with_guardrails};
use crate::support::{Content, has_solver, until};

const FILE: &str = "policies/emergency.cedar";

const DENY_ALL: &str = "@id(\"deny-all\") @reason(\"Stop.\") forbid (principal, action, resource);";

const EMERGENCY: &str =
    "@id(\"deny-all\") @reason(\"Stop.\") @emergency(\"incident 42\") forbid (principal, action, resource);";

const METRIC: &str = "mandate_emergency_policies{policy=\"deny-all\",reason=\"incident 42\"}";

#[test]
fn prove_names_an_emergency_and_proves_floors_without_it() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    content.write(FILE, DENY_ALL);
    let output = content.mandate("prove", &[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("denied by deny-all"), "{shown}");

    content.write(FILE, EMERGENCY);
    let output = content.mandate("prove", &[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("emergency deny-all: floors are proven without it: incident 42"), "{shown}");
    let output = content.mandate("prove", &["--format", "json"]);
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["emergencies"], json!([{ "policy": "deny-all", "reason": "incident 42" }]));

    // What breaks a floor besides the emergency is still found, and not blamed on the emergency.
    content.edit("policies/registration.cedar", "  principal.active &&", "  principal.active && false &&");
    let output = content.mandate("prove", &[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("This request is denied:") && !shown.contains("denied by"), "{shown}");
}

#[test]
fn an_emergency_takes_effect_while_guardrails_are_enforced() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    content.write(FILE, EMERGENCY);
    until("the emergency is in use", || !sidecar.permits(&register_with_consent()));
    until("the reload is reported", || {
        sidecar.status()["policies"]["last_reload"]["warnings"].to_string().contains("incident 42")
    });
    let guardrails = sidecar.status()["guardrails"].clone();
    assert_eq!(guardrails["state"], "proven");
    assert_eq!(guardrails["emergencies"], json!([{ "policy": "deny-all", "reason": "incident 42" }]));
    assert!((sidecar.metric(METRIC) - 1.0).abs() < f64::EPSILON);
    until("the log names it", || sidecar.log().contains("`deny-all` is an emergency: incident 42"));

    fs::remove_file(content.path(FILE)).unwrap();
    until("the emergency is over", || sidecar.permits(&register_with_consent()));
    assert_eq!(sidecar.status()["guardrails"]["emergencies"], json!([]));
    assert!(!sidecar.admin("/metrics").body.contains("deny-all"));

    content.write(FILE, DENY_ALL);
    until("without the annotation it breaks a floor", || reload_outcome(&sidecar) == "refused");
}

#[test]
fn only_a_forbid_can_be_an_emergency() {
    let content = Content::of_pack();
    content.write(FILE, &EMERGENCY.replace("forbid", "permit"));
    let output = content.mandate("check", &[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("`deny-all` is a permit with `@emergency`"), "{shown}");

    content.write(FILE, &EMERGENCY.replace("(\"incident 42\")", ""));
    let output = content.mandate("check", &[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("`deny-all` is an emergency, and does not say why"), "{shown}");
}
