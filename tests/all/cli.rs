//! The verbs `check`, `decide` and `test` as people and CI run them, and the errors of `serve` at its start.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Content, mandate, pack, register};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn check_exit_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
}

#[test]
fn check_accepts_the_pack() {
    let output = Content::of_pack().mandate("check", &[]);
    check_exit_code(&output, 0);
    let (policies, changes) = (pack::policies(), pack::changes());
    let start = format!("ok: {policies} policies, 39 entities, {changes} changes, revision ");
    assert!(stdout(&output).starts_with(&start), "{}", stdout(&output));
}

/// The pack with errors in two policy files and in one entity.
fn broken_pack() -> Content {
    let content = Content::of_pack();
    // The condition of `partner-requests-consent`.
    let condition = "  resource is Autopilot::Customer\n)\nwhen\n{\n  principal.active &&";
    content.edit("policies/consent.cedar", condition, &condition.replace("active", "activ"));
    content.edit("policies/administration.cedar", "permit (", "permt (");
    content.edit(
        "entities/customers.json",
        r#""roles": [{"type": "Autopilot::Role", "id": "user"}]"#,
        r#""roles": "user""#,
    );
    content
}

#[test]
fn check_shows_all_errors_with_their_places() {
    let content = broken_pack();
    let output = content.mandate("check", &[]);
    check_exit_code(&output, 1);
    let text = stdout(&output);
    let line = |file: &str, text| content.line_of(file, text);
    for part in [
        &*format!("administration.cedar:{}:1", line("policies/administration.cedar", "permt (")),
        &format!("consent.cedar:{}:3", line("policies/consent.cedar", "principal.activ ")),
        "permt",
        &format!("customers.json:{}:", line("entities/customers.json", r#""roles": "user""#)),
        "attrs.roles: expected an array, found a string",
        "7 errors",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "without a terminal there are no colours");
}

#[test]
fn check_prints_errors_as_json_and_as_github_annotations() {
    let content = broken_pack();
    let json: Value =
        serde_json::from_str(&stdout(&content.mandate("check", &["--format", "json"]))).unwrap();
    assert_eq!((&json["ok"], &json["error_count"]), (&json!(false), &json!(7)));
    let line = content.line_of("policies/administration.cedar", "permt (");
    let error = &json["errors"][0];
    assert!(error["file"].as_str().unwrap().ends_with("administration.cedar"));
    assert_eq!((&error["line"], &error["column"]), (&json!(line), &json!(1)));
    let github = stdout(&content.mandate("check", &["--format", "github"]));
    assert!(github.lines().all(|line| line.starts_with("::error file=")), "{github}");
    assert!(github.contains(&format!("administration.cedar,line={line},col=1::")), "{github}");
    let on_github = content.command("check").env("GITHUB_ACTIONS", "true").output().unwrap();
    assert!(stdout(&on_github).contains("::error file="), "in GitHub Actions, annotations follow the text");
}

#[test]
fn check_shows_the_root_cause_first_and_no_warnings_that_follow_from_it() {
    const SCOPE: &str = "principal is Autopilot::Oem, action == Autopilot::Action::\"registerDevice\", resource is Autopilot::Customer";
    let check = |scope: String, condition: &str, error: &str| {
        let content = Content::of_pack();
        content
            .write("policies/a.cedar", "@id(\"other\") forbid (principal, action, resource) when { false };");
        content.write("policies/c.cedar~", "");
        content.write(
            "policies/b.cedar",
            &format!("@emergency(\"a\") forbid ({scope}) when {{ {condition} }};"),
        );
        let output = content.mandate("check", &[]);
        check_exit_code(&output, 1);
        let text = stdout(&output);
        assert!(text.trim_start().starts_with("× for policy `b.cedar#1`"), "the error comes first:\n{text}");
        assert!(text.contains(error), "{text}");
        assert!(text.contains("⚠ for policy `other`, policy is impossible"), "{text}");
        assert!(text.contains("looks like a file of the policy folder"), "{text}");
        assert!(!text.contains("⚠ for policy `b.cedar#1`") && !text.contains("no `@id`"), "{text}");
        assert!(!text.contains("is an emergency"), "{text}");
        let shown = |mark: char| text.lines().filter(|line| line.trim_start().starts_with(mark)).count();
        assert_eq!(shown('×'), 1, "{text}");
        assert!(text.ends_with(&format!("1 error, {} warnings\n", shown('⚠'))), "{text}");
    };
    check(SCOPE.replace("::Oem", "::Om"), "principal.active", "unrecognized entity type `Autopilot::Om`");
    check(SCOPE.replace("::Customer", "::Custmer"), "true", "unrecognized entity type `Autopilot::Custmer`");
    check(SCOPE.replace("registerDevice", "registrDevice"), "principal.active", "unrecognized action");
    check(SCOPE.to_owned(), "resource in Autopilot::Custmer::\"a\"", "unrecognized entity type");
    check(SCOPE.to_owned(), "principal.activ", "attribute `activ` on entity type `Autopilot::Oem` not found");
}

/// `mandate check` refuses the edited pack with this message.
#[track_caller]
fn check_refused(edit: &dyn Fn(&Content), message: &str) {
    let content = Content::of_pack();
    edit(&content);
    let output = content.mandate("check", &[]);
    check_exit_code(&output, 1);
    assert!(stdout(&output).contains(message), "`{message}` is not in:\n{}", stdout(&output));
}

#[test]
fn check_refuses_entities_that_break_a_rule() {
    let partnerships = "entities/partnerships.json";
    let provider = r#"{"type": "Autopilot::IndirectProvider", "id": "wingtip"}, "#;
    let twice = r#"{"type": "Autopilot::IndirectProvider", "id": "wingtip"}, {"type": "Autopilot::IndirectProvider", "id": "proseware"}, "#;
    check_refused(
        &|content| content.edit(partnerships, provider, ""),
        "must be in exactly one `Autopilot::IndirectProvider`, it is in 0",
    );
    check_refused(
        &|content| content.edit(partnerships, provider, twice),
        "exactly one `Autopilot::IndirectProvider`, it is in 2",
    );
    let customers = "entities/customers.json";
    let contoso = r#""parents": [{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}"#;
    check_refused(
        &|content| {
            content.edit(
                customers,
                contoso,
                r#""parents": [{"type": "Autopilot::CspConsent", "id": "gone"}"#,
            );
        },
        "which does not exist",
    );
    check_refused(
        &|content| {
            content.edit(
                customers,
                contoso,
                r#""parents": [{"type": "Autopilot::CspConsent", "id": "relecloud--tailspin"}"#,
            );
        },
        "whose `customer` is `Autopilot::Customer::\"relecloud\"`",
    );
    check_refused(
        &|content| {
            let accepted = r#", "acceptedBy": {"type": "Autopilot::TenantUser", "id": "admin@contoso"}}, "parents": [{"type": "Autopilot::D"#;
            content.edit("entities/consents.json", accepted, r#"}, "parents": [{"type": "Autopilot::D"#);
        },
        "is in `Autopilot::CspConsent::\"contoso--fabrikam\"`, which has no `acceptedBy`",
    );
    check_refused(
        &|content| {
            content.edit(
                customers,
                contoso,
                r#""parents": [{"type": "Autopilot::DirectBillPartner", "id": "fabrikam"}"#,
            );
        },
        "cannot be directly in a `Autopilot::DirectBillPartner`: expected one of",
    );
    check_refused(
        &|content| content.write("entities/more.json", &content.read("entities/partners.json")),
        "is defined twice, first at",
    );
}

#[test]
fn check_refuses_policies_and_schemas_that_break_a_rule() {
    check_refused(
        &|content| content.write("policies/more.cedar", &content.read("policies/consent.cedar")),
        "the `@id` `partner-requests-consent` is used twice, first at",
    );
    check_refused(
        &|content| {
            content.edit(
                "policies/schema.cedarschema",
                "@only_member(\"customer\")\n  @member_requires(\"acceptedBy\")\n  entity Csp",
                "@only_members(\"customer\")\n  entity Csp",
            );
        },
        "unknown annotation `@only_members` on `Autopilot::CspConsent`",
    );
    check_refused(
        &|content| content.write("policies/two.cedarschema", "entity X;"),
        "there are several schemas",
    );
    check_refused(
        &|content| std::fs::remove_file(content.path("policies/schema.cedarschema")).unwrap(),
        "there is no schema in",
    );
    check_refused(
        &|content| content.write("policies/t.cedar", "permit (principal == ?principal, action, resource);"),
        "a template",
    );
    check_refused(
        &|content| content.write("policies/x.cedar", "permit (principal, action, resource) when { 1 };"),
        "x.cedar:1:",
    );
    check_refused(
        &|content| std::fs::write(content.path("policies/y.cedar"), [0xff, 0xfe]).unwrap(),
        "is not valid UTF-8",
    );
}

#[test]
fn check_refuses_a_policy_that_follows_too_many_references() {
    let content = Content::of_pack();
    content.write(
        "policies/deep.cedar",
        r#"@id("deep") permit (principal is Autopilot::TenantUser, action == Autopilot::Action::"acceptConsent", resource is Autopilot::CspConsent)
        when { resource has acceptedBy && resource.acceptedBy.customer in resource.acceptedBy.customer };"#,
    );
    check_exit_code(&content.mandate("check", &[]), 0);
    content.edit(
        "policies/schema.cedarschema",
        "entity TenantUser = {",
        "entity TenantUser = {\n    next?: TenantUser,",
    );
    // A policy may follow at most four references in a row. This one follows five.
    content.write(
        "policies/deep.cedar",
        r#"@id("deep") permit (principal is Autopilot::TenantUser, action, resource) when {
          principal has next && principal.next has next && principal.next.next has next &&
          principal.next.next.next has next && principal.next.next.next.next has next };"#,
    );
    let output = content.mandate("check", &[]);
    check_exit_code(&output, 1);
    assert!(stdout(&output).contains("level"), "{}", stdout(&output));
}

const TAILSPIN_REGISTERS: [&str; 6] = [
    "--principal",
    "IndirectReseller::tailspin",
    "--action",
    "registerDevice",
    "--resource",
    "Customer::northwind",
];

#[test]
fn decide_reads_a_question_from_flags() {
    let content = Content::of_pack();
    let decide = |context: &str| {
        content.mandate("decide", &[&TAILSPIN_REGISTERS[..], &["--context", context]].concat())
    };
    let permit = decide("channel=partner-center-ui");
    check_exit_code(&permit, 0);
    assert!(stdout(&permit).starts_with("permit\n"), "{}", stdout(&permit));
    let deny = decide("channel=partner-center-api");
    check_exit_code(&deny, 2);
    for part in
        ["deny\n  forbidden by", "reseller-never-has-the-api", "registration.cedar:", "it never has the API."]
    {
        assert!(stdout(&deny).contains(part), "{}", stdout(&deny));
    }
    let error = decide("channel=fax");
    check_exit_code(&error, 1);
    assert!(stderr(&error).contains("context.channel: `fax`"), "{}", stderr(&error));
    check_exit_code(&decide("channel"), 1);
    check_exit_code(&content.mandate("decide", &["--principle", "x"]), 1);
    check_exit_code(&content.mandate("decide", &["--principal", "DirectBillPartner::fabrikam"]), 1);
    check_exit_code(&content.mandate("decide", &["--help"]), 0);
}

#[test]
fn decide_reads_a_question_from_standard_input() {
    let content = Content::of_pack();
    let decide = |body: &str| {
        let mut child = content
            .command("decide")
            .args(["--format", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let permit =
        decide(&register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api").to_string());
    check_exit_code(&permit, 0);
    let answer: Value = serde_json::from_str(&stdout(&permit)).unwrap();
    assert_eq!(answer["decision"], json!(true));
    assert_eq!(answer["context"]["reason_admin"]["policies"], json!(["direct-bill-registers"]));
    check_exit_code(
        &decide(&register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api").to_string()),
        2,
    );
    check_exit_code(&decide("{"), 1);
    check_exit_code(&decide("{}"), 1);
}

#[test]
fn the_tests_of_the_pack_pass() {
    let output = Content::of_pack().mandate("test", &[]);
    check_exit_code(&output, 0);
    assert!(stdout(&output).contains(" 0 failed, 0 filtered out"), "{}", stdout(&output));
}

#[test]
fn a_failed_case_shows_the_expected_and_the_actual_decision() {
    let content = Content::of_pack();
    content.edit(
        "policies/registration.cedar",
        "unless { context.channel == ",
        "unless { context.channel != ",
    );
    let output = content
        .mandate("test", &["--filter", "3 Tailspin", "--junit", content.path("junit.xml").to_str().unwrap()]);
    check_exit_code(&output, 1);
    let text = stdout(&output);
    for part in [
        "scenarios.yaml:17: 3 Tailspin registers for Northwind, API",
        "- deny by reseller-never-has-the-api",
        "+ permit by reseller-registers",
        "1 case: 0 passed, 1 failed",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let junit = content.read("junit.xml");
    assert!(junit.contains(r#"tests="1""#) && junit.contains(r#"failures="1""#), "{junit}");
}

#[test]
fn the_junit_report_has_the_place_of_each_case() {
    let content = Content::of_pack();
    let report = content.path("junit.xml");
    check_exit_code(&content.mandate("test", &["--junit", report.to_str().unwrap()]), 0);
    let junit = content.read("junit.xml");
    let cases: Vec<&str> = junit.lines().filter(|line| line.trim_start().starts_with("<testcase ")).collect();
    assert!(cases.len() > 350, "{}", cases.len());
    let place = |file: &str, line: usize| {
        format!(r#"file="{}" line="{line}""#, content.path("policies/tests").join(file).display())
    };
    for (name, file, line) in [
        ("3 Tailspin registers for Northwind, API", "scenarios.yaml", 17),
        ("register: direct-bill, consent accepted: API", "decision-table.yaml", 12),
        ("register: direct-bill, consent accepted: UI", "decision-table.yaml", 12),
    ] {
        let case = cases.iter().find(|case| case.contains(name)).unwrap();
        assert!(case.contains(&place(file, line)), "{case}");
    }
    assert!(cases.iter().all(|case| case.contains(" file=\"") && case.contains(" line=\"")), "{junit}");
}

#[test]
fn errors_in_test_files_are_explained() {
    let content = Content::of_pack();
    let run = |text: &str| {
        content.write("suite.yaml", text);
        content.mandate("test", &[content.path("suite.yaml").to_str().unwrap()])
    };
    let case = |more: &str| {
        run(&format!(
            "cases:\n  - name: a\n    principal: DirectBillPartner::fabrikam\n    action: viewCustomer\n    resource: Customer::contoso\n{more}"
        ))
    };
    check_exit_code(&case("    expect: permit\n"), 0);
    let check = |output: Output, expected: &str| {
        check_exit_code(&output, 1);
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains(expected), "`{expected}` is not in:\n{text}");
    };
    check(case("    expect: perhaps\n"), "suite.yaml:");
    check(case("    expect: permit\n    whatever: 1\n"), "unknown key `whatever`");
    check(case("    expect: permit\n    given: [{ remove: \"Customer::nobody\" }]\n"), "it is not there");
    check(
        case("    expect: permit\n    given: [{ remove: \"CspConsent::contoso--fabrikam\" }]\n"),
        "is still in",
    );
    check(
        case(
            "    expect: permit\n    given: [{ without: [\"Customer::contoso\", \"CspConsent::relecloud--tailspin\"] }]\n",
        ),
        "is not in",
    );
    check(case("    expect: error\n"), "+ permit by partner-views-customer");
    check(
        case("    expect: { permit: [oem-registers] }\n"),
        "- permit by oem-registers\n     + permit by partner-views-customer",
    );
    check(run("cases:\n  - name: a\n    expect: permit\n"), "`a` has no `principal`");
    check(
        run("tables:\n  - name: t\n    columns: [{ name: c }]\n    rows: [{ name: r, expect: [] }]\n"),
        "`r` has 0 answers in its list `expect`, the table has 1 columns",
    );
    check(run("cases:\n  - name: a\n    expect: [permit]\n"), "`a` has to have one answer in `expect`");
    check(
        run("tables:\n  - name: t\n    rows: []\n    columns: []\n"),
        "`t` has to have `columns` and `rows`",
    );
    check(run("cases:\n  - name: a\n    name: b\n"), "suite.yaml:3:");
    check(run("cases: []\n"), "there is no case to run");
}

#[test]
fn errors_in_options_and_configuration_files_are_explained() {
    let content = Content::of_pack();
    let unknown = mandate().args(["serve", "--lisen", "x"]).output().unwrap();
    check_exit_code(&unknown, 1);
    assert!(stderr(&unknown).contains("--listen"), "{}", stderr(&unknown));
    let nowhere = mandate().args(["check", "--policies", "/nowhere"]).output().unwrap();
    check_exit_code(&nowhere, 1);
    assert!(stdout(&nowhere).contains("cannot read `/nowhere`: No such file"), "{}", stdout(&nowhere));
    assert!(stdout(&nowhere).contains("--policies"), "{}", stdout(&nowhere));
    content.write("mandate.toml", "listen = \"127.0.0.1:0\"\nlisten-admin = 1\n");
    let file = content
        .command("serve")
        .args(["--config", content.path("mandate.toml").to_str().unwrap()])
        .output()
        .unwrap();
    check_exit_code(&file, 1);
    assert!(
        stderr(&file).contains("unknown field `listen-admin`") && stderr(&file).contains("mandate.toml:2:1"),
        "{}",
        stderr(&file)
    );
    let serve = |args: &[&str], expected: &str| {
        let output = content.mandate("serve", args);
        check_exit_code(&output, 1);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    };
    serve(&["--listen", "127.0.0.1:8181", "--admin-listen", "127.0.0.1:8181"], "the same address");
    serve(&["--max-batch", "0"], "'--max-batch <N>': has to be at least 1");
    serve(&["--poll", "1ns"], "`poll` has to be at least 100ms");
    serve(&["--log", "a=b=c"], "`a=b=c` is not a valid log filter");
    check_exit_code(&content.mandate("check", &["--described-by-callers", " , Device"]), 0);
    let kind = content.mandate("check", &["--described-by-callers", "Nothing"]);
    check_exit_code(&kind, 1);
    assert!(stdout(&kind).contains("no entity type `Nothing`"), "{}", stdout(&kind));
    let enumerated = content.mandate("check", &["--described-by-callers", "Channel"]);
    check_exit_code(&enumerated, 1);
    assert!(stdout(&enumerated).contains("`Channel` is an enumerated type"), "{}", stdout(&enumerated));
}

#[test]
fn serve_refuses_to_start_on_broken_content_and_shows_all_errors() {
    let output =
        broken_pack().mandate("serve", &["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    check_exit_code(&output, 1);
    assert!(
        stderr(&output).contains("permt") && stderr(&output).contains("attrs.roles"),
        "{}",
        stderr(&output)
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        Content::of_pack().mandate("serve", &["--listen", "127.0.0.1:0", "--admin-listen", &address]);
    check_exit_code(&output, 1);
    assert!(stderr(&output).contains(&format!("cannot listen on {address}")), "{}", stderr(&output));
}

#[test]
fn flags_override_the_environment_and_it_overrides_the_file() {
    let content = Content::of_pack();
    content.write("mandate.toml", "policies = \"from-file\"\nentities = \"from-file\"\n");
    let check = |flag: bool, env: bool| {
        let mut command = mandate();
        command.arg("check").current_dir(content.path(".")).args(["--config", "mandate.toml"]);
        if flag {
            command.args(["--policies", "from-flag"]);
        }
        if env {
            command.env("MANDATE_POLICIES", "from-env");
        }
        stdout(&command.output().unwrap())
    };
    assert!(check(false, false).contains("`from-file`"));
    assert!(check(false, true).contains("`from-env`"));
    assert!(check(true, true).contains("`from-flag`"));
}
