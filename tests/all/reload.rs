//! Every way in which files change under a running sidecar.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::{ContentPaths, LoadedContent, Loader, PolicyPoll};
use serde_json::{Value, json};

use crate::support::{Content, Sidecar, copy_folder, pack, register, until};

const FABRIKAM: (&str, &str) = ("DirectBillPartner", "fabrikam");

/// Fabrikam registers for Contoso by API: permitted by the pack as it ships.
fn fabrikam() -> Value {
    register(FABRIKAM, "contoso", "partner-center-api")
}

/// Trey registers for Contoso by its API: permitted by another policy file than Fabrikam's question
/// needs changed.
fn trey() -> Value {
    register(("Oem", "trey"), "contoso", "oem-api")
}

/// A policy that forbids everything, as a file by itself.
const FORBID_ALL: &str = r#"@id("closed") @reason("Closed.") forbid (principal, action, resource);"#;

/// What revokes Fabrikam's consent in the sample store's `customers.json`.
pub const CONSENT_EDGE: &str = r#"{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}, "#;

fn started(content: &Content) -> Sidecar {
    // A poll so rare that only events can have told.
    let sidecar = content.serve_with(&["--poll", "1h"]);
    assert!(sidecar.permits(&fabrikam()) && sidecar.permits(&trey()));
    sidecar
}

#[track_caller]
fn becomes(sidecar: &Sidecar, question: &Value, permit: bool) -> Duration {
    until("the answer follows the change", || sidecar.permits(question) == permit)
}

fn outcome(sidecar: &Sidecar, track: &str) -> String {
    sidecar.status()[track]["last_reload"]["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn in_place_write_of_a_policy() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    content.edit(
        "policies/registration.cedar",
        "principal is Autopilot::DirectBillPartner",
        "principal is Autopilot::Oem",
    );
    becomes(&sidecar, &fabrikam(), false);
    assert!(sidecar.permits(&trey()));
}

#[test]
fn in_place_write_of_an_entity_file_revokes_a_consent() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    becomes(&sidecar, &fabrikam(), false);
    assert!(sidecar.permits(&trey()));
    content.write("entities/customers.json", &fs::read_to_string(pack("entities/customers.json")).unwrap());
    becomes(&sidecar, &fabrikam(), true);
}

/// What an editor does: writes a new file beside, renames the old one away and the new one over it.
#[test]
fn editor_rename_and_replace() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let edited = content.read("entities/customers.json").replace(CONSENT_EDGE, "");
    let (file, backup) = (content.path("entities/customers.json"), content.path("entities/customers.json~"));
    fs::rename(&file, &backup).unwrap();
    content.write("entities/.customers.json.swp", &edited);
    fs::rename(content.path("entities/.customers.json.swp"), &file).unwrap();
    fs::remove_file(backup).unwrap();
    becomes(&sidecar, &fabrikam(), false);
    // And the file that is there now is followed as the old one was.
    content.write("entities/customers.json", &fs::read_to_string(pack("entities/customers.json")).unwrap());
    becomes(&sidecar, &fabrikam(), true);
}

#[test]
fn new_file_and_removed_file() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    content.write("policies/closed.cedar", FORBID_ALL);
    becomes(&sidecar, &fabrikam(), false);
    fs::remove_file(content.path("policies/closed.cedar")).unwrap();
    becomes(&sidecar, &fabrikam(), true);
}

#[test]
fn removed_entity_file() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    // Nothing hangs on a device, so its file can go.
    let devices = sidecar.status()["entities"]["count"].as_u64().unwrap();
    fs::remove_file(content.path("entities/devices.ndjson")).unwrap();
    until("the devices are gone", || sidecar.status()["entities"]["count"].as_u64().unwrap() == devices - 6);
    assert_eq!(outcome(&sidecar, "entities"), "accepted");
}

#[test]
fn new_subdirectory_at_any_depth() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    fs::create_dir_all(content.path("policies/emergency/today")).unwrap();
    content.write("policies/emergency/today/closed.cedar", FORBID_ALL);
    becomes(&sidecar, &fabrikam(), false);
    // The subdirectory is watched, not only found.
    content.write("policies/emergency/today/closed.cedar", "// nothing\n");
    becomes(&sidecar, &fabrikam(), true);
    content.write("policies/emergency/today/closed.cedar", FORBID_ALL);
    becomes(&sidecar, &fabrikam(), false);
    fs::remove_dir_all(content.path("policies/emergency")).unwrap();
    becomes(&sidecar, &fabrikam(), true);
}

