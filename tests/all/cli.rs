//! `check`, `decide` and `test` as people and CI run them.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Content, mandate, register};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
}

#[test]
fn check_passes_the_pack() {
    let output = Content::of_pack().mandate("check", &[]);
    ends(&output, 0);
    assert!(stdout(&output).starts_with("ok: 24 policies, 39 entities, revision "), "{}", stdout(&output));
}

/// Everything at once: two policies, an edge that dangles and an entity of a wrong shape.
fn broken() -> Content {
    let content = Content::of_pack();
    content.edit("policies/consent.cedar", "when { principal.active };", "when { principal.activ };");
    content.edit("policies/administration.cedar", "permit (", "permt (");
    content.edit(
        "entities/customers.json",
        r#""roles": [{"type": "Autopilot::Role", "id": "user"}]"#,
        r#""roles": "user""#,
    );
    content
}

#[test]
fn check_shows_all_errors_with_their_source() {
    let output = broken().mandate("check", &[]);
    ends(&output, 1);
    let text = stdout(&output);
    for part in [
        "administration.cedar:5:1",
        "consent.cedar:14:8",
        "permt",
        "customers.json:8:",
        "attrs.roles: expected an array, found a string",
        "7 errors",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn check_for_machines() {
    let content = broken();
    let json: Value =
        serde_json::from_str(&stdout(&content.mandate("check", &["--format", "json"]))).unwrap();
    assert_eq!((&json["ok"], &json["error_count"]), (&json!(false), &json!(7)));
    let error = &json["errors"][0];
    assert!(error["file"].as_str().unwrap().ends_with("administration.cedar"));
    assert_eq!((error["line"].as_u64(), error["column"].as_u64()), (Some(5), Some(1)));
    let github = stdout(&content.mandate("check", &["--format", "github"]));
    assert!(github.lines().all(|line| line.starts_with("::error file=")), "{github}");
    assert!(github.contains("administration.cedar,line=5,col=1::"), "{github}");
    let on_github = content.command("check").env("GITHUB_ACTIONS", "true").output().unwrap();
    assert!(stdout(&on_github).contains("::error file="), "annotations beside the text");
}

/// `check` says all that is wrong with what `check` reads; each of these is refused whole.
#[test]
fn check_holds_entities_together() {
    let check = |edit: &dyn Fn(&Content), says: &str| {
        let content = Content::of_pack();
        edit(&content);
        let output = content.mandate("check", &[]);
        ends(&output, 1);
        assert!(stdout(&output).contains(says), "`{says}` is not in:\n{}", stdout(&output));
    };
    let partnerships = "entities/partnerships.json";
    let provider = r#"{"type": "Autopilot::IndirectProvider", "id": "wingtip"}, "#;
    let twice = r#"{"type": "Autopilot::IndirectProvider", "id": "wingtip"}, {"type": "Autopilot::IndirectProvider", "id": "proseware"}, "#;
    check(
        &|c| c.edit(partnerships, provider, ""),
        "must be in exactly one `Autopilot::IndirectProvider`, it is in 0",
    );
    check(
        &|c| c.edit(partnerships, provider, twice),
        "exactly one `Autopilot::IndirectProvider`, it is in 2",
    );
    let customers = "entities/customers.json";
    let contoso = r#""parents": [{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}"#;
    check(
        &|c| c.edit(customers, contoso, r#""parents": [{"type": "Autopilot::CspConsent", "id": "gone"}"#),
        "which does not exist",
    );
    check(
        &|c| {
            c.edit(
                customers,
                contoso,
                r#""parents": [{"type": "Autopilot::CspConsent", "id": "relecloud--tailspin"}"#,
            );
        },
        "whose `customer` is `Autopilot::Customer::\"relecloud\"`",
    );
    check(
        &|c| {
            c.edit(
                customers,
                contoso,
                r#""parents": [{"type": "Autopilot::DirectBillPartner", "id": "fabrikam"}"#,
            );
        },
        "cannot be directly in a `Autopilot::DirectBillPartner`: expected one of",
    );
    check(
        &|c| c.write("entities/more.json", &c.read("entities/partners.json")),
        "is defined twice, first at",
    );
    check(
        &|c| c.write("policies/more.cedar", &c.read("policies/consent.cedar")),
        "the `@id` `partner-requests-consent` is used twice, first at",
    );
    check(
        &|c| {
            c.edit(
                "policies/schema.cedarschema",
                "@only_member(\"customer\")\n  entity Csp",
                "@only_members(\"customer\")\n  entity Csp",
            );
        },
        "unknown annotation `@only_members` on `Autopilot::CspConsent`",
    );
    check(&|c| c.write("policies/two.cedarschema", "entity X;"), "there are several schemas");
    check(&|c| std::fs::remove_file(c.path("policies/schema.cedarschema")).unwrap(), "there is no schema in");
    check(
        &|c| c.write("policies/t.cedar", "permit (principal == ?principal, action, resource);"),
        "a template",
    );
    check(&|c| c.write("policies/x.cedar", "permit (principal, action, resource) when { 1 };"), "x.cedar:1:");
    check(&|c| std::fs::write(c.path("policies/y.cedar"), [0xff, 0xfe]).unwrap(), "is not valid UTF-8");
}

#[test]
fn check_knows_the_level() {
    let content = Content::of_pack();
    // Five references in a row are more than a decision gathers.
    content.write(
        "policies/deep.cedar",
        r#"@id("deep") permit (principal is Autopilot::TenantUser, action == Autopilot::Action::"acceptConsent", resource is Autopilot::CspConsent)
        when { resource has acceptedBy && resource.acceptedBy.customer in resource.acceptedBy.customer };"#,
    );
    ends(&content.mandate("check", &[]), 0);
    content.edit(
        "policies/schema.cedarschema",
        "entity TenantUser = {",
        "entity TenantUser = {\n    next?: TenantUser,",
    );
    content.write(
        "policies/deep.cedar",
        r#"@id("deep") permit (principal is Autopilot::TenantUser, action, resource) when {
          principal has next && principal.next has next && principal.next.next has next &&
          principal.next.next.next has next && principal.next.next.next.next has next };"#,
    );
    let output = content.mandate("check", &[]);
    ends(&output, 1);
    assert!(stdout(&output).contains("level"), "{}", stdout(&output));
}

const TAILSPIN: [&str; 6] = [
    "--principal",
    "IndirectReseller::tailspin",
    "--action",
    "registerDevice",
    "--resource",
    "Customer::northwind",
];

#[test]
fn decide_by_flags() {
    let content = Content::of_pack();
    let decide =
        |context: &str| content.mandate("decide", &[&TAILSPIN[..], &["--context", context]].concat());
    let permit = decide("channel=partner-center-ui");
    ends(&permit, 0);
    assert!(stdout(&permit).starts_with("permit\n"), "{}", stdout(&permit));
    let deny = decide("channel=partner-center-api");
    ends(&deny, 2);
    for part in
        ["deny\n  forbidden by", "reseller-never-has-the-api", "registration.cedar:", "it never has the API."]
    {
        assert!(stdout(&deny).contains(part), "{}", stdout(&deny));
    }
    let error = decide("channel=fax");
    ends(&error, 1);
    assert!(stderr(&error).contains("context.channel: `fax`"), "{}", stderr(&error));
    ends(&decide("channel"), 1);
    ends(&content.mandate("decide", &["--principle", "x"]), 1);
    ends(&content.mandate("decide", &["--principal", "DirectBillPartner::fabrikam"]), 1);
    ends(&content.mandate("decide", &["--help"]), 0);
}

#[test]
fn decide_on_standard_input() {
    let content = Content::of_pack();
    let ask = |body: &str| {
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
        ask(&register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api").to_string());
    ends(&permit, 0);
    let answer: Value = serde_json::from_str(&stdout(&permit)).unwrap();
    assert_eq!(answer["decision"], json!(true));
    assert_eq!(answer["context"]["reason_admin"]["policies"], json!(["direct-bill-registers"]));
    ends(
        &ask(&register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api").to_string()),
        2,
    );
    ends(&ask("{"), 1);
    ends(&ask("{}"), 1);
}

#[test]
fn the_packs_suite_passes() {
    let output = Content::of_pack().mandate("test", &[]);
    ends(&output, 0);
    assert!(stdout(&output).contains(" 0 failed, 0 filtered out"), "{}", stdout(&output));
}

#[test]
fn a_failing_case_shows_what_differs() {
    let content = Content::of_pack();
    content.edit(
        "policies/registration.cedar",
        "unless { context.channel == ",
        "unless { context.channel != ",
    );
    let output = content
        .mandate("test", &["--filter", "3 Tailspin", "--junit", content.path("junit.xml").to_str().unwrap()]);
    ends(&output, 1);
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
fn suites_that_cannot_be_read_or_asked() {
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
    ends(&case("    expect: permit\n"), 0);
    let check = |output: Output, says: &str| {
        ends(&output, 1);
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains(says), "`{says}` is not in:\n{text}");
    };
    check(case("    expect: perhaps\n"), "suite.yaml:");
    check(case("    expect: permit\n    whatever: 1\n"), "unknown field");
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
    check(case("    expect: { permit: [other] }\n"), "- permit by other");
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
fn wrong_flags_and_files_are_explained() {
    let content = Content::of_pack();
    let unknown = mandate().args(["serve", "--lisen", "x"]).output().unwrap();
    ends(&unknown, 1);
    assert!(stderr(&unknown).contains("--listen"), "{}", stderr(&unknown));
    let nowhere = mandate().args(["check", "--policies", "/nowhere"]).output().unwrap();
    ends(&nowhere, 1);
    assert!(stdout(&nowhere).contains("cannot read `/nowhere`: No such file"), "{}", stdout(&nowhere));
    assert!(stdout(&nowhere).contains("--policies"), "{}", stdout(&nowhere));
    content.write("mandate.toml", "listen = \"127.0.0.1:0\"\nlisten-admin = 1\n");
    let file = content
        .command("serve")
        .args(["--config", content.path("mandate.toml").to_str().unwrap()])
        .output()
        .unwrap();
    ends(&file, 1);
    assert!(
        stderr(&file).contains("unknown field `listen-admin`") && stderr(&file).contains("mandate.toml:2:1"),
        "{}",
        stderr(&file)
    );
    let serve = |args: &[&str], says: &str| {
        let output = content.mandate("serve", args);
        ends(&output, 1);
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    };
    serve(&["--listen", "127.0.0.1:8181", "--admin-listen", "127.0.0.1:8181"], "the same address");
    serve(&["--max-batch", "0"], "'--max-batch <N>': has to be at least 1");
    serve(&["--poll", "1ns"], "`poll` has to be at least 100ms");
    serve(&["--log", "a=b=c"], "`a=b=c` is not a valid log filter");
    ends(&content.mandate("check", &["--described-by-callers", " , Device"]), 0);
    let kind = content.mandate("check", &["--described-by-callers", "Nothing"]);
    ends(&kind, 1);
    assert!(stdout(&kind).contains("no entity type `Nothing`"), "{}", stdout(&kind));
    let enumerated = content.mandate("check", &["--described-by-callers", "Channel"]);
    ends(&enumerated, 1);
    assert!(stdout(&enumerated).contains("`Channel` is an enumerated type"), "{}", stdout(&enumerated));
}

#[test]
fn a_start_with_broken_content_is_refused_with_all_errors() {
    let output = broken().mandate("serve", &["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    ends(&output, 1);
    assert!(
        stderr(&output).contains("permt") && stderr(&output).contains("attrs.roles"),
        "{}",
        stderr(&output)
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        Content::of_pack().mandate("serve", &["--listen", "127.0.0.1:0", "--admin-listen", &address]);
    ends(&output, 1);
    assert!(stderr(&output).contains(&format!("cannot listen on {address}")), "{}", stderr(&output));
}

/// A flag goes before the environment, and that before the file.
#[test]
fn precedence_of_options() {
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
