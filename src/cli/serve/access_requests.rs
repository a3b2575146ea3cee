//! What access requests need in `mandate serve`: keys, and who calls back. They are served by mandate-server.

use std::sync::Arc;

use crate::config::ServeConfig;
use crate::error::CliError;
use mandate_pdp::{CommitQueue, Pdp};
use mandate_server::access_requests::deliver::Deliverer;
use mandate_server::access_requests::issuer::AccessRequestSettings;
use mandate_server::access_requests::keys::Keys;

/// What access requests need; `None` if they are not taken.
///
/// # Errors
/// No key can be made.
pub fn settings(config: &ServeConfig) -> Result<Option<AccessRequestSettings>, CliError> {
    if config.store.is_none() || !config.change_rights.takes_requests() {
        return Ok(None);
    }
    if config.access_requests.signing_keys.is_none() && !config.change_rights.demo_sign_in {
        tracing::warn!("no `signing-keys`: denials and approvals that are signed now end with this process");
    }
    let keys = config.access_requests.signing_keys.clone();
    let keys = keys.map_or_else(Keys::generate, Ok).map_err(CliError::message)?;
    Ok(Some(AccessRequestSettings { keys, callbacks: config.access_requests.callbacks.clone() }))
}

/// Starts to call back.
pub fn start_callbacks(settings: Option<&AccessRequestSettings>, commits: Option<CommitQueue>, pdp: &Pdp) {
    let callbacks = settings.and_then(|settings| settings.callbacks.as_ref());
    if let Some((callbacks, commits)) = callbacks.zip(commits) {
        let deliverer = Deliverer { pdp: pdp.clone(), commits, callbacks: Arc::clone(callbacks) };
        tokio::spawn(deliverer.run());
    }
}
