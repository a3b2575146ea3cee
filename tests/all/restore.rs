//! A restart beside folders that cannot be used: what `--state` keeps, when it is served, and that operators see it.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::reload::{CONSENT_EDGE, fabrikam_registers};
use crate::support::{Content, Sidecar, get, has_solver, until};

/// Content that was served with `--state`, and is not served any more.
struct Stopped {
    content: Content,
    state: String,
}

impl Stopped {
    fn new() -> Self {
        let content = Content::of_pack();
        let state = content.path("state").display().to_string();
        let stopped = Self { content, state };
        let sidecar = stopped.serve(&[]);
        until("copies are kept", || {
            ["policies", "entities"].iter().all(|track| stopped.confirmed(track).exists())
        });
        drop(sidecar);
        stopped
    }

    fn serve(&self, args: &[&str]) -> Sidecar {
        self.content.serve_with(&[&["--state", &self.state], args].concat())
    }

    fn confirmed(&self, track: &str) -> PathBuf {
        self.kept(track).join("confirmed")
    }

    /// What is kept under this name.
    fn kept(&self, name: &str) -> PathBuf {
        self.content.path("state/mandate").join(name)
    }

    /// Makes the copy of a track so old.
    fn age(&self, track: &str, age: Duration) {
        self.confirm_at(track, SystemTime::now() - age);
    }

    fn confirm_at(&self, track: &str, time: SystemTime) {
        let confirmed = File::options().write(true).open(self.confirmed(track)).unwrap();
        confirmed.set_modified(time).unwrap();
    }

