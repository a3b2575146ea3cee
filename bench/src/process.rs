//! The processes of servers, and the cores that processes run on. A server ends when its [`Server`] is
//! dropped.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

/// The core that all servers run on.
pub const SERVER_CORE: usize = 0;

/// The core of the load generators.
pub const LOAD_CORE: usize = 1;

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
    /// The time from the start of the process to its first accepted connection.
    pub ready_after: Duration,
}

/// Pins this thread to one core, and with it all threads and processes that it starts from now on.
///
/// # Errors
/// There is no such core, or the system does not allow it.
pub fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Lets this thread use the first `count` cores, and with it all threads and processes that it starts from
/// now on.
///
/// # Errors
/// The system does not allow it.
pub fn use_cores(count: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    (0..count).for_each(|core| cores.set(core));
    Ok(sched_setaffinity(None, &cores)?)
}

/// A TCP port that is not in use.
///
/// # Errors
/// No port is free.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts a server and waits until it accepts connections. Its standard error goes to the file `log`.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not listen within `timeout`.
    pub fn start(command: &mut Command, port: u16, log: &Path, timeout: Duration) -> io::Result<Self> {
        let log_file = std::fs::File::create(log)?;
        let start = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(log_file).stdin(Stdio::null()).spawn()?;
        let mut server = Self { child, port, ready_after: Duration::ZERO };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || start.elapsed() > timeout {
                let messages = std::fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("{command:?} does not listen: {messages}")));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        server.ready_after = start.elapsed();
        Ok(server)
    }

    /// A file about this process in `/proc`.
    fn proc_file(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    /// Memory in bytes. `name` is a field of `/proc/PID/status`: `VmRSS` (now) or `VmHWM` (peak).
    pub fn memory(&self, name: &str) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// The processor time that the process has used so far, in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        parse_cpu_time(&self.proc_file("stat"))
    }
}

/// Reads the processor time from the text of `/proc/PID/stat`.
fn parse_cpu_time(stat: &str) -> Duration {
    // The name of the command is in parentheses and may contain any character. `utime` and `stime` are the
    // 12th and the 13th field after it, in ticks of 10 ms.
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

/// Whether the solver is on the `PATH`, where the sidecar looks for it.
pub fn has_solver() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join("cvc5").is_file())
}
