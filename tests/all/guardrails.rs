//! `serve --guardrails`: policies that break a claim never come into use. Requests and changes of entities do
//! not wait for a proof.

mod emergency;
mod missing_claims;
mod not_enforced;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use crate::reload::CONSENT_EDGE;
use crate::support::{Content, Sidecar, has_solver, pack, question, register, until};

const REGISTRATION: &str = "policies/registration.cedar";

/// A condition in the policies. Without it they break the claim `no-consent-no-registration`.
const CONSENT_CONDITION: &str = "  resource in principal &&\n  (";

/// May Fabrikam register for Relecloud, which has given no consent?
fn register_without_consent() -> Value {
    register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api")
}

/// May Fabrikam register for Contoso, which has given its consent?
fn register_with_consent() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

/// The outcome of the last reload of policies.
fn reload_outcome(sidecar: &Sidecar) -> Value {
    sidecar.status()["policies"]["last_reload"]["outcome"].clone()
}

/// The errors of the last reload of policies, as JSON.
fn reload_errors(sidecar: &Sidecar) -> String {
    sidecar.status()["policies"]["last_reload"]["errors"].to_string()
}

/// Starts a sidecar that is expected to fail, and waits for its end.
fn failed_start(content: &Content, args: &[&str]) -> Output {
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    content.command("serve").args(ports).args(args).output().unwrap()
}

/// Writes a solver that waits as long as the file `hold` exists.
fn write_solver(content: &Content) -> String {
    let path = content.path("solver");
    let hold = content.path("hold");
    let real = std::env::var("CVC5").unwrap_or_else(|_| "cvc5".to_owned());
    let script =
        format!("#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.01; done\nexec {real} \"$@\"\n", hold.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A sidecar that enforces guardrails. [`hold_solver`] stops its solver. `None` if no solver is installed.
fn sidecar_with_guardrails() -> Option<(Content, Sidecar)> {
    let content = has_solver().then(Content::of_pack)?;
    let program = write_solver(&content);
    let sidecar = content.serve_with(&["--guardrails", "enforce", "--solver", &program]);
    Some((content, sidecar))
}

fn hold_solver(content: &Content) {
    content.write("hold", "");
}

fn release_solver(content: &Content) {
    fs::remove_file(content.path("hold")).unwrap();
}

#[test]
fn serve_refuses_to_start_on_policies_that_break_a_claim() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    content.edit(REGISTRATION, CONSENT_CONDITION, "  (");
    for args in [&[][..], &["--guardrails", "enforce"]] {
        let output = failed_start(&content, args);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("the claim `no-consent-no-registration` is broken"), "{errors}");
        assert!(errors.contains("permitted by direct-bill-registers"), "{errors}");
        assert!(!String::from_utf8(output.stdout).unwrap().contains("decisions on"));
    }
}

#[test]
fn an_edit_that_breaks_a_claim_is_refused() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    let before = sidecar.revision();
    assert_eq!(sidecar.status()["guardrails"]["state"], "proven");
    assert!((sidecar.metric("mandate_guardrails_proven") - 1.0).abs() < f64::EPSILON);
    // The cases of the guardrails count as one claim.
    let claims = u32::try_from(pack::claims() + 1).unwrap();
    assert!((sidecar.metric("mandate_claims") - f64::from(claims)).abs() < f64::EPSILON);

    content.edit(REGISTRATION, CONSENT_CONDITION, "  (");
    until("the edit is refused", || reload_outcome(&sidecar) == "refused");
    assert!(!sidecar.permits(&register_without_consent()));
    assert_eq!(sidecar.revision(), before);
    let status = sidecar.status();
    let errors = status["policies"]["last_reload"]["errors"].as_array().unwrap();
    let message = errors[0]["message"].as_str().unwrap();
    assert!(message.starts_with("the claim `no-consent-no-registration` is broken: A partner registers"));
    assert!(errors[0]["file"].as_str().unwrap().ends_with("guardrails/registration.cedar"), "{errors:?}");
    let claims = status["guardrails"]["refused"]["claims"].as_array().unwrap();
    let broken: Vec<&Value> = claims.iter().filter(|claim| claim["result"] == "broken").collect();
    assert_eq!(broken.len(), 1, "{status}");
    assert_eq!(broken[0]["counterexample"]["action"], "registerDevice");
    assert_eq!(
        broken[0]["counterexample"]["decided"],
        json!({ "decision": true, "policies": ["direct-bill-registers"] })
    );
    assert_eq!(status["guardrails"]["state"], "proven", "the policies in use are proven");
    assert!((sidecar.metric("mandate_proofs_total{result=\"not_proven\"}") - 1.0).abs() < f64::EPSILON);

    content.edit(
        REGISTRATION,
        "  principal.active &&\n  (",
        &format!("  principal.active &&\n{CONSENT_CONDITION}"),
    );
    until("the original policies are accepted again", || reload_outcome(&sidecar) == "accepted");
    assert_eq!(sidecar.status()["guardrails"]["refused"], Value::Null);
    assert_eq!(sidecar.revision(), before);
}

