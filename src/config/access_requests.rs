//! What access requests need: the keys that sign, and who may be called back.

use std::sync::Arc;

use super::serving::ServingOptions;
use super::values::non_empty_names;
use crate::error::CliError;
use mandate_core::json::quoted;
use mandate_server::access_requests::callbacks::{CallbackHost, Callbacks};
use mandate_server::access_requests::keys::Keys;
use mandate_server::listen::monitor::Reloadable;

/// What access requests need.
pub struct AccessRequestConfig {
    /// What signs denials and approvals; `None`: a new key.
    pub signing_keys: Option<Keys>,
    /// `None`: nobody is called back.
    pub callbacks: Option<Arc<Callbacks>>,
}

impl AccessRequestConfig {
    /// # Errors
    /// A file cannot be used, or options contradict each other.
    pub fn of(serving: &ServingOptions) -> Result<Self, CliError> {
        let signing_keys = serving.signing_keys.clone().map(Keys::open).transpose();
        Ok(Self { signing_keys: signing_keys.map_err(CliError::message)?, callbacks: callbacks(serving)? })
    }

    /// The files that are reloaded when they change.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        let keys = self.signing_keys.iter().flat_map(Keys::files);
        keys.chain(self.callbacks.iter().flat_map(|callbacks| callbacks.files())).collect()
    }
}

fn callbacks(serving: &ServingOptions) -> Result<Option<Arc<Callbacks>>, CliError> {
    let names = non_empty_names(serving.callback_hosts.clone());
    if names.is_empty() {
        let unused = [("callback-key", &serving.callback_key), ("callback-ca", &serving.callback_ca)];
        return match unused.iter().find(|(_, file)| file.is_some()) {
            None => Ok(None),
            Some((name, _)) => Err(CliError::message(format!("`{name}` needs `callback-hosts`"))),
        };
    }
    let Some(key) = serving.callback_key.clone() else {
        return Err(CliError::message("`callback-hosts` needs `callback-key`: callbacks are always signed"));
    };
    let host = |name: &String| {
        name.parse::<CallbackHost>()
            .map_err(|error| CliError::message(format!("`callback-hosts`: {}: {error}", quoted(name))))
    };
    let hosts = names.iter().map(host).collect::<Result<_, _>>()?;
    Callbacks::open(hosts, key, serving.callback_ca.as_deref())
        .map(|callbacks| Some(Arc::new(callbacks)))
        .map_err(CliError::message)
}
