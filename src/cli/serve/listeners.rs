//! The ports of `mandate serve`: taken at the start, opened one after the other, closed in order.

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
use mandate_server::listen::monitor::{ListenerInfo, ListenerMonitor};
use mandate_server::listen::server::{self, ConnectionLimits};
use mandate_server::listen::socket::BoundSocket;

/// An address that is taken, and who may ask there.
pub struct BoundListener {
    socket: BoundSocket,
    security: Security,
}

/// Takes all addresses of some listeners.
///
/// # Errors
/// Those that cannot be taken.
pub fn bind_all<'c>(
    configs: impl IntoIterator<Item = &'c ListenerConfig>,
) -> Result<Vec<BoundListener>, CliError> {
    let (mut bound, mut wrong) = (Vec::new(), Vec::new());
    for config in configs {
        for address in &config.addresses {
            let security = config.security.for_address(address);
            warn_if_exposed(address, &security);
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
    tracing::warn!(%address, callers, tls = address.is_https(), "insecure: others than this machine may reach this address");
}

/// Ports that are served until they are closed.
pub struct ListenerGroup {
    announcement: String,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl ListenerGroup {
    /// Opens what was taken.
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
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        let mut announcement = String::new();
        for BoundListener { socket, security } in bound {
            let (listener, address) = socket.listen().map_err(CliError::message)?;
            // Writing to a string does not fail.
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

    /// Says where they are, on standard output.
    pub fn announce(&self) -> Result<(), CliError> {
        report::print(&self.announcement)
    }

    /// Takes no more connections, and waits for the requests in flight.
    pub async fn close(self) {
        self.stop.send_replace(true);
        for served in self.tasks {
            // A task that panicked has ended as well.
            let _ = served.await;
        }
    }
}

/// What operators see of listeners that follow these files.
pub fn monitor<'c>(configs: impl IntoIterator<Item = &'c ListenerConfig>) -> Arc<ListenerMonitor> {
    ListenerMonitor::new(configs.into_iter().flat_map(|config| config.security.files()).collect())
}