#[test]
fn an_edit_that_breaks_no_claim_comes_into_use() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    content.edit(
        "policies/consent.cedar",
        "  principal.active &&\n  (if",
        "  principal.active && !context.delegatedAdministration &&\n  (if",
    );
    let delegated = json!({ "delegatedAdministration": true });
    let request =
        question(("DirectBillPartner", "fabrikam"), "requestConsent", ("Customer", "contoso"), delegated);
    until("the edit is in use", || !sidecar.permits(&request));
    let status = sidecar.status();
    assert_eq!(status["guardrails"]["state"], "proven");
    assert_eq!(status["guardrails"]["proof"]["policies"], status["policies"]["digest"]);
}

#[test]
fn an_edit_of_the_claims_is_proven_too() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    let claim = "@id(\"nobody-views\") @claim(\"never\") @because(\"Nobody looks.\") forbid (principal, action == Autopilot::Action::\"viewCustomer\", resource);";
    content.write("policies/guardrails/more.cedar", claim);
    until("the claim is refused", || reload_outcome(&sidecar) == "refused");
    content.write("policies/guardrails/more.cedar", "forbid (principal, action, resource");
    until("a claim that does not parse is refused", || {
        let errors = reload_errors(&sidecar);
        errors.contains("more.cedar") && !errors.contains("nobody-views")
    });
    fs::remove_file(content.path("policies/guardrails/more.cedar")).unwrap();
    until("the removal of the claim is accepted", || reload_outcome(&sidecar) == "accepted");
}

#[test]
fn a_consent_is_revoked_while_an_edit_is_being_proven() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    let before = sidecar.revision();
    hold_solver(&content);
    content.edit(
        "policies/consent.cedar",
        "@reason(\"An active partner may send",
        "@reason(\"An active partner can send",
    );
    until("the edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    assert!(sidecar.permits(&register_with_consent()));
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("the consent is revoked", || !sidecar.permits(&register_with_consent()));
    assert_eq!(sidecar.status()["guardrails"]["proving"], true);
    let revoked = sidecar.revision();
    assert_ne!(revoked, before);
    release_solver(&content);
    until("the edit is in use", || sidecar.revision() != revoked);
    assert!(!sidecar.permits(&register_with_consent()), "the consent stays revoked");
    assert_eq!(sidecar.status()["guardrails"]["proving"], false);
}

#[test]
fn polls_during_a_proof_find_no_other_change() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    let solver = write_solver(&content);
    let args = ["--guardrails", "enforce", "--solver", &solver, "--poll", "100ms"];
    let sidecar = content.serve_with(&args);
    hold_solver(&content);
    content.write(
        "policies/more.cedar",
        "@id(\"more\") forbid (principal is Autopilot::Oem, action, resource) when { false };",
    );
    until("the edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    let (mut polls, mut last) = (0, 0);
    until("the folder is polled several times", || {
        let age = sidecar.status()["policies"]["look_age_ms"].as_u64().unwrap();
        polls += u32::from(age < last);
        last = age;
        polls >= 4
    });
    assert_eq!(sidecar.status()["guardrails"]["proving"], true);
    assert!(
        sidecar.metric("mandate_unannounced_changes_total{track=\"policies\"}") < 1.0,
        "{}",
        sidecar.log()
    );
    release_solver(&content);
}

#[test]
fn the_status_shows_a_refused_edit_until_the_next_edit_is_proven() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    hold_solver(&content);
    let original = content.read("policies/consent.cedar");
    content.replace_file("policies/consent.cedar", &original.replace("permit (", "permit "));
    until("the edit is refused", || reload_outcome(&sidecar) == "refused");
    content
        .replace_file("policies/consent.cedar", &original.replace("An active partner may", "A partner may"));
    until("the next edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("a change of entities is in use", || !sidecar.permits(&register_with_consent()));
    assert_eq!(reload_outcome(&sidecar), "refused");
    release_solver(&content);
    until("the next edit is in use", || reload_outcome(&sidecar) == "accepted");
}