    /// Serving ends at once, with an error.
    fn fails(&self, args: &[&str]) -> String {
        let listen = ["--state", &self.state, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let Output { status, stderr, .. } = self.content.mandate("serve", &[&listen, args].concat());
        assert_eq!(status.code(), Some(1));
        String::from_utf8(stderr).unwrap()
    }

    fn break_policies(&self) {
        self.content.write("policies/consent.cedar", "permit (principal, action,");
    }

    fn break_entities(&self) {
        self.content.write("entities/customers.json", "[{]");
    }
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}

fn restored(sidecar: &Sidecar, track: &str) -> Value {
    sidecar.status()[track]["restored"].clone()
}

#[test]
fn a_restart_beside_a_broken_policy_file_serves_the_copy_until_the_file_is_repaired() {
    let stopped = Stopped::new();
    let good = stopped.content.read("policies/consent.cedar");
    stopped.break_policies();
    // The entities are those of the folder: a consent that was revoked meanwhile stays revoked.
    assert!(stopped.content.read("entities/customers.json").contains(CONSENT_EDGE));
    let sidecar = stopped.serve(&[]);
    assert!(sidecar.permits(&fabrikam_registers()));
    let copy = restored(&sidecar, "policies");
    assert!(copy["from"].as_str().unwrap().ends_with("state/mandate/policies/current"), "{copy}");
    assert!(copy["confirmed"].as_str().unwrap().starts_with("20"), "{copy}");
    assert!(restored(&sidecar, "entities").is_null());
    let metric = |track: &str| sidecar.metric(&format!("mandate_source_restored{{track=\"{track}\"}}"));
    assert_eq!((metric("policies"), metric("entities")), (1.0, 0.0));
    assert_eq!(get(&format!("{}/readyz", sidecar.admin)).status, 200);
    until("the status says what is wrong", || {
        sidecar.status()["policies"]["last_reload"]["errors"].to_string().contains("consent.cedar")
    });
    assert!(sidecar.log().contains("the folder cannot be used: serving the copy of what was in use before"));

    stopped.content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("the consent is revoked", || !sidecar.permits(&fabrikam_registers()));
    stopped.content.write("policies/consent.cedar", &good);
    until("the folder is in use", || restored(&sidecar, "policies").is_null());
    assert!(metric("policies") < 1.0);
    assert_eq!(sidecar.status()["policies"]["last_reload"]["outcome"], "accepted");
    assert!(sidecar.log().contains("its copy is not in use any more"));
}

#[test]
fn the_copy_is_what_was_in_use_last_and_nothing_that_was_refused() {
    let stopped = Stopped::new();
    let sidecar = stopped.serve(&[]);
    stopped.content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("the consent is revoked", || !sidecar.permits(&fabrikam_registers()));
    let copy = || stopped.content.read("state/mandate/entities/current/customers.json");
    until("the copy has the change", || !copy().contains(CONSENT_EDGE));
    stopped.break_entities();
    until("the change is refused", || sidecar.status()["entities"]["last_reload"]["outcome"] == "refused");
    drop(sidecar);
    let sidecar = stopped.serve(&[]);
    assert!(!sidecar.permits(&fabrikam_registers()));
    assert!(!restored(&sidecar, "entities").is_null());
    assert!(restored(&sidecar, "policies").is_null());
}

#[test]
fn copies_are_used_for_both_and_for_a_folder_that_was_emptied() {
    let stopped = Stopped::new();
    stopped.break_policies();
    fs::remove_dir_all(stopped.content.entities()).unwrap();
    fs::create_dir(stopped.content.entities()).unwrap();
    let sidecar = stopped.serve(&["--when-restored", "not-ready"]);
    assert!(sidecar.permits(&fabrikam_registers()));
    assert!(!restored(&sidecar, "entities").is_null() && !restored(&sidecar, "policies").is_null());
    let ready = get(&format!("{}/readyz", sidecar.admin));
    assert_eq!((ready.status, &*ready.body), (503, "restored: copies of policies and entities are in use\n"));
}

#[test]
fn a_copy_that_is_too_old_is_not_served() {
    let stopped = Stopped::new();
    stopped.break_entities();
    stopped.age("entities", Duration::from_hours(1));
    let limit = ["--poll", "1s", "--max-staleness", "10m"];
    let error = stopped.fails(&limit);
    assert!(error.contains("customers.json") && error.contains("`max-staleness` allows no copy"), "{error}");
    // Without a limit, any age is allowed.
    assert!(stopped.serve(&[]).permits(&fabrikam_registers()));
}

#[test]
fn a_copy_from_the_future_is_not_served_where_its_age_counts() {
    let stopped = Stopped::new();
    stopped.break_entities();
    let limit = ["--poll", "1s", "--max-staleness", "10m"];
    stopped.confirm_at("entities", SystemTime::now() + Duration::from_hours(1));
    let error = stopped.fails(&limit).replace("\n  │ ", " ");
    assert!(error.contains("customers.json") && error.contains("its age is not known"), "{error}");
    assert!(error.contains("set the clock of this machine if it is wrong"), "{error}");
    // The clocks of two machines always differ a little.
    stopped.confirm_at("entities", SystemTime::now() + Duration::from_secs(30));
    assert!(stopped.serve(&limit).permits(&fabrikam_registers()));
    // Without a limit, the age does not count.
    stopped.confirm_at("entities", SystemTime::now() + Duration::from_hours(1));
    assert!(stopped.serve(&[]).permits(&fabrikam_registers()));
}

#[test]
fn a_copy_that_gets_too_old_is_not_served_any_more() {
    let stopped = Stopped::new();
    stopped.break_policies();
    stopped.age("policies", Duration::from_secs(3590));
    let sidecar = stopped.serve(&["--poll", "1s", "--max-staleness", "1h", "--when-stale", "warn"]);
    until("everything is denied", || !sidecar.permits(&fabrikam_registers()));
    assert_eq!(sidecar.status()["suspended"]["outcome"], "stale");
    assert!(sidecar.status()["policies"]["confirmed_age_ms"].as_u64() > Some(3_600_000));
}

#[test]
fn policies_that_break_a_promise_at_a_restart_do_not_take_the_place_of_the_copy() {
    if !has_solver() {
        return;
    }
    let stopped = Stopped::new();
    stopped.content.edit(
        "policies/registration.cedar",
        "context.channel == Autopilot::Channel::\"oem-api\"",
        "context.channel != Autopilot::Channel::\"intune\"",
    );
    let sidecar = stopped.serve(&["--guardrails", "enforce"]);
    assert!(!restored(&sidecar, "policies").is_null());
    until("the proof refuses the folder", || {
        sidecar.status()["policies"]["last_reload"]["outcome"] == "refused"
    });
    let kept = stopped.content.read("state/mandate/policies/current/registration.cedar");
    assert!(kept.contains("context.channel == Autopilot::Channel::\"oem-api\""), "{kept}");
}

#[test]
fn wrong_uses_of_the_folder_are_errors() {
    let stopped = Stopped::new();
    let sidecar = stopped.serve(&[]);
    let error = stopped.fails(&[]);
    assert!(error.contains("state/mandate`: another process uses it"), "{error}");
    drop(sidecar);
    let refused = |track: &str| {
        let folder = stopped.kept(track);
        open_to_all(&folder);
        format!(
            "cannot keep copies in `{0}`: every user can write to it; run `chmod o-w {0}`",
            folder.display()
        )
    };
    let expected = ["policies", "entities"].map(refused);
    let error = stopped.fails(&[]).replace("\n  │ ", " ");
    assert!(expected.iter().all(|message| error.contains(message)), "{error}");
    let inside = stopped.content.path("policies/state").display().to_string();
    let error = Stopped { state: inside, ..stopped }.fails(&[]);
    assert!(error.contains("keep copies outside of policies and entities"), "{error}");
    let stopped = Stopped::new();
    let output = stopped.content.mandate("serve", &["--when-restored", "ready"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: `when-restored` needs `state`\n");
}

/// The outcome of a request, and why everything is denied, if so.
fn outcome(sidecar: &Sidecar) -> [Value; 2] {
    let answer = sidecar.evaluate(&fabrikam_registers());
    [answer["context"]["reason_admin"]["outcome"].clone(), sidecar.status()["suspended"]["reason"].clone()]
}

#[test]
fn a_restart_without_the_policy_folder_lifts_no_denial() {
    let stopped = Stopped::new();
    let (kept, file) = (stopped.kept("deny-all"), stopped.content.path("policies/deny-all"));
    let sidecar = stopped.serve(&[]);
    assert!(sidecar.permits(&fabrikam_registers()) && !kept.exists());
    fs::write(&file, "incident 42").unwrap();
    until("the denial is kept", || kept.exists());
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    drop(sidecar);
    let denied: [Value; 2] = ["deny_all".into(), "An operator denies all requests: incident 42".into()];
    let away = stopped.content.path("away");
    fs::rename(stopped.content.policies(), &away).unwrap();
    let sidecar = stopped.serve(&["--poll", "100ms"]);
    assert_eq!(outcome(&sidecar), denied);
    assert!(!restored(&sidecar, "policies").is_null());
    assert!(sidecar.log().contains("every request stays denied until the folder is back"));
    drop(sidecar);
    // The mount point of a volume that is not mounted.
    fs::create_dir(stopped.content.policies()).unwrap();
    let sidecar = stopped.serve(&["--poll", "100ms"]);
    assert_eq!(outcome(&sidecar), denied);

    fs::remove_dir(stopped.content.policies()).unwrap();
    fs::rename(&away, stopped.content.policies()).unwrap();
    until("the folder is in use", || restored(&sidecar, "policies").is_null());
    assert_eq!(outcome(&sidecar), denied);
    fs::remove_file(&file).unwrap();
    until("the policies decide again", || sidecar.permits(&fabrikam_registers()));
    until("nothing is kept", || !kept.exists());
}

#[test]
fn a_denial_that_was_lifted_before_a_restart_is_not_kept() {
    let stopped = Stopped::new();
    let kept = stopped.kept("deny-all");
    fs::write(&kept, "incident 42").unwrap();
    let sidecar = stopped.serve(&[]);
    assert!(sidecar.permits(&fabrikam_registers()));
    until("nothing is kept", || !kept.exists());
    drop(sidecar);
    // The option counts until the next start, and the file of the policy folder beyond it.
    let sidecar = stopped.serve(&["--deny-all"]);
    assert_eq!(outcome(&sidecar)[0], "deny_all");
    stopped.content.write("policies/deny-all", "incident 43");
    until("the file is kept", || fs::read_to_string(&kept).is_ok_and(|reason| reason == "incident 43"));
    fs::remove_file(stopped.content.path("policies/deny-all")).unwrap();
    until("nothing is kept", || !kept.exists());
    assert_eq!(outcome(&sidecar)[0], "deny_all");
}

#[test]
fn a_state_disk_that_hangs_delays_no_denial() {
    let stopped = Stopped::new();
    // Opening a pipe hangs as long as nobody reads.
    let pipe = stopped.kept("deny-all.next");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let sidecar = stopped.serve(&[]);
    let file = stopped.content.path("policies/deny-all");
    for reason in ["incident 42", "incident 43"] {
        fs::write(&file, reason).unwrap();
        until("every request is denied", || !sidecar.permits(&fabrikam_registers()));
        fs::remove_file(&file).unwrap();
        until("the policies decide again", || sidecar.permits(&fabrikam_registers()));
    }
    assert!(!stopped.kept("deny-all").exists());
}

#[test]
fn copies_are_private_in_a_volume_that_every_user_can_write_to() {
    let stopped = Stopped::new();
    let (volume, private) = (stopped.content.path("state"), stopped.content.path("state/mandate"));
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
    // As an `emptyDir` of Kubernetes is.
    open_to_all(&volume);
    stopped.break_policies();
    let sidecar = stopped.serve(&[]);
    assert!(sidecar.permits(&fabrikam_registers()));
    let log = sidecar.log();
    assert!(log.contains(&format!("every user can write to `{}`", volume.display())), "{log}");
    drop(sidecar);
    // Another user puts something in its place.
    let away = stopped.content.path("state/away");
    fs::rename(&private, &away).unwrap();
    symlink(&away, &private).unwrap();
    let error = stopped.fails(&[]);
    assert!(error.contains("it is a link or a file, and not the folder that Mandate makes"), "{error}");
}
