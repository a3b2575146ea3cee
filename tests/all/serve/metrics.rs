//! `/metrics`: every family is there from the start, and the values are those of what happened.

use std::time::SystemTime;

use serde_json::json;

use super::{denied, permitted};
use crate::support::{Content, Sidecar, get};

/// The names and types of the families, sorted.
fn families(metrics: &str) -> Vec<String> {
    let mut families: Vec<String> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    families.sort();
    families
}

#[test]
fn every_family_is_there_from_the_start() {
    let content = Content::of_pack();
    let customer = |n: u32| json!({ "uid": { "type": "Autopilot::Customer", "id": format!("c{n}") }, "attrs": {}, "parents": [] });
    let many = (0..30_000).map(|n| customer(n).to_string()).collect::<Vec<_>>().join("\n");
    content.write("entities/many.ndjson", &many);
    let mut before = String::new();
    let sidecar = content.serve_with_observer(&[], |admin| before = get(&format!("{admin}/metrics")).body);
    assert!(before.contains("mandate_ready 0\n"), "{before}");
    assert!(before.contains("mandate_decisions_total{outcome=\"permitted\"} 0\n"), "{before}");
    sidecar.evaluate(&permitted());
    sidecar.post("/access/v1/search/subject", permitted().to_string());
    sidecar.post("/access/v1/search/action", permitted().to_string());
    assert_eq!(families(&before), families(&sidecar.admin("/metrics").body));
}

#[test]
fn decisions_are_counted_by_their_duration() {
    let sidecar = Sidecar::of_pack(&[]);
    for _ in 0..3 {
        sidecar.evaluate(&permitted());
        sidecar.evaluate(&denied());
    }
    let batch = json!({ "evaluations": [permitted(), permitted(), { "subject": {} }] });
    sidecar.post("/access/v1/evaluations", batch.to_string());
    assert_eq!(sidecar.metric("mandate_decision_duration_seconds_count") as u64, 8);
    assert_eq!(sidecar.metric("mandate_decision_duration_seconds_bucket{le=\"+Inf\"}") as u64, 8);
    let sum = sidecar.metric("mandate_decision_duration_seconds_sum");
    assert!(sum > 0.0 && sum < 20.0, "{sum}");
}

#[test]
fn the_version_and_the_process_are_described() {
    let sidecar = Sidecar::of_pack(&[]);
    let build = format!("mandate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(sidecar.metric(&build) as u64, 1);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let started = sidecar.metric("process_start_time_seconds");
    assert!(started <= now && started > now - 60.0, "{started} {now}");
    assert!(sidecar.metric("process_cpu_seconds_total") > 0.0);
    assert!(sidecar.metric("process_resident_memory_bytes") > 1_000_000.0);
    let open = sidecar.metric("process_open_fds");
    assert!(open > 3.0 && open < sidecar.metric("process_max_fds"), "{open}");
}
