//! The arguments of `mandate serve`, and the configuration that is made from them and the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::access_requests::AccessRequestConfig;
use super::arguments::ContentArguments;
use super::claims::{ClaimOptions, RequiredClaims};
use super::limits::{LimitConfig, LimitOptions};
use super::listeners::{ListenerConfigs, ListenerOptions, ListenerSettings};
use super::options::Options;
use super::pages::{PagesOptions, PagesSettings};
use super::serving::{GuardrailsOption, LogFormat, ServingOptions, WhenRestoredOption, WhenStaleOption};
use super::solver::SolverArguments;
use super::values::{base_url, non_empty_names};
use crate::error::CliError;
use mandate_analysis::solver::SolverOptions;
use mandate_core::diagnostics::Diagnostics;
use mandate_pdp::staleness::{StalenessLimit, WhenStale};
use mandate_server::changes::rights::ChangeRights;
use mandate_server::listen::address::Address;
use mandate_sources::loader::ContentPaths;

/// How to serve.
#[derive(Args)]
pub struct ServeArguments {
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    solver: SolverArguments,
    #[command(flatten)]
    claims: ClaimOptions,
    /// Serve the decision API here: HOST:PORT, https://HOST:PORT or unix:PATH; repeat it for several
    /// addresses; port 0 picks a free port [default: 127.0.0.1:8181]
    #[arg(long, env = "MANDATE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Option<Vec<Address>>,
    /// Serve /livez, /readyz, /status and /metrics here, in the same forms [default: 127.0.0.1:8182]
    #[arg(long, env = "MANDATE_ADMIN_LISTEN", value_name = "ADDR")]
    admin_listen: Option<Address>,
    /// Serve /livez and /readyz here, too, and nothing else: http://HOST:PORT or unix:PATH. Unlike the others,
    /// other machines may reach it [default: none]
    #[arg(long, env = "MANDATE_HEALTH_LISTEN", value_name = "ADDR")]
    health_listen: Option<Address>,
    #[command(flatten)]
    serving: ServingOptions,
    #[command(flatten, next_help_heading = "Pages")]
    pages: PagesOptions,
    #[command(flatten, next_help_heading = "Callers")]
    listener: ListenerOptions,
    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitOptions,
}

/// The configuration of `mandate serve`.
pub struct ServeConfig {
    pub content_paths: ContentPaths,
    /// `None`: enforce them if there is a solver, else warn.
    pub guardrails: Option<GuardrailsOption>,
    pub solver: Result<SolverOptions, CliError>,
    pub required_claims: Option<RequiredClaims>,
    /// Whether the solver or its time limit was configured.
    pub solver_is_configured: bool,
    pub listeners: ListenerConfigs,
    /// Without a slash at the end.
    pub public_url: Option<String>,
    pub pages: PagesSettings,
    pub poll: Duration,
    /// How old content may get.
    pub staleness: Option<StalenessLimit>,
    /// Where copies of the content in use are kept.
    pub state: Option<PathBuf>,
    /// Where the entities are, if not in a folder.
    pub store: Option<PathBuf>,
    pub change_rights: ChangeRights,
    pub access_requests: AccessRequestConfig,
    /// Whether /readyz answers 200 while a copy is in use.
    pub ready_when_restored: bool,
    /// Whether every request is denied from the start.
    pub deny_all: bool,
    pub cache_entries: u64,
    pub limits: LimitConfig,
    pub shutdown_delay: Duration,
    pub log: String,
    pub log_format: LogFormat,
    /// Deprecated keys of the configuration file, to be logged.
    pub warnings: Diagnostics,
}

