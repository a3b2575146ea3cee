//! The red button: the file `deny-all` in the policy folder, and `serve --deny-all`.

use std::fs;

use crate::reload::fabrikam_registers;
use crate::support::{Content, until};

#[test]
fn the_file_denies_everything_until_it_is_removed() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    assert!(sidecar.permits(&fabrikam_registers()));
    // Whatever else is broken in the folder.
    content.write("policies/broken.cedar", "permit (");
    content.write("policies/deny-all", "incident 42\n");
    until("every request is denied", || !sidecar.permits(&fabrikam_registers()));
    let context = sidecar.evaluate(&fabrikam_registers())["context"].clone();
    assert_eq!(context["reason_admin"]["outcome"], "deny_all", "{context}");
    assert!(context.to_string().contains("An operator denies all requests: incident 42"), "{context}");
    let suspended = sidecar.status()["suspended"].clone();
    assert_eq!(suspended["outcome"], "deny_all", "{suspended}");
    assert_eq!(suspended["reason"], "An operator denies all requests: incident 42");
    assert!((sidecar.metric("mandate_deny_all") - 1.0).abs() < f64::EPSILON);
    assert!(sidecar.metric("mandate_decisions_total{outcome=\"deny_all\"}") >= 1.0);
    assert!(sidecar.log().contains("every request is denied: An operator denies all requests: incident 42"));

    content.write("policies/deny-all", "incident 43");
    until("the reason follows", || {
        sidecar.status()["suspended"]["reason"].to_string().contains("incident 43")
    });
    fs::remove_file(content.path("policies/deny-all")).unwrap();
    until("the policies decide again", || sidecar.permits(&fabrikam_registers()));
    assert!(sidecar.status()["suspended"].is_null() && sidecar.metric("mandate_deny_all") < 0.5);
}

#[test]
fn entities_still_change_while_everything_is_denied() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    content.write("policies/deny-all", "");
    until("every request is denied", || !sidecar.permits(&fabrikam_registers()));
    let revision = sidecar.revision();
    content.edit("entities/customers.json", crate::reload::CONSENT_EDGE, "");
    until("the entities have changed", || sidecar.revision() != revision);
    assert_eq!(sidecar.evaluate(&fabrikam_registers())["context"]["reason_admin"]["outcome"], "deny_all");
    fs::remove_file(content.path("policies/deny-all")).unwrap();
    until("the policies decide again", || {
        sidecar.evaluate(&fabrikam_registers())["context"]["reason_admin"]["outcome"] == "not_permitted"
    });
}

#[test]
fn a_policy_folder_that_became_empty_lifts_nothing() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--poll", "100ms"]);
    content.write("policies/deny-all", "incident 42");
    until("every request is denied", || !sidecar.permits(&fabrikam_registers()));
    // As when a volume is unmounted: its mount point stays.
    let away = content.path("away");
    fs::rename(content.policies(), &away).unwrap();
    fs::create_dir(content.policies()).unwrap();
    until("that is found", || sidecar.log().contains("every request stays denied until the folder is back"));
    let outcome = || sidecar.evaluate(&fabrikam_registers())["context"]["reason_admin"]["outcome"].clone();
    assert_eq!(outcome(), "deny_all");
    fs::remove_dir(content.policies()).unwrap();
    fs::rename(&away, content.policies()).unwrap();
    fs::remove_file(content.path("policies/deny-all")).unwrap();
    until("the policies decide again", || sidecar.permits(&fabrikam_registers()));
}

#[test]
fn a_sidecar_can_start_with_everything_denied() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--deny-all"]);
    let answer = sidecar.evaluate(&fabrikam_registers());
    assert_eq!(
        (&answer["decision"], &answer["context"]["reason_admin"]["outcome"]),
        (&false.into(), &"deny_all".into())
    );
    drop(sidecar);
    // The first answer is a denial, too, if the file is there at the start.
    content.write("policies/deny-all", "incident 42");
    let sidecar = content.serve();
    assert_eq!(sidecar.evaluate(&fabrikam_registers())["context"]["reason_admin"]["outcome"], "deny_all");
}

#[test]
fn the_command_line_knows_the_file() {
    let content = Content::of_pack();
    content.write("policies/deny-all", "incident 42");
    let request = [
        "--principal=DirectBillPartner::fabrikam",
        "--action=registerDevice",
        "--resource=Customer::contoso",
        "--context=channel=partner-center-api",
    ];
    let output = content.mandate("decide", &request);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("An operator denies all requests: incident 42"), "{text}");
    let output = content.mandate("check", &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("deny-all` is there: every request is denied"), "{text}");
}
