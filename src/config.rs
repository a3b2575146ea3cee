//! Configuration: every option is a flag, an environment variable and a key of the configuration file; a flag
//! goes before the environment, and the environment before the file. Options are declared in groups, see
//! [`options`]; `cli` uses what comes out here.

#![allow(clippy::doc_markdown, reason = "doc comments of options are help texts, shown as they stand")]

mod access_requests;
mod arguments;
mod claims;
mod content;
mod environment;
mod file;
mod identity_sources;
mod limits;
mod listeners;
mod options;
mod pages;
mod serve;
mod serving;
mod solver;
mod values;

pub use arguments::{ContentArguments, PolicyArguments};
pub use claims::{ClaimOptions, RequiredClaims};
pub use environment::{colour, on_github};
pub use limits::LimitConfig;
pub use listeners::{ListenerConfig, ListenerConfigs};
pub use serve::{ServeArguments, ServeConfig};
pub use serving::{GuardrailsOption, LogFormat};
pub use solver::SolverArguments;
pub use values::NamedTimeZone;
