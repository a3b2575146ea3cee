//! Starts the log of `mandate serve`: to standard error, as text or as JSON lines. Metrics are in
//! mandate-pdp.

use std::io::stderr;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::config::{LogFormat, colour};
use crate::error::CliError;

/// Starts logging for the rest of the process.
///
/// # Errors
/// The filter is not valid.
pub fn start(filter: &str, format: LogFormat) -> Result<(), CliError> {
    let targets: Targets = filter
        .parse()
        .map_err(|error| CliError::message(format!("`{filter}` is not a valid log filter: {error}")))?;
    let layer = tracing_subscriber::fmt::layer().with_writer(stderr).with_target(false);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(colour(&stderr())).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
    Ok(())
}
