//! `diff --entities`: who gains and who loses what between two folders of entities. `random` compares it with brute
//! force.

mod random;

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{check_refused, json, text};
use crate::reload::CONSENT_EDGE;
use crate::support::{Content, repository_path};

/// Compares two folders by the policies of the pack.
fn diff_entities(old: &Path, new: &Path, args: &[&str]) -> Output {
    let mut command = crate::support::mandate();
    command.args(["diff", "--entities", "--policies"]).arg(repository_path("policies"));
    command.args([old, new]).args(args).output().unwrap()
}

/// Compares the entities of the pack with edited ones: files, texts in them, and the texts that replace these.
fn diff(edits: &[(&str, &str, &str)], args: &[&str]) -> Output {
    let content = Content::of_pack();
    for (file, from, to) in edits {
        content.edit(&format!("entities/{file}"), from, to);
    }
    diff_entities(&repository_path("entities"), &content.entities(), args)
}

const REVOKED: (&str, &str, &str) = ("customers.json", CONSENT_EDGE, "");
const ACTIVATED: (&str, &str, &str) =
    ("partners.json", r#""Lucerne Publishing", "active": false"#, r#""Lucerne Publishing", "active": true"#);

#[test]
fn equal_entities_change_nothing() {
    let output = diff(&[], &["--fail-on", "any"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "0 entities differ: 0 gained, 0 lost\n");
    let markdown = text(&diff(&[], &["--format", "markdown"]).stdout);
    assert_eq!(markdown, "**Nobody gains or loses anything.** 0 entities differ.\n");
}

#[test]
fn a_revoked_consent_is_lost_and_an_activated_partner_gains() {
    let output = diff(&[REVOKED, ACTIVATED], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        r#"Autopilot::DirectBillPartner::"fabrikam" loses registerDevice on Autopilot::Customer::"contoso" with channel: partner-center-api, partner-center-ui"#,
        r#"Autopilot::DirectBillPartner::"lucerne" gains registerDevice on Autopilot::Customer::"margies-travel" with channel: partner-center-api, partner-center-ui"#,
        r#"Autopilot::DirectBillPartner::"fabrikam" loses viewCustomer on Autopilot::Customer::"contoso""#,
        r#"not compared: `requestConsent` with `partnership`: give a value with `--context '{"partnership": …}'`"#,
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\nis not in\n{shown}");
    }
    assert!(!shown.contains("trey") && !shown.contains("tailspin"), "{shown}");
    assert!(shown.lines().last().unwrap().starts_with("2 entities differ: "), "{shown}");
}

#[test]
fn json_has_contexts_as_callers_send_them() {
    let output = diff(&[REVOKED], &["--format", "json"]);
    let result = json(&output);
    let change = json!({
        "principal": { "type": "DirectBillPartner", "id": "fabrikam" },
        "change": "loss",
        "action": "registerDevice",
        "resource": { "type": "Customer", "id": "contoso" },
        "contexts": [{ "channel": "partner-center-api" }, { "channel": "partner-center-ui" }],
    });
    let changes = result["changes"].as_array().unwrap();
    assert!(changes.contains(&change), "{result:#}");
    let partnership = json!({ "action": "requestConsent", "attribute": "partnership" });
    assert!(result["not_compared"].as_array().unwrap().contains(&partnership), "{result:#}");
    assert_eq!((&result["entities"], &result["gains"]), (&json!(1), &json!(0)), "{result:#}");
    assert_eq!((&result["losses"], &result["omitted"]), (&json!(changes.len()), &json!(0)), "{result:#}");
}

#[test]
fn markdown_is_a_table() {
    let markdown = text(&diff(&[REVOKED], &["--format", "markdown"]).stdout);
    let row = r#"| Autopilot::DirectBillPartner::"fabrikam" | **loses** | viewCustomer | Autopilot::Customer::"contoso" |  |"#;
    assert!(markdown.starts_with("**0 gained, ") && markdown.contains(row), "{markdown}");
}

/// What is not shown is counted.
#[test]
fn a_limit_is_never_silent() {
    let all = json(&diff(&[REVOKED, ACTIVATED], &["--format", "json"]));
    let total = all["gains"].as_u64().unwrap() + all["losses"].as_u64().unwrap();
    let few = json(&diff(&[REVOKED, ACTIVATED], &["--format", "json", "--limit", "2"]));
    let shown: Vec<Value> = all["changes"].as_array().unwrap()[..2].to_vec();
    assert_eq!((&few["changes"], &few["omitted"]), (&json!(shown), &json!(total - 2)));
    assert_eq!((&few["gains"], &few["losses"]), (&all["gains"], &all["losses"]));
    let more = format!("… and {} more", total - 2);
    for format in ["text", "markdown"] {
        let shown = text(&diff(&[REVOKED, ACTIVATED], &["--limit", "2", "--format", format]).stdout);
        assert!(shown.contains(&more), "{shown}");
    }
}

#[test]
fn gains_are_wider_and_losses_narrower() {
    let check = |edit, fail_on: &str, code| {
        let output = diff(&[edit], &["--fail-on", fail_on]);
        assert_eq!(output.status.code(), Some(code), "{fail_on}: {output:?}");
    };
    check(REVOKED, "wider", 0);
    check(REVOKED, "narrower", 1);
    check(ACTIVATED, "wider", 1);
    check(ACTIVATED, "narrower", 0);
    check(ACTIVATED, "any", 1);
    check_refused(&diff(&[], &["--fail-on", "claims"]), &["choose wider, narrower or any"]);
}

#[test]
fn a_context_can_be_given() {
    let shown = |args: &[&str]| text(&diff(&[REVOKED], args).stdout);
    let oem = shown(&["--context", r#"{"channel": "oem-api"}"#]);
    // Other actions have no channel.
    assert!(!oem.contains("registerDevice") && oem.contains("viewCustomer"), "{oem}");
    let api = shown(&["--context", r#"{"channel": "partner-center-api"}"#]);
    assert!(
        api.contains(r#"registerDevice on Autopilot::Customer::"contoso" with channel: partner-center-api"#)
    );
    let refused = |given, says: &[&str]| check_refused(&diff(&[], &["--context", given]), says);
    refused(r#"{"chanel": "oem-api"}"#, &["no action has `chanel` in its context"]);
    refused(r#"{"channel": "fax"}"#, &["registerDevice", "`fax` is not a valid `Autopilot::Channel`"]);
    refused("[]", &["`--context` has to be a JSON object"]);
    refused("{", &["`--context` is not valid JSON"]);
}

const OPEN_SCHEMA: &str = "entity User in [User];
action pay appliesTo { principal: User, resource: User, context: { amount: Long, urgent: Bool, note?: String } };
action refund appliesTo { principal: User, resource: User, context: { amount: Long } };";

/// Only contexts whose values can all be tried are tried, and nothing is left out silently.
#[test]
fn attributes_with_too_many_values_have_to_be_given() {
    let user = |id: &str, parents: Value| json!({ "uid": { "type": "User", "id": id }, "attrs": {}, "parents": parents });
    let eve = json!([{ "type": "User", "id": "eve" }]);
    let content = Content::of(&[
        ("policies/schema.cedarschema", OPEN_SCHEMA),
        (
            "policies/p.cedar",
            r#"@id("p") permit (principal, action == Action::"pay", resource) when { resource in principal && (context.amount < 10 || context.urgent) };"#,
        ),
        ("old/users.json", &json!([user("eve", json!([])), user("bob", json!([]))]).to_string()),
        ("new/users.json", &json!([user("eve", json!([])), user("bob", eve)]).to_string()),
    ]);
    let diff = |args: &[&str]| {
        let mut command = crate::support::mandate();
        command.args(["diff", "--entities", "--policies"]).arg(content.policies());
        command.args([content.path("old"), content.path("new")]).args(args).output().unwrap()
    };
    // No policy permits `refund`, so its context does not matter.
    let amount = "the context of `pay` has `amount`, a 64-bit whole number, so it has too many values to try all: give one with `--context '{\"amount\": …}'`";
    let refused = diff(&[]);
    check_refused(&refused, &[amount]);
    assert!(!text(&refused.stderr).contains("refund"), "{refused:?}");
    assert_eq!(
        text(&diff(&["--context", r#"{"amount": 50}"#]).stdout),
        "User::\"eve\" gains pay on User::\"bob\" with amount: 50, urgent: true\n1 entity differs: 1 gained, 0 lost\n"
    );
    assert_eq!(
        text(&diff(&["--context", r#"{"amount": 5}"#]).stdout).lines().next().unwrap(),
        "User::\"eve\" gains pay on User::\"bob\" with amount: 5, urgent: false; amount: 5, urgent: true"
    );
}

#[test]
fn folders_that_do_not_load_are_named_with_all_their_errors() {
    let content = Content::of_pack();
    content.write("entities/more.json", "[{]");
    let broken = content.entities();
    let (good, heading) =
        (repository_path("entities"), format!("the entities of `{}` do not load", broken.display()));
    check_refused(&diff_entities(&broken, &good, &[]), &[&heading, "more.json"]);
    check_refused(&diff_entities(&good, &broken, &[]), &[&heading, "more.json"]);
    let other = Content::of_pack();
    other.edit("entities/partnerships.json", "wingtip\"}", "nobody\"}");
    let heading_of_other = format!("the entities of `{}` do not load", other.entities().display());
    let both = diff_entities(&broken, &other.entities(), &[]);
    check_refused(&both, &[&heading, "more.json", &heading_of_other, "nobody"]);
}

#[test]
fn one_folder_is_not_enough() {
    let mut command = crate::support::mandate();
    let output = command.args(["diff", "--entities"]).arg(repository_path("entities")).output().unwrap();
    check_refused(&output, &["NEW is missing", "mandate diff --entities OLD NEW"]);
    let neither = diff_entities(&repository_path("entities"), Path::new("/no/such/folder"), &[]);
    check_refused(&neither, &["`/no/such/folder` is neither a folder nor a revision"]);
}
