//! Processes that are killed, and disks that are full, while changes are committed.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{header, question};
use crate::support::{Content, Reply, Sidecar};

const SCHEMA: &str = "
    entity User;
    entity Note = { author: User };
    action write appliesTo { principal: User, resource: User, context: { id: String } };
";

/// Content that loads fast: everybody writes notes.
fn notes() -> Content {
    let user = r#"[{ "uid": { "type": "User", "id": "ann" }, "attrs": {}, "parents": [] }]"#;
    let changes = "[[change]]\naction = 'write'\n[[change.create]]\ntype = 'Note'\nid = { value = 'context.id' }\nattributes = { author = 'principal' }\n";
    Content::of(&[
        ("policies/schema.cedarschema", SCHEMA),
        ("policies/write.cedar", r#"@id("write") permit (principal, action, resource);"#),
        ("policies/changes.toml", changes),
        ("entities/users.json", user),
    ])
}

fn write(id: &str) -> Value {
    question(("User", "ann"), "write", ("User", "ann"), &json!({ "id": id }))
}

/// Sends a change with a key; `None` if the process died before it answered.
fn send(sidecar: &Sidecar, id: &str) -> Option<Reply> {
    let headers = [("content-type", "application/json"), ("idempotency-key", id)];
    sidecar.try_send("POST", "/access/v1/changes", write(id).to_string(), &headers).ok()
}

fn sequence(reply: &Reply) -> u64 {
    header(reply, "mandate-at").split_once(':').unwrap().1.parse().unwrap()
}

/// How often the process is killed.
const KILLS: u64 = 200;

#[test]
fn what_was_acknowledged_survives_every_kill_and_nothing_is_done_twice() {
    let content = notes();
    let store = content.path("store.redb").display().to_string();
    // What was acknowledged, and what was sent without an answer.
    let (mut acknowledged, mut unknown) = (BTreeMap::<String, u64>::new(), Vec::<String>::new());
    let next = AtomicU64::new(0);
    for round in 0..KILLS {
        let mut sidecar = content.serve_with(&["--store", &store, "--demo-sign-in"]);
        for id in unknown.drain(..) {
            let reply = send(&sidecar, &id).expect("the process runs");
            assert_eq!(reply.status, 200, "{id}: {reply:?}");
            assert!(acknowledged.insert(id, sequence(&reply)).is_none());
        }
        // At another moment each time, from the first connection on.
        let lives = Duration::from_micros(round * 7_919 % 40_000);
        let (done, lost) = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut done = Vec::new();
                        loop {
                            let id = next.fetch_add(1, Ordering::Relaxed).to_string();
                            match send(&sidecar, &id) {
                                Some(reply) if reply.status == 200 => done.push((id, sequence(&reply))),
                                _ => return (done, id),
                            }
                        }
                    })
                })
                .collect();
            std::thread::sleep(lives);
            sidecar.signal("KILL");
            clients.into_iter().map(|client| client.join().unwrap()).unzip::<_, _, Vec<_>, Vec<_>>()
        });
        assert!(sidecar.exit_code().is_none(), "it was killed");
        acknowledged.extend(done.into_iter().flatten());
        unknown = lost;
    }
    assert!(acknowledged.len() as u64 > KILLS, "{} changes in all", acknowledged.len());

    let entities = |verb: &str, args: &[&str]| {
        let output =
            crate::support::mandate().args(["entities", verb]).args(args).args(["--store", &store]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(entities("verify", &[]).starts_with("verified: "));
    let mut logged = BTreeMap::new();
    for line in entities("log", &["--json"]).lines().skip(1) {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["request"]["key"].as_str().unwrap().to_owned();
        assert!(logged.insert(id, line["sequence"].as_u64().unwrap()).is_none(), "done twice: {line}");
    }
    for (id, sequence) in &acknowledged {
        assert_eq!(logged.get(id), Some(sequence), "{id} was acknowledged");
    }
}

#[test]
fn a_full_disk_is_refused_cleanly_and_decisions_go_on() {
    let content = notes();
    let store = content.path("store.redb").display().to_string();
    // A file that reaches its limit is as good as a full disk; without the trap the system would end the process.
    let sidecar = content.serve_in_shell("trap '' XFSZ", &["--store", &store, "--demo-sign-in"]);
    let limit = |bytes: &str| {
        let id = sidecar.id().to_string();
        let status =
            Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}")]).status().unwrap();
        assert!(status.success());
    };
    let size = std::fs::metadata(&store).unwrap().len();
    limit(&format!("{size}:unlimited"));
    let long = "x".repeat(500);
    let fill = |n: usize| {
        let changes: Vec<Value> = (0..100).map(|item| write(&format!("{n}-{item}-{long}"))).collect();
        sidecar.post("/access/v1/changes/batch", json!({ "changes": changes }).to_string())
    };
    let mut filled = 0;
    let refused = loop {
        let reply = fill(filled);
        if reply.status != 200 {
            break reply;
        }
        filled += 1;
        assert!(filled < 1_000, "the disk never fills");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("nothing was changed"), "{refused:?}");
    assert!(sidecar.permits(&write("any")), "decisions go on");
    assert_eq!(fill(filled).status, 503);
    limit("unlimited:unlimited");
    assert_eq!(fill(filled).status, 200, "it goes on as soon as there is space");
    drop(sidecar);
    let output = crate::support::mandate().args(["entities", "verify", "--store", &store]).output().unwrap();
    let verified = String::from_utf8(output.stdout).unwrap();
    let transactions = 1 + 100 * (filled + 1);
    assert!(verified.starts_with(&format!("verified: {transactions} transactions")), "{verified}");
}
