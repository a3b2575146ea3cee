//! Options of the content: the folders of policies and entities, and how requests about them are parsed.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::identity_sources::IdentitySourcesTable;
use super::limits::PolicyLimitOptions;
use super::options::options;
use super::values::{Count, NamedTimeZone, non_empty_names};
use mandate_core::request::RequestLimits;
use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::ContentPaths;

options! {
    /// Where the policies are.
    pub struct PolicyOptions {
        /// Read the schema and the policies from this folder [default: policies]
        #[arg(long, env = "MANDATE_POLICIES", value_name = "DIR")]
        pub policies: Option<PathBuf>,
    }
}

options! {
    /// Where the entities are, and what requests may say about them.
    pub struct ContentOptions {
        /// Read the entities from this folder [default: entities]
        #[arg(long, env = "MANDATE_ENTITIES", value_name = "DIR")]
        pub entities: Option<PathBuf>,
        /// Use the attributes that requests supply for entities of these types, comma-separated; they replace
        /// stored attributes [default: none]
        #[arg(long, env = "MANDATE_DESCRIBED_BY_CALLERS", value_name = "TYPES", value_delimiter = ',')]
        pub described_by_callers: Option<Vec<String>>,
        /// Maximum length of the id of a subject or resource, in bytes [default: 512]
        #[arg(long, env = "MANDATE_MAX_ID_BYTES", value_name = "N")]
        pub max_id_bytes: Option<Count>,
        /// Time zone of the days of the week that contexts have by `@clock("weekday")`, such as Europe/Berlin
        /// [default: UTC]
        #[arg(long, env = "MANDATE_TIME_ZONE", value_name = "ZONE")]
        pub time_zone: Option<NamedTimeZone>,
    }
}

impl PolicyOptions {
    pub fn folder(self) -> PathBuf {
        self.policies.unwrap_or_else(|| "policies".into())
    }
}

impl ContentOptions {
    pub fn content_paths(
        self,
        policies: PolicyOptions,
        limits: &PolicyLimitOptions,
        identity_sources: Option<IdentitySourcesTable>,
    ) -> ContentPaths {
        ContentPaths {
            policies: policies.folder(),
            entities: self.entities.unwrap_or_else(|| "entities".into()),
            terms: RequestConfig {
                max_id_bytes: self.max_id_bytes.map_or(RequestLimits::DEFAULT_MAX_ID_BYTES, Count::get),
                described_by_callers: non_empty_names(self.described_by_callers),
                time_zone: self.time_zone.map_or(TimeZone::UTC, NamedTimeZone::into_zone),
            },
            identity_sources: identity_sources.map(|table| Arc::new(table.into_identity_sources())),
            policy_limits: limits.limits(),
        }
    }
}
