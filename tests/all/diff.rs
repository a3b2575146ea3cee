//! `diff`: which decisions differ between two sets of policies, with an example for each change, and which
//! stay the same for all requests and entities.

mod entities;
mod git;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Content, has_solver, pack, repository_path};

/// Edits of the pack: a file in `policies`, a text in it, and the text that replaces it.
type Edits = [(&'static str, &'static str, &'static str)];

const REGISTRATION: &str = "registration.cedar";
const SCHEMA: &str = "schema.cedarschema";

/// Permits more: inactive partners may view their customers.
const WIDER: &Edits =
    &[(REGISTRATION, "when { principal.active && resource in principal }", "when { resource in principal }")];

fn edited_pack(edits: &Edits) -> Content {
    let content = Content::of_pack();
    for (file, from, to) in edits {
        content.edit(&format!("policies/{file}"), from, to);
    }
    content
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares the policies of the pack with edited ones.
fn diff(edits: &Edits, args: &[&str]) -> Output {
    diff_folders(&repository_path("policies"), &edited_pack(edits).policies(), args)
}

/// Compares the policies of two folders.
fn diff_folders(old: &Path, new: &Path, args: &[&str]) -> Output {
    crate::support::mandate().arg("diff").args([old, new]).args(args).output().unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The request environments with a change.
fn changed_environments(result: &Value) -> Vec<Value> {
    let all = result["environments"].as_array().unwrap();
    all.iter().filter(|environment| environment["change"] != "same").cloned().collect()
}

fn decision(permitted: bool, policies: &[&str]) -> Value {
    json!({ "decision": permitted, "policies": policies })
}

/// An environment that changes, and how. Each example is `wider` or `narrower`, with the decision before and after.
type Change<'a> = ([&'a str; 3], &'a str, &'a [(&'a str, Value, Value)]);

/// Checks that one environment changes, and how.
#[track_caller]
fn check(edits: &Edits, environment: [&str; 3], change: &str, examples: &[(&str, Value, Value)]) {
    check_all(edits, &[(environment, change, examples)]);
}

/// Checks that these environments change, and no others.
#[track_caller]
fn check_all(edits: &Edits, changes: &[Change]) {
    if !has_solver() {
        return;
    }
    let output = diff(edits, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let changed = changed_environments(&json(&output));
    assert_eq!(changed.len(), changes.len(), "{changed:#?}");
    for (found, (environment, change, examples)) in changed.iter().zip(changes) {
        assert_eq!([&found["principal"], &found["action"], &found["resource"]], *environment);
        assert_eq!(found["change"], *change);
        for direction in ["wider", "narrower"] {
            let expected = examples.iter().find(|example| example.0 == direction);
            let (before, after) = expected.map(|(_, before, after)| (before, after)).unzip();
            assert_eq!(found[direction].get("before"), before, "{direction}: {found:#}");
            assert_eq!(found[direction].get("after"), after, "{direction}: {found:#}");
        }
    }
}

#[test]
fn equivalent_policies_change_no_decision() {
    if !has_solver() {
        return;
    }
    let edits: &Edits = &[
        ("consent.cedar", "@id(\"partner-requests-consent\")", "@id(\"somebody-requests\")"),
        (
            "consent.cedar",
            "unless { principal is Autopilot::MicrosoftOperator }",
            "when { !(principal is Autopilot::MicrosoftOperator) }",
        ),
        (
            REGISTRATION,
            "when { principal.active && resource in principal }",
            "when { resource in principal && principal.active }",
        ),
    ];
    let output = diff(edits, &["--format", "json", "--fail-on", "any"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let result = json(&output);
    assert_eq!(changed_environments(&result).len(), 0);
    let all = pack::environments();
    assert_eq!(result["environments"].as_array().unwrap().len(), all);
    assert_eq!(
        text(&diff(edits, &[]).stdout),
        format!("{all} environments compared: {all} the same, 0 not\n")
    );
    let markdown = text(&diff(edits, &["--format", "markdown"]).stdout);
    assert_eq!(
        markdown,
        format!("**No decision changes**, in any of {all} request environments, for any entities.\n")
    );
}

#[test]
fn a_policy_that_permits_more_is_wider() {
    let edits: &Edits = &[(
        REGISTRATION,
        "  resource.customer in principal &&\n  context.channel == Autopilot::Channel::\"oem-api\"",
        "  context.channel == Autopilot::Channel::\"oem-api\"",
    )];
    let example = ("wider", decision(false, &[]), decision(true, &["oem-deregisters"]));
    check(edits, ["Oem", "deregisterDevice", "Device"], "wider", &[example]);
    // The forbid does not apply to active partners any more.
    let edits: &Edits = &[(
        "consent.cedar",
        "when { context.delegatedAdministration }",
        "when { context.delegatedAdministration && !principal.active }",
    )];
    let denied = || decision(false, &["oem-never-gets-delegated-administration"]);
    let offers = ("wider", denied(), decision(true, &["partner-offers-consent"]));
    let requests = ("wider", denied(), decision(true, &["partner-requests-consent"]));
    check_all(
        edits,
        &[
            (["Oem", "offerConsent", "Oem"], "wider", &[offers]),
            (["Oem", "requestConsent", "Customer"], "wider", &[requests]),
        ],
    );
}

#[test]
fn a_policy_that_forbids_more_is_narrower() {
    let edits: &Edits = &[("consent.cedar", "when { context.delegatedAdministration };", ";")];
    let denied = || decision(false, &["oem-never-gets-delegated-administration"]);
    let offers = ("narrower", decision(true, &["partner-offers-consent"]), denied());
    let requests = ("narrower", decision(true, &["partner-requests-consent"]), denied());
    check_all(
        edits,
        &[
            (["Oem", "offerConsent", "Oem"], "narrower", &[offers]),
            (["Oem", "requestConsent", "Customer"], "narrower", &[requests]),
        ],
    );
}

#[test]
fn a_change_can_be_wider_and_narrower() {
    let edits: &Edits = &[(
        REGISTRATION,
        "\"oem-api\"\n};\n\n@id(\"tenant-registers",
        "\"intune\"\n};\n\n@id(\"tenant-registers",
    )];
    let permitted = || decision(true, &["oem-registers"]);
    let examples =
        [("wider", decision(false, &[]), permitted()), ("narrower", permitted(), decision(false, &[]))];
    check(edits, ["Oem", "registerDevice", "Customer"], "both", &examples);
}

const NEW_ACTION: (&str, &str, &str) = (
    SCHEMA,
    "  action viewCustomer",
    "  action audit appliesTo { principal: MicrosoftOperator, resource: Customer };\n\n  action viewCustomer",
);
/// The place in a policy file before which the tests add policies.
const NEXT_POLICY: &str = "@id(\"partner-views-customer\")";
const ALL_OPERATORS: &str = "@id(\"operators\") permit (principal is Autopilot::MicrosoftOperator, action, resource is Autopilot::Customer);\n@id(\"partner-views-customer\")";

#[test]
fn a_new_action_was_denied_before() {
    let auditors = "@id(\"audits\") permit (principal, action == Autopilot::Action::\"audit\", resource);\n@id(\"partner-views-customer\")";
    let example = ("wider", decision(false, &[]), decision(true, &["audits"]));
    let environment = ["MicrosoftOperator", "audit", "Customer"];
    check(&[NEW_ACTION, (REGISTRATION, NEXT_POLICY, auditors)], environment, "wider", &[example]);
}

#[test]
fn old_policies_can_permit_a_new_action() {
    if !has_solver() {
        return;
    }
    let old = edited_pack(&[(REGISTRATION, NEXT_POLICY, ALL_OPERATORS)]);
    let new = edited_pack(&[NEW_ACTION, (REGISTRATION, NEXT_POLICY, ALL_OPERATORS)]);
    let changed =
        changed_environments(&json(&diff_folders(&old.policies(), &new.policies(), &["--format", "json"])));
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["wider"]["before"], decision(false, &[]));
    assert_eq!(changed[0]["wider"]["after"], decision(true, &["operators"]));
}

#[test]
fn a_removed_action_is_listed_as_gone() {
    if !has_solver() {
        return;
    }
    let old = edited_pack(&[NEW_ACTION]);
    let compare = |args: &[&str]| diff_folders(&old.policies(), &repository_path("policies"), args);
    let gone = "Autopilot::MicrosoftOperator Autopilot::Action::\"audit\" Autopilot::Customer";
    let result = json(&compare(&["--format", "json"]));
    assert_eq!((changed_environments(&result).len(), &result["gone"]), (0, &json!([gone])));
    let shown = text(&compare(&[]).stdout);
    let all = pack::environments();
    assert_eq!(
        shown,
        format!("gone      {gone}\n{all} environments compared: {all} the same, 0 not; 1 gone\n")
    );
    let row =
        "| Autopilot::MicrosoftOperator | Autopilot::Action::\"audit\" | Autopilot::Customer | **gone** |\n";
    assert!(text(&compare(&["--format", "markdown"]).stdout).contains(row));
    for (change, code) in [("wider", 0), ("narrower", 1), ("any", 1)] {
        assert_eq!(compare(&["--fail-on", change]).status.code(), Some(code), "{change}");
    }
}

/// Checks the exit code 1, the messages on standard error, and that nothing is on standard output.
#[track_caller]
fn check_refused(output: &Output, messages: &[&str]) {
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{output:?}");
    let errors = text(&output.stderr);
    for message in messages {
        assert!(errors.contains(message), "`{message}` is not in:\n{errors}");
    }
}

#[test]
fn older_policies_have_to_fit_the_newer_schema() {
    let renamed: &Edits = &[
        (SCHEMA, "active: Bool", "enabled: Bool"),
        (REGISTRATION, "principal.active", "principal.enabled"),
        ("administration.cedar", "principal.active", "principal.enabled"),
        ("consent.cedar", "principal.active", "principal.enabled"),
    ];
    let messages =
        ["the older policies do not fit the newer schema", "policies/registration.cedar:", "`active`"];
    check_refused(&diff(renamed, &[]), &messages);
}

#[test]
fn broken_policies_missing_arguments_and_a_missing_solver_are_errors() {
    check_refused(&diff(&[(REGISTRATION, "permit (", "permt (")], &[]), &["registration.cedar:", "permt"]);
    let content = Content::of_pack();
    check_refused(&content.mandate("diff", &[]), &["<OLD>"]);
    check_refused(
        &diff(&[], &["--solver", "/no/such"]),
        &["error: there is no solver `/no/such`: install cvc5"],
    );
}

#[test]
fn text_output_shows_an_example_of_each_change() {
    if !has_solver() {
        return;
    }
    let shown = text(&diff(&[WIDER[0]], &[]).stdout);
    let example = "\
wider     Oem viewCustomer Customer
    before: no policy permits it
    now: permitted by partner-views-customer
    principal  Oem::oem
    action     viewCustomer
    resource   Customer::customer
    entities   Customer::customer in OemConsent::oem-consent
";
    assert!(shown.contains(example), "{shown}");
    let all = pack::environments();
    let summary = format!("\n{all} environments compared: {} the same, 4 not\n", all - 4);
    assert!(shown.ends_with(&summary), "{shown}");
}

#[test]
fn markdown_output_is_a_table_with_examples() {
    if !has_solver() {
        return;
    }
    let shown = text(&diff(&[WIDER[0]], &["--format", "markdown"]).stdout);
    assert!(shown.starts_with("| principal | action | resource | change |\n|---|---|---|---|\n| DirectBillPartner | viewCustomer | Customer | **wider** |\n"), "{shown}");
    let same = pack::environments() - 4;
    let summary =
        format!("\n\n{same} request environments stay the same, for all requests and all entities.\n\n");
    assert!(shown.contains(&summary), "{shown}");
    let example = "\
<details><summary>wider: Oem viewCustomer Customer</summary>

- before: no policy permits it
- now: permitted by partner-views-customer

```text
    principal  Oem::oem
";
    assert!(shown.contains(example), "{shown}");
}

/// Names can have any characters. They must not end a table cell or begin an HTML tag.
#[test]
fn names_are_escaped_in_markdown() {
    if !has_solver() {
        return;
    }
    let schema = "entity User; entity Doc;\naction \"a|<b>\" appliesTo { principal: User, resource: Doc };";
    let old = Content::of(&[("s.cedarschema", schema)]);
    let new = Content::of(&[
        ("s.cedarschema", schema),
        ("a.cedar", "@id(\"*x*\") permit (principal, action, resource);"),
    ]);
    let shown = text(&diff_folders(&old.path(""), &new.path(""), &["--format", "markdown"]).stdout);
    assert!(shown.contains("| User | a&#124;&#60;b&#62; | Doc | **wider** |"), "{shown}");
    assert!(shown.contains("\n0 request environments stay the same"), "{shown}");
    assert!(shown.contains("<summary>wider: User a&#124;&#60;b&#62; Doc</summary>"), "{shown}");
    assert!(shown.contains("- now: permitted by &#42;x&#42;\n"), "{shown}");
}

#[test]
fn fail_on_sets_the_exit_code() {
    if !has_solver() {
        return;
    }
    let narrower: &Edits = &[("consent.cedar", "when { context.delegatedAdministration };", ";")];
    for (edits, change) in [(WIDER, "wider"), (narrower, "narrower")] {
        for fail_on in ["wider", "narrower", "any"] {
            let code = i32::from(fail_on == change || fail_on == "any");
            assert_eq!(
                diff(edits, &["--fail-on", fail_on]).status.code(),
                Some(code),
                "{change}, --fail-on {fail_on}"
            );
        }
        assert_eq!(diff(edits, &[]).status.code(), Some(0));
    }
}

/// The solver is a program that always answers `unknown`. The decisions may change, so the exit code is 1.
#[test]
fn a_change_that_the_solver_cannot_determine_is_unknown() {
    let content = edited_pack(WIDER);
    let path = content.path("solver");
    let script = crate::support::SOLVER_WITHOUT_ANSWERS;
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let compare = |args: &[&str]| {
        let solver = ["--solver", path.to_str().unwrap()];
        diff_folders(&repository_path("policies"), &content.policies(), &[&solver, args].concat())
    };
    let output = compare(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let changed = changed_environments(&json(&output));
    assert_eq!(changed.len(), 4);
    for environment in changed {
        assert_eq!(environment["change"], "unknown");
        assert_eq!(environment["unknown"].as_array().unwrap().len(), 2, "{environment}");
    }
    let shown = text(&compare(&[]).stdout);
    assert!(
        shown.contains("unknown   Oem viewCustomer Customer\n    not known whether it is wider: the solver"),
        "{shown}"
    );
    let shown = text(&compare(&["--format", "markdown"]).stdout);
    assert!(shown.contains("| Oem | viewCustomer | Customer | **unknown** |"), "{shown}");
    assert!(shown.contains("Not known: the solver"), "{shown}");
}
