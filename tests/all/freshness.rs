//! How old the content in use may be: that neither track delays the other, what operators see of a source that does not
//! answer, and what `--max-staleness` does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mandate_core::diagnostics::Diagnostics;
use mandate_core::schema::Schema;
use mandate_core::snapshot::RequestConfig;
use mandate_pdp::proof_worker::{GuardrailMode, ProofConfig};
use mandate_pdp::reload::{ReloadConfig, Reloader};
use mandate_pdp::staleness::{StalenessLimit, WhenStale};
use mandate_pdp::{InitialLoadReport, Pdp, PdpConfig};
use mandate_sources::loader::{ContentPaths, Loader};
use mandate_sources::policy_limits::PolicyLimits;
use mandate_sources::source::{EntitySource, EntityUpdate, Origins, PollFor, Position};

use crate::reload::{CONSENT_EDGE, fabrikam_registers};
use crate::support::{Content, until};

/// A source of no entities that can hang: while it does, each poll waits.
struct HangingSource {
    hang: Receiver<Receiver<()>>,
}

impl EntitySource for HangingSource {
    fn poll(
        &mut self,
        what: PollFor,
        _: &Schema,
        _: &mut Origins,
    ) -> Result<Option<(Position, EntityUpdate)>, Diagnostics> {
        if let Ok(end) = self.hang.try_recv() {
            // An error means that the test has ended the hang by dropping the sender.
            let _ = end.recv();
        }
        let snapshot = || (Position::default(), EntityUpdate::Snapshot(Vec::new()));
        Ok((what == PollFor::Snapshot).then(snapshot))
    }

    fn confirm(&mut self, _: Position) {}
}

struct Running {
    pdp: Pdp,
    content: Content,
    hang: Sender<Receiver<()>>,
    _reloader: Reloader,
}

impl Running {
    /// A decision point on the pack's policies, with entities from a source that can hang.
    fn start(when_stale: WhenStale) -> Self {
        let content = Content::of_pack();
        let (hang, hangs) = channel();
        let (policies, terms) = (content.policies(), RequestConfig::default());
        let source = Box::new(HangingSource { hang: hangs });
        let mut loader = Loader::with_entities(&policies, source, terms.clone());
        let (pdp, publisher) = Pdp::new(loader.load().unwrap(), PdpConfig::cached(100));
        let config = ReloadConfig {
            log: None,
            content_paths: ContentPaths {
                policies,
                entities: content.entities(),
                terms,
                identity_sources: None,
                policy_limits: PolicyLimits::default(),
            },
            poll_interval: Duration::from_millis(100),
            proofs: ProofConfig { mode: GuardrailMode::Off, prover: Err("none".to_owned()) },
            staleness: Some(StalenessLimit { max_age: Duration::from_secs(1), when_stale }),
            ready_when_restored: true,
            deny_all: false,
            kept_denial: None,
        };
        let reloader = Reloader::start(publisher, loader, config, &InitialLoadReport::default()).unwrap();
        Self { pdp, content, hang, _reloader: reloader }
    }

    /// Lets the next poll of the entities hang until the result is dropped.
    fn hang(&self) -> Sender<()> {
        let (end, ended) = channel();
        self.hang.send(ended).unwrap();
        end
    }

    fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.pdp.status()).unwrap()
    }

    fn is_stale(&self, track: &str) -> bool {
        self.status()["staleness"]["stale"].as_array().is_some_and(|stale| stale.iter().any(|it| it == track))
    }
}

#[test]
fn a_source_that_hangs_is_seen_and_delays_no_policy_edit() {
    let running = Running::start(WhenStale::Deny);
    let end = running.hang();
    until("the entities are stale", || running.is_stale("entities"));
    let status = running.status();
    assert!(status["entities"]["look_age_ms"].as_u64().unwrap() > 1_000, "{status}");
    until("the policies are still looked at", || {
        running.status()["policies"]["look_age_ms"].as_u64().unwrap() < 1_000 && !running.is_stale("policies")
    });
    until("everything is denied", || running.status()["suspended"]["outcome"] == "stale");

    let before = running.pdp.view().snapshot().policies().len();
    running.content.write("policies/more.cedar", "@id(\"more\") forbid (principal, action, resource);");
    until("the policy edit is in use", || running.pdp.view().snapshot().policies().len() == before + 1);

    drop(end);
    until("the entities are up to date again", || !running.is_stale("entities"));
    until("the policies decide again", || running.status()["suspended"].is_null());
}

#[test]
fn stale_content_can_take_readiness_away() {
    let running = Running::start(WhenStale::NotReady);
    assert!(running.pdp.not_ready_because_stale().is_empty());
    let end = running.hang();
    until("it is not ready", || running.pdp.not_ready_because_stale() == ["entities"]);
    assert!(running.status()["suspended"].is_null(), "requests are still decided");
    drop(end);
    until("it is ready again", || running.pdp.not_ready_because_stale().is_empty());
}

