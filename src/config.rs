//! Options: each as a flag, an environment variable and a key of the configuration file; a flag goes
//! before the environment, and that before the file. The only reader of the environment.

mod file;
mod limits;
mod listeners;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::error::CliError;
use file::ConfigFile;
pub use limits::LimitConfig;
use limits::LimitOptions;
pub use listeners::ListenerConfig;
use listeners::{ListenerOptions, ListenerSettings};
use mandate_analysis::solver::{Solver, SolverOptions};
use mandate_core::json::quoted;
use mandate_core::request::RequestLimits;
use mandate_core::snapshot::RequestConfig;
use mandate_server::listen::address::Address;
use mandate_sources::loader::ContentPaths;

/// Where the policies are; every verb takes these.
#[derive(Args)]
pub struct PolicyArguments {
    /// Folder of the schema and the policies [default: policies]
    #[arg(long, env = "MANDATE_POLICIES", value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Configuration file (TOML); its keys are the options' names
    #[arg(long, env = "MANDATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where the content is; every verb that decides takes these.
#[derive(Args)]
pub struct ContentArguments {
    #[command(flatten)]
    policies: PolicyArguments,
    /// Folder of the entities [default: entities]
    #[arg(long, env = "MANDATE_ENTITIES", value_name = "DIR")]
    entities: Option<PathBuf>,
    /// Entity types whose attributes callers may supply, separated by commas [default: none]
    #[arg(long, env = "MANDATE_DESCRIBED_BY_CALLERS", value_name = "TYPES", value_delimiter = ',')]
    described_by_callers: Option<Vec<String>>,
    /// Longest id of a subject or resource, in bytes [default: 512]
    #[arg(long, env = "MANDATE_MAX_ID_BYTES", value_name = "N")]
    max_id_bytes: Option<usize>,
}

/// How to reach the solver; every verb that proves takes these.
#[derive(Args)]
pub struct SolverArguments {
    /// The solver cvc5 [default: cvc5, where PATH has it]
    #[arg(long, env = "CVC5", value_name = "PROGRAM")]
    solver: Option<PathBuf>,
    /// How long the solver may think about one question [default: 10s]
    #[arg(long, env = "MANDATE_SOLVER_LIMIT", value_name = "TIME", value_parser = humantime::parse_duration)]
    solver_limit: Option<Duration>,
}

/// How to serve.
#[derive(Args)]
pub struct ServeArguments {
    #[command(flatten)]
    pub content: ContentArguments,
    #[command(flatten)]
    solver: SolverArguments,
    /// What policies that break a guardrail come to [default: enforce, or warn where there is no solver]
    #[arg(long, env = "MANDATE_GUARDRAILS", value_name = "MODE")]
    guardrails: Option<GuardrailsOption>,
    /// Where to answer: an address, `https://` and an address, or `unix:` and a path; may be repeated;
    /// port 0 takes a free one [default: 127.0.0.1:8181]
    #[arg(long, env = "MANDATE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Option<Vec<Address>>,
    /// Base URL by which callers reach the decision API, as its metadata say [default: as they called]
    #[arg(long, env = "MANDATE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Address of the operators' port, in the same forms [default: 127.0.0.1:8182]
    #[arg(long, env = "MANDATE_ADMIN_LISTEN", value_name = "ADDR")]
    admin_listen: Option<Address>,
    /// How often to look for changes that no file event told; 0s is never [default: 30s]
    #[arg(long, env = "MANDATE_POLL", value_name = "TIME", value_parser = humantime::parse_duration)]
    poll: Option<Duration>,
    /// Decisions to remember; 0 is none [default: 100000]
    #[arg(long, env = "MANDATE_CACHE_ENTRIES", value_name = "N")]
    cache_entries: Option<u64>,
    /// On SIGTERM, how long to say "not ready" before connections end [default: 1s]
    #[arg(long, env = "MANDATE_SHUTDOWN_DELAY", value_name = "TIME", value_parser = humantime::parse_duration)]
    shutdown_delay: Option<Duration>,
    /// What to log: error, warn, info, debug, trace, or directives by module [default: info]
    #[arg(long, env = "MANDATE_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Form of the log on standard error [default: text]
    #[arg(long, env = "MANDATE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(flatten, next_help_heading = "Callers")]
    listener: ListenerOptions,
    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitOptions,
}

/// What a broken guardrail does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum GuardrailsOption {
    /// Policies that break a claim, or of which nobody knows, are not used
    Enforce,
    /// They are used; log, metrics and status tell
    Warn,
    /// Nothing is proven
    Off,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Everything that `serve` has to know.
pub struct ServeConfig {
    pub content_paths: ContentPaths,
    /// What guards new policies, if anything.
    pub guardrails: Option<GuardrailsOption>,
    pub solver: Result<SolverOptions, CliError>,
    /// Whether somebody said which solver, or how long it has.
    pub solver_is_configured: bool,
    pub listeners: Vec<ListenerConfig>,
    pub admin: ListenerConfig,
    /// Without a slash at the end.
    pub public_url: Option<String>,
    pub poll: Duration,
    pub cache_entries: u64,
    pub limits: LimitConfig,
    pub shutdown_delay: Duration,
    pub log: String,
    pub log_format: LogFormat,
}

impl PolicyArguments {
    /// The folder of the policies, from arguments, environment and file.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn folder(self) -> Result<PathBuf, CliError> {
        let file = ConfigFile::read(self.config.as_deref())?;
        Ok(self.or_file(&file))
    }

    fn or_file(self, file: &ConfigFile) -> PathBuf {
        self.policies.or_else(|| file.policies.clone()).unwrap_or_else(|| "policies".into())
    }

