//! What a comparison works with: a folder, servers that are pinned to one core, and the load on the other.
//! All servers are up, and loaded in turn, round by round.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load;
use crate::process::{self, LOAD_CORE, SERVER_CORE, Server};
use crate::results::{Sample, Samples};
use crate::round::Round;
use crate::shot::Shot;
use crate::world::{self, World};

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

    /// Loads the server once.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn once(&self, connections: usize, length: Duration) -> io::Result<Sample> {
        sample(&self.server, |port| load::run(port, &self.shots, connections, length))
    }
}

/// Loads a server once by any protocol.
///
/// # Errors
/// The server cannot be reached.
pub fn sample(server: &Server, load: impl FnOnce(u16) -> io::Result<Round>) -> io::Result<Sample> {
    let before = server.cpu();
    let round = load(server.port)?;
    Ok(Sample::of(&round, server.cpu().saturating_sub(before)))
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
        self.sidecar(&self.mandate, name, [policies, entities], options)
    }

    /// Starts a sidecar from any binary, on policies and entities.
    ///
    /// # Errors
    /// It does not start.
    pub fn sidecar(
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

    /// Starts the limit on the same core.
    ///
    /// # Errors
    /// It does not start.
    pub fn limit(&self) -> io::Result<Server> {
        self.own_verb("limit", "limit")
    }

    /// Starts the limit over gRPC on the same core.
    ///
    /// # Errors
    /// It does not start.
    pub fn grpc_limit(&self) -> io::Result<Server> {
        self.own_verb("grpc", "grpc limit")
    }

    /// Starts a server that is a verb of this program.
    fn own_verb(&self, verb: &str, name: &str) -> io::Result<Server> {
        process::pin(SERVER_CORE)?;
        let port = process::free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        self.start(command.args([verb, "--listen", &format!("127.0.0.1:{port}")]), name, port)
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
            target.once(connections, self.round / 2)?;
        }
        for _ in 0..self.rounds {
            for target in targets {
                let sample = target.once(connections, self.round)?;
                samples.entry(target.name.clone()).or_default().push(sample);
            }
        }
        Ok(samples)
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
        target.once(16, self.round)?;
        let (mut quiet, mut busy, mut step) = (Vec::new(), Vec::new(), 0);
        for _ in 0..self.rounds {
            quiet.push(target.once(16, self.round)?);
            let stop = AtomicBool::new(false);
            let (sample, worked) = std::thread::scope(|scope| {
                let worker = scope.spawn(|| repeat(&work, every, step, &stop));
                let sample = target.once(16, self.round.max(every * 3));
                stop.store(true, Ordering::Relaxed);
                (sample, worker.join())
            });
            busy.push(sample?);
            step = worked.map_err(|_| io::Error::other("the other work panicked"))??;
        }
        Ok((quiet, busy))
    }
}

/// Does the next steps of some work until it has to stop; the step that comes then.
fn repeat(
    work: &(impl Fn(u64) -> io::Result<()> + Sync),
    every: Duration,
    mut step: u64,
    stop: &AtomicBool,
) -> io::Result<u64> {
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        work(step)?;
        step += 1;
        std::thread::sleep(every.saturating_sub(begun.elapsed()));
    }
    Ok(step)
}
