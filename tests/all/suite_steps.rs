//! `after` and `then` in suites: what a permitted action leaves behind, and what is decided on that.

use crate::support::Content;

/// A request for consent, without what follows it.
const REQUEST: &str = "cases:
  - name: a consent
    principal: DirectBillPartner::fabrikam
    action: requestConsent
    resource: Customer::relecloud
    context: { delegatedAdministration: false }
    expect: permit
";

const ACCEPT: &str = "      - principal: TenantUser::admin@relecloud
        action: acceptConsent
        resource: CspConsent::made-1
        expect: permit
";

/// The exit code of `mandate test` on a suite, and all that it prints.
fn run(suite: &str, args: &[&str]) -> (Option<i32>, String) {
    let content = Content::of_pack();
    content.write("suite.yaml", suite);
    let path = content.path("suite.yaml");
    let output = content.mandate("test", &[&[path.to_str().unwrap()], args].concat());
    let shown = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), shown)
}

#[track_caller]
fn passes(suite: &str) {
    let (code, shown) = run(suite, &[]);
    assert_eq!(code, Some(0), "{suite}\n{shown}");
}

/// The case fails, for this reason.
#[track_caller]
fn fails(suite: &str, why: &str) {
    let (code, shown) = run(suite, &[]);
    assert_eq!(code, Some(1), "{suite}\n{shown}");
    assert!(shown.contains(why), "`{why}` is not in:\n{shown}");
    assert!(shown.contains("suite.yaml:2: a consent"), "{shown}");
}

fn request(more: &str) -> String {
    format!("{REQUEST}{more}")
}

#[test]
fn each_step_is_decided_on_what_those_before_it_left() {
    let asks = |answer: &str| {
        format!(
            "      - principal: DirectBillPartner::fabrikam\n        action: viewCustomer\n        resource: Customer::relecloud\n        expect: {answer}\n"
        )
    };
    let (deny, permit) = (asks("deny"), asks("permit"));
    let revoke = ACCEPT.replace("TenantUser::admin@relecloud", "DirectBillPartner::fabrikam");
    let revoke = revoke.replace("acceptConsent", "revokeConsent");
    passes(&request(&format!("    then:\n{deny}{ACCEPT}{permit}{revoke}{deny}")));
    fails(
        &request(&format!("    then:\n{deny}{ACCEPT}{deny}")),
        "step 3 of `then`: DirectBillPartner::fabrikam viewCustomer Customer::relecloud",
    );
    // A permit without anything that follows changes nothing, so the next case does not see it.
    let other = "  - name: b\n    principal: TenantUser::admin@relecloud\n    action: acceptConsent\n    resource: CspConsent::made-1\n    expect: deny\n";
    passes(&request(&format!("    then:\n{ACCEPT}{other}")));
}

#[test]
fn what_is_so_afterwards_is_compared_with_what_is_expected() {
    let attributes = "customer: { type: Autopilot::Customer, id: relecloud }, delegatedAdministration: false";
    let add = |attributes: &str, parent: &str| {
        request(&format!(
            "    after:\n      - add:\n          uid: {{ type: Autopilot::CspConsent, id: made-1 }}\n          attrs: {{ {attributes} }}\n          parents: [{{ type: Autopilot::DirectBillPartner, id: {parent} }}]\n"
        ))
    };
    passes(&add(attributes, "fabrikam"));
    let found = "CspConsent::made-1 in DirectBillPartner::fabrikam { customer: Customer::relecloud, delegatedAdministration: false }";
    let expected = found.replace("DirectBillPartner::fabrikam", "DirectBillPartner::lucerne");
    fails(&add(attributes, "lucerne"), &format!("- {expected}\n     + {found}"));
    for (is_so, is_not) in [
        (
            "with: [CspConsent::made-1, DirectBillPartner::fabrikam]",
            "without: [CspConsent::made-1, DirectBillPartner::fabrikam]",
        ),
        (
            "without: [Customer::relecloud, CspConsent::made-1]",
            "with: [Customer::relecloud, CspConsent::made-1]",
        ),
        (
            "set: { entity: CspConsent::made-1, attrs: { delegatedAdministration: false } }",
            "set: { entity: CspConsent::made-1, attrs: { delegatedAdministration: true } }",
        ),
        ("with: [Customer::relecloud, CspConsent::relecloud--tailspin]", "remove: Customer::relecloud"),
    ] {
        passes(&request(&format!("    after:\n      - {is_so}\n")));
        fails(&request(&format!("    after:\n      - {is_so}\n      - {is_not}\n")), "afterwards\n     - ");
    }
    // A misspelt name is not gone.
    fails(
        &request("    after:\n      - remove: Device::d\n"),
        "`after`: `Device::d` was not there before either",
    );
    fails(&request("    after:\n      - without: [Customer::x, CspConsent::made-1]\n"), "+ no Customer::x");
}

