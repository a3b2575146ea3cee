//! Logs: to standard error, as text or as JSON lines.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use super::Failure;
use super::config::{LogFormat, colour};

/// Starts logging for the rest of the process.
///
/// # Errors
/// The filter is none.
pub fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::message(format!("`{filter}` is no log filter: {error}")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    match format {
        LogFormat::Text => logs.with_ansi(colour(&stderr())).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
