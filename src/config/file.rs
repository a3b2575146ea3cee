//! The configuration file. Its keys are written out, not gathered from the structs of the options,
//! because only so its errors name the line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::limits::LimitOptions;
use super::listeners::{Addresses, ListenerOptions, SocketMode};
use super::{GuardrailsOption, LogFormat};
use crate::error::CliError;

/// The configuration file: the options of all verbs.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigFile {
    pub policies: Option<PathBuf>,
    pub entities: Option<PathBuf>,
    pub described_by_callers: Option<Vec<String>>,
    pub max_id_bytes: Option<usize>,
    pub solver: Option<PathBuf>,
    #[serde(with = "humantime_serde")]
    pub solver_limit: Option<Duration>,
    pub guardrails: Option<GuardrailsOption>,
    pub listen: Option<Addresses>,
    pub admin_listen: Option<String>,
    pub public_url: Option<String>,
    pub listener: Vec<ListenerOptions>,
    pub admin: Option<ListenerOptions>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    tls_client_names: Option<Vec<String>>,
    tokens: Option<PathBuf>,
    jwt_issuer: Option<String>,
    jwt_audience: Option<String>,
    jwt_jwks: Option<PathBuf>,
    insecure: Option<bool>,
    socket_mode: Option<SocketMode>,
    max_body_bytes: Option<usize>,
    max_header_bytes: Option<usize>,
    max_batch: Option<usize>,
    max_page: Option<usize>,
    max_json_depth: Option<usize>,
    max_connections: Option<usize>,
    max_streams: Option<u32>,
    max_concurrent_requests: Option<usize>,
    #[serde(with = "humantime_serde")]
    read_timeout: Option<Duration>,
    #[serde(with = "humantime_serde")]
    idle_timeout: Option<Duration>,
    #[serde(with = "humantime_serde")]
    request_timeout: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub poll: Option<Duration>,
    pub cache_entries: Option<u64>,
    #[serde(with = "humantime_serde")]
    pub shutdown_delay: Option<Duration>,
    pub log: Option<String>,
    pub log_format: Option<LogFormat>,
}

impl ConfigFile {
    /// Reads the file, if there is to be one.
    ///
    /// # Errors
    /// It cannot be read, or has keys or values that mean nothing; and where.
    pub fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::message(format!("cannot read `{}`: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| CliError::message(format!("`{}`: {error}", path.display())))
    }

    /// What the keys at the top say of the listeners of `listen`.
    pub fn listeners(&self) -> ListenerOptions {
        ListenerOptions {
            address: None,
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            tls_client_ca: self.tls_client_ca.clone(),
            tls_client_names: self.tls_client_names.clone(),
            tokens: self.tokens.clone(),
            jwt_issuer: self.jwt_issuer.clone(),
            jwt_audience: self.jwt_audience.clone(),
            jwt_jwks: self.jwt_jwks.clone(),
            insecure: self.insecure,
            socket_mode: self.socket_mode,
        }
    }

    pub fn limits(&self) -> LimitOptions {
        LimitOptions {
            max_body_bytes: self.max_body_bytes,
            max_header_bytes: self.max_header_bytes,
            max_batch: self.max_batch,
            max_page: self.max_page,
            max_json_depth: self.max_json_depth,
            max_connections: self.max_connections,
            max_streams: self.max_streams,
            max_concurrent_requests: self.max_concurrent_requests,
            read_timeout: self.read_timeout,
            idle_timeout: self.idle_timeout,
            request_timeout: self.request_timeout,
        }
    }
}
