//! Changes that a running sidecar refuses: the last good content stays in use, and the status and the log report the
//! errors.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use super::{
    FORBID_ALL, fabrikam_registers, reload_outcome, serve_without_polling, trey_registers, wait_for_decision,
};
use crate::support::{Content, pack, until};

/// Loading without the file would drop the forbids in it.
#[test]
fn an_unreadable_policy_file_is_refused() {
    let content = Content::of_pack();
    let target = content.path("block.cedar");
    fs::write(&target, FORBID_ALL).unwrap();
    symlink("../block.cedar", content.path("policies/block.cedar")).unwrap();
    let sidecar = content.serve_with(&["--poll", "1h"]);
    assert!(!sidecar.permits(&fabrikam_registers()));
    let check_refused = |edit: &dyn Fn(), message: &str| {
        edit();
        sidecar.signal("HUP");
        until("the policies are refused", || {
            let status = sidecar.status()["policies"]["last_reload"].clone();
            status["outcome"] == "refused" && status["errors"].to_string().contains(message)
        });
        assert!(!sidecar.permits(&fabrikam_registers()));
    };
    // Each replaces the one before at once: without the file, the folder would be valid.
    let (link, next) = (content.path("policies/block.cedar"), content.path("policies/.next"));
    check_refused(&|| fs::remove_file(&target).unwrap(), "No such file");
    check_refused(
        &|| {
            symlink("block.cedar", &next).unwrap();
            fs::rename(&next, &link).unwrap();
        },
        "symbolic links",
    );
    check_refused(
        &|| {
            assert!(Command::new("mkfifo").arg(&next).status().unwrap().success());
            fs::rename(&next, &link).unwrap();
        },
        "is not a regular file",
    );
    fs::remove_file(&link).unwrap();
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

/// Many programs truncate a file before they write it. Its policies stay in use until it is complete.
#[test]
fn a_file_that_becomes_empty_is_refused() {
    let content = Content::of_pack();
    content.write("policies/closed.cedar", FORBID_ALL);
    let sidecar = content.serve();
    content.write("policies/closed.cedar", "");
    content.write("entities/devices.ndjson", "");
    for track in ["policies", "entities"] {
        until("the empty file is refused", || reload_outcome(&sidecar, track) == "refused");
    }
    assert!(!sidecar.permits(&fabrikam_registers()));
    // With a new schema all entity files are read again, and the emptied file is still refused.
    content.write("policies/closed.cedar", FORBID_ALL);
    until("the policies are back", || reload_outcome(&sidecar, "policies") == "accepted");
    let schema = content.read("policies/schema.cedarschema");
    content.write("policies/schema.cedarschema", &format!("{schema}// changed\n"));
    until("the new schema is refused", || reload_outcome(&sidecar, "policies") == "refused");
    content.write("policies/schema.cedarschema", &schema);
    until("the old schema is accepted", || reload_outcome(&sidecar, "policies") == "accepted");
    fs::remove_file(content.path("policies/closed.cedar")).unwrap();
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

#[test]
fn a_file_that_was_always_empty_is_accepted() {
    let content = Content::of_pack();
    content.write("policies/blank.cedar", "\n");
    let sidecar = serve_without_polling(&content);
    content.write("policies/closed.cedar", FORBID_ALL);
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
}

/// The content in use stays the same, and the status has to say so.
#[test]
fn undoing_a_refused_change_clears_the_status() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    for (track, file) in [("policies", "policies/bad.cedar"), ("entities", "entities/bad.json")] {
        content.write(file, "bad");
        until("the bad file is refused", || reload_outcome(&sidecar, track) == "refused");
        fs::remove_file(content.path(file)).unwrap();
        until("the content without the file is accepted", || reload_outcome(&sidecar, track) == "accepted");
        assert!(sidecar.metric(&format!("mandate_refused{{track=\"{track}\"}}")).abs() < f64::EPSILON);
    }
}

/// The warnings belong to the policies in use, which the refused policies did not replace.
#[test]
fn warnings_stay_in_the_status_after_a_refusal() {
    let content = Content::of_pack();
    content.write("policies/nameless.cedar", "forbid (principal, action, resource) when { false };");
    let sidecar = serve_without_polling(&content);
    let warnings = || sidecar.status()["policies"]["last_reload"]["warnings"].clone();
    let before = warnings();
    assert!(before.to_string().contains("has no `@id`"), "{before}");
    content.write("policies/bad.cedar", "bad");
    until("the bad file is refused", || reload_outcome(&sidecar, "policies") == "refused");
    fs::remove_file(content.path("policies/bad.cedar")).unwrap();
    until("the policies without the file are accepted", || {
        reload_outcome(&sidecar, "policies") == "accepted"
    });
    assert_eq!(warnings(), before);
}

/// Such texts would overflow the stack of Cedar's parser, or keep its validator busy for hours.
#[test]
fn policies_and_schemas_that_are_too_complex_are_refused() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let policy = |condition: String| {
        format!("@id(\"m\") permit (principal, action, resource) when {{ {condition} }};")
    };
    for condition in [
        format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}1 == 1", "1 + ".repeat(50_000)),
        format!("{}true{}", "if true then ".repeat(40), " else false".repeat(40)),
    ] {
        content.write("policies/complex.cedar", &policy(condition));
        until("the policy is refused", || reload_outcome(&sidecar, "policies") == "refused");
        fs::remove_file(content.path("policies/complex.cedar")).unwrap();
        until("the policy is removed", || reload_outcome(&sidecar, "policies") == "accepted");
    }
    // Policies just below the limits are accepted.
    content.write("policies/complex.cedar", &policy(format!("{}true{}", "(".repeat(46), ")".repeat(46))));
    until("the policy is accepted", || sidecar.status()["policies"]["count"] == json!(pack::policies() + 1));
    content.write("policies/complex.cedar", &policy(format!("{}1 == 1", "1 + ".repeat(1_900))));
    until("the policy is accepted", || {
        sidecar.metric(r#"mandate_reloads_total{track="policies",result="accepted"}"#) > 4.0
    });
    content.write(
        "policies/schema.cedarschema",
        &format!("entity A = {{ a: {}Long{} }};", "Set<".repeat(10_000), ">".repeat(10_000)),
    );
    until("the schema is refused", || reload_outcome(&sidecar, "policies") == "refused");
    assert!(sidecar.permits(&trey_registers()));
}

