//! Guardrails that are not enforced, most likely because no solver is installed: nobody can miss it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::{CONSENT_CONDITION, REGISTRATION, failed_start};
use crate::support::{Content, get, has_solver, until};

/// A `mandate serve` without `--guardrails`. It is killed on drop.
struct Process {
    child: Child,
    /// What is printed at the start.
    lines: Vec<String>,
    admin: String,
}

impl Process {
    /// Starts it with this solver. `None`: there is none on `PATH`.
    fn start(content: &Content, solver: Option<&str>) -> Self {
        let mut command = content.command("serve");
        command.env_remove("CVC5").args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        match solver {
            Some(solver) => command.args(["--solver", solver]),
            None => command.env("PATH", "/no/such/folder"),
        };
        let log = fs::File::create(content.path("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<String> = out.lines().take(3).map(Result::unwrap).collect();
        let admin = lines[0].replace("admin on ", "");
        Self { child, lines, admin }
    }

    fn guardrails(&self) -> Value {
        get(&format!("{}/status", self.admin)).json()["guardrails"].clone()
    }

    fn metrics(&self) -> String {
        get(&format!("{}/metrics", self.admin)).body
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_solver_the_start_and_every_policy_reload_say_that_nothing_is_enforced() {
    const WARNING: &str = "guardrails: NOT enforced (no solver: apt-get install cvc5)";
    let content = Content::of_pack();
    let sidecar = Process::start(&content, None);
    assert!(sidecar.lines[1].starts_with("decisions on "), "{:?}", sidecar.lines);
    assert_eq!(sidecar.lines[2], WARNING);
    let guardrails = sidecar.guardrails();
    assert_eq!(guardrails["mode"], "warn");
    assert_eq!(guardrails["enforced"], false);
    assert_eq!(guardrails["why"], "no solver: apt-get install cvc5");
    assert!(sidecar.metrics().lines().any(|line| line == "mandate_guardrails_enforced 0"));

    let warnings = || content.read("log").matches(WARNING).count();
    until("the log of the start says so", || warnings() == 1);
    content.edit(REGISTRATION, CONSENT_CONDITION, "  (");
    until("the log of the reload says so", || warnings() == 2);
}

#[test]
fn with_a_solver_guardrails_are_enforced_without_being_asked_for() {
    if !has_solver() {
        return;
    }
    let solver = std::env::var("CVC5").unwrap_or_else(|_| "cvc5".to_owned());
    let content = Content::of_pack();
    let sidecar = Process::start(&content, Some(&solver));
    assert_eq!(sidecar.lines[2], "guardrails: enforced");
    let guardrails = sidecar.guardrails();
    assert_eq!((&guardrails["mode"], &guardrails["enforced"]), (&json!("enforce"), &json!(true)));
    assert_eq!(guardrails["why"], Value::Null);
    assert!(sidecar.metrics().lines().any(|line| line == "mandate_guardrails_enforced 1"));
    assert!(!content.read("log").contains("NOT enforced"), "{}", content.read("log"));
}

#[test]
fn without_a_solver_warn_starts_and_enforce_does_not() {
    let content = Content::of_pack();
    content.edit(REGISTRATION, CONSENT_CONDITION, "  (");
    let sidecar = content.serve_with(&["--guardrails", "warn", "--solver", "/no/such/solver"]);
    let guardrails = sidecar.status()["guardrails"].clone();
    assert_eq!((&guardrails["mode"], &guardrails["state"]), (&json!("warn"), &json!("unproven")));
    assert!(guardrails["why"].as_str().unwrap().contains("install cvc5"), "{guardrails}");
    assert!(
        sidecar.log().contains("guardrails: NOT enforced (there is no solver `/no/such/solver`"),
        "{}",
        sidecar.log()
    );
    assert!((sidecar.metric("mandate_guardrails{mode=\"warn\"}") - 1.0).abs() < f64::EPSILON);

    let output = failed_start(&content, &["--guardrails", "enforce", "--solver", "/no/such/solver"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("guardrails cannot be enforced: there is no solver"), "{errors}");
}

/// Whoever copies an example deploys it: a missing solver has to end the start.
#[test]
fn every_deployment_example_enforces_guardrails() {
    use crate::support::repository_path;
    let read = |path: &str| fs::read_to_string(repository_path(path)).unwrap();
    for example in [
        "examples/caddy/Caddyfile",
        "examples/envoy/envoy-http.yaml",
        "examples/envoy/envoy.yaml",
        "examples/nginx/nginx.conf",
        "examples/traefik/dynamic.yaml",
    ] {
        let text = read(example);
        assert!(text.contains("mandate serve --guardrails enforce"), "{example}");
        assert_eq!(text.matches("mandate serve").count(), 1, "{example}");
    }
    assert!(read("Dockerfile").contains("MANDATE_GUARDRAILS=enforce"));
}
