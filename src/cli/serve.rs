//! `mandate serve`: wires content, decision point and listeners together, and shuts them down in order.
//! `listeners.rs` has the ports; a request enters at mandate-server.

mod access_requests;
mod listeners;
mod load;
mod pages;
mod signals;
mod store;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use clap::Args;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use super::{guardrails, report, telemetry};
use crate::config::{LimitConfig, ListenerConfigs, ServeArguments, ServeConfig};
use crate::error::{CliError, CommandResult};
use listeners::{BoundListener, ListenerGroup};
use mandate_pdp::Pdp;
use mandate_server::admin::{self, Phase, Router};
use mandate_server::admin_store::{self, StoreAdmin};
use mandate_server::changes::api::ChangeSettings;
use mandate_server::listen::address::Address;
use mandate_server::listen::admission::{Admission, Security};
use mandate_server::listen::monitor::ListenerMonitor;
use mandate_server::listen::server::ConnectionLimits;
use mandate_server::service::{self, DecisionService};
use signals::Signals;

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
    let ListenerConfigs { decisions, admin, health, pages } = &config.listeners;
    let admin_bound = listeners::bind_all([admin])?;
    let (health_bound, bound) = (listeners::bind_public(health)?, listeners::bind_all(decisions)?);
    let pages_bound = listeners::bind_public(pages)?;
    let pages_url = pages::url(&config, &pages_bound);
    let sign_in = pages::sign_in(config.pages.sign_in.as_deref())?;
    let (phase, phases) = watch::channel(Phase::Loading);
    let monitor =
        listeners::monitor(decisions.iter().chain([admin]).chain(pages), config.access_requests.files());
    tokio::spawn(Arc::clone(&monitor).poll_files());
    let (store_paths, (stop, stopping)) = (Arc::new(OnceLock::new()), watch::channel(false));
    let router = admin::router(phases.clone(), Arc::clone(&monitor), Arc::clone(&store_paths));
    let admin = open_for_operators("admin", &router, &config, admin_bound, &monitor)?;
    admin.announce()?;
    let router = admin::health_router(phases);
    let health = open_for_operators("health", &router, &config, health_bound, &monitor)?;
    health.announce()?;

    let proof_config = guardrails::proof_config(&config)?;
    let guardrails = guardrails::announcement(&proof_config);
    let Some(loaded) = load::load(&config, proof_config, &mut signals).await else {
        return Ok(ExitCode::SUCCESS);
    };
    let loaded = loaded.map_err(CliError::Diagnostics)?;
    let announcement = loaded.announcement() + &guardrails;
    let store = loaded.store();
    let (pdp, reloader) = load::start(loaded, &config, started)?;
    if let (Some(store), Some(commits)) = (store, reloader.commits()) {
        let trusts_everybody = config.listeners.admin.addresses.iter().all(Address::is_unix);
        let wait = config.limits.api.request_timeout;
        let operators = StoreAdmin { store, commits, pdp: pdp.clone(), trusts_everybody, wait, stopping };
        // It was not set before.
        let _ = store_paths.set(admin_store::router(operators));
    }
    // Connections are accepted only now: until here a gateway is refused at once, instead of waiting.
    let changes = ChangeSettings {
        commits: reloader.commits(),
        rights: config.change_rights.clone(),
        pages_url,
        access_requests: access_requests::settings(&config)?,
    };
    access_requests::start_callbacks(changes.access_requests.as_ref(), changes.commits.clone(), &pdp);
    let decisions = open_decisions(&config, bound, (&pdp, &changes), &monitor)?;
    phase.send_replace(Phase::Serving(pdp.clone()));
    decisions.announce()?;
    let pages = match changes.commits.clone() {
        Some(commits) if !pages_bound.is_empty() => {
            Some(pages::open(&config, pages_bound, (&pdp, commits, sign_in), &monitor)?)
        }
        Some(_) | None => None,
    };
    if let Some(pages) = &pages {
        pages.announce()?;
    }
    report::print(&announcement)?;
    if config.change_rights.demo_sign_in {
        tracing::warn!("demo sign-in: everybody on this machine may change entities, in anybody's name");
        report::print("demo sign-in: EVERYBODY on this machine may change entities, in anybody's name\n")?;
    }

    signals.until_stop(|| reloader.request_full_poll()).await;
    tracing::info!("shutting down: /readyz now answers 503");
    phase.send_replace(Phase::Stopping(pdp));
    stop.send_replace(true);
    tokio::select! {
        () = tokio::time::sleep(config.shutdown_delay) => {}
        () = signals.until_stop(|| {}) => {}
    }
    decisions.close().await;
    if let Some(pages) = pages {
        pages.close().await;
    }
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
    (pdp, changes): (&Pdp, &ChangeSettings),
    monitor: &Arc<ListenerMonitor>,
) -> Result<ListenerGroup, CliError> {
    let LimitConfig { api, connection, admission } = config.limits;
    let service = |listener: &Address| {
        let public_url = config.public_url.clone();
        let service = DecisionService::new(pdp.clone(), api, public_url, listener.clone(), changes.clone());
        let handler = Arc::new(service);
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