#[test]
fn refused_policies_make_a_sidecar_stale_until_they_are_mended() {
    let content = Content::of_pack();
    let args = ["--poll", "100ms", "--max-staleness", "1s", "--when-stale", "deny"];
    let sidecar = content.serve_with(&args);
    assert!(sidecar.permits(&fabrikam_registers()));
    content.write("policies/broken.cedar", "permit (");
    until("every request is denied", || {
        let answer = sidecar.evaluate(&fabrikam_registers());
        answer["decision"] == false && answer["context"]["reason_admin"]["outcome"] == "stale"
    });
    assert!((sidecar.metric("mandate_stale") - 1.0).abs() < f64::EPSILON);
    until("looks go on, and find nothing to use", || {
        sidecar.metric("mandate_source_look_age_seconds{track=\"policies\"}") < 1.0
            && sidecar.metric("mandate_source_confirmed_age_seconds{track=\"policies\"}") > 1.0
    });
    let search = r#"{"subject":{"type":"Autopilot::DirectBillPartner"},"action":{"name":"registerDevice"},"resource":{"type":"Autopilot::Customer","id":"contoso"},"context":{"channel":"partner-center-api"}}"#;
    let reply = sidecar.post("/access/v1/search/subject", search);
    assert_eq!((reply.status, reply.json()["results"].as_array().map(Vec::len)), (200, Some(0)), "{reply:?}");
    fs::remove_file(content.path("policies/broken.cedar")).unwrap();
    until("the policies decide again", || sidecar.permits(&fabrikam_registers()));
}

#[test]
fn a_limit_that_polling_cannot_keep_is_an_error() {
    for (args, message) in [
        (&["--max-staleness", "10s"][..], "`max-staleness` has to be at least twice `poll`, which is 30s"),
        (&["--max-staleness", "10s", "--poll", "0s"], "at least twice `poll`, which is 0s"),
        (&["--when-stale", "deny"], "`when-stale` needs `max-staleness`"),
    ] {
        let output = Content::of_pack().mandate("serve", args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_revoked_consent_does_not_wait_for_the_validation_of_many_policies() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--poll", "1h"]);
    let policies = sidecar.status()["policies"]["count"].as_u64();
    let policy = |n: usize| {
        format!("@id(\"more-{n}\") forbid (principal == Autopilot::Oem::\"oem-{n}\", action, resource);\n")
    };
    content.replace_file("policies/more.cedar", &(0..19_000).map(policy).collect::<String>());
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("the consent is revoked", || !sidecar.permits(&fabrikam_registers()));
    assert_eq!(sidecar.status()["policies"]["count"].as_u64(), policies, "the policies are still being read");
}

#[test]
fn a_change_without_an_event_is_found_counted_and_logged() {
    let content = Content::of_pack();
    // Events arrive for the folder, and not for a file outside of it that a link leads to.
    fs::rename(content.path("entities/customers.json"), content.path("customers.json")).unwrap();
    symlink(Path::new("../customers.json"), content.path("entities/customers.json")).unwrap();
    let sidecar = content.serve_with(&["--poll", "200ms"]);
    let unannounced = "mandate_unannounced_changes_total{track=\"entities\"}";
    assert!(sidecar.permits(&fabrikam_registers()) && sidecar.metric(unannounced) < 1.0);
    content.edit("customers.json", CONSENT_EDGE, "");
    until("the consent is revoked", || !sidecar.permits(&fabrikam_registers()));
    until("the change is counted", || sidecar.metric(unannounced) >= 1.0);
    assert!(sidecar.log().contains("a change was found by polling"), "{}", sidecar.log());
    assert!(sidecar.metric("mandate_unannounced_changes_total{track=\"policies\"}") < 1.0);
}

/// Like a network file system, `proc` sends no events. A link has the same effect here as a mount.
#[test]
fn a_folder_without_events_is_named_at_the_start() {
    let content = Content::of_pack();
    symlink("/proc/sys/kernel/random", content.path("entities/elsewhere")).unwrap();
    let sidecar = content.serve_with(&["--poll", "5s"]);
    until("the entities are not watched", || sidecar.status()["entities"]["watched"] == false);
    let status = sidecar.status();
    let why = status["entities"]["why_not_watched"].as_str().unwrap();
    assert!(
        why.ends_with("entities/elsewhere` is on proc, which sends no events for changes made elsewhere"),
        "{why}"
    );
    let policies = &status["policies"];
    assert_eq!((&policies["watched"], policies.get("why_not_watched")), (&true.into(), None));
    assert_eq!(status["watched"], false);
    assert!(sidecar.metric("mandate_source_watched{track=\"entities\"}") < 1.0);
    let warning = format!("{why}; changes are found by polling every 5s");
    assert_eq!(sidecar.log().matches(&warning).count(), 1, "{}", sidecar.log());
    // Events still tell of changes that are made here.
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    assert!(
        until("the consent is revoked", || !sidecar.permits(&fabrikam_registers())) < Duration::from_secs(4)
    );
}
