//! What all tests share: content in temporary folders, and sidecars that serve it as real processes on free ports.
//! `wire` has connections over HTTP/1.1, HTTP/2, TLS and unix sockets; `pack` has numbers of the pack.

pub mod pack;
pub mod wire;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The longest time that a test waits for an answer or a condition.
const PATIENCE: Duration = Duration::from_secs(20);

/// The path of a file or folder of this repository, such as `policies` of the pack.
pub fn repository_path(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// Policies and entities in a temporary folder, which is removed on drop.
pub struct Content {
    folder: TempDir,
}

impl Content {
    /// A copy of the pack.
    pub fn of_pack() -> Self {
        Self::copy_of(&repository_path("policies"), &repository_path("entities"))
    }

    /// A copy of two folders.
    pub fn copy_of(policies: &Path, entities: &Path) -> Self {
        let content = Self { folder: TempDir::new().unwrap() };
        copy_folder(policies, &content.policies());
        copy_folder(entities, &content.entities());
        content
    }

    /// The given files `(path, text)` and no others.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let content = Self { folder: TempDir::new().unwrap() };
        for (file, text) in files {
            fs::create_dir_all(content.path(file).parent().unwrap()).unwrap();
            content.write(file, text);
        }
        content
    }

    /// The path of a file in the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn policies(&self) -> PathBuf {
        self.path("policies")
    }

    pub fn entities(&self) -> PathBuf {
        self.path("entities")
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    /// Removes the changes of the pack, and the requests, which need them.
    pub fn remove_changes(&self) {
        for file in ["policies/changes.toml", "policies/consent.changes.toml"] {
            fs::remove_file(self.path(file)).unwrap();
        }
    }

    /// Replaces a file in one step: writes a new file and renames it.
    pub fn replace_file(&self, file: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.path("new"), self.path(file)).unwrap();
    }

    /// Replaces a text in a file. The file has to contain it.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "`{from}` is not in {file}");
        self.write(file, &text.replace(from, to));
    }

    /// The number of the line in which a text begins, at the first place where it is in a file.
    #[track_caller]
    pub fn line_of(&self, file: &str, text: &str) -> usize {
        let content = self.read(file);
        let start = content.find(text).unwrap_or_else(|| panic!("`{text}` is not in {file}"));
        content[..start].matches('\n').count() + 1
    }

    /// Runs `mandate VERB --policies … --entities … ARGS`.
    pub fn mandate(&self, verb: &str, args: &[&str]) -> Output {
        self.command(verb).args(args).output().unwrap()
    }

    /// The command `mandate VERB` with the folders of this content.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = mandate();
        command.arg(verb).arg("--policies").arg(self.policies());
        if ["serve", "check", "decide", "test"].contains(&verb) {
            command.arg("--entities").arg(self.entities());
        }
        command
    }

    /// Starts `mandate serve` on this content.
    pub fn serve(&self) -> Sidecar {
        self.serve_with(&[])
    }

    /// Starts `mandate serve` with more arguments.
    pub fn serve_with(&self, args: &[&str]) -> Sidecar {
        self.serve_with_observer(args, |_| {})
    }

    /// Like [`Content::serve_with`], with commands of a shell before it that hold for the process, such as `ulimit`.
    pub fn serve_in_shell(&self, before: &str, args: &[&str]) -> Sidecar {
        let serve = self.command("serve");
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(serve.get_program())
            .args(serve.get_args());
        command.args(["--admin-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]).args(args);
        self.start(command, args, 1, |_| {})
    }

    /// Like [`Content::serve_with`]. Calls `while_loading` with the address of the operators' port before the content is
    /// loaded.
    pub fn serve_with_observer(&self, args: &[&str], while_loading: impl FnOnce(&str)) -> Sidecar {
        let mut command = self.command("serve");
        command.args(args);
        if !args.contains(&"--admin-listen") {
            command.args(["--admin-listen", "127.0.0.1:0"]);
        }
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let listeners = args.iter().filter(|arg| **arg == "--listen").count().max(1);
        self.start(command, args, listeners, while_loading)
    }

    /// Starts `mandate serve` with a configuration file, which configures this number of listeners.
    pub fn serve_with_config(&self, config: &str, listeners: usize) -> Sidecar {
        self.write("mandate.toml", config);
        let mut command = self.command("serve");
        command.arg("--config").arg(self.path("mandate.toml"));
        self.start(command, &[], listeners, |_| {})
    }

    /// Starts the process and reads the addresses that it prints.
    fn start(
        &self,
        mut command: Command,
        args: &[&str],
        listeners: usize,
        while_loading: impl FnOnce(&str),
    ) -> Sidecar {
        let log = self.path("log");
        // Tests that are not about guardrails have to pass without a solver.
        if !args.contains(&"--guardrails") {
            command.args(["--guardrails", "off"]);
        }
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let mut address = |prefix: &str| {
            let line = lines.next().unwrap_or_default();
            match line.strip_prefix(prefix) {
                Some(address) => address.to_owned(),
                None => panic!("did not start: {line:?}; log:\n{}", fs::read_to_string(&log).unwrap()),
            }
        };
        let admin = address("admin on ");
        let has_health_listener = args.contains(&"--health-listen");
        while_loading(&admin);
        let health = has_health_listener.then(|| address("health on "));
        let listeners: Vec<String> = (0..listeners).map(|_| address("decisions on ")).collect();
        Sidecar { process, decisions: listeners[0].clone(), listeners, admin, health, log, content: None }
    }
}

/// A shell script in place of a solver. It passes the check that it is a solver, and then answers only `unknown`.
pub const SOLVER_WITHOUT_ANSWERS: &str = "#!/bin/sh
n=0
while read -r line; do case \"$line\" in *check-sat*)
  n=$((n + 1)); case $n in 1) echo sat ;; 2) echo unsat ;; *) echo unknown ;; esac ;;
