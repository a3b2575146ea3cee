//! How a running sidecar finds changed files and loads them. `refused` has the changes that it refuses, `same_metadata`
//! those that only their content shows.

mod entity_log;
mod refused;
mod same_metadata;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::{ContentPaths, LoadedContent, Loader, PolicyPoll};
use mandate_sources::policy_limits::PolicyLimits;
use mandate_sources::source::Reread;
use serde_json::Value;

use crate::support::{Content, Sidecar, copy_folder, register, repository_path, until};

/// A question that the pack permits: Fabrikam registers devices for Contoso, over the API.
pub fn fabrikam_registers() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

/// A question that the pack permits by another policy and another consent: Trey registers devices for Contoso, over the
/// OEM API.
fn trey_registers() -> Value {
    register(("Oem", "trey"), "contoso", "oem-api")
}

/// A policy file that forbids everything.
const FORBID_ALL: &str = r#"@id("closed") @reason("Closed.") forbid (principal, action, resource);"#;

/// The parent in `customers.json` that gives Fabrikam the consent of Contoso. Removing it revokes the consent.
pub const CONSENT_EDGE: &str = r#"{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}, "#;

/// A sidecar that finds changes by events alone, because its poll interval is longer than a test.
fn serve_without_polling(content: &Content) -> Sidecar {
    let sidecar = content.serve_with(&["--poll", "1h"]);
    assert!(sidecar.permits(&fabrikam_registers()) && sidecar.permits(&trey_registers()));
    sidecar
}

/// Waits until the question is permitted or denied, and returns how long it took.
#[track_caller]
fn wait_for_decision(sidecar: &Sidecar, question: &Value, permit: bool) -> Duration {
    until("the decision follows the change", || sidecar.permits(question) == permit)
}

/// The outcome of the last reload of a track: `accepted` or `refused`.
pub fn reload_outcome(sidecar: &Sidecar, track: &str) -> String {
    sidecar.status()[track]["last_reload"]["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn a_policy_file_written_in_place_is_loaded() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    content.edit(
        "policies/registration.cedar",
        "principal is Autopilot::DirectBillPartner",
        "principal is Autopilot::Oem",
    );
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    assert!(sidecar.permits(&trey_registers()));
}

#[test]
fn an_entity_file_written_in_place_revokes_a_consent() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    assert!(sidecar.permits(&trey_registers()));
    content.write(
        "entities/customers.json",
        &fs::read_to_string(repository_path("entities/customers.json")).unwrap(),
    );
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

/// Some editors rename the old file, write a new file beside it, and rename that one to the old name.
#[test]
fn a_file_that_an_editor_replaces_is_loaded() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let edited = content.read("entities/customers.json").replace(CONSENT_EDGE, "");
    let (file, backup) = (content.path("entities/customers.json"), content.path("entities/customers.json~"));
    fs::rename(&file, &backup).unwrap();
    content.write("entities/.customers.json.swp", &edited);
    fs::rename(content.path("entities/.customers.json.swp"), &file).unwrap();
    fs::remove_file(backup).unwrap();
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    // The new file is watched, too.
    content.write(
        "entities/customers.json",
        &fs::read_to_string(repository_path("entities/customers.json")).unwrap(),
    );
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

#[test]
fn policies_come_and_go_with_their_file() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    content.write("policies/closed.cedar", FORBID_ALL);
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    fs::remove_file(content.path("policies/closed.cedar")).unwrap();
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

#[test]
fn entities_are_removed_with_their_file() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    // No other entity has a device as parent, so the devices can be removed.
    let before = sidecar.status()["entities"]["count"].as_u64().unwrap();
    fs::remove_file(content.path("entities/devices.ndjson")).unwrap();
    until("the devices are gone", || sidecar.status()["entities"]["count"].as_u64().unwrap() == before - 6);
    assert_eq!(reload_outcome(&sidecar, "entities"), "accepted");
}

#[test]
fn new_subfolders_are_watched_at_any_depth() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    fs::create_dir_all(content.path("policies/emergency/today")).unwrap();
    content.write("policies/emergency/today/closed.cedar", FORBID_ALL);
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    // Later changes in the new folder are seen, too.
    content.write("policies/emergency/today/closed.cedar", "// nothing\n");
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
    content.write("policies/emergency/today/closed.cedar", FORBID_ALL);
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    fs::remove_dir_all(content.path("policies/emergency")).unwrap();
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

