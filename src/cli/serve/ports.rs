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
use crate::failure::Failure;
use mandate_server::listen::address::Address;
use mandate_server::listen::board::{Board, Entry};
use mandate_server::listen::door::{Door, Security};
use mandate_server::listen::server::{self, Bounds};
use mandate_server::listen::socket::Socket;

/// An address that is taken, and who may ask there.
pub struct Taken {
    socket: Socket,
    security: Security,
}

/// Takes all addresses of some listeners.
///
/// # Errors
/// Those that cannot be taken.
pub fn take<'c>(configs: impl IntoIterator<Item = &'c ListenerConfig>) -> Result<Vec<Taken>, Failure> {
    let (mut taken, mut wrong) = (Vec::new(), Vec::new());
    for config in configs {
        for address in &config.addresses {
            let security = config.security.on(address);
            warn_if_exposed(address, &security);
            match Socket::bind(address, config.socket_mode) {
                Ok(socket) => taken.push(Taken { socket, security }),
                Err(error) => wrong.push(error),
            }
        }
    }
    if wrong.is_empty() { Ok(taken) } else { Err(Failure::all(&wrong)) }
}

fn warn_if_exposed(address: &Address, security: &Security) {
    if address.is_local() || (address.is_https() && !security.kinds().is_empty()) {
        return;
    }
    let callers = if security.kinds().is_empty() { "not authenticated" } else { "authenticated" };
    tracing::warn!(%address, callers, tls = address.is_https(), "insecure: others than this machine may reach this address");
}

/// Ports that are served until they are closed.
pub struct Ports {
    announcement: String,
    stop: watch::Sender<bool>,
    served: Vec<JoinHandle<()>>,
}

impl Ports {
    /// Opens what was taken.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn open<S, B>(
        serves: &'static str,
        taken: Vec<Taken>,
        door: &Door,
        bounds: Bounds,
        service: impl Fn(&Address) -> S,
    ) -> Result<Self, Failure>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let mut served = Vec::new();
        let mut announcement = String::new();
        for Taken { socket, security } in taken {
            let (listener, address) = socket.listen().map_err(Failure::Message)?;
            // Writing to a string does not fail.
            let _ = writeln!(announcement, "{serves} on {address}");
            let (authentication, files) = (security.kinds(), security.files());
            let service = service(&address);
            door.board.listens(Entry { serves, address, authentication, files });
            let door = Arc::new(door.beside(security));
            served.push(tokio::spawn(server::serve(listener, door, service, bounds, stopped.clone())));
        }
        Ok(Self { announcement, stop, served })
    }

    /// Says where they are, on standard output.
    pub fn announce(&self) -> Result<(), Failure> {
        report::print(&self.announcement)
    }

    /// Takes no more connections, and waits for the requests in flight.
    pub async fn close(self) {
        self.stop.send_replace(true);
        for served in self.served {
            // A task that panicked has ended as well.
            let _ = served.await;
        }
    }
}

/// What operators see of listeners that follow these files.
pub fn board<'c>(configs: impl IntoIterator<Item = &'c ListenerConfig>) -> Arc<Board> {
    Board::new(configs.into_iter().flat_map(|config| config.security.files()).collect())
}
