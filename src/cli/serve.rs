//! `mandate serve`: wires content, decision point and listeners together, and ends them in order.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::config::{ServeArguments, ServeConfig};
use super::{Failure, Outcome, gate, report, telemetry};
use crate::authz::Snapshot;
use crate::authz::fault::{Fault, Faults};
use crate::pdp::Pdp;
use crate::pdp::gate::{Gate, Mode, Subject, Verdict};
use crate::pdp::reload::{FirstLoad, Reloader};
use crate::source::loader::{LOADING_STACK, Loader, Locations};
use crate::transport::http::admin::{self, Phase};
use crate::transport::http::authzen::Api;
use crate::transport::http::metadata::Address;
use crate::transport::http::server::{self, Bounds};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    serve: ServeArguments,
}

pub fn run(arguments: Arguments) -> Outcome {
    let config = arguments.serve.config()?;
    telemetry::start(&config.log, config.log_format)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("cannot start", &error))?;
    let outcome = runtime.block_on(serve(config));
    // A load that was interrupted by a signal is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: ServeConfig) -> Outcome {
    let mut signals = Signals::new().map_err(|error| Failure::because("cannot listen to signals", &error))?;
    let started = Instant::now();
    let (admin_socket, socket) = (Socket::bind(config.admin_listen)?, Socket::bind(config.listen)?);
    let (phase, phases) = watch::channel(Phase::Loading);
    let admin = Port::open(admin_socket, ADMIN_CONNECTIONS, |listener, bounds, stop| {
        server::serve(listener, TowerToHyperService::new(admin::router(phases)), bounds, stop)
    })?;
    admin.announce("admin")?;

    let gate = gate::of(&config)?;
    let Some(loaded) = load(&config, gate, &mut signals).await else { return Ok(ExitCode::SUCCESS) };
    let (pdp, reloader) = start(loaded.map_err(Failure::Faults)?, &config, started)?;
    // Only now are connections taken: before, a gateway is refused at once rather than kept waiting.
    let (decider, limits, public) = (pdp.clone(), config.limits, config.public_url.clone());
    let wanted = config.listen;
    let decisions = Port::open(socket, connections(), move |listener, bounds, stop| {
        let address = Address { public, listener: listener.local_addr().unwrap_or(wanted) };
        let api = Api::new(decider, limits, address);
        let service = service_fn(move |request| {
            let api = api.clone();
            async move { Ok(api.answer(request).await) }
        });
        server::serve(listener, service, bounds, stop)
    })?;
    phase.send_replace(Phase::Serving(pdp.clone()));
    decisions.announce("decisions")?;

    signals.until_stop(|| reloader.wake().look_at_everything()).await;
    tracing::info!("stopping: not ready from now on");
    phase.send_replace(Phase::Stopping(pdp));
    tokio::select! {
        () = tokio::time::sleep(config.shutdown_delay) => {}
        () = signals.until_stop(|| {}) => {}
    }
    decisions.close().await;
    admin.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What the first load brought.
struct Loaded {
    loader: Loader,
    gate: Gate,
    snapshot: Snapshot,
    warnings: Faults,
    verdict: Option<Verdict>,
}

/// A decision point on what was loaded, and the writer that keeps it fresh.
fn start(loaded: Loaded, config: &ServeConfig, started: Instant) -> Result<(Pdp, Reloader), Failure> {
    let Loaded { loader, gate, snapshot, warnings, verdict } = loaded;
    let first = FirstLoad { warnings, took: started.elapsed(), verdict };
    log_start(&snapshot, &first);
    let pdp = Pdp::new(snapshot, config.cache_entries);
    let reloader = Reloader::start(pdp.clone(), loader, &config.locations, gate, &first, config.poll);
    reloader
        .map(|reloader| (pdp, reloader))
        .map_err(|error| Failure::because("cannot start a thread", &error))
}

