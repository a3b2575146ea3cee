//! Options of `mandate serve` that are neither content, solver, listeners nor limits. [`serve`](super::serve)
//! makes the configuration of them all.

#![allow(rustdoc::bare_urls, reason = "doc comments of options are help texts, shown as they stand")]

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use super::options::options;

options! {
    /// How to serve.
    pub struct ServingOptions {
        /// What to do with policies that violate a guardrail [default: enforce; warn if no solver is
        /// installed]
        #[arg(long, env = "MANDATE_GUARDRAILS", value_name = "MODE")]
        pub guardrails: Option<GuardrailsOption>,
        /// Publish this base URL in the AuthZEN metadata, and in links and tokens of access requests, such as
        /// https://pdp.example.com [default: the URL that the request was sent to]
        #[arg(long, env = "MANDATE_PUBLIC_URL", value_name = "URL")]
        pub public_url: Option<String>,
        /// Check for changes that caused no file event this often; at least 100ms, or 0s to disable [default:
        /// 30s]
        #[arg(long, env = "MANDATE_POLL", value_name = "TIME", value_parser = humantime::parse_duration)]
        #[serde(with = "humantime_serde")]
        pub poll: Option<Duration>,
        /// Act when policies or entities in use may be older than this: their folder cannot be read, or holds
        /// something that is refused; at least twice --poll [default: any age is allowed]
        #[arg(long, env = "MANDATE_MAX_STALENESS", value_name = "TIME", value_parser = humantime::parse_duration)]
        #[serde(with = "humantime_serde")]
        pub max_staleness: Option<Duration>,
        /// What to do with content that is older than --max-staleness [default: warn]
        #[arg(long, env = "MANDATE_WHEN_STALE", value_name = "ACTION")]
        pub when_stale: Option<WhenStaleOption>,
        /// Keep a copy of the policies and entities in use in this folder, and start with it where a folder
        /// cannot be used, but never when it is older than --max-staleness. A denial by the file deny-all is
        /// kept there, too [default: none]
        #[arg(long, env = "MANDATE_STATE", value_name = "DIR")]
        pub state: Option<PathBuf>,
        /// What /readyz answers while such a copy is in use [default: ready]
        #[arg(long, env = "MANDATE_WHEN_RESTORED", value_name = "ANSWER")]
        pub when_restored: Option<WhenRestoredOption>,
        /// Take the entities from this store and let them be changed; an empty store takes those of --entities in
        /// once [default: none: entities are read from --entities]
        #[arg(long, env = "MANDATE_STORE", value_name = "FILE")]
        pub store: Option<PathBuf>,
        /// Let these authenticated callers ask for actions that change entities, comma-separated; needs --store
        /// [default: none]
        #[arg(long, env = "MANDATE_CHANGE_CALLERS", value_name = "NAMES", value_delimiter = ',')]
        pub change_callers: Option<Vec<String>>,
        /// Let these authenticated callers read and write entities, without asking the policies, comma-separated;
        /// needs --store [default: none]
        #[arg(long, env = "MANDATE_ENTITY_CALLERS", value_name = "NAMES", value_delimiter = ',')]
        pub entity_callers: Option<Vec<String>>,
        /// Let these authenticated callers submit AuthZEN access requests for what was denied, comma-separated; needs
        /// --store [default: none]
        #[arg(long, env = "MANDATE_REQUEST_CALLERS", value_name = "NAMES", value_delimiter = ',')]
        pub request_callers: Option<Vec<String>>,
        /// Sign denials and approvals with the first key of this PEM file, and verify them with all: elliptic curve keys
        /// on P-256 in PKCS #8 [default: a new key at each start]
        #[arg(long, env = "MANDATE_SIGNING_KEYS", value_name = "FILE")]
        pub signing_keys: Option<PathBuf>,
        /// Let callers of access requests be called back at these hosts, comma-separated, such as pep.example.com or
        /// pep.example.com:8443; a host of the own network as internal:pep.local or internal:http://pep.local; needs
        /// --callback-key [default: none]
        #[arg(long, env = "MANDATE_CALLBACK_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
        pub callback_hosts: Option<Vec<String>>,
        /// Sign callbacks with the secret in this file [default: none]
        #[arg(long, env = "MANDATE_CALLBACK_KEY", value_name = "FILE")]
        pub callback_key: Option<PathBuf>,
        /// Trust the certificates of this PEM file, too, when calling back [default: the well-known authorities]
        #[arg(long, env = "MANDATE_CALLBACK_CA", value_name = "FILE")]
        pub callback_ca: Option<PathBuf>,
        /// For trying things out: let everybody on this machine ask for changes and submit access requests, on
        /// listeners without authentication, and act as anybody on the pages; needs --store
        #[arg(long, env = "MANDATE_DEMO_SIGN_IN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub demo_sign_in: Option<bool>,
        /// Deny every request until the next start without this option
        #[arg(long, env = "MANDATE_DENY_ALL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub deny_all: Option<bool>,
        /// Maximum number of cached decisions; 0 disables the cache [default: 100000]
        #[arg(long, env = "MANDATE_CACHE_ENTRIES", value_name = "N")]
        pub cache_entries: Option<u64>,
        /// On SIGTERM, how long /readyz answers 503 before connections are closed [default: 1s]
        #[arg(long, env = "MANDATE_SHUTDOWN_DELAY", value_name = "TIME", value_parser = humantime::parse_duration)]
        #[serde(with = "humantime_serde")]
        pub shutdown_delay: Option<Duration>,
        /// Log this: error, warn, info, debug or trace, or per module, such as mandate=debug [default: info]
        #[arg(long, env = "MANDATE_LOG", value_name = "FILTER")]
        pub log: Option<String>,
        /// Format of the log on standard error [default: text]
        #[arg(long, env = "MANDATE_LOG_FORMAT", value_name = "FORMAT")]
        pub log_format: Option<LogFormat>,
    }
}

/// What to do with policies that violate a guardrail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum GuardrailsOption {
    /// Refuse policies unless every claim is proven
    Enforce,
    /// Use them, and report it in the log, metrics and /status
    Warn,
    /// Prove nothing
    Off,
}

/// What to do with content that may be too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WhenStaleOption {
    /// Report it in the log, metrics and /status
    #[default]
    Warn,
    /// Answer 503 at /readyz as well
    NotReady,
    /// Deny every request as well
    Deny,
}

/// What to answer at /readyz while a copy is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WhenRestoredOption {
    /// Answer 200: decisions are made by the last good content
    #[default]
    Ready,
    /// Answer 503
    NotReady,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}
