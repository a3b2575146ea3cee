//! The questions in README.md get the answers that are printed below them.
//! `UPDATE_README=1 cargo test readme` writes the current answers into README.md.

use std::fs;

use crate::support::{Content, Sidecar, repository_path};

const PROMPT: &str = "$ curl -s http://127.0.0.1:8181";

/// A `console` block that asks a question with `curl`: the command, and the answer below it.
struct Example<'a> {
    command: &'a str,
    answer: &'a str,
}

fn examples(text: &str) -> Vec<Example<'_>> {
    let blocks = text
        .split("```console\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block));
    let questions = blocks.filter(|block| block.starts_with(PROMPT));
    let parts = questions.map(|block| {
        let end = block.find("}'\n").expect("the command ends with its body") + 2;
        (&block[..end], &block[end + 1..])
    });
    parts.map(|(command, answer)| Example { command, answer }).collect()
}

/// Sends the request that the `curl` command would send, and returns the answer.
fn run_command(sidecar: &Sidecar, command: &str) -> String {
    let (path, rest) = command.strip_prefix(PROMPT).unwrap().split_once(' ').unwrap();
    let body =
        rest.strip_prefix("-H 'Content-Type: application/json' -d '").unwrap().strip_suffix('\'').unwrap();
    assert!(!body.contains('\''), "a quote would end the body in a shell");
    sidecar.post(path, body).body
}

#[test]
fn examples_get_the_printed_answers() {
    let path = repository_path("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let sidecar = Sidecar::of_pack(&[]);
    let examples = examples(&text);
    assert_eq!(examples.len(), 4);
    let mut updated = text.clone();
    for example in &examples {
        let answer = run_command(&sidecar, example.command);
        if std::env::var_os("UPDATE_README").is_some() {
            updated = updated.replacen(
                &format!("{}\n{}", example.command, example.answer),
                &format!("{}\n{answer}", example.command),
                1,
            );
        } else {
            assert_eq!(without_id(example.answer), without_id(&answer), "{}", example.command);
        }
    }
    if updated != text {
        fs::write(path, updated).unwrap();
    }
}

/// An answer without the id of its decision, which is different each time.
fn without_id(answer: &str) -> String {
    const KEY: &str = r#""decision_id":""#;
    match answer.split_once(KEY) {
        Some((before, after)) => {
            let (id, after) = after.split_once('"').unwrap();
            assert_eq!(id.len(), 36, "{answer}");
            format!("{before}{KEY}\"{after}")
        }
        None => answer.to_owned(),
    }
}

#[test]
fn the_proposed_edit_revokes_the_consent() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    let text = fs::read_to_string(repository_path("README.md")).unwrap();
    let first = examples(&text)[0].command.to_owned();
    assert!(run_command(&sidecar, &first).starts_with(r#"{"decision":true"#));
    content.edit(
        "entities/customers.json",
        r#"{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}, "#,
        "",
    );
    crate::support::until("the consent is revoked", || {
        run_command(&sidecar, &first).starts_with(r#"{"decision":false"#)
    });
}