/// The refused edit also replaces a valid one that waits for its proof.
#[test]
fn an_edit_that_was_refused_is_refused_again_without_a_proof() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    let (before, original) = (sidecar.revision(), content.read("policies/consent.cedar"));
    let broken = format!("{original}\n@id(\"all\") permit (principal, action, resource);\n");
    content.replace_file("policies/consent.cedar", &broken);
    until("the edit is refused", || reload_outcome(&sidecar) == "refused");
    hold_solver(&content);
    content
        .replace_file("policies/consent.cedar", &original.replace("An active partner may", "A partner may"));
    until("a valid edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    content.replace_file("policies/consent.cedar", &broken);
    until("nothing is being proven", || sidecar.status()["guardrails"]["proving"] == false);
    release_solver(&content);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("a change of entities is in use", || !sidecar.permits(&register_with_consent()));
    assert_eq!(reload_outcome(&sidecar), "refused");
    let refused = sidecar.status()["guardrails"]["refused"]["claims"].to_string();
    assert!(refused.contains("broken"), "{refused}");
    content.replace_file("policies/consent.cedar", "permit (");
    until("a file that does not parse is refused", || {
        let errors = reload_errors(&sidecar);
        errors.contains("consent.cedar") && !errors.contains("the claim")
    });
    let refused = sidecar.status()["guardrails"]["refused"].clone();
    assert_eq!(refused, Value::Null, "the refused proof is not of the newest policies");
    assert_eq!(sidecar.status()["policies"]["count"], pack::policies());
    assert_ne!(sidecar.revision(), before, "the entities changed");
}

#[test]
fn a_missing_folder_does_not_remove_the_guardrails() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    fs::rename(content.path("policies/guardrails"), content.path("elsewhere")).unwrap();
    until("the missing folder is refused", || reload_outcome(&sidecar) == "refused");
    let errors = reload_errors(&sidecar);
    assert!(
        errors.contains("the claim `no-consent-no-registration` was in use before, and is gone"),
        "{errors}"
    );
    fs::rename(content.path("elsewhere"), content.path("policies/guardrails")).unwrap();
    until("the folder is back", || reload_outcome(&sidecar) == "accepted");
}

#[test]
fn an_edit_is_proven_again_after_the_solver_failed() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    let original = content.read("solver");
    content.replace_file("solver", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(content.path("solver"), fs::Permissions::from_mode(0o755)).unwrap();
    content.edit("policies/consent.cedar", "An active partner may", "A partner may");
    until("the edit is refused", || reload_outcome(&sidecar) == "refused");
    content.replace_file("solver", &original);
    fs::set_permissions(content.path("solver"), fs::Permissions::from_mode(0o755)).unwrap();
    until("the edit is in use", || reload_outcome(&sidecar) == "accepted");
}

/// Only the newer edit is proven and accepted.
#[test]
fn a_newer_edit_replaces_one_that_is_being_proven() {
    let Some((content, sidecar)) = sidecar_with_guardrails() else { return };
    hold_solver(&content);
    let original = content.read("policies/consent.cedar");
    content
        .write("policies/consent.cedar", &original.replace("An active partner may", "First, a partner may"));
    until("the edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    content
        .write("policies/consent.cedar", &original.replace("An active partner may", "Then, a partner may"));
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("a change of entities is in use, so both edits were seen", || {
        !sidecar.permits(&register_with_consent())
    });
    release_solver(&content);
    let expected = Content::of_pack();
    expected.write("policies/consent.cedar", &content.read("policies/consent.cedar"));
    let digest = expected.serve().status()["policies"]["digest"].clone();
    until("the newer edit is in use", || sidecar.status()["policies"]["digest"] == digest);
    assert!(
        (sidecar.metric("mandate_reloads_total{track=\"policies\",result=\"accepted\"}") - 1.0).abs()
            < f64::EPSILON
    );
}

#[test]
fn with_warn_an_edit_that_breaks_a_claim_comes_into_use() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--guardrails", "warn"]);
    until("the policies at the start are proven", || sidecar.status()["guardrails"]["state"] == "proven");
    content.edit(REGISTRATION, CONSENT_CONDITION, "  (");
    until("the edit is in use", || sidecar.permits(&register_without_consent()));
    until("the status shows that a claim is broken", || sidecar.status()["guardrails"]["state"] == "broken");
    assert!(sidecar.metric("mandate_guardrails_proven").abs() < f64::EPSILON);
    assert!(sidecar.log().contains("a guardrail is not proven"), "{}", sidecar.log());
}

/// An operator who configures a solver wants proofs, so a warning would not be enough.
#[test]
fn serve_refuses_to_start_if_the_configured_solver_is_missing() {
    for args in [["--solver", "/no/such/solver"], ["--solver-limit", "0s"]] {
        let output = failed_start(&Content::of_pack(), &args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn check_reports_errors_in_guardrails() {
    let content = Content::of_pack();
    content.write(
        "policies/guardrails/more.cedar",
        "@id(\"x\") @claim(\"never\") forbid (principal, action, resource);",
    );
    let output = content.mandate("check", &[]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stdout).unwrap();
    assert!(errors.contains("the claim `x` has no `@because`"), "{errors}");
}
