//! Servers under test: started on a core of their own, measured from outside, ended by their handle.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where servers run.
pub const SERVER_CORE: usize = 0;

/// Where the load comes from.
pub const LOAD_CORE: usize = 1;

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
    /// From the start of the process to its first accepted connection.
    pub ready_after: Duration,
}

/// Keeps this thread, and what it starts from now on, on one core.
///
/// # Errors
/// The machine has no such core, or does not let us.
pub fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Lets this thread, and what it starts, use the first so many cores.
///
/// # Errors
/// The machine does not let us.
pub fn unpin(count: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    (0..count).for_each(|core| cores.set(core));
    Ok(sched_setaffinity(None, &cores)?)
}

/// A port that nobody listens on.
///
/// # Errors
/// There is none left.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts a server and waits until it accepts connections. What it says goes to `log`.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not listen within `patience`.
    pub fn start(command: &mut Command, port: u16, log: &Path, patience: Duration) -> io::Result<Self> {
        let log_file = std::fs::File::create(log)?;
        let start = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(log_file).stdin(Stdio::null()).spawn()?;
        let mut server = Self { child, port, ready_after: Duration::ZERO };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || start.elapsed() > patience {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("{command:?} does not listen: {said}")));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        server.ready_after = start.elapsed();
        Ok(server)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    /// Memory in bytes by its name in `/proc/PID/status`: `VmRSS`, `VmHWM`.
    pub fn memory(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Processor time so far, to a hundredth of a second.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.proc("stat"))
    }
}

/// This process's own processor time so far.
pub fn own_cpu() -> Duration {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
}

fn cpu_of(stat: &str) -> Duration {
    // The command's name stands in parentheses and may hold anything; utime and stime are the 12th
    // and 13th field after it, in ticks of 10 ms on Linux.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the solver is where the sidecar looks for it.
pub fn has_solver() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join("cvc5").is_file())
}