/// A ConfigMap mount: files are links into `..data`, itself a link to a folder, which the kubelet
/// replaces by renaming a new link over it.
#[test]
fn kubernetes_config_map_swap() {
    let content = Content::of_pack();
    let mount = |folder: &Path, version: &str| {
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    for (folder, files) in [("policies", policy_names()), ("entities", entity_names())] {
        let target = content.path(folder);
        fs::remove_dir_all(&target).unwrap();
        copy_folder(&pack(folder), &target.join("..2026_11_22_1"));
        let _ = fs::remove_dir_all(target.join("..2026_11_22_1/tests"));
        mount(&target, "..2026_11_22_1");
        for file in files {
            symlink(Path::new("..data").join(&file), target.join(&file)).unwrap();
        }
    }
    let sidecar = started(&content);
    let next = |version: &str, edge: &str| {
        let target = content.entities();
        copy_folder(&pack("entities"), &target.join(version));
        content.edit(&format!("entities/{version}/customers.json"), CONSENT_EDGE, edge);
        mount(&target, version);
    };
    next("..2026_11_22_2", "");
    becomes(&sidecar, &fabrikam(), false);
    // The old version goes, as the kubelet does it, and the next swap is seen like the first.
    fs::remove_dir_all(content.path("entities/..2026_11_22_1")).unwrap();
    next("..2026_11_22_3", CONSENT_EDGE);
    becomes(&sidecar, &fabrikam(), true);
    let policies = content.policies();
    copy_folder(&policies.join("..2026_11_22_1"), &policies.join("..2026_11_22_2"));
    content.edit(
        "policies/..2026_11_22_2/registration.cedar",
        "context.channel == Autopilot::Channel::\"oem-api\"",
        "false",
    );
    mount(&policies, "..2026_11_22_2");
    becomes(&sidecar, &trey(), false);
    assert!(sidecar.permits(&fabrikam()));
}

fn policy_names() -> Vec<String> {
    names(&pack("policies"))
}

fn entity_names() -> Vec<String> {
    names(&pack("entities"))
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn half_written_file_is_refused_and_then_completed() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let whole = content.read("entities/customers.json").replace(CONSENT_EDGE, "");
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mut file = fs::File::create(content.path("entities/customers.json")).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    file.flush().unwrap();
    until("the half is refused", || outcome(&sidecar, "entities") == "refused");
    assert!(sidecar.permits(&fabrikam()), "the last good content stays in use");
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    becomes(&sidecar, &fabrikam(), false);
    assert_eq!(outcome(&sidecar, "entities"), "accepted");
}

#[test]
fn burst_of_a_thousand_events() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let whole = content.read("entities/customers.json");
    for n in 0..500 {
        content.write("entities/customers.json", if n % 2 == 0 { "[" } else { &whole });
        content.write("entities/noise.txt", &n.to_string());
    }
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    becomes(&sidecar, &fabrikam(), false);
    until("the last content is accepted", || outcome(&sidecar, "entities") == "accepted");
    assert!(sidecar.permits(&trey()));
}

/// From the moment a changed file is complete to the first answer by it: under 250 ms. The median of
/// several edits, so that one hiccup of the machine does not count.
#[test]
fn change_is_visible_at_once() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let (with, without) = (
        content.read("entities/customers.json"),
        content.read("entities/customers.json").replace(CONSENT_EDGE, ""),
    );
    let mut times: Vec<Duration> = (0..7)
        .map(|n| {
            let permit = n % 2 == 1;
            content.write("entities/customers.json", if permit { &with } else { &without });
            becomes(&sidecar, &fabrikam(), permit)
        })
        .collect();
    times.sort();
    assert!(times[3] < Duration::from_millis(250), "{times:?}");
}

/// An entity file that is a link to one elsewhere: what is written there causes no event here.
fn linked_elsewhere(content: &Content) -> String {
    fs::create_dir(content.path("elsewhere")).unwrap();
    fs::rename(content.path("entities/customers.json"), content.path("elsewhere/customers.json")).unwrap();
    symlink("../elsewhere/customers.json", content.path("entities/customers.json")).unwrap();
    content.read("entities/customers.json").replace(CONSENT_EDGE, "")
}

#[test]
fn poll_finds_what_no_event_told() {
    let content = Content::of_pack();
    let revoked = linked_elsewhere(&content);
    let sidecar = content.serve_with(&["--poll", "200ms"]);
    assert!(sidecar.permits(&fabrikam()));
    content.write("elsewhere/customers.json", &revoked);
    becomes(&sidecar, &fabrikam(), false);
}

