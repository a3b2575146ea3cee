//! The chapters of docs/time.md with whole examples: they load, their suites pass, and commands print what stands there.
//! `UPDATE_DOCS=1 cargo test clock::docs` writes what is printed into the file.

use std::fs;
use std::process::Output;

use crate::support::{Content, mandate, repository_path};

/// The text of a chapter.
fn chapter<'t>(text: &'t str, title: &str) -> &'t str {
    let (_, rest) =
        text.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no chapter {title}"));
    rest.split_once("\n## ").map_or(rest, |(chapter, _)| chapter)
}

/// The blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split_once("```").expect("the block ends").0).collect()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
fn check_example(title: &str, cases: usize) {
    let path = repository_path("docs/time.md");
    let text = fs::read_to_string(&path).unwrap();
    let chapter = chapter(&text, title);
    let (cedar, json) = (blocks(chapter, "cedar"), blocks(chapter, "json"));
    let (console, yaml) = (blocks(chapter, "console"), blocks(chapter, "yaml"));
    let ([schema, policies], [entities], [command], [suite]) = (&*cedar, &*json, &*console, &*yaml) else {
        panic!("the chapter has other blocks: {chapter}")
    };
    let content = Content::of(&[
        ("policies/schema.cedarschema", schema),
        ("policies/policies.cedar", policies),
        ("policies/tests/time.yaml", suite),
        ("entities/entities.json", entities),
    ]);
    let run = |args: &[&str]| mandate().args(args).current_dir(content.path("")).output().unwrap();
    for args in [&["check"][..], &["lint", "--no-solver"], &["fmt", "--check"]] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", printed(&output));
    }
    let tested = run(&["test"]);
    assert!(
        tested.status.success() && printed(&tested).contains(&format!("{cases} passed")),
        "{}",
        printed(&tested)
    );

    let (line, expected) = command.split_once('\n').unwrap();
    let args: Vec<&str> = line.strip_prefix("$ mandate ").expect("a command").split_whitespace().collect();
    let answer = printed(&run(&args));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text.replacen(command, &format!("{line}\n{answer}"), 1)).unwrap();
    } else {
        assert_eq!(expected, answer);
    }
}

#[test]
fn a_partner_is_paused_until_a_date() {
    check_example("Paused until a date", 4);
}

#[test]
fn a_consent_ends_by_itself() {
    check_example("Consents that end", 2);
}

#[test]
fn nobody_registers_on_weekends() {
    check_example("Not on weekends", 4);
}
