//! `test --coverage`: which policies and clauses of policies the test cases reach. `test --watch`: the
//! tests run again after each change.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{Content, until};

const SCHEMA: &str = "entity User, Doc;
action view appliesTo { principal: User, resource: Doc, context: { a: Bool, b: Bool, c: Bool, n: Long } };";
const ENTITIES: &str = r#"[{ "uid": { "type": "User", "id": "u" }, "attrs": {}, "parents": [] },
{ "uid": { "type": "Doc", "id": "d" }, "attrs": {}, "parents": [] }]"#;

/// Content with one policy with these conditions, and one test case for each context. A context such as
/// `"an"` lists the attributes that are true or 1. All cases expect a denial.
fn content_with(conditions: &str, contexts: &[&str]) -> Content {
    Content::of(&[
        ("policies/schema.cedarschema", SCHEMA),
        ("policies/p.cedar", &format!("@id(\"p\")\npermit (principal, action, resource)\n{conditions};\n")),
        ("policies/tests/suite.yaml", &suite(contexts)),
        ("entities/e.json", ENTITIES),
    ])
}

fn suite(contexts: &[&str]) -> String {
    contexts.iter().fold("cases:\n".to_owned(), |mut text, context| {
        let has = |name| context.contains(name);
        let _ = writeln!(
            text,
            "  - {{ name: with {context}, principal: User::u, action: view, resource: Doc::d, expect: deny,\n      \
             context: {{ a: {}, b: {}, c: {}, n: {} }} }}",
            has('a'),
            has('b'),
            has('c'),
            u8::from(has('n')),
        );
        text
    })
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn lcov(content: &Content) -> String {
    content.mandate("test", &["--lcov", content.path("lcov.info").to_str().unwrap()]);
    content.read("lcov.info")
}

/// Checks how often each clause was true and false, in the order of the text: `2/1` is twice true and once
/// false, `-/-` is never evaluated. A literal has one number.
#[track_caller]
fn check_counts(conditions: &str, contexts: &[&str], expected: &str) {
    let lcov = lcov(&content_with(conditions, contexts));
    let mut clauses: Vec<(&str, Vec<&str>)> = Vec::new();
    for branch in lcov.lines().filter_map(|line| line.strip_prefix("BRDA:")) {
        let fields: Vec<&str> = branch.split(',').collect();
        match clauses.last_mut() {
            Some((block, counts)) if *block == fields[1] => counts.push(fields[3]),
            _ => clauses.push((fields[1], vec![fields[3]])),
        }
    }
    let counts: Vec<String> = clauses.iter().map(|(_, counts)| counts.join("/")).collect();
    assert_eq!(counts.join(" "), expected, "{lcov}");
}

#[test]
fn only_evaluated_clauses_count() {
    check_counts("when { context.a && context.b }", &["", "b"], "0/2 -/-");
    check_counts("when { context.a && context.b }", &["a", "ab"], "2/0 1/1");
    check_counts("when { context.a && context.b && context.c }", &["ab", "a"], "2/0 1/1 0/1");
    check_counts("when { context.a || context.b }", &["a", "ab"], "2/0 -/-");
    check_counts("when { context.a || context.b }", &["b", ""], "0/2 1/1");
    check_counts("when { context.a || context.b && context.c }", &["b", "a"], "1/1 1/0 0/1");
    check_counts("when { (context.a || context.b) && context.c }", &["b"], "0/1 1/0 0/1");
    check_counts("when { if context.a then context.b else context.c }", &["a", "ab"], "2/0 1/1 -/-");
    check_counts("when { if context.a then context.b else context.c }", &["b"], "0/1 -/- 0/1");
}

#[test]
fn clauses_are_counted_as_they_are_written() {
    check_counts("unless { context.a }", &["a", "a", ""], "2/1");
    check_counts("when { context.a } unless { context.b }", &["", "a", "ab"], "2/1 1/1");
    check_counts("when { !context.a && !(context.b || context.c) }", &["", "a", "c"], "1/2 0/2 1/1");
    check_counts("when { context.n != 1 }", &["n", "n", ""], "1/2");
    check_counts("when { context.n > 0 && context.n >= 2 }", &["n", ""], "1/1 0/1");
    check_counts("when { principal is User in User::\"u\" }", &["n"], "1/0");
    check_counts("", &["n"], "");
}

#[test]
fn clauses_inside_values_are_counted() {
    check_counts("when { (if context.a then 1 else 2) == context.n }", &["an", "n"], "1/1 1/1");
    check_counts("when { [context.a && context.b].contains(context.c) }", &["a"], "1/0 1/0 0/1");
}

#[test]
fn a_clause_that_fails_is_neither_true_nor_false() {
    let overflow = "when { context.n + 9223372036854775807 > 0 && context.a }";
    check_counts(overflow, &["n"], "0/0 -/-");
    check_counts(overflow, &["n", "a"], "1/0 1/0");
    let output = content_with(overflow, &["n"]).mandate("test", &["--coverage"]);
    for part in ["met 0, unmet 0, failed 1, 0 of 4 outcomes, never met", "never true or false, failed 1"] {
        assert!(printed(&output).contains(part), "`{part}` is not in:\n{}", printed(&output));
    }
}

#[test]
fn literals_have_one_outcome() {
    check_counts("when { true && context.a }", &["a", ""], "2 1/1");
    check_counts("when { context.a || false }", &["a", ""], "1/1 1");
}

/// Checks that the text output contains these parts.
#[track_caller]
fn check_text(conditions: &str, contexts: &[&str], expected: &[&str]) {
    let output = content_with(conditions, contexts).mandate("test", &["--coverage"]);
    let printed = printed(&output);
    for part in expected {
        assert!(printed.contains(part), "`{part}` is not in:\n{printed}");
    }
}

#[test]
fn the_text_output_marks_what_is_not_covered() {
    check_text(
        "when\n{\n  context.a &&\n  context.b &&\n  context.c\n}",
        &["a"],
        &[
            "⚠ p: met 0, unmet 1, 2 of 6 outcomes, never met",
            "p.cedar:5:3]",
            "5 │   context.a &&\n   ·   ────┬────\n   ·       ╰── never false",
            "6 │   context.b &&\n   ·   ────┬────\n   ·       ╰── never true",
            "7 │   context.c\n   ·   ────┬────\n   ·       ╰── never evaluated",
            "coverage: 0 of 1 policy met, 2 of 6 outcomes of clauses seen, 28.5 %",
        ],
    );
    check_text("unless { context.a }", &["a", ""], &["✓ p: met 1, unmet 1, 2 of 2 outcomes\n", "100.0 %"]);
    check_text("", &["a"], &["✓ p: met 1, unmet 0\n", "0 of 0 outcomes of clauses seen, 100.0 %"]);
    let two_policies = "when { context.a };\n@id(\"q\")\npermit (principal == User::\"x\", action, resource)";
    check_text(two_policies, &["a", ""], &["✓ p: met 1", "⚠ q, line 4: not covered by any case", "75.0 %"]);
}

/// An unknown principal is denied before any policy is evaluated.
#[test]
fn a_question_about_an_unknown_principal_covers_nothing() {
    let content = content_with("when { context.a }", &["a"]);
    content.edit("policies/tests/suite.yaml", "User::u", "User::nobody");
    assert!(lcov(&content).contains("BRDA:3,0,0,-\nBRDA:3,0,1,-\n"));
}

#[test]
fn lcov_lists_policies_lines_and_branches() {
    let content = content_with("when { context.a &&\n  context.b || context.c }", &["a", ""]);
    let path = content.path("policies/p.cedar");
    assert_eq!(
        lcov(&content),
        format!(
            "TN:\nSF:{}\nFN:1,p\nFNDA:0,p\nFNF:1\nFNH:0\nBRDA:3,0,0,1\nBRDA:3,0,1,1\nBRDA:4,1,0,0\nBRDA:4,1,1,1\n\
             BRDA:4,2,0,0\nBRDA:4,2,1,2\nBRF:6\nBRH:4\nDA:1,2\nDA:3,2\nDA:4,2\nLF:3\nLH:3\nend_of_record\n",
            path.display()
        )
    );
}

#[test]
fn coverage_below_the_minimum_fails() {
    let check = |min: &str, code: i32, message: &str| {
        // One of three outcomes: the policy is never met and its clause is never true.
        let output = content_with("when { context.a }", &[""]).mandate("test", &["--min", min]);
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
        assert!(printed(&output).contains(message), "{}", printed(&output));
    };
    check("33", 0, "33.3 %");
    check("33.4%", 1, "error: 33.3 % is covered, less than the 33.4 % of `--min`");
    check("101", 1, "has to be 0 to 100");
    let failing = content_with("when { context.a }", &["", "a"]).mandate("test", &["--min", "100"]);
    assert_eq!(failing.status.code(), Some(1), "a failed case fails the run even if everything is covered");
}

#[test]
fn the_tests_of_the_pack_cover_every_outcome() {
    let output = Content::of_pack().mandate("test", &["--min", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

/// A process of `test --watch`, killed when dropped.
struct Watcher {
    process: Child,
    /// The output since the last wait.
    output: Arc<Mutex<String>>,
}

impl Watcher {
    fn start(content: &Content) -> Self {
        let mut command = content.command("test");
        command.arg("--watch").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for stream in streams {
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    *output.lock().unwrap() += &(line + "\n");
                }
            });
        }
        Self { process, output }
    }

    /// Waits until the output contains this text and the process watches again, then clears the output.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        until(text, || {
            let mut output = self.output.lock().unwrap();
            let complete = output.contains(text) && output.contains("watching for changes\n");
            if complete {
                output.clear();
            }
            complete
        });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn watching_runs_the_tests_again_after_each_change() {
    let content = content_with("when { context.a }", &["", "b"]);
    let watcher = Watcher::start(&content);
    watcher.wait_for("2 cases: 2 passed, 0 failed");
    content.edit("policies/p.cedar", "context.a", "context.b");
    watcher.wait_for("2 cases: 1 passed, 1 failed");
    content.edit("policies/p.cedar", "permit", "permt");
    watcher.wait_for("permt");
    content.edit("policies/p.cedar", "permt", "forbid");
    watcher.wait_for("2 cases: 2 passed, 0 failed");
    content.write("policies/tests/suite.yaml", &suite(&["a", "b", "c"]));
    watcher.wait_for("3 cases: 3 passed, 0 failed");
    content.write("entities/e.json", "[");
    watcher.wait_for("e.json:1:");
    content.write("entities/e.json", ENTITIES);
    watcher.wait_for("3 cases: 3 passed, 0 failed");
}