#[test]
fn refused_policies_report_every_error_with_its_place() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let revision = sidecar.revision();
    // Written in place, the new file would be empty at first, and an empty new file is accepted.
    content.replace_file(
        "policies/broken.cedar",
        "permit (principal, action, resource) when { principal.nam == 1 };\n",
    );
    content.edit(
        "policies/consent.cedar",
        "context.partnership in principal else",
        "context.partnershi in principal else",
    );
    let errors = || sidecar.status()["policies"]["last_reload"]["errors"].to_string();
    until("both files are refused", || {
        errors().contains("broken.cedar") && errors().contains("consent.cedar")
    });
    assert_eq!(reload_outcome(&sidecar, "policies"), "refused");
    let status = sidecar.status();
    assert_eq!(status["revision"], json!(revision));
    assert_eq!(status["ready"], json!(true));
    let errors = status["policies"]["last_reload"]["errors"].as_array().unwrap().clone();
    let has_place = |file: &str| {
        errors.iter().any(|error| {
            error["file"].as_str().is_some_and(|path| path.ends_with(file))
                && error["line"].as_u64() > Some(0)
                && error["column"].as_u64() > Some(0)
        })
    };
    assert!(has_place("policies/broken.cedar") && has_place("policies/consent.cedar"), "{errors:?}");
    assert!(sidecar.metric(r#"mandate_refused{track="policies"}"#) > 0.0);
    assert!(sidecar.log().contains("the last good content stays in use"), "{}", sidecar.log());
    assert!(sidecar.permits(&fabrikam_registers()));
}

#[test]
fn a_new_schema_and_its_entities_come_into_use_together() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let customer = "entity Customer in [CspConsent, OemConsent] = {";
    let digest = sidecar.status()["schema"]["digest"].clone();
    content.edit("policies/schema.cedarschema", customer, &format!("{customer} name?: String,"));
    until("the optional attribute is accepted", || sidecar.status()["schema"]["digest"] != digest);
    assert!(sidecar.permits(&fabrikam_registers()));
    // The customers have no name, so a schema that requires one is refused.
    content.edit("policies/schema.cedarschema", "name?: String", "name: String");
    until("the required attribute is refused", || {
        let errors = sidecar.status()["policies"]["last_reload"]["errors"].to_string();
        errors.contains("attrs.name: missing")
    });
    assert_eq!(reload_outcome(&sidecar, "policies"), "refused");
    assert!(sidecar.permits(&fabrikam_registers()));
    // Once the entities fit the new schema, both come into use together.
    let text = content.read("entities/customers.json");
    let named: Vec<String> = text
        .lines()
        .map(|line| {
            let customer = line.contains(r#""uid": {"type": "Autopilot::Customer""#);
            if customer {
                line.replacen(r#""attrs": {"#, r#""attrs": {"name": "x", "#, 1)
            } else {
                line.to_owned()
            }
        })
        .collect();
    content.write("entities/customers.json", &named.join("\n"));
    until("both are accepted", || reload_outcome(&sidecar, "policies") == "accepted");
    assert!(sidecar.permits(&fabrikam_registers()));
}