#[test]
fn sighup_reads_everything_again() {
    let content = Content::of_pack();
    let revoked = linked_elsewhere(&content);
    let sidecar = content.serve_with(&["--poll", "0s"]);
    assert!(sidecar.permits(&fabrikam()));
    content.write("elsewhere/customers.json", &revoked);
    sidecar.signal("HUP");
    becomes(&sidecar, &fabrikam(), false);
}

/// The folder itself is replaced: by renaming another over a link to it.
#[test]
fn replaced_folder_is_followed() {
    let content = Content::of_pack();
    fs::rename(content.entities(), content.path("before")).unwrap();
    copy_folder(&content.path("before"), &content.path("after"));
    content.edit("after/customers.json", CONSENT_EDGE, "");
    symlink("before", content.entities()).unwrap();
    let sidecar = started(&content);
    symlink("after", content.path("link")).unwrap();
    fs::rename(content.path("link"), content.entities()).unwrap();
    becomes(&sidecar, &fabrikam(), false);
    // And the new folder is followed.
    content.write("after/customers.json", &content.read("before/customers.json"));
    becomes(&sidecar, &fabrikam(), true);
}

/// What cannot be read is refused; to leave it out would drop the forbids in it.
#[test]
fn unreadable_policy_file_is_refused() {
    let content = Content::of_pack();
    let elsewhere = content.path("block.cedar");
    fs::write(&elsewhere, FORBID_ALL).unwrap();
    symlink("../block.cedar", content.path("policies/block.cedar")).unwrap();
    let sidecar = content.serve_with(&["--poll", "1h"]);
    assert!(!sidecar.permits(&fabrikam()));
    let refused = |edit: &dyn Fn(), says: &str| {
        edit();
        sidecar.signal("HUP");
        until("the policies are refused", || {
            let status = sidecar.status()["policies"]["last_reload"].clone();
            status["outcome"] == "refused" && status["errors"].to_string().contains(says)
        });
        assert!(!sidecar.permits(&fabrikam()));
    };
    let link = content.path("policies/block.cedar");
    refused(&|| fs::remove_file(&elsewhere).unwrap(), "No such file");
    refused(
        &|| {
            fs::remove_file(&link).unwrap();
            symlink("block.cedar", &link).unwrap();
        },
        "symbolic links",
    );
    refused(
        &|| {
            fs::remove_file(&link).unwrap();
            assert!(Command::new("mkfifo").arg(&link).status().unwrap().success());
        },
        "is not a regular file",
    );
    fs::remove_file(&link).unwrap();
    becomes(&sidecar, &fabrikam(), true);
}

/// A file that is truncated and then written holds its policies until it is whole.
#[test]
fn emptied_file_is_not_believed() {
    let content = Content::of_pack();
    content.write("policies/closed.cedar", FORBID_ALL);
    let sidecar = content.serve();
    content.write("policies/closed.cedar", "");
    content.write("entities/devices.ndjson", "");
    for track in ["policies", "entities"] {
        until("it is refused", || outcome(&sidecar, track) == "refused");
    }
    assert!(!sidecar.permits(&fabrikam()));
    // A new schema reads every entity file anew, and still knows which of them held something.
    content.write("policies/closed.cedar", FORBID_ALL);
    until("the policies are back", || outcome(&sidecar, "policies") == "accepted");
    let schema = content.read("policies/schema.cedarschema");
    content.write("policies/schema.cedarschema", &format!("{schema}// changed\n"));
    until("it is refused", || outcome(&sidecar, "policies") == "refused");
    content.write("policies/schema.cedarschema", &schema);
    until("it is as before", || outcome(&sidecar, "policies") == "accepted");
    fs::remove_file(content.path("policies/closed.cedar")).unwrap();
    becomes(&sidecar, &fabrikam(), true);
}

/// A file that never held anything may stay so.
#[test]
fn blank_file_is_no_hindrance() {
    let content = Content::of_pack();
    content.write("policies/blank.cedar", "\n");
    let sidecar = started(&content);
    content.write("policies/closed.cedar", FORBID_ALL);
    becomes(&sidecar, &fabrikam(), false);
}