impl ServeArguments {
    /// The configuration: flags before the environment, and the environment before the file.
    ///
    /// # Errors
    /// The configuration file cannot be read, or options contradict each other.
    pub fn config(self) -> Result<ServeConfig, CliError> {
        let file = self.content.file()?;
        let solver = self.solver.or(file.solver);
        let serving = self.serving.or(file.serving);
        let pages = self.pages.or(file.pages);
        let settings = ListenerSettings {
            pages_listen: pages.pages_listen.clone(),
            listen_flag: self.listen,
            admin_listen_flag: self.admin_listen,
            health_listen_flag: self.health_listen,
            options: self.listener.or(file.listener),
            listen: file.listen,
            admin_listen: file.admin_listen,
            health_listen: file.health_listen,
            tables: file.listener_tables,
            admin: file.admin,
        };
        let (poll, change_rights) = (poll(serving.poll)?, change_rights(&serving)?);
        let access_requests = AccessRequestConfig::of(&serving)?;
        let pages = pages.settings(serving.store.is_some(), change_rights.demo_sign_in)?;
        let listeners = settings.open().map_err(|errors| CliError::all(&errors))?;
        let content_paths =
            self.content.or_file(file.policies, file.content, file.policy_limits, file.identity_sources);
        Ok(ServeConfig {
            required_claims: self.claims.or(file.claims).required(&content_paths.policies)?,
            content_paths,
            guardrails: serving.guardrails,
            solver_is_configured: solver.is_configured(),
            solver: solver.find(),
            listeners,
            public_url: serving
                .public_url
                .map(|url| base_url(("public-url", "https://pdp.example.com"), &url))
                .transpose()?,
            pages,
            poll,
            staleness: staleness(serving.max_staleness, serving.when_stale, poll)?,
            change_rights,
            access_requests,
            store: serving.store,
            ready_when_restored: ready_when_restored(serving.state.as_deref(), serving.when_restored)?,
            state: serving.state,
            deny_all: serving.deny_all.unwrap_or(false),
            cache_entries: serving.cache_entries.unwrap_or(100_000),
            limits: self.limits.or(file.limits).config(),
            shutdown_delay: serving.shutdown_delay.unwrap_or(Duration::from_secs(1)),
            log: serving.log.unwrap_or_else(|| "info".to_owned()),
            log_format: serving.log_format.unwrap_or_default(),
            warnings: file.warnings,
        })
    }
}

/// Who may change entities.
fn change_rights(serving: &ServingOptions) -> Result<ChangeRights, CliError> {
    let rights = ChangeRights {
        change_callers: non_empty_names(serving.change_callers.clone()),
        entity_callers: non_empty_names(serving.entity_callers.clone()),
        request_callers: non_empty_names(serving.request_callers.clone()),
        demo_sign_in: serving.demo_sign_in.unwrap_or(false),
    };
    let given = [
        ("change-callers", !rights.change_callers.is_empty()),
        ("entity-callers", !rights.entity_callers.is_empty()),
        ("request-callers", !rights.request_callers.is_empty()),
        ("signing-keys", serving.signing_keys.is_some()),
        ("callback-hosts", serving.callback_hosts.is_some()),
        ("demo-sign-in", rights.demo_sign_in),
    ];
    let unused = given.iter().filter(|(_, is_given)| *is_given && serving.store.is_none());
    let unused: Vec<CliError> = unused
        .map(|(name, _)| {
            CliError::message(format!("`{name}` needs `store`: entities of files are not changed by Mandate"))
        })
        .collect();
    if unused.is_empty() { Ok(rights) } else { Err(CliError::all(&unused)) }
}

/// The poll interval; 0 disables polling.
fn poll(given: Option<Duration>) -> Result<Duration, CliError> {
    const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
    match given.unwrap_or(Duration::from_secs(30)) {
        poll if poll.is_zero() || poll >= MIN_POLL_INTERVAL => Ok(poll),
        _ => Err(CliError::message("`poll` has to be at least 100ms, or 0s to disable polling")),
    }
}

fn ready_when_restored(state: Option<&Path>, when: Option<WhenRestoredOption>) -> Result<bool, CliError> {
    match when {
        Some(_) if state.is_none() => Err(CliError::message("`when-restored` needs `state`")),
        Some(WhenRestoredOption::NotReady) => Ok(false),
        Some(WhenRestoredOption::Ready) | None => Ok(true),
    }
}

/// The limit on the age of content. Content that never changes is found anew only by polling, so it has to be
/// polled often enough.
fn staleness(
    max_age: Option<Duration>,
    when_stale: Option<WhenStaleOption>,
    poll: Duration,
) -> Result<Option<StalenessLimit>, CliError> {
    let Some(max_age) = max_age else {
        return match when_stale {
            None => Ok(None),
            Some(_) => Err(CliError::message("`when-stale` needs `max-staleness`")),
        };
    };
    if poll.is_zero() || max_age < poll * 2 {
        return Err(CliError::message(format!(
            "`max-staleness` has to be at least twice `poll`, which is {}: only polling shows that nothing has changed",
            humantime::format_duration(poll)
        )));
    }
    let when_stale = match when_stale.unwrap_or_default() {
        WhenStaleOption::Warn => WhenStale::Warn,
        WhenStaleOption::NotReady => WhenStale::NotReady,
        WhenStaleOption::Deny => WhenStale::Deny,
    };
    Ok(Some(StalenessLimit { max_age, when_stale }))
}
