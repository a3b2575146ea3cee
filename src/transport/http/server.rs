//! Serves connections on a listener until told to stop, then lets those in flight end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// How long a connection may idle, or take to send a request's head; at most twice as long.
    pub head: Duration,
    /// How long requests in flight may take to end once the server stops.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 10_000, head: Duration::from_secs(30), drain: Duration::from_secs(10) }
    }
}

impl Bounds {
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }
}

/// Accepts and serves until `stop` turns true; then no new connection is accepted, idle ones are
/// closed, and requests in flight end.
pub async fn serve<S, B>(listener: TcpListener, service: S, bounds: Bounds, mut stop: watch::Receiver<bool>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(bounds.connections));
    let http = protocols();
    while !*stop.borrow_and_update() {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            // An error means that whoever could stop the server is gone.
            changed = stop.changed() => if changed.is_ok() { continue } else { break },
        };
        let Some((stream, place)) = accepted else { continue };
        let requests = Arc::new(AtomicU64::new(0));
        let service = Counted { service: service.clone(), requests: Arc::clone(&requests) };
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                },
                () = no_request(&requests, bounds.head) => tracing::debug!("connection idle, closed"),
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight did not end in time");
    }
}

/// HTTP/1.1 and HTTP/2, by what a connection begins with.
fn protocols() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Answers are small: one buffer is written sooner than two are gathered.
    http.http1().writev(false);
    http.http2().timer(TokioTimer::new());
    http
}

/// Waits until no request has begun for a while. A timer for each connection that is looked at seldom,
/// instead of one for each request, which would cost every request.
async fn no_request(requests: &AtomicU64, patience: Duration) {
    let mut before = None;
    loop {
        let now = Some(requests.load(Ordering::Relaxed));
        if std::mem::replace(&mut before, now) == now {
            return;
        }
        tokio::time::sleep(patience).await;
    }
}

/// A service that counts the requests that came.
struct Counted<S> {
    service: S,
    requests: Arc<AtomicU64>,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> S::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.service.call(request)
    }
}

/// How long an answer may lie unread.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(30);

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(tokio::net::TcpStream, Place)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are small and complete; waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            // A client that does not read its answers must not keep its place for ever.
            #[cfg(target_os = "linux")]
            let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
            Some((stream, place))
        }
        Err(error) => {
            // Such as no file descriptor left: trying again at once would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
