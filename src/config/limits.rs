//! Limits: the table `[limits]` of the configuration file. Those on connections, requests and times are for
//! `mandate serve`; mandate-server enforces them and has the defaults. Those on the policy folder are for all
//! commands; mandate-sources has them.

use super::options::options;
use super::values::{Bounded, Count, Timeout};
use mandate_server::authzen::api::ApiLimits;
use mandate_server::listen::admission::AdmissionLimits;
use mandate_server::listen::server::{ConnectionLimits, MIN_HEADER_BYTES};
use mandate_sources::policy_limits::PolicyLimits;

options! {
    /// The options of `[limits]`.
    pub struct LimitOptions {
        /// Maximum length of a request body, in bytes [default: 1048576]
        #[arg(long, env = "MANDATE_MAX_BODY_BYTES", value_name = "N")]
        pub max_body_bytes: Option<Count>,
        /// Maximum length of a request line with its headers, in bytes, at least 8192 [default: 32768]
        #[arg(long, env = "MANDATE_MAX_HEADER_BYTES", value_name = "N")]
        pub max_header_bytes: Option<Bounded<MIN_HEADER_BYTES, { usize::MAX }>>,
        /// Maximum number of evaluations in a batch [default: 1000]
        #[arg(long, env = "MANDATE_MAX_BATCH", value_name = "N")]
        pub max_batch: Option<Count>,
        /// Maximum number of results on one page of a search [default: 1000]
        #[arg(long, env = "MANDATE_MAX_PAGE", value_name = "N")]
        pub max_page: Option<Count>,
        /// Maximum depth of arrays and objects in a request body, at most 127 [default: 64]
        #[arg(long, env = "MANDATE_MAX_JSON_DEPTH", value_name = "N")]
        pub max_json_depth: Option<Bounded<1, { ApiLimits::MAX_JSON_DEPTH }>>,
        /// Maximum number of open connections of each listener; more wait to be accepted [default: 10000]
        #[arg(long, env = "MANDATE_MAX_CONNECTIONS", value_name = "N")]
        pub max_connections: Option<Count>,
        /// Maximum number of concurrent requests on one HTTP/2 connection [default: 200]
        #[arg(long, env = "MANDATE_MAX_STREAMS", value_name = "N")]
        pub max_streams: Option<Bounded<1, { u32::MAX as usize }>>,
        /// Maximum number of concurrent requests; beyond it, the one that has waited the longest for its body
        /// is rejected with 503 [default: 4096]
        #[arg(long, env = "MANDATE_MAX_CONCURRENT_REQUESTS", value_name = "N")]
        pub max_concurrent_requests: Option<Count>,
        /// Maximum time to receive a request body or to complete a TLS handshake [default: 10s]
        #[arg(long, env = "MANDATE_READ_TIMEOUT", value_name = "TIME")]
        pub read_timeout: Option<Timeout>,
        /// Maximum time that a connection may be idle or take to send a request's headers [default: 30s]
        #[arg(long, env = "MANDATE_IDLE_TIMEOUT", value_name = "TIME")]
        pub idle_timeout: Option<Timeout>,
        /// Maximum time from a request's headers to its response [default: 30s]
        #[arg(long, env = "MANDATE_REQUEST_TIMEOUT", value_name = "TIME")]
        pub request_timeout: Option<Timeout>,
        /// Maximum time that a request waits for the position that its Mandate-At-Least names [default: 1s]
        #[arg(long, env = "MANDATE_MAX_WAIT", value_name = "TIME")]
        pub max_wait: Option<Timeout>,
    }
}