/// In the mount of a Kubernetes ConfigMap, files are links into `..data`, which is itself a link to a folder. For an
/// update, the kubelet renames a new link to `..data`.
#[test]
fn an_updated_config_map_is_loaded() {
    let content = Content::of_pack();
    let files = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(repository_path(folder)).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    for folder in ["policies", "entities"] {
        let mount = content.path(folder);
        fs::remove_dir_all(&mount).unwrap();
        copy_folder(&repository_path(folder), &mount.join("..2026_11_22_1"));
        let _ = fs::remove_dir_all(mount.join("..2026_11_22_1/tests"));
        link_data(&mount, "..2026_11_22_1");
        for file in files(folder) {
            symlink(Path::new("..data").join(&file), mount.join(&file)).unwrap();
        }
    }
    let sidecar = serve_without_polling(&content);
    let update_entities = |version: &str, edge: &str| {
        let mount = content.entities();
        copy_folder(&repository_path("entities"), &mount.join(version));
        content.edit(&format!("entities/{version}/customers.json"), CONSENT_EDGE, edge);
        link_data(&mount, version);
    };
    update_entities("..2026_11_22_2", "");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    // The kubelet removes the old version, and the next update is seen like the first.
    fs::remove_dir_all(content.path("entities/..2026_11_22_1")).unwrap();
    update_entities("..2026_11_22_3", CONSENT_EDGE);
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
    let policies = content.policies();
    copy_folder(&policies.join("..2026_11_22_1"), &policies.join("..2026_11_22_2"));
    content.edit(
        "policies/..2026_11_22_2/registration.cedar",
        "context.channel == Autopilot::Channel::\"oem-api\"",
        "false",
    );
    link_data(&policies, "..2026_11_22_2");
    wait_for_decision(&sidecar, &trey_registers(), false);
    assert!(sidecar.permits(&fabrikam_registers()));
}

/// Makes `..data` a link to a version, in one step.
fn link_data(mount: &Path, version: &str) {
    symlink(version, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

#[test]
fn a_half_written_file_is_refused_until_it_is_complete() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let whole = content.read("entities/customers.json").replace(CONSENT_EDGE, "");
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mut file = fs::File::create(content.path("entities/customers.json")).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    file.flush().unwrap();
    until("the half-written file is refused", || reload_outcome(&sidecar, "entities") == "refused");
    assert!(sidecar.permits(&fabrikam_registers()), "the last good content stays in use");
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    assert_eq!(reload_outcome(&sidecar, "entities"), "accepted");
}

#[test]
fn the_last_content_is_loaded_after_a_thousand_events() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let whole = content.read("entities/customers.json");
    for n in 0..500 {
        content.write("entities/customers.json", if n % 2 == 0 { "[" } else { &whole });
        content.write("entities/noise.txt", &n.to_string());
    }
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    until("the last content is accepted", || reload_outcome(&sidecar, "entities") == "accepted");
    assert!(sidecar.permits(&trey_registers()));
}

/// The time from writing a file to the first answer that it changes. The median of several edits is compared, so that
/// one delay of the machine does not matter.
#[test]
fn a_change_is_in_use_within_250_milliseconds() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let (with, without) = (
        content.read("entities/customers.json"),
        content.read("entities/customers.json").replace(CONSENT_EDGE, ""),
    );
    let mut times: Vec<Duration> = (0..7)
        .map(|n| {
            let permit = n % 2 == 1;
            content.write("entities/customers.json", if permit { &with } else { &without });
            wait_for_decision(&sidecar, &fabrikam_registers(), permit)
        })
        .collect();
    times.sort();
    assert!(times[3] < Duration::from_millis(250), "{times:?}");
}

/// Replaces `customers.json` by a link to a file outside of the watched folder, where writing causes no event. Returns
/// the text of the file without the consent.
fn link_to_unwatched_file(content: &Content) -> String {
    fs::create_dir(content.path("unwatched")).unwrap();
    fs::rename(content.path("entities/customers.json"), content.path("unwatched/customers.json")).unwrap();
    symlink("../unwatched/customers.json", content.path("entities/customers.json")).unwrap();
    content.read("entities/customers.json").replace(CONSENT_EDGE, "")
}

#[test]
fn polling_finds_a_change_without_an_event() {
    let content = Content::of_pack();
    let revoked = link_to_unwatched_file(&content);
    let sidecar = content.serve_with(&["--poll", "200ms"]);
    assert!(sidecar.permits(&fabrikam_registers()));
    content.write("unwatched/customers.json", &revoked);
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
}

#[test]
fn sighup_reads_everything_again() {
    let content = Content::of_pack();
    let revoked = link_to_unwatched_file(&content);
    let sidecar = content.serve_with(&["--poll", "0s"]);
    assert!(sidecar.permits(&fabrikam_registers()));
    content.write("unwatched/customers.json", &revoked);
    sidecar.signal("HUP");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
}

