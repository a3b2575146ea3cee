//! `mandate serve`: wires content, decision point and listeners together, and shuts them down in order.
//! `listeners.rs` has the ports; a request enters at mandate-server.

mod listeners;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::{guardrails, report, telemetry};
use crate::config::{LimitConfig, ListenerConfigs, ServeArguments, ServeConfig};
use crate::error::{CliError, CommandResult};
use listeners::{BoundListener, ListenerGroup};
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_pdp::proof_worker::{CompletedProof, GuardrailMode, ProofConfig, ProofJob};
use mandate_pdp::reload::{ReloadConfig, Reloader};
use mandate_pdp::{Generation, InitialLoadReport, Pdp, PdpConfig};
use mandate_server::admin::{self, Phase, Router};
use mandate_server::listen::address::Address;
use mandate_server::listen::admission::{Admission, Security};
use mandate_server::listen::monitor::ListenerMonitor;
use mandate_server::listen::server::ConnectionLimits;
use mandate_server::service::{self, DecisionService};
use mandate_sources::loader::{ContentPaths, LOADING_STACK_BYTES, Loader};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    serve: ServeArguments,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let config = arguments.serve.config()?;
    telemetry::start(&config.log, config.log_format)?;
    for warning in config.warnings.iter() {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::system("cannot start the runtime"))?;
    let outcome = runtime.block_on(serve(config));
    // Do not wait for a load that a signal interrupted.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: ServeConfig) -> CommandResult {
    let mut signals = Signals::new().map_err(CliError::system("cannot handle signals"))?;
    let started = Instant::now();
    let ListenerConfigs { decisions, admin, health } = &config.listeners;
    let admin_bound = listeners::bind_all([admin])?;
    let (health_bound, bound) = (listeners::bind_public(health)?, listeners::bind_all(decisions)?);
    let (phase, phases) = watch::channel(Phase::Loading);
    let monitor = listeners::monitor(decisions.iter().chain([admin]));
    tokio::spawn(Arc::clone(&monitor).poll_files());
    let router = admin::router(phases.clone(), Arc::clone(&monitor));
    let admin = open_for_operators("admin", &router, &config, admin_bound, &monitor)?;
    admin.announce()?;
    let router = admin::health_router(phases);
    let health = open_for_operators("health", &router, &config, health_bound, &monitor)?;
    health.announce()?;

    let proof_config = guardrails::proof_config(&config)?;
    let guardrails = guardrails::announcement(&proof_config);
    let Some(loaded) = load(&config, proof_config, &mut signals).await else { return Ok(ExitCode::SUCCESS) };
    let (pdp, reloader) = start(loaded.map_err(CliError::Diagnostics)?, &config, started)?;
    // Connections are accepted only now: until here a gateway is refused at once, instead of waiting.
    let decisions = open_decisions(&config, bound, &pdp, &monitor)?;
    phase.send_replace(Phase::Serving(pdp.clone()));
    decisions.announce()?;
    report::print(&guardrails)?;

    signals.until_stop(|| reloader.request_full_poll()).await;
    tracing::info!("shutting down: /readyz now answers 503");
    phase.send_replace(Phase::Stopping(pdp));
    tokio::select! {
        () = tokio::time::sleep(config.shutdown_delay) => {}
        () = signals.until_stop(|| {}) => {}
    }
    decisions.close().await;
    admin.close().await;
    health.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Opens the operators' port or that of health probes, which answer before the content is loaded.
fn open_for_operators(
    serves: &'static str,
    router: &Router,
    config: &ServeConfig,
    bound: Vec<BoundListener>,
    monitor: &Arc<ListenerMonitor>,
) -> Result<ListenerGroup, CliError> {
    let LimitConfig { connection, admission, .. } = config.limits;
    let admission = Admission::new(Security::default(), admin::SPECIAL_PATHS, admission, Arc::clone(monitor));
    let limits = ConnectionLimits { max_connections: ADMIN_CONNECTIONS, ..connection };
    ListenerGroup::open(serves, bound, &admission, limits, |_: &Address| {
        TowerToHyperService::new(router.clone())
    })
}

/// Opens the decision listeners.
fn open_decisions(
    config: &ServeConfig,
    bound: Vec<BoundListener>,
    pdp: &Pdp,
    monitor: &Arc<ListenerMonitor>,
) -> Result<ListenerGroup, CliError> {
    let LimitConfig { api, connection, admission } = config.limits;
    let service = |listener: &Address| {
        let public_url = config.public_url.clone();
        let handler = Arc::new(DecisionService::new(pdp.clone(), api, public_url, listener.clone()));
        service_fn(move |request| {
            let handler = Arc::clone(&handler);
            async move { Ok(handler.handle(request).await) }
        })
    };
    let admission =
        Admission::new(Security::default(), service::SPECIAL_PATHS, admission, Arc::clone(monitor));
    let max_connections = connections(connection.max_connections, bound.len());
    let limits = ConnectionLimits { max_connections, ..connection };
    ListenerGroup::open("decisions", bound, &admission, limits, service)
}

