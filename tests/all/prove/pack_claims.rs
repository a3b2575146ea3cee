//! All claims of the pack are proven, and each is broken once by an edit of the policies. The tests have the ids of the
//! claims that they break.

use super::{REGISTRATION, claim, edited_pack, json, prove, text};
use crate::support::{Content, has_solver, pack};

/// The edits break the claim. As a test case, its counterexample fails with the edited policies and passes with the
/// unedited pack.
#[track_caller]
fn check_broken(id: &str, edits: &[(&str, &str, &str)]) {
    if !has_solver() {
        return;
    }
    let content = edited_pack(edits);
    let output = prove(&content, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let claim = claim(&json(&output), id);
    assert_eq!(claim["result"], "broken", "{claim}");
    let floor = claim["form"] == "floor";
    assert_eq!(claim["counterexample"]["decided"]["decision"], !floor, "{claim}");

    let suite = prove(&content, &["--emit-test"]);
    content.write("suite.yaml", &text(&suite.stdout));
    let filter = format!("--filter={id}");
    let path = content.path("suite.yaml");
    let args = [filter.as_str(), path.to_str().unwrap()];
    let on_edited = content.mandate("test", &args);
    assert_eq!(on_edited.status.code(), Some(1), "{on_edited:?}\n{}", text(&suite.stdout));
    let on_unedited = Content::of_pack().mandate("test", &args);
    assert_eq!(on_unedited.status.code(), Some(0), "{on_unedited:?}\n{}", text(&suite.stdout));
}

#[test]
fn all_claims_of_the_pack_are_proven() {
    if !has_solver() {
        return;
    }
    let output = prove(&Content::of_pack(), &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let result = json(&output);
    let claims = result["claims"].as_array().unwrap();
    // The cases of the guardrails count as one claim.
    assert_eq!(claims.len(), pack::claims() + 1);
    assert!(claims.iter().all(|claim| claim["result"] == "proven"), "{result}");
}

const CONSENT: &str = "consent.cedar";

#[test]
fn no_consent_no_registration() {
    check_broken(
        "no-consent-no-registration",
        &[(REGISTRATION, "resource in principal &&\n  (", "true &&\n  (")],
    );
}

#[test]
fn resellers_use_the_ui_alone() {
    let from = "unless { context.channel == Autopilot::Channel::\"partner-center-ui\" }";
    check_broken("resellers-use-the-ui-alone", &[(REGISTRATION, from, "when { !principal.active }")]);
}

#[test]
fn oems_use_their_api_alone() {
    check_broken("oems-use-their-api-alone", &[(REGISTRATION, "\"oem-api\"", "\"partner-center-ui\"")]);
}

#[test]
fn the_oem_api_is_for_oems() {
    let from = "(context.channel == Autopilot::Channel::\"partner-center-api\"";
    let to = format!("(context.channel == Autopilot::Channel::\"oem-api\" || {}", &from[1..]);
    check_broken("the-oem-api-is-for-oems", &[(REGISTRATION, from, &to)]);
}

const INTUNE: &str = "  principal.roles.contains(Autopilot::Role::\"intune-administrator\") &&\n";

#[test]
fn intune_registers_for_the_own_tenant() {
    check_broken("intune-registers-for-the-own-tenant", &[(REGISTRATION, INTUNE, "")]);
}

#[test]
fn intune_deregisters_in_the_own_tenant() {
    check_broken("intune-deregisters-in-the-own-tenant", &[(REGISTRATION, INTUNE, "")]);
}

#[test]
fn direct_bill_partners_can_work() {
    let forbid = "@id(\"freeze\")\nforbid (principal, action, resource);\n\n@id(\"direct-bill-registers\")";
    check_broken(
        "direct-bill-partners-can-work",
        &[(REGISTRATION, "@id(\"direct-bill-registers\")", forbid)],
    );
}

#[test]
fn suspended_partners_do_nothing() {
    let from = "{ principal.active && resource in principal }";
    check_broken("suspended-partners-do-nothing", &[(REGISTRATION, from, "{ resource in principal }")]);
}

#[test]
fn oems_never_administer() {
    check_broken("oems-never-administer", &[("administration.cedar", "forbid (", "permit (")]);
}

#[test]
fn oems_never_ask_to_administer() {
    let (from, to) = ("{ context.delegatedAdministration }", "{ !context.delegatedAdministration }");
    check_broken("oems-never-ask-to-administer", &[(CONSENT, from, to)]);
}

#[test]
fn only_the_own_global_administrator_accepts() {
    let (from, to) = ("Role::\"global-administrator\"", "Role::\"user\"");
    check_broken("only-the-own-global-administrator-accepts", &[(CONSENT, from, to)]);
}

#[test]
fn only_the_own_global_administrator_declines() {
    let (from, to) = ("Role::\"global-administrator\") &&\n  !", "Role::\"user\") &&\n  !");
    check_broken("only-the-own-global-administrator-declines", &[(CONSENT, from, to)]);
}

#[test]
fn links_are_made_by_their_own_partner() {
    let (from, to) = ("  principal == resource &&\n", "");
    check_broken("links-are-made-by-their-own-partner", &[(CONSENT, from, to)]);
}

#[test]
fn partners_withdraw_their_own_requests() {
    let (from, to) = ("resource in principal && !(resource has acceptedBy)", "resource in principal");
    check_broken("partners-withdraw-their-own-requests", &[(CONSENT, from, to)]);
}

#[test]
fn only_microsoft_ends_an_oem_consent() {
    let (from, to) = ("is Autopilot::MicrosoftOperator", "is Autopilot::TenantUser");
    check_broken("only-microsoft-ends-an-oem-consent", &[(CONSENT, from, to)]);
}

#[test]
fn tenants_end_no_csp_consent() {
    let (from, to) =
        ("forbid (\n  principal is Autopilot::TenantUser", "permit (\n  principal is Autopilot::TenantUser");
    check_broken("tenants-end-no-csp-consent", &[(CONSENT, from, to)]);
}

#[test]
fn resellers_end_nothing() {
    let (from, to) = (
        "forbid (\n  principal is Autopilot::IndirectReseller",
        "permit (\n  principal is Autopilot::IndirectReseller",
    );
    check_broken("resellers-end-nothing", &[(CONSENT, from, to)]);
}

/// The schema is edited, too: without the attribute in the context, no policy can depend on it.
#[test]
fn registering_needs_no_delegated_administration() {
    if !has_solver() {
        return;
    }
    let content = edited_pack(&[
        (
            "schema.cedarschema",
            "context: { channel: Channel",
            "context: { channel: Channel, delegatedAdministration: Bool",
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
    let counterexample = &claim["counterexample"];
    assert_ne!(counterexample["decided"]["decision"], counterexample["otherwise"]["decision"], "{claim}");
}

#[test]
fn never_errors() {
    if !has_solver() {
        return;
    }
    let content = edited_pack(&[(
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
