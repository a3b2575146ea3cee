//! `--format` of the commands that report what they found: one JSON document, or GitHub annotations.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Content, has_solver, mandate, pack};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The exit code, and standard output as one JSON document.
#[track_caller]
fn document(output: &Output) -> (i32, Value) {
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), json.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

/// The pack with a policy that fails a case.
fn pack_with_failing_case() -> Content {
    let content = Content::of_pack();
    content.edit(
        "policies/registration.cedar",
        "unless { context.channel == ",
        "unless { context.channel != ",
    );
    content
}

#[test]
fn test_reports_its_cases_as_json() {
    let (code, report) = document(&Content::of_pack().mandate("test", &["--format", "json"]));
    assert_eq!((code, &report["ok"], &report["failed"]), (0, &json!(true), &json!(0)));
    let all = report["cases"].as_array().unwrap().len();
    assert_eq!((&report["passed"], &report["filtered_out"]), (&json!(all), &json!(0)));
    assert_eq!(report["cases"][0].get("failure"), None);

    let content = pack_with_failing_case();
    let (code, report) =
        document(&content.mandate("test", &["--format", "json", "--filter", "3 Tailspin", "--min", "90"]));
    assert_eq!(code, 1);
    let case = json!({
        "name": "3 Tailspin registers for Northwind, API",
        "file": content.path("policies/tests/scenarios.yaml"),
        "line": 17,
        "passed": false,
        "failure": "IndirectReseller::tailspin registerDevice Customer::northwind\n- deny by reseller-never-has-the-api\n+ permit by reseller-registers",
    });
    assert_eq!(report["cases"], json!([case]));
    let counts = (&report["ok"], &report["passed"], &report["failed"], &report["filtered_out"]);
    assert_eq!(counts, (&json!(false), &json!(0), &json!(1), &json!(all - 1)));
    let coverage = &report["coverage"];
    let counts = (&coverage["policies"], &coverage["policies_met"]);
    assert_eq!(counts, (&json!(pack::policies()), &json!(1)), "{coverage}");
    assert!(coverage["percent"].as_f64().unwrap() < 90.0, "{coverage}");
}

#[test]
fn test_reports_mutants_as_json_and_as_annotations() {
    if !has_solver() {
        return;
    }
    let content = Content::of(&[
        (
            "policies/schema.cedarschema",
            "entity User = { admin: Bool }; entity Doc; action view appliesTo { principal: User, resource: Doc };",
        ),
        (
            "policies/view.cedar",
            "@id(\"view\")\npermit (principal is User, action, resource)\nwhen { principal.admin };\n",
        ),
        (
            "policies/tests/a.yaml",
            "cases:\n  - { name: a, principal: \"User::a\", action: view, resource: \"Doc::a\", expect: permit }\n",
        ),
        (
            "entities/all.json",
            r#"[{"uid": {"type": "User", "id": "a"}, "attrs": {"admin": true}, "parents": []},
                {"uid": {"type": "Doc", "id": "a"}, "attrs": {}, "parents": []}]"#,
        ),
    ]);
    let (code, report) = document(&content.mandate("test", &["--mutate", "--format", "json"]));
    assert_eq!((code, &report["ok"], &report["failed"]), (1, &json!(false), &json!(0)));
    let survivor = &report["mutation"]["survivors"][0];
    let place = (&survivor["policy"], &survivor["edit"], &survivor["line"]);
    assert_eq!(place, (&json!("view"), &json!("drop a clause"), &json!(3)), "{report}");
    assert!(survivor["description"].as_str().unwrap().contains("-when { principal.admin };"), "{survivor}");
    let annotations = stdout(&content.mandate("test", &["--mutate", "--format", "github"]));
    let place = format!("::error file={},line=3,col=", content.path("policies/view.cedar").display());
    let expected = "no case and no guardrail notices this edit of `view`: drop a clause";
    assert!(annotations.starts_with(&place) && annotations.contains(expected), "{annotations}");
}

#[test]
fn fmt_reports_changes_as_json() {
    let content = Content::of_pack();
    content.write("policies/a.cedar", "// one\n@id(\"a\")\nforbid(principal,action,resource);\n");
    content.write("policies/b.cedar", "permt (principal, action, resource);");
    let (code, report) = document(&content.mandate("fmt", &["--check", "--format", "json"]));
    let summary = (code, &report["ok"], &report["written"], &report["error_count"]);
    assert_eq!(summary, (1, &json!(false), &json!(false), &json!(2)), "{report}");
    let change = &report["changes"][0];
    assert_eq!(change["file"], json!(content.path("policies/a.cedar")));
    assert!(change["diff"].as_str().unwrap().contains("\n+forbid (principal, action, resource);\n"));
    let places = report["errors"].as_array().unwrap().iter();
    let places: Vec<_> = places.map(|error| (error["message"].as_str().unwrap(), &error["line"])).collect();
    assert_eq!(places, [("invalid policy effect: permt", &json!(1)), ("not in standard form", &json!(3))]);

    std::fs::remove_file(content.path("policies/b.cedar")).unwrap();
    let (code, report) = document(&content.mandate("fmt", &["--format", "json"]));
    let summary = (code, &report["ok"], &report["written"], report["changes"].as_array().unwrap().len());
    assert_eq!(summary, (0, &json!(true), &json!(true), 1), "{report}");
    let (code, report) = document(&content.mandate("fmt", &["--check", "--format", "json"]));
    assert_eq!((code, &report["ok"], &report["changes"]), (0, &json!(true), &json!([])));
}

