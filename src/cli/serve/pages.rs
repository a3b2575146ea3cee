//! The pages of `mandate serve`: a listener of their own, on which people sign in.

use std::path::Path;

use hyper_util::service::TowerToHyperService;

use super::listeners::{BoundListener, ListenerGroup};
use crate::config::ServeConfig;
use crate::error::CliError;
use mandate_pages::{PagesConfig, SignIn};
use mandate_pdp::{CommitQueue, Pdp};
use mandate_server::admin::SPECIAL_PATHS;
use mandate_server::listen::address::Address;
use mandate_server::listen::admission::{Admission, Security};
use mandate_server::listen::monitor::ListenerMonitor;
use mandate_server::listen::server::ConnectionLimits;
use std::sync::Arc;

/// Maximum number of connections to the pages.
const CONNECTIONS: usize = 256;

/// The base URL of the pages: the configured one, or the address where they are served. `None` if there are none.
pub fn url(config: &ServeConfig, bound: &[BoundListener]) -> Option<String> {
    config.pages.url.clone().or_else(|| bound.first().and_then(BoundListener::url))
}

/// How people sign in.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn sign_in(file: Option<&Path>) -> Result<SignIn, CliError> {
    let Some(file) = file else { return Ok(SignIn::Demo) };
    SignIn::open(file).map_err(|error| match error {
        mandate_pages::SignInError::File(diagnostics) => CliError::Diagnostics(diagnostics),
        error => CliError::message(error),
    })
}

/// Opens the pages.
///
/// # Errors
/// Their URL does not fit, or their address cannot be listened on.
pub fn open(
    config: &ServeConfig,
    bound: Vec<BoundListener>,
    (pdp, commits, sign_in): (&Pdp, CommitQueue, SignIn),
    monitor: &Arc<ListenerMonitor>,
) -> Result<ListenerGroup, CliError> {
    let url = url(config, &bound).unwrap_or_default();
    mandate_pages::check_url(&url, &sign_in)
        .map_err(|error| CliError::message(format!("`pages-url` {error}, found `{url}`")))?;
    let wait = config.limits.api.request_timeout;
    let router = mandate_pages::router(PagesConfig { pdp: pdp.clone(), commits, url, sign_in, wait });
    let admission =
        Admission::new(Security::default(), SPECIAL_PATHS, config.limits.admission, Arc::clone(monitor));
    let limits = ConnectionLimits { max_connections: CONNECTIONS, ..config.limits.connection };
    ListenerGroup::open("pages", bound, &admission, limits, |_: &Address| {
        TowerToHyperService::new(router.clone())
    })
}
