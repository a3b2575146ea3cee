//! Suites with HTTP requests: as tests of the routes, and among the guardrails, where they refuse an edit.

use std::process::Output;

use super::forward_auth_status;
use crate::support::{Content, has_solver, until};

const ROUTES: &str = "policies/routes.toml";

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A suite with one case about the creation of a batch by Fabrikam.
fn suite(more: &str) -> String {
    format!(
        "cases:\n  - name: a\n    request: POST /v1/customers/contoso/deviceBatches\n    headers: {{ X-Partner-Type: DirectBillPartner, x-partner-id: fabrikam }}\n{more}"
    )
}

/// Runs a suite on the pack: it ends with the exit code, and prints all `parts`.
#[track_caller]
fn check(suite: &str, code: i32, parts: &[&str]) {
    let content = Content::of_pack();
    content.write("suite.yaml", suite);
    let output = content.mandate("test", &[content.path("suite.yaml").to_str().unwrap()]);
    let shown = printed(&output);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    for part in parts {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
}

#[test]
fn a_case_states_an_http_request_and_its_question() {
    let question = "    route: create-batch\n    principal: DirectBillPartner::fabrikam\n    action: registerDevice\n    resource: Customer::contoso\n    context: { channel: partner-center-api }\n";
    check(&suite(question), 0, &["1 passed"]);
    check(
        &suite(&format!("{question}    expect: {{ permit: [direct-bill-registers] }}\n")),
        0,
        &["1 passed"],
    );
    check(
        &suite(
            "    route: list-batches\n    principal: Oem::trey\n    context: { channel: partner-center-ui }\n",
        ),
        1,
        &[
            "suite.yaml:2: a",
            "POST /v1/customers/contoso/deviceBatches",
            "- route list-batches",
            "+ route create-batch",
            "- principal Oem::trey",
            "+ principal DirectBillPartner::fabrikam",
            "+ context channel: partner-center-api",
        ],
    );
    check(&suite("    expect: deny\n"), 1, &["- deny", "+ permit by direct-bill-registers"]);
    check(&suite("    expect: no-route\n"), 1, &["- no-route", "+ permit by direct-bill-registers"]);
    check(
        "cases:\n  - name: a\n    request: POST /v1/customers/contoso/deviceBatches\n    route: create-batch\n    principal: Oem::trey\n",
        1,
        &["- a question", "+ refused: principal.type: the request has no header `x-partner-type`"],
    );
    check("cases:\n  - name: a\n    request: GET /nowhere\n    expect: no-route\n", 0, &["1 passed"]);
    check("cases:\n  - name: a\n    request: GET /a//b\n    expect: refused\n", 0, &["1 passed"]);
}

#[test]
fn what_is_wrong_with_a_case_about_a_request_is_said() {
    check("cases:\n  - name: a\n    request: /x\n    expect: refused\n", 1, &["a method and a path"]);
    check("cases:\n  - name: a\n    request: GET /x\n", 1, &["suite.yaml:2", "`a` expects nothing"]);
    check(&suite("    principal: Nobody::x\n"), 1, &["does not fit the schema"]);
}

/// Edits of the routes that a suite among the guardrails of the pack refuses.
const REFUSED: [(&str, &str); 2] = [
    ("\"x-partner-id\"", "\"x-user\""),
    ("channel = \"partner-center-api\"", "channel = \"partner-center-ui\""),
];

#[test]
fn check_and_prove_run_the_suites_among_the_guardrails() {
    for (from, to) in REFUSED {
        let content = Content::of_pack();
        content.edit(ROUTES, from, to);
        let verbs: &[&str] = if has_solver() { &["check", "prove"] } else { &["check"] };
        for verb in verbs {
            let output = content.mandate(verb, &[]);
            let shown = printed(&output);
            assert_eq!(output.status.code(), Some(1), "{verb}: {shown}");
            assert!(shown.contains("create-batch` does not hold"), "{verb}: {shown}");
            assert!(shown.contains("guardrails/routes.yaml:15"), "{verb}: {shown}");
        }
    }
}

#[test]
fn an_edit_of_routes_that_fails_a_guardrail_is_refused() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--guardrails", "enforce"]);
    let target = "/v1/customers/contoso/deviceBatches";
    let good = content.read(ROUTES);
    let outcome = || sidecar.status()["policies"]["last_reload"]["outcome"].clone();
    for (from, to) in REFUSED {
        content.replace_file(ROUTES, &good.replace(from, to));
        until("the edit is refused", || outcome() == "refused");
        let error = sidecar.status()["policies"]["last_reload"]["errors"][0].clone();
        assert!(error["message"].as_str().unwrap().contains("create-batch` does not hold"), "{error}");
        assert!(error["file"].as_str().unwrap().ends_with("guardrails/routes.yaml"), "{error}");
        assert_eq!(error["line"], 15, "{error}");
        assert_eq!(forward_auth_status(&sidecar, "POST", target), 200, "the last good routes are in use");
        content.replace_file(ROUTES, &good);
        until("the good routes are back", || outcome() == "accepted");
    }
    let before = sidecar.revision();
    content.replace_file(ROUTES, &format!("{good}# A comment.\n"));
    until("the harmless edit is in use", || sidecar.revision() != before);
    assert_eq!(sidecar.status()["guardrails"]["state"], "proven");
    drop(sidecar);
    content.edit(ROUTES, REFUSED[0].0, REFUSED[0].1);
    let mut command = content.command("serve");
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--guardrails", "enforce"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("create-batch` does not hold"), "{}", printed(&output));
}
