//! `diff`: what an edit changes is found, proven and replayed; what it does not change is said to be the
//! same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Content, pack, solver};

/// The pack edited: a file below `policies`, a text, and what stands in its place.
type Edits = [(&'static str, &'static str, &'static str)];

const REGISTRATION: &str = "registration.cedar";
const SCHEMA: &str = "schema.cedarschema";

/// Partners that see their customers without being active.
const WIDER: &Edits =
    &[(REGISTRATION, "when { principal.active && resource in principal }", "when { resource in principal }")];

fn edited(edits: &Edits) -> Content {
    let content = Content::of_pack();
    for (file, from, to) in edits {
        content.edit(&format!("policies/{file}"), from, to);
    }
    content
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares the pack with edited policies.
fn diff(edits: &Edits, args: &[&str]) -> Output {
    between(&pack("policies"), &edited(edits).policies(), args)
}

fn between(old: &Path, new: &Path, args: &[&str]) -> Output {
    crate::support::mandate().arg("diff").args([old, new]).args(args).output().unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The request environments that changed.
fn changed(result: &Value) -> Vec<Value> {
    let all = result["environments"].as_array().unwrap();
    all.iter().filter(|it| it["change"] != "same").cloned().collect()
}

fn decided(permitted: bool, policies: &[&str]) -> Value {
    json!({ "decision": permitted, "policies": policies })
}

/// One environment changes in this way; its examples are decided so, before and after.
#[track_caller]
fn check(edits: &Edits, environment: [&str; 3], change: &str, examples: &[(&str, Value, Value)]) {
    if !solver() {
        return;
    }
    let output = diff(edits, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let changed = changed(&json(&output));
    assert_eq!(changed.len(), 1, "{changed:#?}");
    let found = &changed[0];
    assert_eq!([&found["principal"], &found["action"], &found["resource"]], environment);
    assert_eq!(found["change"], change);
    for what in ["wider", "narrower"] {
        let expected = examples.iter().find(|example| example.0 == what);
        let (before, after) = expected.map(|(_, before, after)| (before, after)).unzip();
        assert_eq!(found[what].get("before"), before, "{what}: {found:#}");
        assert_eq!(found[what].get("after"), after, "{what}: {found:#}");
    }
}

#[test]
fn rewritten_policies_are_the_same() {
    if !solver() {
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
    assert_eq!(changed(&result).len(), 0);
    assert_eq!(result["environments"].as_array().unwrap().len(), 41);
    assert_eq!(text(&diff(edits, &[]).stdout), "41 environments compared: 41 the same, 0 not\n");
    let markdown = text(&diff(edits, &["--format", "markdown"]).stdout);
    assert_eq!(markdown, "**No decision changes**, in any of 41 request environments, for any entities.\n");
}

#[test]
fn wider() {
    let edits: &Edits = &[(
        REGISTRATION,
        "  resource.customer in principal &&\n  context.channel == Autopilot::Channel::\"oem-api\"",
        "  context.channel == Autopilot::Channel::\"oem-api\"",
    )];
    let example = ("wider", decided(false, &[]), decided(true, &["oem-deregisters"]));
    check(edits, ["Oem", "deregisterDevice", "Device"], "wider", &[example]);
    // By a forbid that is gone.
    let edits: &Edits = &[(
        "consent.cedar",
        "when { context.delegatedAdministration }",
        "when { context.delegatedAdministration && !principal.active }",
    )];
    let example = (
        "wider",
        decided(false, &["oem-never-gets-delegated-administration"]),
        decided(true, &["partner-requests-consent"]),
    );
    check(edits, ["Oem", "requestConsent", "Customer"], "wider", &[example]);
}

#[test]
fn narrower() {
    let edits: &Edits = &[("consent.cedar", "when { context.delegatedAdministration };", ";")];
    let example = (
        "narrower",
        decided(true, &["partner-requests-consent"]),
        decided(false, &["oem-never-gets-delegated-administration"]),
    );
    check(edits, ["Oem", "requestConsent", "Customer"], "narrower", &[example]);
}

#[test]
fn wider_and_narrower() {
    let edits: &Edits = &[(
        REGISTRATION,
        "\"oem-api\"\n};\n\n@id(\"tenant-registers",
        "\"intune\"\n};\n\n@id(\"tenant-registers",
    )];
    let permitted = || decided(true, &["oem-registers"]);
    let examples =
        [("wider", decided(false, &[]), permitted()), ("narrower", permitted(), decided(false, &[]))];
    check(edits, ["Oem", "registerDevice", "Customer"], "both", &examples);
}

const NEW_ACTION: (&str, &str, &str) = (
    SCHEMA,
    "  action viewCustomer",
    "  action audit appliesTo { principal: MicrosoftOperator, resource: Customer };\n\n  action viewCustomer",
);
const AUDITORS: &str = "@id(\"partner-views-customer\")";
const ALL_OPERATORS: &str = "@id(\"operators\") permit (principal is Autopilot::MicrosoftOperator, action, resource is Autopilot::Customer);\n@id(\"partner-views-customer\")";

#[test]
fn a_new_action_was_permitted_to_nobody() {
    let auditors = "@id(\"audits\") permit (principal, action == Autopilot::Action::\"audit\", resource);\n@id(\"partner-views-customer\")";
    let example = ("wider", decided(false, &[]), decided(true, &["audits"]));
    let environment = ["MicrosoftOperator", "audit", "Customer"];
    check(&[NEW_ACTION, (REGISTRATION, AUDITORS, auditors)], environment, "wider", &[example]);
}

/// A new action falls under policies that are there already.
#[test]
fn a_new_action_under_old_policies() {
    if !solver() {
        return;
    }
    let old = edited(&[(REGISTRATION, AUDITORS, ALL_OPERATORS)]);
    let new = edited(&[NEW_ACTION, (REGISTRATION, AUDITORS, ALL_OPERATORS)]);
    let changed = changed(&json(&between(&old.policies(), &new.policies(), &["--format", "json"])));
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["wider"]["before"], decided(false, &[]));
    assert_eq!(changed[0]["wider"]["after"], decided(true, &["operators"]));
}

#[test]
fn an_action_that_is_gone() {
    if !solver() {
        return;
    }
    let old = edited(&[NEW_ACTION]);
    let compare = |args: &[&str]| between(&old.policies(), &pack("policies"), args);
    let gone = "Autopilot::MicrosoftOperator Autopilot::Action::\"audit\" Autopilot::Customer";
    let result = json(&compare(&["--format", "json"]));
    assert_eq!((changed(&result).len(), &result["gone"]), (0, &json!([gone])));
    let shown = text(&compare(&[]).stdout);
    assert_eq!(shown, format!("gone      {gone}\n41 environments compared: 41 the same, 0 not; 1 gone\n"));
    let row =
        "| Autopilot::MicrosoftOperator | Autopilot::Action::\"audit\" | Autopilot::Customer | **gone** |\n";
    assert!(text(&compare(&["--format", "markdown"]).stdout).contains(row));
    for (change, code) in [("wider", 0), ("narrower", 1), ("any", 1)] {
        assert_eq!(compare(&["--fail-on", change]).status.code(), Some(code), "{change}");
    }
}

/// Is refused, with exit code 1 and nothing on standard output.
#[track_caller]
fn check_refused(output: &Output, says: &[&str]) {
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{output:?}");
    let said = text(&output.stderr);
    for wanted in says {
        assert!(said.contains(wanted), "no `{wanted}` in:\n{said}");
    }
}

#[test]
fn a_schema_that_the_older_policies_do_not_fit() {
    let renamed: &Edits = &[
        (SCHEMA, "active: Bool", "enabled: Bool"),
        (REGISTRATION, "principal.active", "principal.enabled"),
        ("administration.cedar", "principal.active", "principal.enabled"),
        ("consent.cedar", "principal.active", "principal.enabled"),
    ];
    let says = ["the older policies do not fit the newer schema", "policies/registration.cedar:", "`active`"];
    check_refused(&diff(renamed, &[]), &says);
}

#[test]
fn what_cannot_be_loaded() {
    check_refused(&diff(&[(REGISTRATION, "permit (", "permt (")], &[]), &["registration.cedar:", "permt"]);
    let content = Content::of_pack();
    check_refused(&content.mandate("diff", &[]), &["<OLD>"]);
    check_refused(
        &diff(&[], &["--solver", "/no/such"]),
        &["error: there is no solver `/no/such`: install cvc5"],
    );
}

#[test]
fn for_people() {
    if !solver() {
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
    assert!(shown.ends_with("\n41 environments compared: 37 the same, 4 not\n"), "{shown}");
}

#[test]
fn for_a_pull_request() {
    if !solver() {
        return;
    }
    let shown = text(&diff(&[WIDER[0]], &["--format", "markdown"]).stdout);
    assert!(shown.starts_with("| principal | action | resource | change |\n|---|---|---|---|\n| DirectBillPartner | viewCustomer | Customer | **wider** |\n"), "{shown}");
    assert!(
        shown.contains("\n\n37 request environments stay the same, for all requests and all entities.\n\n"),
        "{shown}"
    );
    let example = "\
<details><summary>wider: Oem viewCustomer Customer</summary>

- before: no policy permits it
- now: permitted by partner-views-customer

```text
    principal  Oem::oem
";
    assert!(shown.contains(example), "{shown}");
}

/// Names are anybody's, and must not end a cell or begin a tag.
#[test]
fn markdown_shows_names_as_they_are() {
    if !solver() {
        return;
    }
    let schema = "entity User; entity Doc;\naction \"a|<b>\" appliesTo { principal: User, resource: Doc };";
    let old = Content::of(&[("s.cedarschema", schema)]);
    let new = Content::of(&[
        ("s.cedarschema", schema),
        ("a.cedar", "@id(\"*x*\") permit (principal, action, resource);"),
    ]);
    let shown = text(&between(&old.path(""), &new.path(""), &["--format", "markdown"]).stdout);
    assert!(shown.contains("| User | a&#124;&#60;b&#62; | Doc | **wider** |"), "{shown}");
    assert!(shown.contains("\n0 request environments stay the same"), "{shown}");
    assert!(shown.contains("<summary>wider: User a&#124;&#60;b&#62; Doc</summary>"), "{shown}");
    assert!(shown.contains("- now: permitted by &#42;x&#42;\n"), "{shown}");
}

#[test]
fn exit_codes() {
    if !solver() {
        return;
    }
    let narrower: &Edits = &[("consent.cedar", "when { context.delegatedAdministration };", ";")];
    for (edits, fails_on) in [(WIDER, "wider"), (narrower, "narrower")] {
        for on in ["wider", "narrower", "any"] {
            let code = i32::from(on == fails_on || on == "any");
            assert_eq!(diff(edits, &["--fail-on", on]).status.code(), Some(code), "{fails_on} on {on}");
        }
        assert_eq!(diff(edits, &[]).status.code(), Some(0));
    }
}

/// In doubt, an edit is not the same: a solver that does not know.
#[test]
fn what_the_solver_does_not_know() {
    let content = edited(WIDER);
    let path = content.path("solver");
    let script = crate::support::UNKNOWING;
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let compare = |args: &[&str]| {
        let solver = ["--solver", path.to_str().unwrap()];
        between(&pack("policies"), &content.policies(), &[&solver, args].concat())
    };
    let output = compare(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let changed = changed(&json(&output));
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

/// Runs git in a repository, without anybody's configuration.
fn git(folder: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
}

fn commit(content: &Content, message: &str) {
    let folder = content.path("");
    git(&folder, &["add", "--all"]);
    let who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"];
    git(&folder, &[&who[..], &["commit", "--quiet", "-m", message]].concat());
}

/// A repository with the pack in a folder, and beside its policies what is none.
fn repository() -> Content {
    let content = Content::of_pack();
    git(&content.path(""), &["init", "--quiet"]);
    fs::write(content.path("policies/logo.png"), [0xff, 0xfe]).unwrap();
    content.write("policies/.draft.cedar", "permt ();");
    commit(&content, "one");
    content
}

fn compare(content: &Content, args: &[&str]) -> Output {
    crate::support::mandate()
        .arg("diff")
        .arg("--policies")
        .arg(content.policies())
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn revisions_of_git() {
    if !solver() {
        return;
    }
    let content = repository();
    let shows = |args: &[&str], says: &str| {
        let output = compare(&content, args);
        let shown = text(&output.stdout);
        assert!(output.status.success() && shown.ends_with(says), "{args:?}: {output:?}");
    };
    let (same, other) = ("41 the same, 0 not\n", "37 the same, 4 not\n");
    shows(&["--against", "HEAD"], same);
    let (file, from, to) = WIDER[0];
    content.edit(&format!("policies/{file}"), from, to);
    shows(&["--against", "HEAD"], other);
    shows(&["HEAD"], other);
    commit(&content, "two");
    shows(&["--against", "HEAD"], same);
    shows(&["HEAD~1", "HEAD"], other);
    shows(&["HEAD", "HEAD~1"], other);
    shows(&["HEAD~1", content.policies().to_str().unwrap()], other);
    shows(&[pack("policies").to_str().unwrap(), "HEAD"], other);
}

#[test]
fn revisions_that_cannot_be_read() {
    let content = repository();
    check_refused(
        &compare(&content, &["--against", "nobody"]),
        &["`nobody` is neither a folder nor a revision"],
    );
    check_refused(&compare(&content, &["nobody"]), &["`nobody` is neither a folder nor a revision"]);
    check_refused(&compare(&content, &["--against=--help"]), &["`--help` is not a revision"]);
    check_refused(&compare(&content, &["--", "-x"]), &["`-x` is not a revision"]);
    check_refused(
        &compare(&content, &["HEAD:policies"]),
        &["`HEAD:policies` is neither a folder nor a revision"],
    );
    check_refused(&compare(&content, &["--against", "HEAD", "HEAD"]), &["cannot be used with"]);

    content.edit("policies/registration.cedar", "permit (", "permt (");
    commit(&content, "broken");
    content.edit("policies/registration.cedar", "permt (", "permit (");
    check_refused(&compare(&content, &["--against", "HEAD"]), &["HEAD:", "policies/registration.cedar:"]);

    let outside = Content::of_pack();
    check_refused(&compare(&outside, &["--against", "HEAD"]), &["not a git repository", "policies"]);
}
