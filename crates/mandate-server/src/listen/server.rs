//! Serves connections on a listener until told to stop, then lets those in flight end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::server::TlsStream;

use super::door::{Door, Peer};
use super::refusal::{Form, Reason, Refusal};
use super::socket::{Listener, Stream};

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// How long a connection may idle, or take to send a request's head; at most twice as long.
    pub idle: Duration,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// The head of a request, in bytes.
    pub head: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// How long requests in flight may take to end once the server stops.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 10_000,
            idle: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            head: 32 * 1024,
            streams: 200,
            drain: Duration::from_secs(10),
        }
    }
}

/// The shortest head that HTTP/1 can be bounded to.
pub const SHORTEST_HEAD: usize = 8 * 1024;

/// How long a connection may take to end that was idle: it may be in the middle of a head.
const LINGER: Duration = Duration::from_secs(1);

/// The body of an answer, or of a refusal.
type Answer<B> = Response<Either<Full<Bytes>, B>>;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What all connections of a listener share.
struct Shared<S> {
    service: S,
    door: Arc<Door>,
    bounds: Bounds,
    http: auto::Builder<TokioExecutor>,
    stop: watch::Receiver<bool>,
}

/// Accepts and serves until `stop` turns true; then no new connection is accepted, idle ones are
/// closed, and requests in flight end.
pub async fn serve<S, B>(
    listener: Listener,
    door: Arc<Door>,
    service: S,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    let most = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    let places = Arc::new(Semaphore::new(most as usize));
    let http = protocols(&bounds);
    let shared = Arc::new(Shared { service, door, bounds, http, stop: stop.clone() });
    while !*stop.borrow_and_update() {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            // An error means that whoever could stop the server is gone.
            changed = stop.changed() => if changed.is_ok() { continue } else { break },
        };
        let Some((stream, place)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        match stream {
            Stream::Tcp(stream) if shared.door.tls().is_some() => {
                tokio::spawn(async move {
                    if let Some((stream, peer)) = shared.handshake(stream).await {
                        shared.connection(stream, peer).await;
                    }
                    drop(place);
                });
            }
            Stream::Tcp(stream) => shared.spawn(stream, place),
            Stream::Unix(stream) => shared.spawn(stream, place),
        }
    }
    drop(listener);
    // Whoever has a place is a connection that has not ended.
    if tokio::time::timeout(bounds.drain, places.acquire_many(most)).await.is_err() {
        tracing::warn!("requests in flight did not end in time");
    }
}

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Option<(Stream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(stream) => Some((stream, place)),
        Err(error) => {
            // Such as no file descriptor left: trying again at once would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// HTTP/1.1 and HTTP/2, by what a connection begins with.
fn protocols(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Answers are small: one buffer is written sooner than two are gathered.
    http.http1().writev(false).max_buf_size(bounds.head.max(SHORTEST_HEAD));
    let head = u32::try_from(bounds.head).unwrap_or(u32::MAX);
    http.http2().timer(TokioTimer::new()).max_header_list_size(head).max_concurrent_streams(bounds.streams);
    http
}

impl<S, B> Shared<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    fn spawn<I>(self: Arc<Self>, stream: I, place: OwnedSemaphorePermit)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        tokio::spawn(async move {
            self.connection(stream, None).await;
            drop(place);
        });
    }

    /// Shakes hands; `None` if that fails, takes too long, or the server stops meanwhile.
    async fn handshake(&self, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Option<Peer>)> {
        let shaking = self.door.tls()?.acceptor.accept(stream);
        let mut stop = self.stop.clone();
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.bounds.handshake, shaking) => shaken,
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        let failed = match shaken {
            Ok(Ok(stream)) => {
                let peer = self.door.peer(stream.get_ref().1.peer_certificates());
                return Some((stream, peer));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::debug!(error = failed, "handshake failed");
        self.door.board.handshake_failures.inc();
        None
    }

    async fn connection<I>(self: Arc<Self>, stream: I, peer: Option<Peer>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visit = Arc::new(Visit { shared: Arc::clone(&self), peer, begun: 0.into(), ended: 0.into() });
        let at_the_door = Arc::clone(&visit);
        let service = service_fn(move |request| {
            let visit = Arc::clone(&at_the_door);
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let mut stop = self.stop.clone();
        let patience = tokio::select! {
            biased;
            ended = connection.as_mut() => return self.note(ended),
            () = visit.is_idle() => LINGER,
            _ = stop.wait_for(|stop| *stop) => self.bounds.drain,
        };
        // The other end is told, and requests in flight are answered.
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(patience, connection).await {
            self.note(ended);
        }
    }

    fn note(&self, ended: Result<(), Failure>) {
        let Err(error) = ended else { return };
        tracing::debug!(%error, "connection failed");
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            self.door.board.rejected(Reason::TooLarge);
        }
    }
}

/// A connection, and the requests that came on it.
struct Visit<S> {
    shared: Arc<Shared<S>>,
    peer: Option<Peer>,
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Counts a request that ended, however it did.
struct Ending<'a>(&'a AtomicU64);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S, B> Visit<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    async fn answer(&self, mut request: Request<Incoming>) -> Answer<B> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let _ending = Ending(&self.ended);
        let door = &self.shared.door;
        let _place = match door.admit(&mut request, self.peer.as_ref()) {
            Ok(place) => place,
            Err(refusal) => return self.refuse(&refusal, door.form(&request)),
        };
        let form = door.form(&request);
        let mut answer = pin!(self.shared.service.call(request));
        // Most requests are answered at once, and need no timer.
        let answered = match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
            Poll::Ready(answered) => Ok(answered),
            Poll::Pending => tokio::time::timeout(door.allowance.time, answer).await,
        };
        match answered {
            Ok(Ok(response)) => {
                if let Some(reason) = rejection(&response) {
                    door.board.rejected(reason);
                }
                response.map(Either::Right)
            }
            Err(_) => self.refuse(&Refusal::Late, form),
        }
    }

    fn refuse(&self, refusal: &Refusal, form: Form) -> Answer<B> {
        self.shared.door.board.rejected(refusal.reason());
        refusal.response(form).map(Either::Left)
    }
}

impl<S> Visit<S> {
    /// Waits until nothing happened for a while. A timer for each connection that is looked at seldom,
    /// instead of one for each request, which would cost every request.
    async fn is_idle(&self) {
        let mut before = None;
        loop {
            let now = (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
            if before.replace(now) == Some(now) && now.0 == now.1 {
                return;
            }
            tokio::time::sleep(self.shared.bounds.idle).await;
        }
    }
}

/// Why whoever answered did not do what was asked, where that is of the kinds that are counted.
fn rejection<B>(response: &Response<B>) -> Option<Reason> {
    match response.status() {
        StatusCode::OK => None,
        StatusCode::REQUEST_TIMEOUT => Some(Reason::Timeout),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Reason::TooLarge),
        _ => response.extensions().get().copied(),
    }
}
