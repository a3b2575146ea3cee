//! Mistakes in suite files: each is one error, with its place and in words for the person who writes the suite.

use crate::support::Content;

/// A case that passes on the pack, without its `expect`.
const CASE: &str = "cases:
  - name: a
    principal: DirectBillPartner::fabrikam
    action: viewCustomer
    resource: Customer::contoso
";

/// The errors about a suite as `(line, column, message, help)`.
fn errors(suite: &str) -> Vec<(u64, u64, String, String)> {
    let content = Content::of_pack();
    content.write("policies/guardrails/suite.yaml", suite);
    let check = content.mandate("check", &["--format", "json"]);
    let shown = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(1), "{shown}");
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let errors = report["errors"].as_array().unwrap().iter().map(|error| {
        assert!(error["file"].as_str().unwrap().ends_with("guardrails/suite.yaml"), "{error}");
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let (line, column) = (error["line"].as_u64().unwrap(), error["column"].as_u64().unwrap());
        (line, column, text("message"), text("help"))
    });
    errors.collect()
}

/// A suite has one error, at this place. `test` shows it with an excerpt.
#[track_caller]
fn check(suite: &str, place: (u64, u64), message: &str, help: &str) {
    assert_eq!(errors(suite), [(place.0, place.1, message.to_owned(), help.to_owned())], "{suite}");
    let content = Content::of_pack();
    content.write("suite.yaml", suite);
    let test = content.mandate("test", &[content.path("suite.yaml").to_str().unwrap()]);
    let shown = String::from_utf8(test.stderr).unwrap();
    assert_eq!(test.status.code(), Some(1), "{shown}");
    let line = suite.lines().nth(usize::try_from(place.0).unwrap() - 1).unwrap().replace('\t', "    ");
    let excerpt = format!("suite.yaml:{}:{}]", place.0, place.1);
    for part in [&excerpt, line.as_str(), message, "1 error, 0 warnings"] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    assert_eq!(shown.matches('×').count(), 1, "{shown}");
    assert!(!shown.contains(" column "), "there is a second place:\n{shown}");
}

const INDENTATION: &str = "the indentation of this line fits no line above";
const SAME_COLUMN: &str = "the keys of one entry begin in the same column, and so do the `-` of one list";

#[test]
fn what_is_not_yaml_is_one_error_at_its_place() {
    let case = |more: &str| format!("{CASE}{more}");
    check(&case("   expect: permit\n"), (6, 4), INDENTATION, SAME_COLUMN);
    check(
        &case("      expect: permit\n"),
        (6, 13),
        "there cannot be a `:` here",
        "check the indentation; a text with `: ` in it needs quotes",
    );
    let tab = "there is a tab where only spaces can be";
    check(&case("\texpect: permit\n"), (6, 1), tab, "indent with spaces");
    check("cases:\n\t- name: a\n    action: b\t\n", (2, 1), tab, "indent with spaces");
    check(&case("    expect: \"permit\n"), (6, 13), "this quote is not closed", "");
    check(&case("    expect: { permit: [a\n"), (6, 23), "this `[` is not closed", "");
    check(
        &case("    expect: *x\n"),
        (6, 13),
        "there is no anchor of this name above",
        "name a value with `&` first; a text that begins with `*` needs quotes",
    );
    check(&case("    expect: @x\n"), (6, 13), "a text cannot begin with `@`", "put it in quotes");
    check(
        "cases: []\n---\ncases: []\n",
        (3, 1),
        "a suite is one YAML document, and a second begins here",
        "",
    );
}

#[test]
fn what_is_no_suite_is_one_error_at_its_place() {
    let case = |more: &str| format!("{CASE}{more}");
    let answers = "expected one of `permit`, `deny`, `error`, `no-route`, `refused`";
    check(&case("    resorce: b\n"), (6, 5), "unknown key `resorce`", "did you mean `resource`?");
    check(&case("    action: b\n"), (6, 5), "the key `action` is there twice", "");
    check(&case("    expect: perhaps\n"), (6, 13), "`perhaps` cannot stand here", answers);
    check(&case("    expect: deni\n"), (6, 13), "`deni` cannot stand here", "did you mean `deny`?");
    check(
        &case("    expect: 7\n"),
        (6, 13),
        "expected an answer such as `permit`, `deny`, `{ permit: [ids] }` or `{ deny: [ids] }`, found integer `7`",
        "",
    );
    check(&case("    expect: { permit: [], deny: [] }\n"), (6, 27), "expected one key, found a second", "");
    check(&case("    context: 5\n"), (6, 14), "expected keys with values, as in `key: value`", "");
    check(&case("    given: none\n"), (6, 12), "expected a list, as in `[a, b]`", "");
    check(
        &case("    given: [{ removes: a }]\n"),
        (6, 15),
        "`removes` cannot stand here",
        "did you mean `remove`?",
    );
    check("cases:\n  - principal: a\n    action: b\n", (2, 5), "the key `name` is missing", "");
    check(
        "cases:\n  - name: a\n    action: b\n    expect: permit\n",
        (2, 5),
        "`a` has no `principal` and no `resource`",
        "",
    );
    check(
        "tables:\n  - name: t\n    columns: [{ name: c }]\n    rows: [{ name: ü, expect: [maybe] }]\n",
        (4, 32),
        "`maybe` cannot stand here",
        answers,
    );
}

#[test]
fn a_policy_that_a_case_expects_has_to_be_there() {
    let suite = format!("{CASE}    expect: {{ permit: [partner-views-custmer] }}\n");
    check(
        &suite,
        (6, 24),
        "there is no policy `partner-views-custmer`",
        "did you mean `partner-views-customer`?",
    );
    let suite = format!("{CASE}    expect: {{ deny: [partner-views-customer, \"no such policy\"] }}\n");
    check(&suite, (6, 46), "there is no policy `no such policy`", "");
    let suite = "tables:
  - name: t
    action: viewCustomer
    resource: Customer::contoso
    columns: [{ name: c }, { name: d }]
    rows:
      - { name: r, principal: \"Oem::trey\", expect: [permit, { permit: [nobody, nothing] }] }
";
    let found = errors(suite).into_iter().map(|(line, column, message, _)| (line, column, message));
    let expected = [(7, 72, "there is no policy `nobody`"), (7, 80, "there is no policy `nothing`")];
    let expected = expected.map(|(line, column, message)| (line, column, message.to_owned()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}
