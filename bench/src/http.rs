//! The comparison over HTTP: servers pinned to one core, the load to the other, all of them up and
//! loaded in turn, round by round.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::load::{self, Shot};
use crate::process::{self, LOAD_CORE, SERVER_CORE, Server};
use crate::world::{self, World, mix};

/// Where things are, and how long to measure.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The sidecar under test.
    pub mandate: PathBuf,
    /// The pack's policies.
    pub pack: PathBuf,
    /// A folder to work in.
    pub folder: PathBuf,
    pub rounds: usize,
    pub round: Duration,
    /// The many customers, and the many policies beyond the pack's.
    pub customers: u64,
    pub policies: u64,
}

/// What one server did in one round.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sample {
    pub rate: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    /// Processor time of the server for each request.
    pub cpu_micros: f64,
    pub wrong: u64,
    pub failed: u64,
}

/// Samples of each server, round by round.
pub type Samples = BTreeMap<String, Vec<Sample>>;

/// A server, and what to ask it.
pub struct Target {
    pub name: String,
    pub server: Server,
    pub shots: Rc<[Shot]>,
}

impl Target {
    pub fn new(name: &str, server: Server, shots: &Rc<[Shot]>) -> Self {
        Self { name: name.to_owned(), server, shots: Rc::clone(shots) }
    }
}

impl Setup {
    /// The entities of a world, written once.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn entities(&self, customers: u64) -> io::Result<PathBuf> {
        let folder = self.folder.join(format!("entities-{customers}"));
        if !folder.exists() {
            World { customers }.write(&folder)?;
        }
        Ok(folder)
    }

    /// The pack's policies with so many more, written once.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn policies(&self, more: u64) -> io::Result<PathBuf> {
        let folder = self.folder.join(format!("policies-{more}"));
        if !folder.exists() {
            world::write_policies(&self.pack, &folder, more)?;
        }
        Ok(folder)
    }

    /// Starts the sidecar on a core of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn mandate(
        &self,
        name: &str,
        policies: &Path,
        entities: &Path,
        options: &[&str],
    ) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        let mut command = Command::new(&self.mandate);
        command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--policies").arg(policies).arg("--entities").arg(entities).args(options);
        if !options.contains(&"--guardrails") {
            command.args(["--guardrails", "off"]);
        }
        self.start(&mut command, name, port)
    }

    /// Starts the limit on the same core.
    ///
    /// # Errors
    /// It does not start.
    pub fn limit(&self) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        self.start(command.args(["limit", "--listen", &format!("127.0.0.1:{port}")]), "limit", port)
    }

    /// Starts the limit over gRPC on the same core.
    ///
    /// # Errors
    /// It does not start.
    pub fn grpc_limit(&self) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["grpc", "--listen", &format!("127.0.0.1:{port}")]);
        self.start(&mut command, "grpc limit", port)
    }

    /// Starts any other server on the same core.
    ///
    /// # Errors
    /// It does not start.
    pub fn other(
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

    /// Loads the targets in turn, for all rounds, after a warm-up of each.
    ///
    /// # Errors
    /// A server cannot be reached.
    pub fn measure(&self, targets: &[Target], connections: usize) -> io::Result<Samples> {
        let mut samples = Samples::new();
        for target in targets {
            self.once(target, connections, self.round / 2)?;
        }
        for _ in 0..self.rounds {
            for target in targets {
                let sample = self.once(target, connections, self.round)?;
                samples.entry(target.name.clone()).or_default().push(sample);
            }
        }
        Ok(samples)
    }

    /// Loads one target once.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn once(&self, target: &Target, connections: usize, length: Duration) -> io::Result<Sample> {
        let before = target.server.cpu();
        let round = load::run(target.server.port, &target.shots, connections, length)?;
        let cpu = target.server.cpu().saturating_sub(before);
        Ok(Sample {
            rate: round.rate(),
            p50_micros: round.micros(0.5),
            p99_micros: round.micros(0.99),
            cpu_micros: cpu.as_secs_f64() * 1e6 / round.requests_f64().max(1.0),
            wrong: round.wrong,
            failed: round.failed,
        })
    }

    /// Measures a target quiet and, in every other round, while something else goes on: it is done
    /// again and again until it is told to stop.
    ///
    /// # Errors
    /// The server cannot be reached, or the other work failed.
    pub fn measure_while(
        &self,
        target: &Target,
        work: impl Fn(u64) -> io::Result<()> + Sync,
        every: Duration,
    ) -> io::Result<(Vec<Sample>, Vec<Sample>)> {
        self.once(target, 16, self.round)?;
        let (mut quiet, mut busy, mut step) = (Vec::new(), Vec::new(), 0);
        for _ in 0..self.rounds {
            quiet.push(self.once(target, 16, self.round)?);
            let stop = AtomicBool::new(false);
            let (sample, worked) = std::thread::scope(|scope| {
                let worker = scope.spawn(|| -> io::Result<u64> {
                    let mut step = step;
                    while !stop.load(Ordering::Relaxed) {
                        let begun = std::time::Instant::now();
                        work(step)?;
                        step += 1;
                        std::thread::sleep(every.saturating_sub(begun.elapsed()));
                    }
                    Ok(step)
                });
                let sample = self.once(target, 16, self.round.max(every * 3));
                stop.store(true, Ordering::Relaxed);
                (sample, worker.join())
            });
            busy.push(sample?);
            step = worked.map_err(|_| io::Error::other("the other work panicked"))??;
        }
        Ok((quiet, busy))
    }
}

/// The 2,000 questions of the mix: about customers all over the world.
pub fn questions(customers: u64) -> Rc<[Shot]> {
    World { customers }.questions(2_000, mix).iter().map(Shot::evaluation).collect()
}

/// Questions about customers drawn anew each time, far more than are remembered.
pub fn random_questions(customers: u64, count: u64) -> Rc<[Shot]> {
    World { customers }.questions(count, |n| mix(n ^ 0xABCD_EF01)).iter().map(Shot::evaluation).collect()
}

/// The questions for the limit, which always answers the same.
pub fn for_the_limit(shots: &Rc<[Shot]>) -> Rc<[Shot]> {
    shots.iter().map(|shot| Shot { expected: b"", ..shot.clone() }).collect()
}

/// A count as a number to divide by; counts here are far below what loses precision.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub fn float(count: u64) -> f64 {
    count as f64
}