/// The result of the first load.
struct InitialLoad {
    loader: Loader,
    proof_config: ProofConfig,
    generation: Generation,
    warnings: Diagnostics,
    proof: Option<CompletedProof>,
}

/// A decision point on the loaded content, and the reloader that keeps it up to date.
fn start(loaded: InitialLoad, config: &ServeConfig, started: Instant) -> Result<(Pdp, Reloader), CliError> {
    let InitialLoad { loader, proof_config, generation, warnings, proof } = loaded;
    let first = InitialLoadReport { warnings, took: started.elapsed(), proof };
    log_start(&generation, &first);
    let (pdp, publisher) = Pdp::new(generation, PdpConfig::cached(config.cache_entries));
    let reload_config = ReloadConfig {
        content_paths: config.content_paths.clone(),
        poll_interval: config.poll,
        proofs: proof_config,
        staleness: config.staleness,
        deny_all: config.deny_all,
    };
    let reloader = Reloader::start(publisher, loader, reload_config, &first);
    reloader.map(|reloader| (pdp, reloader)).map_err(CliError::system("cannot start a thread"))
}

/// Loads the first snapshot; `None` if a signal stops the process meanwhile.
async fn load(
    config: &ServeConfig,
    proof_config: ProofConfig,
    signals: &mut Signals,
) -> Option<Result<InitialLoad, Diagnostics>> {
    let content_paths = config.content_paths.clone();
    let (done, loaded) = oneshot::channel();
    let load = move || {
        // The receiver is gone if a signal stopped the process.
        let _ = done.send(load_and_prove(&content_paths, proof_config));
    };
    let thread = std::thread::Builder::new().name("load".into()).stack_size(LOADING_STACK_BYTES).spawn(load);
    if let Err(error) = thread {
        return Some(Err(Diagnostic::error(format!("cannot start a thread: {error}")).into()));
    }
    tokio::select! {
        loaded = loaded => Some(loaded.unwrap_or_else(|_| Err(Diagnostic::error("internal error: loading panicked (a bug in mandate)").into()))),
        () = signals.until_stop(|| {}) => None,
    }
}

/// Loads the content and, if guardrails are enforced, proves them before anything is served.
fn load_and_prove(
    content_paths: &ContentPaths,
    mut proof_config: ProofConfig,
) -> Result<InitialLoad, Diagnostics> {
    let mut loader = Loader::new(content_paths);
    let mut loaded = loader.load()?;
    let (snapshot, warnings) = (&loaded.snapshot, std::mem::take(&mut loaded.warnings));
    let mut proof = None;
    if proof_config.mode == GuardrailMode::Enforce {
        let guardrails = loader.guardrails().to_vec();
        let guardrails_in_use = guardrails.clone();
        let (policies, routes) = (Arc::clone(snapshot.policies()), Arc::clone(&loaded.routes));
        proof = proof_config.prove_now(&ProofJob { policies, routes, guardrails, guardrails_in_use });
        if let Some(Err(diagnostics)) = proof.as_ref().map(|proof| &proof.outcome.result) {
            return Err(diagnostics.clone());
        }
    }
    Ok(InitialLoad { loader, proof_config, generation: loaded.into(), warnings, proof })
}

fn log_start(generation: &Generation, first: &InitialLoadReport) {
    for warning in first.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let snapshot = generation.snapshot();
    let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
    let took_ms = u64::try_from(first.took.as_millis()).unwrap_or(u64::MAX);
    let (revision, routes) = (generation.revision(), generation.routes().digest().short());
    tracing::info!(%revision, policies, entities, routes, took_ms, "loaded");
}

/// Maximum number of connections to the operators' port, and to that of health probes.
const ADMIN_CONNECTIONS: usize = 64;

/// File descriptors that are kept for everything but decision connections: files being read, logs, file
/// events.
const RESERVED_DESCRIPTORS: u64 = 2 * ADMIN_CONNECTIONS as u64 + 64;

/// Raises the limit of file descriptors as far as the system allows.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of file descriptors cannot be raised");
    }
}

/// Maximum number of connections of each listener, so that descriptors are left to read changed files.
fn connections(most: usize, listeners: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(most);
    (left / listeners.max(1)).clamp(1, most)
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

    /// Waits for SIGTERM or SIGINT; calls `reload` on each SIGHUP before that.
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
