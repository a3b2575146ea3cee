//! A machine whose clock jumps by a day, forwards and backwards, while changes are committed.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{header, question, request_consent};
use crate::support::{Content, until};

/// Whether the clock of a process can be faked. Without it, the test passes, and `tests/closing.rs` reports at the end
/// that it did not run.
fn has_faketime() -> bool {
    let program = std::env::var_os("FAKETIME").unwrap_or_else(|| "faketime".into());
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("NOT RUN: there is no faketime");
    }
    found
}

#[test]
fn a_clock_that_jumps_changes_nothing_but_the_times_in_the_log() {
    if !has_faketime() {
        return;
    }
    let content = Content::of_pack();
    let (store, clock) = (content.path("store.redb").display().to_string(), content.path("clock"));
    let jump = |to: &str| std::fs::write(&clock, format!("{to}\n")).unwrap();
    jump("-1d");
    let library = "export LD_PRELOAD=/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1";
    let fake = format!(
        "{library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1",
        clock.display()
    );
    let state = content.path("state").display().to_string();
    let args = [
        "--store",
        &store,
        "--demo-sign-in",
        "--state",
        &state,
        "--max-staleness",
        "2s",
        "--poll",
        "500ms",
        "--when-stale",
        "deny",
    ];
    let sidecar = content.serve_in_shell(&fake, &args);
    let change = || sidecar.post("/access/v1/changes", request_consent().to_string());
    let permitted = question(
        ("DirectBillPartner", "fabrikam"),
        "registerDevice",
        ("Customer", "contoso"),
        &json!({ "channel": "partner-center-api" }),
    );
    let mut positions = Vec::new();
    for to in ["-1d", "+1d", "-1d", "+0"] {
        jump(to);
        let reply = change();
        assert_eq!(reply.status, 200, "{to}: {reply:?}");
        positions.push(header(&reply, "mandate-at").to_owned());
        // Longer than the content may be out of date.
        let started = std::time::Instant::now();
        until("the sidecar has lived for a while", || {
            assert!(sidecar.permits(&permitted), "after a jump to {to}");
            started.elapsed() > Duration::from_millis(2_500)
        });
    }
    let sequences: Vec<String> =
        positions.iter().map(|at| at.split_once(':').unwrap().1.to_owned()).collect();
    assert_eq!(sequences, ["2", "3", "4", "5"]);
    drop(sidecar);
    let entities = |verb: &str, args: &[&str]| {
        let output =
            crate::support::mandate().args(["entities", verb]).args(args).args(["--store", &store]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(entities("verify", &[]).starts_with("verified: 5 transactions"));
    // The clock of the process did jump.
    let log = entities("log", &["--json"]);
    let days: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["time"].as_str().unwrap()[..10].to_owned())
        .collect();
    assert!(days[2] > days[3] && days[3] < days[4], "{days:?}");
}