#[test]
fn route_lists_the_routes_as_json() {
    let content = Content::of_pack();
    let (code, report) = document(&content.mandate("route", &["--format", "json"]));
    assert_eq!(code, 0);
    let routes = report["routes"].as_array().unwrap();
    let expected = json!({
        "id": "create-batch",
        "methods": ["POST"],
        "path": "/v1/customers/{customer}/deviceBatches",
        "action": "registerDevice",
        "file": content.path("policies/routes.toml"),
        "line": 9,
    });
    assert!(routes.contains(&expected), "{report}");
    let listed = stdout(&content.mandate("route", &[])).matches("  action ").count();
    assert_eq!(routes.len(), listed);

    std::fs::remove_file(content.path("policies/routes.toml")).unwrap();
    assert_eq!(document(&content.mandate("route", &["--format", "json"])), (0, json!({ "routes": [] })));
}

#[test]
fn a_command_that_cannot_run_says_why_as_json() {
    let content = Content::of_pack();
    content.write("policies/a.cedar", "@id(\"a\")\npermt (principal, action, resource);");
    for verb in ["check", "test", "prove", "lint", "route"] {
        let (code, report) = document(&content.mandate(verb, &["--format", "json"]));
        assert_eq!((code, &report["ok"], &report["error_count"]), (1, &json!(false), &json!(1)), "{verb}");
        let (message, line) = (&report["errors"][0]["message"], &report["errors"][0]["line"]);
        assert_eq!((message, line), (&json!("invalid policy effect: permt"), &json!(2)), "{verb}");
    }
    let (code, report) = document(&Content::of_pack().mandate("test", &["--format", "json", "nothing.yaml"]));
    let message = report["errors"][0]["message"].as_str().unwrap();
    assert!(code == 1 && message.starts_with("cannot read `nothing.yaml`: "), "{report}");
    let watch = content.mandate("test", &["--format", "json", "--watch"]);
    assert_eq!(watch.status.code(), Some(1), "it would print more than one document");
}

/// Standard output as lines, each an annotation.
#[track_caller]
fn annotations(output: &Output) -> Vec<String> {
    let shown = stdout(output);
    assert!(shown.lines().all(|line| line.starts_with("::error")), "{shown}");
    shown.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn test_annotates_failing_cases() {
    let content = pack_with_failing_case();
    let (name, odd_name) = ("3 Tailspin registers for Northwind, API", "3% \\n::error::x");
    content.edit("policies/tests/scenarios.yaml", name, odd_name);
    let test = |args: &[&str], on_github: &str| {
        let mut command = mandate();
        command.current_dir(content.path("")).env("GITHUB_ACTIONS", on_github).arg("test").args(args);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        output
    };
    let expected = "::error file=policies/tests/scenarios.yaml,line=17,col=5::`3%25 %0A::error::x` fails: IndirectReseller::tailspin registerDevice Customer::northwind; expected deny by reseller-never-has-the-api, found permit by reseller-registers";
    let only = ["--filter", "3% "];
    assert_eq!(annotations(&test(&[&only[..], &["--format", "github"]].concat(), "false")), [expected]);
    let shown = stdout(&test(&only, "true"));
    assert!(shown.starts_with("FAIL ") && shown.ends_with(&format!("ms\n{expected}\n")), "{shown}");
    assert!(!stdout(&test(&only, "false")).contains("::error file"), "without GitHub there are none");
    assert!(!stdout(&test(&[&only[..], &["--format", "text"]].concat(), "true")).contains("::error file"));

    content.edit("policies/tests/scenarios.yaml", "expect: {", "expekt: {");
    let broken = test(&["--format", "github"], "false");
    let expected = "::error file=policies/tests/scenarios.yaml,line=8,col=5::unknown key `expekt` (did you mean `expect`?)";
    assert_eq!(annotations(&broken), [expected]);
    let shown = stdout(&test(&[], "true"));
    assert_eq!(shown, format!("{expected}\n"), "people read the text on standard error");
}

#[test]
fn prove_annotates_claims_and_cases() {
    if !has_solver() {
        return;
    }
    let content = pack_with_failing_case();
    content.edit("policies/routes.toml", "\"x-partner-id\"", "\"x-user\"");
    content.write("required.txt", "no-such-claim\n");
    let prove = |args: &[&str], on_github: &str| {
        let mut command = mandate();
        command.current_dir(content.path("")).env("GITHUB_ACTIONS", on_github).arg("prove").args(args);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        output
    };
    let found = annotations(&prove(&["--require-claims", "required.txt", "--format", "github"], "false"));
    let claim = "::error file=policies/guardrails/registration.cedar,line=19,col=1::the claim `resellers-use-the-ui-alone` is broken: ";
    let case = "::error file=policies/guardrails/routes.yaml,line=15,col=9::the guardrail `";
    for expected in ["::error::the claim `no-such-claim` is missing", claim, case] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "`{expected}` is not in:\n{found:#?}");
    }
    let shown = stdout(&prove(&[], "true"));
    let (text, annotations) = shown.split_once("\n::error ").unwrap();
    assert!(text.contains("BROKEN") && annotations.contains("resellers-use-the-ui-alone"), "{shown}");
    assert!(!stdout(&prove(&[], "false")).contains("::error file"), "without GitHub there are none");
    let suite = stdout(&prove(&["--emit-test"], "true"));
    assert!(suite.starts_with("cases:\n") && !suite.contains("::error file"), "{suite}");
    document(&prove(&["--format", "json"], "true"));
}