options! {
    /// The options of `[limits]` that concern the policy folder.
    #[allow(clippy::struct_field_names, reason = "a field is named as its option")]
    pub struct PolicyLimitOptions {
        /// Maximum number of files in the policy folder [default: 20000]
        #[arg(long, env = "MANDATE_MAX_POLICY_FILES", value_name = "N", help_heading = "Limits")]
        pub max_policy_files: Option<Count>,
        /// Maximum length of all files in the policy folder together, in bytes [default: 67108864]
        #[arg(long, env = "MANDATE_MAX_POLICY_BYTES", value_name = "N", help_heading = "Limits")]
        pub max_policy_bytes: Option<Count>,
        /// Maximum number of policies [default: 20000]
        #[arg(long, env = "MANDATE_MAX_POLICIES", value_name = "N", help_heading = "Limits")]
        pub max_policies: Option<Count>,
    }
}

impl PolicyLimitOptions {
    /// The limits, with the defaults of mandate-sources where an option is not set.
    pub fn limits(&self) -> PolicyLimits {
        let default = PolicyLimits::default();
        PolicyLimits {
            max_files: self.max_policy_files.map_or(default.max_files, Count::get),
            max_bytes: self.max_policy_bytes.map_or(default.max_bytes, |bytes| bytes.get() as u64),
            max_policies: self.max_policies.map_or(default.max_policies, Count::get),
        }
    }
}

/// All limits on connections, requests and times.
#[derive(Debug)]
pub struct LimitConfig {
    pub api: ApiLimits,
    pub connection: ConnectionLimits,
    pub admission: AdmissionLimits,
}

impl LimitOptions {
    /// The limits, with the defaults of mandate-server where an option is not set.
    pub fn config(&self) -> LimitConfig {
        let (api, connection, admission) =
            (ApiLimits::default(), ConnectionLimits::default(), AdmissionLimits::default());
        let count = |given: Option<Count>, default| given.map_or(default, Count::get);
        let time = |given: Option<Timeout>, default| given.map_or(default, Timeout::get);
        let max_streams = self.max_streams.and_then(|streams| u32::try_from(streams.get()).ok());
        LimitConfig {
            api: ApiLimits {
                max_body_bytes: count(self.max_body_bytes, api.max_body_bytes),
                max_batch_items: count(self.max_batch, api.max_batch_items),
                max_json_depth: self.max_json_depth.map_or(api.max_json_depth, Bounded::get),
                body_timeout: time(self.read_timeout, api.body_timeout),
                request_timeout: time(self.request_timeout, api.request_timeout),
                max_wait: time(self.max_wait, api.max_wait),
                max_page_size: count(self.max_page, api.max_page_size),
                ..api
            },
            connection: ConnectionLimits {
                max_connections: count(self.max_connections, connection.max_connections),
                max_header_bytes: self.max_header_bytes.map_or(connection.max_header_bytes, Bounded::get),
                max_streams: max_streams.unwrap_or(connection.max_streams),
                idle_timeout: time(self.idle_timeout, connection.idle_timeout),
                handshake_timeout: time(self.read_timeout, connection.handshake_timeout),
                ..connection
            },
            admission: AdmissionLimits {
                max_concurrent_requests: count(
                    self.max_concurrent_requests,
                    admission.max_concurrent_requests,
                ),
                request_timeout: time(self.request_timeout, admission.request_timeout),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    /// The options with the values that their help texts name as defaults.
    fn documented<T: Args>() -> T {
        let command = T::augment_args(Command::new("serve"));
        let mut words = vec!["serve".to_owned()];
        for argument in command.get_arguments() {
            let help = argument.get_help().unwrap().to_string();
            let (_, default) = help.rsplit_once("[default: ").unwrap();
            words.push(format!("--{}={}", argument.get_long().unwrap(), default.trim_end_matches(']')));
        }
        let matches = command.try_get_matches_from(words).unwrap();
        T::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn help_names_the_defaults() {
        let config = documented::<LimitOptions>().config();
        assert_eq!(format!("{config:?}"), format!("{:?}", LimitOptions::default().config()));
        let limits = documented::<PolicyLimitOptions>().limits();
        assert_eq!(format!("{limits:?}"), format!("{:?}", PolicyLimits::default()));
    }
}