/// A port that is served until it is closed.
struct Port {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Port {
    fn open<F: Future<Output = ()> + Send + 'static>(
        socket: Socket,
        connections: usize,
        serve: impl FnOnce(TcpListener, Bounds, watch::Receiver<bool>) -> F,
    ) -> Result<Self, Failure> {
        let (listener, address) = socket.listen()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "callers are not authenticated, and not only this machine may reach this address");
        }
        let (stop, stopped) = watch::channel(false);
        let bounds = Bounds::default().with_connections(connections);
        let served = tokio::spawn(serve(listener, bounds, stopped));
        Ok(Self { address, stop, served })
    }

    fn announce(&self, name: &str) -> Result<(), Failure> {
        report::print(&format!("{name} on http://{}\n", self.address))
    }

    /// Takes no more connections, and waits for the requests in flight.
    async fn close(self) {
        self.stop.send_replace(true);
        // A task that panicked has ended as well.
        let _ = self.served.await;
    }
}

/// Loads the first snapshot; `None` if told to stop meanwhile.
async fn load(config: &ServeConfig, gate: Gate, signals: &mut Signals) -> Option<Result<Loaded, Faults>> {
    let locations = config.locations.clone();
    let (done, loaded) = oneshot::channel();
    let load = move || {
        // Nobody waits any more if the program was told to stop.
        let _ = done.send(load_and_prove(&locations, gate));
    };
    let thread = std::thread::Builder::new().name("load".into()).stack_size(LOADING_STACK).spawn(load);
    if let Err(error) = thread {
        return Some(Err(Fault::error(format!("cannot start a thread: {error}")).into()));
    }
    tokio::select! {
        loaded = loaded => Some(loaded.unwrap_or_else(|_| Err(Fault::error("loading failed by a defect").into()))),
        () = signals.until_stop(|| {}) => None,
    }
}

/// Where guardrails are enforced, nothing is served before they are proven.
fn load_and_prove(locations: &Locations, mut gate: Gate) -> Result<Loaded, Faults> {
    let mut loader = Loader::new(locations);
    let (snapshot, warnings) = loader.load()?;
    let mut verdict = None;
    if gate.mode == Mode::Enforce {
        let guardrails = loader.guardrails().to_vec();
        verdict = gate.judge(&Subject { policies: Arc::clone(snapshot.policies()), guardrails });
        if let Some(Err(faults)) = verdict.as_ref().map(|verdict| &verdict.findings.proven) {
            return Err(faults.clone());
        }
    }
    Ok(Loaded { loader, gate, snapshot, warnings, verdict })
}

fn log_start(snapshot: &Snapshot, first: &FirstLoad) {
    for warning in first.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
    let took_ms = u64::try_from(first.took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(revision = %snapshot.revision(), policies, entities, took_ms, "loaded");
}

/// An address that is taken, but not listened on yet.
struct Socket {
    socket: TcpSocket,
    wanted: SocketAddr,
}

impl Socket {
    fn bind(wanted: SocketAddr) -> Result<Self, Failure> {
        let bound = || -> io::Result<TcpSocket> {
            let socket = if wanted.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(wanted)?;
            Ok(socket)
        };
        let socket = bound().map_err(|error| cannot_listen(wanted, &error))?;
        Ok(Self { socket, wanted })
    }

    /// Listens, and says on what address.
    fn listen(self) -> Result<(TcpListener, SocketAddr), Failure> {
        let listener =
            self.socket.listen(BACKLOG).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = listener.map_err(|error| cannot_listen(self.wanted, &error))?;
        Ok((listener, address))
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::because(format_args!("cannot listen on {address}"), error)
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Connections to the operators' port at a time.
const ADMIN_CONNECTIONS: usize = 64;

/// Descriptors for everything but connections to the decision port: files being read, logs, events.
const RESERVED_DESCRIPTORS: u64 = ADMIN_CONNECTIONS as u64 + 64;

/// Takes as many file descriptors as the system lets this process have.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of file descriptors stays as it is");
    }
}

/// How many connections there may be such that files can still be read: without descriptors, no
/// change would be seen.
fn connections() -> usize {
    let most = Bounds::default().connections;
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(most);
    left.clamp(1, most)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until told to stop; calls `reload` on each SIGHUP before that.
    async fn until_stop(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(),
            }
        }
    }
}
