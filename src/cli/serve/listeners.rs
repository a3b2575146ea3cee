//! The listeners of `mandate serve`: bound at the start, opened one after the other, closed in order.
//! mandate-server serves their connections; their options are in `config::listeners`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::report;
use crate::config::ListenerConfig;
use crate::error::CliError;
use mandate_server::listen::address::Address;
use mandate_server::listen::admission::{Admission, Security};
use mandate_server::listen::monitor::{ListenerInfo, ListenerMonitor, Reloadable};
use mandate_server::listen::server::{self, ConnectionLimits};
use mandate_server::listen::socket::BoundSocket;

/// A bound address, and how its callers authenticate.
pub struct BoundListener {
    socket: BoundSocket,
    security: Security,
}

impl BoundListener {
    /// The URL of the address, with the port that the system chose; `None` for a unix socket.
    pub fn url(&self) -> Option<String> {
        let address = self.socket.local_address();
        (!address.is_unix()).then(|| address.to_string())
    }
}

/// Binds all addresses of some listeners, and warns of those that others can reach.
///
/// # Errors
/// The addresses that cannot be bound.
pub fn bind_all<'c>(
    configs: impl IntoIterator<Item = &'c ListenerConfig> + Clone,
) -> Result<Vec<BoundListener>, CliError> {
    for config in configs.clone() {
        for address in &config.addresses {
            warn_if_exposed(address, &config.security.for_address(address));
        }
    }
    bind_public(configs)
}

/// As [`bind_all`], for listeners that everybody may reach.
///
/// # Errors
/// The addresses that cannot be bound.
pub fn bind_public<'c>(
    configs: impl IntoIterator<Item = &'c ListenerConfig>,
) -> Result<Vec<BoundListener>, CliError> {
    let (mut bound, mut wrong) = (Vec::new(), Vec::new());
    for config in configs {
        for address in &config.addresses {
            let security = config.security.for_address(address);
            match BoundSocket::bind(address, config.socket_mode) {
                Ok(socket) => bound.push(BoundListener { socket, security }),
                Err(error) => wrong.push(error),
            }
        }
    }
    if wrong.is_empty() { Ok(bound) } else { Err(CliError::all(&wrong)) }
}

fn warn_if_exposed(address: &Address, security: &Security) {
    if address.is_local() || (address.is_https() && !security.methods().is_empty()) {
        return;
    }
    let callers = if security.methods().is_empty() { "not authenticated" } else { "authenticated" };
    tracing::warn!(%address, callers, tls = address.is_https(), "insecure: this address can be reached from other machines");
}

/// Listeners that serve until they are closed.
pub struct ListenerGroup {
    announcement: String,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl ListenerGroup {
    /// Starts to listen on bound addresses.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn open<S, B>(
        serves: &'static str,
        bound: Vec<BoundListener>,
        admission: &Admission,
        connection_limits: ConnectionLimits,
        service: impl Fn(&Address) -> S,
    ) -> Result<Self, CliError>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        let mut announcement = String::new();
        for BoundListener { socket, security } in bound {
            let (listener, address) = socket.listen().map_err(CliError::message)?;
            let _ = writeln!(announcement, "{serves} on {address}");
            let (authentication, files) = (security.methods(), security.files());
            let service = service(&address);
            admission.monitor.register(ListenerInfo { serves, address, authentication, files });
            let admission = Arc::new(admission.for_listener(security));
            tasks.push(tokio::spawn(server::serve(
                listener,
                admission,
                service,
                connection_limits,
                stopped.clone(),
            )));
        }
        Ok(Self { announcement, stop, tasks })
    }

    /// Prints the addresses to standard output.
    pub fn announce(&self) -> Result<(), CliError> {
        report::print(&self.announcement)
    }

    /// Accepts no more connections, and waits for the requests in flight.
    pub async fn close(self) {
        self.stop.send_replace(true);
        for served in self.tasks {
            // An error means that the task panicked, so it has ended as well.
            let _ = served.await;
        }
    }
}

/// The monitor of listeners, of the files that they reload, and of others.
pub fn monitor<'c>(
    configs: impl IntoIterator<Item = &'c ListenerConfig>,
    others: Vec<Arc<dyn Reloadable>>,
) -> Arc<ListenerMonitor> {
    let files = configs.into_iter().flat_map(|config| config.security.files());
    ListenerMonitor::new(files.chain(others).collect())
}
