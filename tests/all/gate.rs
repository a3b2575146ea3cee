//! `serve --guardrails`: policies that break a claim never serve, and requests do not wait for a proof.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use crate::reload::CONSENT_EDGE;
use crate::support::{Content, Sidecar, question, register, solver, until};

const REGISTRATION: &str = "policies/registration.cedar";

/// Without this condition, the policies break `no-consent-no-registration`.
const NEEDED: &str = "  resource in principal &&\n  (";

fn relecloud() -> Value {
    register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api")
}

fn contoso() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

fn outcome(sidecar: &Sidecar) -> Value {
    sidecar.status()["policies"]["last_reload"]["outcome"].clone()
}

/// Starts a process that is expected to fail, and waits for its output.
fn start(content: &Content, args: &[&str]) -> Output {
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    content.command("serve").args(ports).args(args).output().unwrap()
}

/// A solver that waits while a file exists.
fn held_solver(content: &Content) -> String {
    let path = content.path("solver");
    let hold = content.path("hold");
    let real = std::env::var("CVC5").unwrap_or_else(|_| "cvc5".to_owned());
    let script =
        format!("#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.01; done\nexec {real} \"$@\"\n", hold.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A sidecar that enforces guardrails, with a solver that can be held; `None` where there is no solver.
fn guarded() -> Option<(Content, Sidecar)> {
    let content = solver().then(Content::of_pack)?;
    let program = held_solver(&content);
    let sidecar = content.serve_with(&["--guardrails", "enforce", "--solver", &program]);
    Some((content, sidecar))
}

fn hold(content: &Content) {
    content.write("hold", "");
}

fn release(content: &Content) {
    fs::remove_file(content.path("hold")).unwrap();
}

#[test]
fn a_start_with_broken_promises_is_refused() {
    if !solver() {
        return;
    }
    let content = Content::of_pack();
    content.edit(REGISTRATION, NEEDED, "  (");
    for args in [&[][..], &["--guardrails", "enforce"]] {
        let output = start(&content, args);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("the claim `no-consent-no-registration` is broken"), "{said}");
        assert!(said.contains("permitted by direct-bill-registers"), "{said}");
        assert!(!String::from_utf8(output.stdout).unwrap().contains("decisions on"));
    }
}

#[test]
fn an_edit_that_breaks_a_promise_never_serves() {
    let Some((content, sidecar)) = guarded() else { return };
    let before = sidecar.revision();
    assert_eq!(sidecar.status()["guardrails"]["state"], "proven");
    assert!((sidecar.metric("mandate_guardrails_proven") - 1.0).abs() < f64::EPSILON);
    assert!((sidecar.metric("mandate_claims") - 16.0).abs() < f64::EPSILON);

    content.edit(REGISTRATION, NEEDED, "  (");
    until("the edit is refused", || outcome(&sidecar) == "refused");
    assert!(!sidecar.permits(&relecloud()));
    assert_eq!(sidecar.revision(), before);
    let status = sidecar.status();
    let errors = status["policies"]["last_reload"]["errors"].as_array().unwrap();
    let message = errors[0]["message"].as_str().unwrap();
    assert!(message.starts_with("the claim `no-consent-no-registration` is broken: A partner registers"));
    assert!(errors[0]["file"].as_str().unwrap().ends_with("guardrails/registration.cedar"), "{errors:?}");
    let claims = status["guardrails"]["refused"]["claims"].as_array().unwrap();
    let broken: Vec<&Value> = claims.iter().filter(|claim| claim["result"] == "broken").collect();
    assert_eq!(broken.len(), 1, "{status}");
    assert_eq!(broken[0]["counterexample"]["action"], "registerDevice");
    assert_eq!(
        broken[0]["counterexample"]["decided"],
        json!({ "decision": true, "policies": ["direct-bill-registers"] })
    );
    assert_eq!(status["guardrails"]["state"], "proven", "of what is in use");
    assert!((sidecar.metric("mandate_proofs_total{result=\"not_proven\"}") - 1.0).abs() < f64::EPSILON);

    content.edit(REGISTRATION, "  principal.active &&\n  (", &format!("  principal.active &&\n{NEEDED}"));
    until("the edit is taken back", || outcome(&sidecar) == "accepted");
    assert_eq!(sidecar.status()["guardrails"]["refused"], Value::Null);
    assert_eq!(sidecar.revision(), before);
}

#[test]
fn an_edit_that_keeps_every_promise_serves() {
    let Some((content, sidecar)) = guarded() else { return };
    content.edit(
        "policies/consent.cedar",
        "when { principal.active };",
        "when { principal.active && !context.delegatedAdministration };",
    );
    let asked = json!({ "delegatedAdministration": true });
    let asked = question(("DirectBillPartner", "fabrikam"), "requestConsent", ("Customer", "contoso"), asked);
    until("the edit serves", || !sidecar.permits(&asked));
    let status = sidecar.status();
    assert_eq!(status["guardrails"]["state"], "proven");
    assert_eq!(status["guardrails"]["proof"]["policies"], status["policies"]["digest"]);
}

/// A new claim is an edit like any other.
#[test]
fn guardrails_are_edited_like_policies() {
    let Some((content, sidecar)) = guarded() else { return };
    let claim = "@id(\"nobody-views\") @claim(\"never\") @because(\"Nobody looks.\") forbid (principal, action == Autopilot::Action::\"viewCustomer\", resource);";
    content.write("policies/guardrails/more.cedar", claim);
    until("the claim is refused", || outcome(&sidecar) == "refused");
    content.write("policies/guardrails/more.cedar", "forbid (principal, action, resource");
    until("the claim does not parse", || {
        sidecar.status()["policies"]["last_reload"]["errors"].to_string().contains("more.cedar")
            && !sidecar.status()["policies"]["last_reload"]["errors"].to_string().contains("nobody-views")
    });
    fs::remove_file(content.path("policies/guardrails/more.cedar")).unwrap();
    until("the claim is gone", || outcome(&sidecar) == "accepted");
}

#[test]
fn a_proof_holds_up_no_revoked_consent() {
    let Some((content, sidecar)) = guarded() else { return };
    let before = sidecar.revision();
    hold(&content);
    content.edit(
        "policies/consent.cedar",
        "@reason(\"An active partner may send",
        "@reason(\"An active partner can send",
    );
    until("the edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    assert!(sidecar.permits(&contoso()));
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("the consent is revoked", || !sidecar.permits(&contoso()));
    assert_eq!(sidecar.status()["guardrails"]["proving"], true);
    let revoked = sidecar.revision();
    assert_ne!(revoked, before);
    release(&content);
    until("the edit serves", || sidecar.revision() != revoked);
    assert!(!sidecar.permits(&contoso()), "the consent stays revoked");
    assert_eq!(sidecar.status()["guardrails"]["proving"], false);
}

/// The status shows the last refused edit until the result for the next edit is known.
#[test]
fn nothing_is_said_before_the_verdict() {
    let Some((content, sidecar)) = guarded() else { return };
    hold(&content);
    let original = content.read("policies/consent.cedar");
    content.place("policies/consent.cedar", &original.replace("permit (", "permit "));
    until("the edit is refused", || outcome(&sidecar) == "refused");
    content.place("policies/consent.cedar", &original.replace("An active partner may", "A partner may"));
    until("the next is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("it was looked at again", || !sidecar.permits(&contoso()));
    assert_eq!(outcome(&sidecar), "refused");
    release(&content);
    until("the next serves", || outcome(&sidecar) == "accepted");
}

/// An edit that was refused before replaces a valid one that waits for its proof.
#[test]
fn what_comes_back_refused_stays_refused() {
    let Some((content, sidecar)) = guarded() else { return };
    let (before, original) = (sidecar.revision(), content.read("policies/consent.cedar"));
    let broken = format!("{original}\n@id(\"all\") permit (principal, action, resource);\n");
    content.place("policies/consent.cedar", &broken);
    until("the edit is refused", || outcome(&sidecar) == "refused");
    hold(&content);
    content.place("policies/consent.cedar", &original.replace("An active partner may", "A partner may"));
    until("the better is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    content.place("policies/consent.cedar", &broken);
    until("nothing is being proven", || sidecar.status()["guardrails"]["proving"] == false);
    release(&content);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("it was looked at again", || !sidecar.permits(&contoso()));
    assert_eq!(outcome(&sidecar), "refused");
    let refused = sidecar.status()["guardrails"]["refused"]["claims"].to_string();
    assert!(refused.contains("broken"), "{refused}");
    content.place("policies/consent.cedar", "permit (");
    let errors = || sidecar.status()["policies"]["last_reload"]["errors"].to_string();
    until("what does not parse is refused", || {
        errors().contains("consent.cedar") && !errors().contains("the claim")
    });
    assert_eq!(sidecar.status()["guardrails"]["refused"], Value::Null, "that is not what is newest");
    assert_eq!(sidecar.status()["policies"]["count"], 24);
    assert_ne!(sidecar.revision(), before, "the entities changed");
}

/// A missing folder does not remove the guardrails.
#[test]
fn guardrails_are_not_lost_in_silence() {
    let Some((content, sidecar)) = guarded() else { return };
    fs::rename(content.path("policies/guardrails"), content.path("elsewhere")).unwrap();
    until("the loss is refused", || outcome(&sidecar) == "refused");
    let errors = sidecar.status()["policies"]["last_reload"]["errors"].to_string();
    assert!(errors.contains("there were guardrails, and there are none now"), "{errors}");
    fs::create_dir(content.path("policies/guardrails")).unwrap();
    content.place("policies/guardrails/none.cedar", "// No claims.\n");
    until("a file without claims is accepted", || outcome(&sidecar) == "accepted");
    let claims = sidecar.status()["guardrails"]["proof"]["claims"].as_array().unwrap().len();
    assert_eq!(claims, 1, "but policies still must not fail");
}

/// If the solver failed, the same edit is proven again.
#[test]
fn a_solver_that_failed_is_tried_again() {
    let Some((content, sidecar)) = guarded() else { return };
    let original = content.read("solver");
    content.place("solver", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(content.path("solver"), fs::Permissions::from_mode(0o755)).unwrap();
    content.edit("policies/consent.cedar", "An active partner may", "A partner may");
    until("the edit is refused", || outcome(&sidecar) == "refused");
    content.place("solver", &original);
    fs::set_permissions(content.path("solver"), fs::Permissions::from_mode(0o755)).unwrap();
    until("the edit serves", || outcome(&sidecar) == "accepted");
}

/// Only the newest edit counts, even while another is being proven.
#[test]
fn a_newer_edit_takes_the_place_of_one_that_waits() {
    let Some((content, sidecar)) = guarded() else { return };
    hold(&content);
    let original = content.read("policies/consent.cedar");
    content
        .write("policies/consent.cedar", &original.replace("An active partner may", "First, a partner may"));
    until("the edit is being proven", || sidecar.status()["guardrails"]["proving"] == true);
    content
        .write("policies/consent.cedar", &original.replace("An active partner may", "Then, a partner may"));
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    until("both edits were looked at", || !sidecar.permits(&contoso()));
    release(&content);
    let expected = Content::of_pack();
    expected.write("policies/consent.cedar", &content.read("policies/consent.cedar"));
    let wanted = expected.serve().status()["policies"]["digest"].clone();
    until("the newer edit serves", || sidecar.status()["policies"]["digest"] == wanted);
    assert!(
        (sidecar.metric("mandate_reloads_total{track=\"policies\",result=\"accepted\"}") - 1.0).abs()
            < f64::EPSILON
    );
}

#[test]
fn warnings_refuse_nothing() {
    if !solver() {
        return;
    }
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--guardrails", "warn"]);
    until("the start is proven", || sidecar.status()["guardrails"]["state"] == "proven");
    content.edit(REGISTRATION, NEEDED, "  (");
    until("the edit serves", || sidecar.permits(&relecloud()));
    until("the claim is seen to be broken", || sidecar.status()["guardrails"]["state"] == "broken");
    assert!(sidecar.metric("mandate_guardrails_proven").abs() < f64::EPSILON);
    assert!(sidecar.log().contains("a guardrail is not proven"), "{}", sidecar.log());
}

#[test]
fn without_a_solver_guardrails_warn() {
    let content = Content::of_pack();
    content.edit(REGISTRATION, NEEDED, "  (");
    let listen = ["--guardrails", "warn", "--solver", "/no/such/solver"];
    let sidecar = content.serve_with(&listen);
    let guardrails = sidecar.status()["guardrails"].clone();
    assert_eq!((&guardrails["mode"], &guardrails["state"]), (&json!("warn"), &json!("unproven")));
    assert!(guardrails["why"].as_str().unwrap().contains("install cvc5"), "{guardrails}");
    assert!(sidecar.log().contains("the guardrails are not proven"), "{}", sidecar.log());
    assert!((sidecar.metric("mandate_guardrails{mode=\"warn\"}") - 1.0).abs() < f64::EPSILON);

    let output = start(&content, &["--guardrails", "enforce", "--solver", "/no/such/solver"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("guardrails cannot be enforced: there is no solver"), "{said}");
}

/// The default of `--guardrails`.
#[test]
fn the_default_is_to_enforce_what_can_be_proven() {
    #[track_caller]
    fn check(solver: Option<&str>, mode: &str) {
        let content = Content::of_pack();
        let mut command = content.command("serve");
        command.env_remove("CVC5").args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        // Without a folder on `PATH` there is no solver.
        match solver {
            Some(solver) => command.args(["--solver", solver]),
            None => command.env("PATH", "/no/such/folder"),
        };
        let (out, nothing) = (std::process::Stdio::piped(), std::process::Stdio::null());
        let mut process = command.stdout(out).stderr(nothing).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
        let admin = lines.next().unwrap().unwrap().replace("admin on ", "");
        assert!(lines.next().unwrap().unwrap().starts_with("decisions on "));
        let status = crate::support::get(&format!("{admin}/status")).json();
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(status["guardrails"]["mode"], mode);
    }
    check(None, "warn");
    if solver() {
        let real = std::env::var("CVC5").unwrap_or_else(|_| "cvc5".to_owned());
        check(Some(&real), "enforce");
    }
}

/// If a solver is configured, its absence is an error: the user wants proofs.
#[test]
fn a_solver_that_was_named_has_to_be_there() {
    for args in [["--solver", "/no/such/solver"], ["--solver-limit", "0s"]] {
        let output = start(&Content::of_pack(), &args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn check_reads_the_guardrails() {
    let content = Content::of_pack();
    content.write(
        "policies/guardrails/more.cedar",
        "@id(\"x\") @claim(\"never\") forbid (principal, action, resource);",
    );
    let output = content.mandate("check", &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("the claim `x` has no `@because`"), "{said}");
}