/// The folder is a link, and a link to another folder replaces it.
#[test]
fn a_replaced_folder_is_loaded_and_watched() {
    let content = Content::of_pack();
    fs::rename(content.entities(), content.path("before")).unwrap();
    copy_folder(&content.path("before"), &content.path("after"));
    content.edit("after/customers.json", CONSENT_EDGE, "");
    symlink("before", content.entities()).unwrap();
    let sidecar = serve_without_polling(&content);
    symlink("after", content.path("link")).unwrap();
    fs::rename(content.path("link"), content.entities()).unwrap();
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    // The new folder is watched, too.
    content.write("after/customers.json", &content.read("before/customers.json"));
    wait_for_decision(&sidecar, &fabrikam_registers(), true);
}

/// While a file is written line by line, its old forbids stay in use.
#[test]
fn a_file_is_read_only_after_it_is_closed() {
    let content = Content::of_pack();
    content.write("policies/closed.cedar", FORBID_ALL);
    let sidecar = content.serve_with(&["--poll", "1h"]);
    let accepted_reloads = || sidecar.metric(r#"mandate_reloads_total{track="policies",result="accepted"}"#);
    let mut file = fs::File::create(content.path("policies/closed.cedar")).unwrap();
    for line in ["// one policy that", "// permits nothing", FORBID_ALL] {
        writeln!(file, "{line}").unwrap();
        let written = Instant::now();
        until("some time has passed", || written.elapsed() > Duration::from_millis(150));
        assert!(!sidecar.permits(&fabrikam_registers()));
    }
    drop(file);
    until("the file is read", || accepted_reloads() > 0.0);
    assert!(!sidecar.permits(&fabrikam_registers()));
    assert!((accepted_reloads() - 1.0).abs() < f64::EPSILON, "the file is read only once");
    assert!(!sidecar.log().contains("refused"));
}

#[test]
fn a_broken_file_of_one_track_does_not_delay_the_other_track() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    content.write("policies/broken.cedar", "permit (");
    until("the policies are refused", || reload_outcome(&sidecar, "policies") == "refused");
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    assert_eq!(reload_outcome(&sidecar, "policies"), "refused");
    // Broken entities do not delay a policy.
    content.write("entities/broken.json", "{");
    until("the entities are refused", || reload_outcome(&sidecar, "entities") == "refused");
    content.write("policies/broken.cedar", FORBID_ALL);
    wait_for_decision(&sidecar, &trey_registers(), false);
}

#[test]
fn a_change_reads_only_the_files_of_its_track() {
    let content = Content::of_pack();
    let content_paths = ContentPaths {
        policies: content.policies(),
        entities: content.entities(),
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    };
    let mut loader = Loader::new(&content_paths);
    let LoadedContent { mut snapshot, routes, .. } = loader.load().unwrap();
    let mut tracks_read_after = |edit: &dyn Fn()| {
        until("the files are older than the clock's tick", || {
            let policies = loader.policies.poll(snapshot.policies(), None, false);
            let settled = matches!(policies, PolicyPoll::Unchanged);
            if let PolicyPoll::Pending(pending) = policies {
                assert!(loader.policies.is_in_use(&pending, snapshot.policies(), &routes));
                loader.policies.confirm(*pending, false);
            }
            settled && loader.entities.poll(&snapshot, Reread::Nothing).result.is_none()
        });
        edit();
        let policies = loader.policies.poll(snapshot.policies(), None, false);
        let entities = loader.entities.poll(&snapshot, Reread::Nothing);
        let read = (!matches!(policies, PolicyPoll::Unchanged), entities.result.is_some());
        if let PolicyPoll::Pending(pending) = policies {
            snapshot = snapshot.with_policies(pending.policies.clone()).unwrap();
            loader.policies.confirm(*pending, true);
        }
        snapshot = entities.snapshot.unwrap_or_else(|| snapshot.clone());
        read
    };
    assert_eq!(tracks_read_after(&|| content.write("policies/closed.cedar", FORBID_ALL)), (true, false));
    assert_eq!(
        tracks_read_after(&|| content.edit("entities/customers.json", CONSENT_EDGE, "")),
        (false, true)
    );
}

#[test]
fn a_change_leaves_other_cached_decisions_valid() {
    let content = Content::of_pack();
    let sidecar = serve_without_polling(&content);
    let tailspin_registers = register(("IndirectReseller", "tailspin"), "relecloud", "partner-center-ui");
    assert!(sidecar.permits(&tailspin_registers));
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    let misses = sidecar.metric("mandate_cache_misses_total");
    assert!(sidecar.permits(&tailspin_registers));
    assert!(
        (sidecar.metric("mandate_cache_misses_total") - misses).abs() < f64::EPSILON,
        "the decision comes from the cache"
    );
}