/// A file that is written slowly, line by line, is read once it is closed: its forbids are never gone.
#[test]
fn slowly_written_file_is_waited_for() {
    let content = Content::of_pack();
    content.write("policies/closed.cedar", FORBID_ALL);
    let sidecar = content.serve_with(&["--poll", "1h"]);
    let reloads = || sidecar.metric(r#"mandate_reloads_total{track="policies",result="accepted"}"#);
    let mut file = fs::File::create(content.path("policies/closed.cedar")).unwrap();
    for line in ["// one policy that", "// permits nothing", FORBID_ALL] {
        writeln!(file, "{line}").unwrap();
        let written = Instant::now();
        until("some time has passed", || written.elapsed() > Duration::from_millis(150));
        assert!(!sidecar.permits(&fabrikam()));
    }
    drop(file);
    until("it is read", || reloads() > 0.0);
    assert!(!sidecar.permits(&fabrikam()));
    assert!((reloads() - 1.0).abs() < f64::EPSILON, "read once, whole");
    assert!(!sidecar.log().contains("refused"));
}

/// Taking a refused change back heals the status, though what is in use never changed.
#[test]
fn taken_back_is_accepted() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    for (track, file) in [("policies", "policies/bad.cedar"), ("entities", "entities/bad.json")] {
        content.write(file, "bad");
        until("it is refused", || outcome(&sidecar, track) == "refused");
        fs::remove_file(content.path(file)).unwrap();
        until("it is accepted", || outcome(&sidecar, track) == "accepted");
        assert!(sidecar.metric(&format!("mandate_refused{{track=\"{track}\"}}")).abs() < f64::EPSILON);
    }
}

/// The warnings of what is in use stand in the status also after something else was refused.
#[test]
fn warnings_outlast_a_refusal() {
    let content = Content::of_pack();
    content.write("policies/nameless.cedar", "forbid (principal, action, resource) when { false };");
    let sidecar = started(&content);
    let warnings = || sidecar.status()["policies"]["last_reload"]["warnings"].clone();
    let before = warnings();
    assert!(before.to_string().contains("has no `@id`"), "{before}");
    content.write("policies/bad.cedar", "bad");
    until("it is refused", || outcome(&sidecar, "policies") == "refused");
    fs::remove_file(content.path("policies/bad.cedar")).unwrap();
    until("it is accepted", || outcome(&sidecar, "policies") == "accepted");
    assert_eq!(warnings(), before);
}

/// A text that would overflow the parser's stack, or keep the validator busy for hours, is refused.
#[test]
fn monstrous_policies_are_refused() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let policy = |condition: String| {
        format!("@id(\"m\") permit (principal, action, resource) when {{ {condition} }};")
    };
    for condition in [
        format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}1 == 1", "1 + ".repeat(50_000)),
        format!("{}true{}", "if true then ".repeat(40), " else false".repeat(40)),
    ] {
        content.write("policies/monster.cedar", &policy(condition));
        until("it is refused", || outcome(&sidecar, "policies") == "refused");
        fs::remove_file(content.path("policies/monster.cedar")).unwrap();
        until("it is gone", || outcome(&sidecar, "policies") == "accepted");
    }
    // What is just within the bounds is read.
    content.write("policies/monster.cedar", &policy(format!("{}true{}", "(".repeat(46), ")".repeat(46))));
    until("it is read", || sidecar.status()["policies"]["count"] == json!(25));
    content.write("policies/monster.cedar", &policy(format!("{}1 == 1", "1 + ".repeat(1_900))));
    until("it is read", || {
        sidecar.metric(r#"mandate_reloads_total{track="policies",result="accepted"}"#) > 4.0
    });
    content.write(
        "policies/schema.cedarschema",
        &format!("entity A = {{ a: {}Long{} }};", "Set<".repeat(10_000), ">".repeat(10_000)),
    );
    until("the schema is refused", || outcome(&sidecar, "policies") == "refused");
    assert!(sidecar.permits(&trey()));
}

#[test]
fn refused_candidate_shows_every_error_with_its_place() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let revision = sidecar.revision();
    // A new file would be empty for a moment, which is no error.
    content.place(
        "policies/broken.cedar",
        "permit (principal, action, resource) when { principal.nam == 1 };\n",
    );
    content.edit("policies/consent.cedar", "principal.active };", "principal.activ };");
    let errors = || sidecar.status()["policies"]["last_reload"]["errors"].to_string();
    until("both files are refused", || {
        errors().contains("broken.cedar") && errors().contains("consent.cedar")
    });
    assert_eq!(outcome(&sidecar, "policies"), "refused");
    let status = sidecar.status();
    assert_eq!(status["revision"], json!(revision));
    assert_eq!(status["ready"], json!(true));
    let errors = status["policies"]["last_reload"]["errors"].as_array().unwrap().clone();
    let at = |file: &str| {
        errors.iter().any(|error| {
            error["file"].as_str().is_some_and(|path| path.ends_with(file))
                && error["line"].as_u64() > Some(0)
                && error["column"].as_u64() > Some(0)
        })
    };
    assert!(at("policies/broken.cedar") && at("policies/consent.cedar"), "{errors:?}");
    assert!(sidecar.metric(r#"mandate_refused{track="policies"}"#) > 0.0);
    assert!(sidecar.log().contains("the last good content stays in use"), "{}", sidecar.log());
    assert!(sidecar.permits(&fabrikam()));
}

#[test]
fn broken_policies_do_not_hold_up_a_revoked_consent() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    content.write("policies/broken.cedar", "permit (");
    until("the policies are refused", || outcome(&sidecar, "policies") == "refused");
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    becomes(&sidecar, &fabrikam(), false);
    assert_eq!(outcome(&sidecar, "policies"), "refused");
    // And broken entities do not hold up a policy.
    content.write("entities/broken.json", "{");
    until("the entities are refused", || outcome(&sidecar, "entities") == "refused");
    content.write("policies/broken.cedar", FORBID_ALL);
    becomes(&sidecar, &trey(), false);
}

