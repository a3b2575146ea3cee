//! `mandate serve`: wires content, decision point and listeners together, and ends them in order.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::config::{ServeArguments, ServeConfig};
use super::{Failure, Outcome, report, telemetry};
use crate::authz::Snapshot;
use crate::authz::fault::{Fault, Faults};
use crate::pdp::Pdp;
use crate::pdp::reload::{FirstLoad, Reloader};
use crate::source::loader::Loader;
use crate::transport::http::admin::{self, Phase};
use crate::transport::http::authzen;
use crate::transport::http::server::{self, Bounds};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    serve: ServeArguments,
}

pub fn run(arguments: Arguments) -> Outcome {
    let config = arguments.serve.config()?;
    telemetry::start(&config.log, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(config));
    // A load that was interrupted by a signal is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: ServeConfig) -> Outcome {
    let mut signals = Signals::new()?;
    let started = Instant::now();
    let admin_socket = bind(config.admin_listen)?;
    let socket = bind(config.listen)?;
    let (phase, phases) = watch::channel(Phase::Loading);
    let (stop_admin, admin_stopped) = watch::channel(false);
    let admin_address = admin_socket.local_addr()?;
    let admin =
        server::serve(admin_socket.listen(64)?, admin::router(phases), Bounds::default(), admin_stopped);
    let admin = tokio::spawn(admin);
    report::print(&format!("admin on http://{admin_address}\n"))?;

    let Some(loaded) = load(&config, &mut signals).await else { return Ok(ExitCode::SUCCESS) };
    let (loader, snapshot, warnings) = loaded.map_err(Failure::Faults)?;
    let first = FirstLoad { warnings, took: started.elapsed() };
    log_start(&snapshot, &first);
    let pdp = Pdp::new(snapshot, config.cache_entries);
    let reloader = Reloader::start(pdp.clone(), loader, &config.locations, &first, config.poll)?;

    // Only now are connections taken: before, a gateway is refused at once rather than kept waiting.
    let listener: TcpListener = socket.listen(1024)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let app = authzen::router(pdp.clone(), config.limits);
    let decisions = tokio::spawn(server::serve(listener, app, Bounds::default(), stopped));
    phase.send_replace(Phase::Serving(pdp.clone()));
    report::print(&format!("decisions on http://{address}\n"))?;

    signals.until_stop(|| reloader.wake().look_at_everything()).await;
    tracing::info!("stopping: not ready from now on");
    phase.send_replace(Phase::Stopping(pdp));
    tokio::select! {
        () = tokio::time::sleep(config.shutdown_delay) => {}
        () = signals.until_stop(|| {}) => {}
    }
    stop.send_replace(true);
    let _ = decisions.await;
    stop_admin.send_replace(true);
    let _ = admin.await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

type Loaded = Result<(Loader, Snapshot, Faults), Faults>;

/// Loads the first snapshot; `None` if told to stop meanwhile.
async fn load(config: &ServeConfig, signals: &mut Signals) -> Option<Loaded> {
    let locations = config.locations.clone();
    let loading = tokio::task::spawn_blocking(move || {
        let mut loader = Loader::new(&locations);
        let (snapshot, warnings) = loader.load()?;
        Ok((loader, snapshot, warnings))
    });
    tokio::select! {
        loaded = loading => Some(loaded.unwrap_or_else(|_| Err(Fault::error("loading failed by a defect").into()))),
        () = signals.until_stop(|| {}) => None,
    }
}

fn log_start(snapshot: &Snapshot, first: &FirstLoad) {
    for warning in first.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
    let took_ms = u64::try_from(first.took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(revision = %snapshot.revision(), policies, entities, took_ms, "loaded");
}

/// Takes the address without listening on it yet.
fn bind(address: SocketAddr) -> Result<TcpSocket, Failure> {
    let bound = || -> io::Result<TcpSocket> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|error| Failure::message(format!("cannot listen on {address}: {error}")))
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