    /// How to reach the solver, with what the configuration file says of it.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn solver(&self, arguments: SolverArguments) -> Result<SolverArguments, CliError> {
        Ok(arguments.or_file(&ConfigFile::read(self.config.as_deref())?))
    }
}

impl ContentArguments {
    /// How to reach the solver, with what the configuration file says of it.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn solver(&self, arguments: SolverArguments) -> Result<SolverArguments, CliError> {
        self.policies.solver(arguments)
    }

    /// The locations, from arguments, environment and file.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn content_paths(self) -> Result<ContentPaths, CliError> {
        let file = ConfigFile::read(self.policies.config.as_deref())?;
        self.or_file(&file)
    }

    fn or_file(self, file: &ConfigFile) -> Result<ContentPaths, CliError> {
        Ok(ContentPaths {
            policies: self.policies.or_file(file),
            entities: self.entities.or_else(|| file.entities.clone()).unwrap_or_else(|| "entities".into()),
            terms: RequestConfig {
                max_id_bytes: at_least_one(
                    "max-id-bytes",
                    self.max_id_bytes.or(file.max_id_bytes),
                    RequestLimits::DEFAULT_MAX_ID_BYTES,
                )?,
                described_by_callers: non_empty_names(
                    self.described_by_callers.or_else(|| file.described_by_callers.clone()),
                ),
            },
        })
    }
}

impl SolverArguments {
    fn or_file(self, file: &ConfigFile) -> Self {
        Self {
            solver: self.solver.or_else(|| file.solver.clone()),
            solver_limit: self.solver_limit.or(file.solver_limit),
        }
    }

    /// The solver.
    ///
    /// # Errors
    /// There is none, in a line that says how to install it; or it is given no time.
    pub fn find(&self) -> Result<SolverOptions, CliError> {
        let limit = self.solver_limit.unwrap_or(SolverOptions::DEFAULT_QUERY_TIMEOUT);
        if limit.is_zero() {
            return Err(CliError::message("`solver-limit` has to be more than 0s"));
        }
        let program = self.solver.as_deref().unwrap_or(Path::new("cvc5"));
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = SolverOptions::find(program, std::env::split_paths(&folders));
        found.map(|program| SolverOptions { program, query_timeout: limit }).ok_or_else(|| {
            CliError::message(format!(
                "there is no solver `{}`: install cvc5 (on Debian: apt-get install cvc5), or name it with --solver or CVC5",
                program.display()
            ))
        })
    }

    /// The solver, started.
    ///
    /// # Errors
    /// There is none, or it does not run.
    pub fn start(&self) -> Result<Solver, CliError> {
        Solver::start(&self.find()?).map_err(|error| CliError::message(error.to_string()))
    }
}

impl ServeArguments {
    /// The configuration, from arguments, environment and file.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn config(self) -> Result<ServeConfig, CliError> {
        let file = ConfigFile::read(self.content.policies.config.as_deref())?;
        let content_paths = self.content.or_file(&file)?;
        let solver = self.solver.or_file(&file);
        let limits = self.limits.or_file(&file.limits()).config()?;
        let settings = ListenerSettings {
            listen_flag: self.listen,
            admin_listen_flag: self.admin_listen,
            options: self.listener.or_file(file.listeners()),
            listen: file.listen,
            admin_listen: file.admin_listen,
            listener_tables: file.listener,
            admin: file.admin,
        };
        let (listeners, admin) = settings.open().map_err(|wrong| CliError::from_messages(&wrong))?;
        Ok(ServeConfig {
            guardrails: self.guardrails.or(file.guardrails),
            solver_is_configured: solver.solver.is_some() || solver.solver_limit.is_some(),
            solver: solver.find(),
            content_paths,
            listeners,
            admin,
            public_url: self.public_url.or(file.public_url).map(|url| public_url(&url)).transpose()?,
            poll: poll(self.poll.or(file.poll))?,
            cache_entries: self.cache_entries.or(file.cache_entries).unwrap_or(100_000),
            limits,
            shutdown_delay: self.shutdown_delay.or(file.shutdown_delay).unwrap_or(Duration::from_secs(1)),
            log: self.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
        })
    }
}

/// A base URL that paths can be put after.
fn public_url(given: &str) -> Result<String, CliError> {
    let url: Option<hyper::Uri> = given.parse().ok();
    let fits = |url: &hyper::Uri| {
        let scheme = url.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
        let authority = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        scheme && authority && url.query().is_none() && !given.contains('#')
    };
    if url.as_ref().is_some_and(fits) {
        return Ok(given.trim_end_matches('/').to_owned());
    }
    Err(CliError::message(format!(
        "`public-url` has to be like `https://pdp.example.com`, found {}",
        quoted(given)
    )))
}

/// A limit; 0 would refuse everything.
fn at_least_one(option: &str, given: Option<usize>, default: usize) -> Result<usize, CliError> {
    match given {
        Some(0) => Err(CliError::message(format!("`{option}` has to be at least 1"))),
        given => Ok(given.unwrap_or(default)),
    }
}

/// The poll interval; zero is never.
fn poll(given: Option<Duration>) -> Result<Duration, CliError> {
    const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
    match given.unwrap_or(Duration::from_secs(30)) {
        poll if poll.is_zero() || poll >= MIN_POLL_INTERVAL => Ok(poll),
        _ => Err(CliError::message("`poll` has to be at least 100ms, or 0s for never")),
    }
}

fn non_empty_names(given: Option<Vec<String>>) -> Vec<String> {
    let names = given.into_iter().flatten().map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether text for people may be coloured: on a terminal, unless `NO_COLOR` is set.
pub fn colour(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether this runs as a GitHub action, whose log shows annotations.
pub fn on_github() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}