#[test]
fn new_schema_takes_entities_along() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    // By the new schema every customer has a name, which no stored one has: refused whole.
    let old = "entity Customer in [CspConsent, OemConsent];";
    let digest = sidecar.status()["schema"]["digest"].clone();
    content.edit(
        "policies/schema.cedarschema",
        old,
        "entity Customer in [CspConsent, OemConsent] = { name?: String };",
    );
    until("the optional attribute is accepted", || sidecar.status()["schema"]["digest"] != digest);
    assert!(sidecar.permits(&fabrikam()));
    content.edit("policies/schema.cedarschema", "name?: String", "name: String");
    until("the required attribute is refused", || {
        let errors = sidecar.status()["policies"]["last_reload"]["errors"].to_string();
        errors.contains("attrs.name: missing")
    });
    assert_eq!(outcome(&sidecar, "policies"), "refused");
    assert!(sidecar.permits(&fabrikam()));
    // Once the entities fit the new schema, both come into use together.
    let text = content.read("entities/customers.json");
    let named: Vec<String> = text
        .lines()
        .map(|line| {
            let customer = line.contains(r#""uid": {"type": "Autopilot::Customer""#);
            if customer {
                line.replacen(r#""attrs": {}"#, r#""attrs": {"name": "x"}"#, 1)
            } else {
                line.to_owned()
            }
        })
        .collect();
    content.write("entities/customers.json", &named.join("\n"));
    until("both are accepted", || outcome(&sidecar, "policies") == "accepted");
    assert!(sidecar.permits(&fabrikam()));
}

/// A change of policies reads no entity file, and one of entities no policy file.
#[test]
fn each_track_is_read_by_itself() {
    let content = Content::of_pack();
    let content_paths = ContentPaths {
        policies: content.policies(),
        entities: content.entities(),
        terms: RequestConfig::default(),
    };
    let mut loader = Loader::new(&content_paths);
    let LoadedContent { mut snapshot, routes, .. } = loader.load().unwrap();
    let mut step = |edit: &dyn Fn()| {
        until("the files are older than the clock's tick", || {
            let policies = loader.poll_policies(&snapshot, None, false);
            let settled = matches!(policies, PolicyPoll::Unchanged);
            if let PolicyPoll::Pending(pending) = policies {
                assert!(!loader.accept(*pending, &snapshot, &routes).unwrap().1.changed);
            }
            settled && loader.poll_entities(&snapshot, false).result.is_none()
        });
        edit();
        let policies = loader.poll_policies(&snapshot, None, false);
        let entities = loader.poll_entities(&snapshot, false);
        let read = (!matches!(policies, PolicyPoll::Unchanged), entities.result.is_some());
        let accepted = match policies {
            PolicyPoll::Pending(pending) => loader.accept(*pending, &snapshot, &routes).unwrap().0,
            _ => None,
        };
        snapshot = accepted.map(|(snapshot, _)| snapshot).or(entities.snapshot).unwrap();
        read
    };
    assert_eq!(step(&|| content.write("policies/closed.cedar", FORBID_ALL)), (true, false));
    assert_eq!(step(&|| content.edit("entities/customers.json", CONSENT_EDGE, "")), (false, true));
}

/// An edit of one customer's consent leaves what is remembered of other customers alone, and a new
/// policy file does not read the entities again.
#[test]
fn a_change_leaves_the_rest_alone() {
    let content = Content::of_pack();
    let sidecar = started(&content);
    let relecloud = register(("IndirectReseller", "tailspin"), "relecloud", "partner-center-ui");
    assert!(sidecar.permits(&relecloud));
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    becomes(&sidecar, &fabrikam(), false);
    let misses = sidecar.metric("mandate_cache_misses_total");
    assert!(sidecar.permits(&relecloud));
    assert!(
        (sidecar.metric("mandate_cache_misses_total") - misses).abs() < f64::EPSILON,
        "remembered before the change"
    );
}
