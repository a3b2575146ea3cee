//! Limits of listeners, and of what one caller may ask for.

use std::time::Duration;

use clap::Args;

use super::at_least_one;
use crate::error::CliError;
use mandate_server::authzen::api::ApiLimits;
use mandate_server::listen::admission::AdmissionLimits;
use mandate_server::listen::server::{ConnectionLimits, MIN_HEADER_BYTES};

/// Limits that have an option.
#[derive(Debug, Clone, Default, Args)]
pub struct LimitOptions {
    /// Longest body of a request, in bytes [default: 1048576]
    #[arg(long, env = "MANDATE_MAX_BODY_BYTES", value_name = "N")]
    pub max_body_bytes: Option<usize>,
    /// Longest head of a request, in bytes, at least 8192 [default: 32768]
    #[arg(long, env = "MANDATE_MAX_HEADER_BYTES", value_name = "N")]
    pub max_header_bytes: Option<usize>,
    /// Most questions in a batch [default: 1000]
    #[arg(long, env = "MANDATE_MAX_BATCH", value_name = "N")]
    pub max_batch: Option<usize>,
    /// Most results on one page of a search [default: 1000]
    #[arg(long, env = "MANDATE_MAX_PAGE", value_name = "N")]
    pub max_page: Option<usize>,
    /// Most levels of arrays and objects in a body, at most 127 [default: 64]
    #[arg(long, env = "MANDATE_MAX_JSON_DEPTH", value_name = "N")]
    pub max_json_depth: Option<usize>,
    /// Most connections to a listener at a time [default: 10000]
    #[arg(long, env = "MANDATE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,
    /// Most requests at a time on one HTTP/2 connection [default: 200]
    #[arg(long, env = "MANDATE_MAX_STREAMS", value_name = "N")]
    pub max_streams: Option<u32>,
    /// Most requests at a time; more are answered with 503 at once [default: 4096]
    #[arg(long, env = "MANDATE_MAX_CONCURRENT_REQUESTS", value_name = "N")]
    pub max_concurrent_requests: Option<usize>,
    /// How long a request's body, or a TLS handshake, may take to arrive [default: 10s]
    #[arg(long, env = "MANDATE_READ_TIMEOUT", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub read_timeout: Option<Duration>,
    /// How long a connection may be idle, or take to send a request's head [default: 30s]
    #[arg(long, env = "MANDATE_IDLE_TIMEOUT", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idle_timeout: Option<Duration>,
    /// How long a request may take, from its head to its answer [default: 30s]
    #[arg(long, env = "MANDATE_REQUEST_TIMEOUT", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub request_timeout: Option<Duration>,
}

/// All limits.
pub struct LimitConfig {
    pub api: ApiLimits,
    pub connection: ConnectionLimits,
    pub admission: AdmissionLimits,
}

impl LimitOptions {
    /// These options, and the other's where these say nothing.
    #[must_use]
    pub fn or_file(self, file: &Self) -> Self {
        Self {
            max_body_bytes: self.max_body_bytes.or(file.max_body_bytes),
            max_header_bytes: self.max_header_bytes.or(file.max_header_bytes),
            max_batch: self.max_batch.or(file.max_batch),
            max_page: self.max_page.or(file.max_page),
            max_json_depth: self.max_json_depth.or(file.max_json_depth),
            max_connections: self.max_connections.or(file.max_connections),
            max_streams: self.max_streams.or(file.max_streams),
            max_concurrent_requests: self.max_concurrent_requests.or(file.max_concurrent_requests),
            read_timeout: self.read_timeout.or(file.read_timeout),
            idle_timeout: self.idle_timeout.or(file.idle_timeout),
            request_timeout: self.request_timeout.or(file.request_timeout),
        }
    }

    /// The limits, with the defaults where nothing is said.
    ///
    /// # Errors
    /// One that would refuse everything, or that cannot be held.
    pub fn config(self) -> Result<LimitConfig, CliError> {
        let (api, connection, admission) =
            (ApiLimits::default(), ConnectionLimits::default(), AdmissionLimits::default());
        let read = positive_duration("read-timeout", self.read_timeout, api.body_timeout)?;
        let request = positive_duration("request-timeout", self.request_timeout, admission.request_timeout)?;
        let head = self.max_header_bytes.unwrap_or(connection.max_header_bytes);
        if head < MIN_HEADER_BYTES {
            return Err(CliError::message(format!(
                "`max-header-bytes` has to be at least {MIN_HEADER_BYTES}"
            )));
        }
        let depth = at_least_one("max-json-depth", self.max_json_depth, api.max_json_depth)?;
        if depth > ApiLimits::MAX_JSON_DEPTH {
            return Err(CliError::message(format!(
                "`max-json-depth` has to be at most {}",
                ApiLimits::MAX_JSON_DEPTH
            )));
        }
        let streams = self.max_streams.map(|streams| streams as usize);
        let streams = at_least_one("max-streams", streams, connection.max_streams as usize)?;
        let connections = at_least_one("max-connections", self.max_connections, connection.max_connections)?;
        let requests = at_least_one(
            "max-concurrent-requests",
            self.max_concurrent_requests,
            admission.max_concurrent_requests,
        )?;
        Ok(LimitConfig {
            api: ApiLimits {
                max_body_bytes: at_least_one("max-body-bytes", self.max_body_bytes, api.max_body_bytes)?,
                max_batch_items: at_least_one("max-batch", self.max_batch, api.max_batch_items)?,
                max_json_depth: depth,
                body_timeout: read,
                request_timeout: request,
                max_page_size: at_least_one("max-page", self.max_page, api.max_page_size)?,
                ..api
            },
            connection: ConnectionLimits {
                max_connections: connections,
                max_header_bytes: head,
                max_streams: u32::try_from(streams).unwrap_or(u32::MAX),
                idle_timeout: positive_duration("idle-timeout", self.idle_timeout, connection.idle_timeout)?,
                handshake_timeout: read,
                ..connection
            },
            admission: AdmissionLimits { max_concurrent_requests: requests, request_timeout: request },
        })
    }
}

/// Whoever wants to wait longer does not want a limit, and there is none without.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// A time; none would end everything at once.
fn positive_duration(option: &str, given: Option<Duration>, default: Duration) -> Result<Duration, CliError> {
    match given {
        Some(Duration::ZERO) => Err(CliError::message(format!("`{option}` has to be more than 0s"))),
        Some(given) if given > MAX_TIMEOUT => {
            Err(CliError::message(format!("`{option}` has to be at most 1 day")))
        }
        given => Ok(given.unwrap_or(default)),
    }
}
