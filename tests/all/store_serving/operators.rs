//! Operators of a sidecar that serves a store: `mandate entities --admin`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{Served, request_consent};

/// A sidecar whose admin address is a unix socket, and how to ask it.
struct Operated {
    served: Served,
    admin: String,
}

impl Operated {
    fn new() -> Self {
        let mut served = Served::of_pack();
        let admin = format!("unix:{}", served.content.path("admin.sock").display());
        // A watcher lives longer than a connection may be idle.
        served.start_with(&["--admin-listen", &admin, "--idle-timeout", "300ms"]);
        Self { served, admin }
    }

    fn command(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = crate::support::mandate();
        command.args(["entities", verb]).args(args).args(["--admin", &self.admin]);
        command
    }

    fn run(&self, verb: &str, args: &[&str]) -> Output {
        self.command(verb, args).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, verb: &str, args: &[&str]) -> String {
        let output = self.run(verb, args);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn errors(&self, verb: &str, args: &[&str]) -> String {
        let output = self.run(verb, args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn every_verb_works_on_a_sidecar() {
    let operated = Operated::new();
    let content = &operated.served.content;
    content.write("staff.json", r#"[{ "uid": { "type": "Autopilot::Oem", "id": "acme" }, "attrs": { "active": true }, "parents": [] }]"#);
    let staff = content.path("staff.json").display().to_string();
    assert!(operated.ok("put", &[&staff]).starts_with("committed: "));
    assert!(operated.ok("put", &[&staff]).starts_with("nothing changed: "));
    let acme: Value = serde_json::from_str(&operated.ok("get", &["Oem::acme"])).unwrap();
    assert_eq!(acme["attrs"], json!({ "active": true }));
    assert!(operated.ok("delete", &["Oem::acme", "Oem::acme"]).starts_with("committed: "));
    assert_eq!(operated.run("get", &["Oem::acme"]).status.code(), Some(2));
    let entities = content.path("entities").display().to_string();
    assert!(operated.ok("import", &[&entities]).starts_with("nothing changed: "));
    assert_eq!(operated.ok("export", &[]).lines().count(), 39);
    let log = operated.ok("log", &[]);
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(
        log.contains(" admin socket put (1 edit)") && log.contains(" admin socket delete (1 edit)"),
        "{log}"
    );
    assert_eq!(operated.ok("log", &["--after", "1", "--limit", "1", "--json"]).lines().count(), 1);
    assert!(operated.ok("verify", &[]).starts_with("verified: 3 transactions, 39 entities\n"));
    assert!(operated.ok("compact", &["--keep", "1"]).contains(":3, 1 transaction kept"));
    assert_eq!(operated.ok("log", &[]).lines().count(), 1);
    // It still takes changes.
    assert_eq!(operated.served.change(&request_consent()).status, 200);
}

#[test]
fn what_a_sidecar_refuses_is_said_with_its_place() {
    let operated = Operated::new();
    operated.served.content.write("wrong.json", "[\n  { \"uid\": { \"type\": \"Autopilot::Oem\", \"id\": \"acme\" }, \"attrs\": { \"active\": 1 }, \"parents\": [] }\n]");
    let wrong = operated.served.content.path("wrong.json").display().to_string();
    let errors = operated.errors("put", &[&wrong]);
    assert!(errors.contains(&format!("{wrong}:2:")) && errors.contains("attrs.active"), "{errors}");
    let errors = operated.errors("delete", &["Oem::nobody"]);
    assert!(errors.contains("does not exist"), "{errors}");
    let errors = operated.errors("verify", &["--contains", "x"]);
    assert!(errors.contains("`--store`"), "{errors}");
    // The file is in use.
    let store = operated.served.content.path("store.redb").display().to_string();
    let output = crate::support::mandate().args(["entities", "export", "--store", &store]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("another process uses the store") && errors.contains("--admin"), "{errors}");
}

#[test]
fn a_watcher_sees_each_transaction_when_it_is_committed() {
    let operated = Operated::new();
    let mut watch =
        operated.command("watch", &["--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The watcher may not have begun to listen yet: until it has seen one, changes go on.
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| lines.next().unwrap());
        crate::support::until("the watcher has seen a transaction", || {
            assert_eq!(operated.served.change(&request_consent()).status, 200);
            first.is_finished()
        });
        first.join().unwrap()
    });
    let entry = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let first = entry(&first);
    assert_eq!((&first["caller"], &first["action"]), (&json!("portal"), &json!("requestConsent")));
    let idle = std::time::Instant::now();
    crate::support::until("the connection has been idle for a while", || idle.elapsed().as_secs() >= 2);
    let last = operated.served.change(&request_consent());
    let position = last.json()["context"]["position"].as_str().unwrap().to_owned();
    let mut before = first["sequence"].as_u64().unwrap();
    while !position.ends_with(&format!(":{before}")) {
        let next = entry(&lines.next().unwrap())["sequence"].as_u64().unwrap();
        assert_eq!(next, before + 1, "none is left out");
        before = next;
    }
    // The sidecar does not wait for a watcher when it ends.
    let Operated { mut served, .. } = operated;
    served.sidecar().signal("TERM");
    assert_eq!(served.sidecar.as_mut().unwrap().exit_code(), Some(0));
    assert_eq!(watch.wait().unwrap().code(), Some(1));
}

#[test]
fn an_address_without_authentication_gives_no_access() {
    let served = Served::of_pack();
    let admin = served.sidecar().admin.clone();
    let output = crate::support::mandate().args(["entities", "export", "--admin", &admin]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("does not authenticate callers"), "{errors}");
    let reply = served.sidecar().admin("/store/v1/log");
    assert_eq!(reply.status, 403, "{reply:?}");
    let files = crate::support::Content::of_pack();
    assert_eq!(files.serve().admin("/store/v1/log").status, 503);
}