esac; done
";

/// Whether a solver is installed. Without a solver, tests that need one pass, and `tests/closing.rs` reports at the end
/// that they did not run.
pub fn has_solver() -> bool {
    let output = mandate().args(["prove", "--policies"]).arg(repository_path("policies")).output().unwrap();
    let missing = String::from_utf8_lossy(&output.stderr).contains("there is no solver");
    if missing {
        eprintln!("NOT RUN: there is no solver");
    }
    !missing
}

/// The command `mandate`, without the environment variables that it reads.
pub fn mandate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mandate"));
    for (name, _) in std::env::vars() {
        if name.starts_with("MANDATE_") || name == "GITHUB_ACTIONS" {
            command.env_remove(name);
        }
    }
    command
}

/// Copies a folder with its subfolders.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            // Unlike `fs::copy`, this does not copy permissions, so the copy can be written.
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A running sidecar. It is killed on drop.
pub struct Sidecar {
    process: Child,
    /// The address of the first listener for decisions.
    pub decisions: String,
    /// The addresses of all listeners for decisions.
    pub listeners: Vec<String>,
    /// The address of the operators' port.
    pub admin: String,
    /// The address of the port of health probes, if there is one.
    pub health: Option<String>,
    log: PathBuf,
    /// The content that it serves, if no test holds it: it has to live as long as the process.
    content: Option<Content>,
}

/// The answer of a server.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).proxy(None);
    config.build().new_agent()
}

pub fn get(url: &str) -> Reply {
    reply(agent().get(url).call()).unwrap()
}

fn reply(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, ureq::Error> {
    let mut response = result?;
    let body = response.body_mut().read_to_string()?;
    Ok(Reply { status: response.status().as_u16(), headers: response.headers().clone(), body })
}

impl Sidecar {
    /// A sidecar on a copy of the pack, for tests that do not change it.
    pub fn of_pack(args: &[&str]) -> Self {
        let content = Content::of_pack();
        let mut sidecar = content.serve_with(args);
        sidecar.content = Some(content);
        sidecar
    }

    /// Posts a JSON body to the decision API.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_with_headers(path, body, &[("content-type", "application/json")])
    }

    /// Posts a body with these headers to the decision API.
    pub fn post_with_headers(&self, path: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Reply {
        self.send("POST", path, body, headers)
    }

    /// Sends any request to the decision API.
    pub fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Reply {
        self.try_send(method, path, body, headers).unwrap()
    }

    /// Like [`Sidecar::send`].
    ///
    /// # Errors
    /// There was no answer, most likely because the process was killed.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        body: impl AsRef<[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, ureq::Error> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.decisions));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent = agent();
        let request =
            agent.configure_request(request.body(body.as_ref()).unwrap()).allow_non_standard_methods(true);
        reply(agent.run(request.build()))
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The answer to one evaluation.
    #[track_caller]
    pub fn evaluate(&self, question: &Value) -> Value {
        let reply = self.post("/access/v1/evaluation", question.to_string());
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// Whether a question is permitted.
    #[track_caller]
    pub fn permits(&self, question: &Value) -> bool {
        self.evaluate(question)["decision"].as_bool().unwrap()
    }

    /// Gets a path of the operators' port.
    pub fn admin(&self, path: &str) -> Reply {
        get(&format!("{}{path}", self.admin))
    }

    /// The JSON of `/status`.
    pub fn status(&self) -> Value {
        self.admin("/status").json()
    }

    pub fn revision(&self) -> String {
        self.status()["revision"].as_str().unwrap().to_owned()
    }

    /// The value of a metric. `name` includes the labels, as `/metrics` prints them.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric `{name}` in:\n{text}")).parse().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a signal, such as `HUP`. After `STOP`, waits until the process has stopped.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.unwrap().success());
        if name == "STOP" {
            let state = || Command::new("ps").args(["-o", "state=", "-p", &id]).output().unwrap().stdout;
            until("the process stops", || state().starts_with(b"T"));
        }
    }

    /// Waits for the process to end by itself, and returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        until("the process ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the sidecar's log:\n{}", self.log());
        }
    }
}

/// Waits until a condition holds, and returns how long it took. `what` names the condition in the message of a failure.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "timed out; waited until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    started.elapsed()
}

/// A question in AuthZEN's form.
pub fn question(principal: (&str, &str), action: &str, resource: (&str, &str), context: Value) -> Value {
    serde_json::json!({
        "subject": { "type": principal.0, "id": principal.1 },
        "action": { "name": action },
        "resource": { "type": resource.0, "id": resource.1 },
        "context": context,
    })
}

/// The question whether a partner may register devices for a customer over a channel.
pub fn register(principal: (&str, &str), customer: &str, channel: &str) -> Value {
    question(principal, "registerDevice", ("Customer", customer), serde_json::json!({ "channel": channel }))
}