#[test]
fn an_action_that_cannot_be_performed_fails_the_case() {
    let rest = format!("    then:\n{ACCEPT}");
    let denied = request(&rest).replace("DirectBillPartner::fabrikam\n", "DirectBillPartner::lucerne\n");
    fails(&denied, "- permit\n     + deny");
    let no_rule =
        request(&rest).replace("requestConsent", "viewCustomer").replace("relecloud\n", "contoso\n");
    let no_rule = no_rule.replace("    context: { delegatedAdministration: false }\n", "");
    fails(
        &no_rule,
        "is permitted, and cannot be performed: it changes nothing, because no rule of changes.toml is for the action and these types",
    );
    let device = |more: &str| {
        format!(
            "      - principal: Oem::trey\n        action: registerDevice\n        resource: Customer::contoso\n        context: {{ channel: oem-api{more} }}\n        expect: permit\n"
        )
    };
    fails(
        &request(&format!("    then:\n{}", device(""))),
        "step 1 of `then`: Oem::trey registerDevice Customer::contoso is permitted, and cannot be performed: `context.device` is missing: this change needs it",
    );
    let twice = device(", device: d");
    fails(&request(&format!("    then:\n{twice}{twice}")), "`Device::d` exists already");
}

#[test]
fn the_rules_of_loading_hold_for_what_a_change_leaves() {
    let content = Content::of_pack();
    let rules = content.read("policies/changes.toml");
    content.write(
        "policies/changes.toml",
        &rules.replace(
            "attributes = { acceptedBy = \"principal\" }",
            "attributes = { customer = \"principal.customer\" }",
        ),
    );
    content.write("suite.yaml", &request(&format!("    then:\n{ACCEPT}")));
    let output = content.mandate("test", &[content.path("suite.yaml").to_str().unwrap()]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let why = "is permitted, and cannot be performed: `Autopilot::Customer::\"relecloud\"` is in `Autopilot::CspConsent::\"made-1\"`, which has no `acceptedBy`";
    assert!(shown.contains(why), "{shown}");
}

#[test]
fn mistakes_in_steps_have_their_places() {
    let error = |suite: &str, place: &str, message: &str| {
        let (code, shown) = run(suite, &[]);
        assert_eq!(code, Some(1), "{shown}");
        for part in [&format!("suite.yaml:{place}]"), message, "1 error, 0 warnings"] {
            assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
        }
    };
    let then = request(&format!("    then:\n{ACCEPT}"));
    error(
        &then.replace("CspConsent::made-1\n        expect: permit", "CspConsent::made-1"),
        "9:9",
        "the step has to have one answer in `expect`",
    );
    error(&then.replace("        action: acceptConsent\n", ""), "9:9", "the step has no `action`");
    error(
        &then.replace("        expect: permit", "        expect: { permit: [nobody] }"),
        "12:28",
        "there is no policy `nobody`",
    );
    error(
        &then.replace("    expect: permit\n    then", "    expect: deny\n    then"),
        "2:5",
        "`a consent` has to expect `permit`: `after` and `then` are about what its action changes",
    );
    error(&then.replace("        action:", "        acton:"), "10:9", "`acton`");
    error(
        &format!("{then}        then:\n          - {{ expect: permit }}\n"),
        "9:9",
        "has `then` inside `then`: write its steps below it, in the same list",
    );
    error(&request("    after:\n      - gone: Device::d\n"), "9:9", "`gone`");
    let table = "tables:\n  - name: t\n    columns: [{ name: c }]\n    rows:\n      - name: r\n        then: [{ expect: permit }]\n        principal: Oem::trey\n        action: viewCustomer\n        resource: Customer::contoso\n        expect: [permit]\n";
    error(table, "5:9", "`r` is part of a table: `after` and `then` are for `cases`");
    let content = Content::of_pack();
    content.write("policies/guardrails/steps.yaml", &then);
    let output = content.mandate("check", &[]);
    let shown = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(shown.contains("`a consent` has `after` or `then`, which guardrails do not have"), "{shown}");
}

#[test]
fn reports_and_coverage_know_the_steps() {
    let suite = request(&format!("    then:\n{ACCEPT}"));
    let (code, shown) = run(&suite, &["--coverage"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("global-administrator-accepts: met 1"), "{shown}");
    let failing = format!(
        "{suite}{}",
        ACCEPT
            .replace("- principal", "- name: again\n        principal")
            .replace("acceptConsent", "revokeConsent")
    );
    let (_, shown) = run(&failing, &["--format", "json"]);
    let report: serde_json::Value =
        serde_json::from_str(shown.split_inclusive("\n}\n").next().unwrap()).unwrap();
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 1);
    let failure = cases[0]["failure"].as_str().unwrap();
    assert!(
        failure.starts_with("step 2 of `then`, `again`: TenantUser::admin@relecloud revokeConsent"),
        "{failure}"
    );
}
