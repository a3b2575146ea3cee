//! What every comparison needs: a working folder, servers that are pinned to one core, and load from the
//! other core. All servers run at the same time, but only one is loaded at a time, round by round.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::dataset::{self, Dataset};
use crate::load;
use crate::prepared::PreparedRequest;
use crate::process::{self, LOAD_CORE, SERVER_CORE, Server};
use crate::results::{Sample, Samples};
use crate::round::Round;

/// The files to measure with, and how long to measure.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The sidecar under test.
    pub mandate: PathBuf,
    /// The pack's policies.
    pub pack: PathBuf,
    /// The working folder.
    pub folder: PathBuf,
    pub rounds: usize,
    pub round_length: Duration,
    /// The number of customers of the large data set.
    pub many_customers: u64,
    /// The number of policies of the large policy set, without those of the pack.
    pub extra_policies: u64,
}

/// A server, and the requests to load it with.
pub struct Target {
    pub name: String,
    pub server: Server,
    pub requests: Rc<[PreparedRequest]>,
}

impl Target {
    pub fn new(name: &str, server: Server, requests: &Rc<[PreparedRequest]>) -> Self {
        Self { name: name.to_owned(), server, requests: Rc::clone(requests) }
    }

    /// Loads the server for one round.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn load_once(&self, connections: usize, length: Duration) -> io::Result<Sample> {
        sample_round(&self.server, |port| load::run(port, &self.requests, connections, length))
    }
}

/// Loads a server for one round, by any protocol, and measures its processor time as well.
///
/// # Errors
/// The server cannot be reached.
pub fn sample_round(server: &Server, load: impl FnOnce(u16) -> io::Result<Round>) -> io::Result<Sample> {
    let before = server.cpu_time();
    let round = load(server.port)?;
    Ok(Sample::of(&round, server.cpu_time().saturating_sub(before)))
}

impl Setup {
    /// The folder with the entities of a data set. The first call writes it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn entities_folder(&self, customers: u64) -> io::Result<PathBuf> {
        let folder = self.folder.join(format!("entities-{customers}"));
        if !folder.exists() {
            Dataset { customers }.write(&folder)?;
        }
        Ok(folder)
    }

    /// The folder with the pack's policies and `extra` more. The first call writes it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn policies_folder(&self, extra: u64) -> io::Result<PathBuf> {
        let folder = self.folder.join(format!("policies-{extra}"));
        if !folder.exists() {
            dataset::write_policies(&self.pack, &folder, extra)?;
        }
        Ok(folder)
    }

    /// Starts the sidecar under test on the servers' core.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_mandate(
        &self,
        name: &str,
        policies: &Path,
        entities: &Path,
        options: &[&str],
    ) -> io::Result<Server> {
        self.start_sidecar(&self.mandate, name, [policies, entities], options)
    }

    /// Starts a sidecar from any binary on the servers' core. Guardrails are off unless `options` say
    /// otherwise.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_sidecar(
        &self,
        binary: &Path,
        name: &str,
        [policies, entities]: [&Path; 2],
        options: &[&str],
    ) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        let mut command = Command::new(binary);
        command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--policies").arg(policies).arg("--entities").arg(entities).args(options);
        if !options.contains(&"--guardrails") {
            command.args(["--guardrails", "off"]);
        }
        self.start(&mut command, name, port)
    }

    /// Starts the limit over HTTP on the servers' core.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_limit(&self) -> io::Result<Server> {
        self.start_own_verb("limit", "limit")
    }

    /// Starts the limit over gRPC on the servers' core.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_grpc_limit(&self) -> io::Result<Server> {
        self.start_own_verb("grpc", "grpc limit")
    }

    /// Starts a server that is a verb of this program.
    fn start_own_verb(&self, verb: &str, name: &str) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        self.start(command.args([verb, "--listen", &format!("127.0.0.1:{port}")]), name, port)
    }

    /// Starts a server that is not Mandate on the servers' core.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_other(
        &self,
        name: &str,
        program: &str,
        arguments: impl FnOnce(u16) -> Vec<String>,
    ) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        self.start(Command::new(program).args(arguments(port)).current_dir(&self.folder), name, port)
    }

    fn start(&self, command: &mut Command, name: &str, port: u16) -> io::Result<Server> {
        let log = self.folder.join(format!("{}.log", name.replace(' ', "-")));
        let server = Server::start(command, port, &log, Duration::from_mins(5));
        process::pin(LOAD_CORE)?;
        server
    }

    /// Warms up every target, and then loads each target once in every round.
    ///
    /// # Errors
    /// A server cannot be reached.
    pub fn measure(&self, targets: &[Target], connections: usize) -> io::Result<Samples> {
        let mut samples = Samples::new();
        for target in targets {
            target.load_once(connections, self.round_length / 2)?;
        }
        for _ in 0..self.rounds {
            for target in targets {
                let sample = target.load_once(connections, self.round_length)?;
                samples.entry(target.name.clone()).or_default().push(sample);
            }
        }
        Ok(samples)
    }

    /// Measures a target with and without other work at the same time, in turn. `work` is called again and
    /// again with the number of the step, once per `interval`. Returns the samples without and with the work.
    ///
    /// # Errors
    /// The server cannot be reached, or the other work failed.
    pub fn measure_while(
        &self,
        target: &Target,
        work: impl Fn(u64) -> io::Result<()> + Sync,
        interval: Duration,
    ) -> io::Result<(Vec<Sample>, Vec<Sample>)> {
        target.load_once(16, self.round_length)?;
        let (mut quiet, mut busy, mut step) = (Vec::new(), Vec::new(), 0);
        for _ in 0..self.rounds {
            quiet.push(target.load_once(16, self.round_length)?);
            let stop = AtomicBool::new(false);
            let (sample, next_step) = std::thread::scope(|scope| {
                let worker = scope.spawn(|| repeat(&work, interval, step, &stop));
                let sample = target.load_once(16, self.round_length.max(interval * 3));
                stop.store(true, Ordering::Relaxed);
                (sample, worker.join())
            });
            busy.push(sample?);
            step = next_step.map_err(|_| io::Error::other("the other work panicked"))??;
        }
        Ok((quiet, busy))
    }
}

/// Does the steps of some work, from `step` on, until `stop` is set. Returns the first step that was not
/// done.
fn repeat(
    work: &(impl Fn(u64) -> io::Result<()> + Sync),
    interval: Duration,
    mut step: u64,
    stop: &AtomicBool,
) -> io::Result<u64> {
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        work(step)?;
        step += 1;
        std::thread::sleep(interval.saturating_sub(start.elapsed()));
    }
    Ok(step)
}
