//! Serves the connections of a listener until it is told to stop, and then waits for the requests in flight.
//! Each request passes `admission`, and then goes to the service of the listener.

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

use super::admission::{Admission, Peer};
use super::places::Place;
use super::rejection::{Rejection, RejectionReason, ResponseFormat};
use super::sent_body::{Sending, SentBody};
use super::socket::{Listener, Stream};

/// The limits on the connections of one listener.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Concurrent connections; more of them wait to be accepted.
    pub max_connections: usize,
    /// How long a connection may be idle, or take to send the head of a request. It is closed after at most
    /// twice this time.
    pub idle_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// The length of the head of a request, in bytes.
    pub max_header_bytes: usize,
    /// Concurrent requests on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long requests in flight may take to end when the server stops.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            max_header_bytes: 32 * 1024,
            max_streams: 200,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The smallest `max_header_bytes` that HTTP/1 supports.
pub const MIN_HEADER_BYTES: usize = 8 * 1024;

/// How long an idle connection may take to close: it may be in the middle of a head.
const IDLE_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The answer of the service, or a rejection.
type ListenerResponse<B> = Response<Either<Full<Bytes>, SentBody<B>>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The state that all connections of a listener share.
struct ListenerContext<S> {
    service: S,
    admission: Arc<Admission>,
    connection_limits: ConnectionLimits,
    http: auto::Builder<TokioExecutor>,
    stop: watch::Receiver<bool>,
}

/// Accepts and serves connections until `stop` is true. Then it accepts no more, closes those that are idle,
/// and waits for the requests in flight.
pub async fn serve<S, B>(
    listener: Listener,
    admission: Arc<Admission>,
    service: S,
    connection_limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let max_connections = u32::try_from(connection_limits.max_connections).unwrap_or(u32::MAX);
    let slots = Arc::new(Semaphore::new(max_connections as usize));
    let http = http_builder(&connection_limits);
    let shared =
        Arc::new(ListenerContext { service, admission, connection_limits, http, stop: stop.clone() });
    while !*stop.borrow_and_update() {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            // An error means that the sender of `stop` was dropped.
            changed = stop.changed() => if changed.is_ok() { continue } else { break },
        };
        let Some((stream, slot)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        match stream {
            Stream::Tcp(stream) if shared.admission.tls().is_some() => shared.spawn_tls(stream, slot),
            Stream::Tcp(stream) => shared.spawn(stream, slot),
            Stream::Unix(stream) => shared.spawn(stream, slot),
        }
    }
    drop(listener);
    // Every connection that has not ended holds a slot.
    if tokio::time::timeout(connection_limits.drain_timeout, slots.acquire_many(max_connections))
        .await
        .is_err()
    {
        tracing::warn!("the drain timeout has passed: closing connections with requests in flight");
    }
}

async fn accept(listener: &Listener, slots: &Arc<Semaphore>) -> Option<(Stream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(stream) => Some((stream, slot)),
        Err(error) => {
            // For example, no file descriptor is left. An immediate retry would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// HTTP/1.1 and HTTP/2; the first bytes of a connection tell which.
fn http_builder(connection_limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Answers are small, so one copied buffer is faster than a vectored write.
    http.http1().writev(false).max_buf_size(connection_limits.max_header_bytes.max(MIN_HEADER_BYTES));
    let head = u32::try_from(connection_limits.max_header_bytes).unwrap_or(u32::MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(head)
        .max_concurrent_streams(connection_limits.max_streams);
    http
}

impl<S, B> ListenerContext<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn spawn<I>(self: Arc<Self>, stream: I, slot: OwnedSemaphorePermit)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        tokio::spawn(async move {
            self.connection(stream, None).await;
            drop(slot);
        });
    }

    fn spawn_tls(self: Arc<Self>, stream: TcpStream, slot: OwnedSemaphorePermit) {
        tokio::spawn(async move {
            if let Some((stream, peer)) = self.handshake(stream).await {
                self.connection(stream, peer).await;
            }
            drop(slot);
        });
    }

    /// Does the TLS handshake; `None` if it fails, takes too long, or the server stops.
    async fn handshake(&self, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Option<Peer>)> {
        let tls_handshake = self.admission.tls()?.acceptor.accept(stream);
        let mut stop = self.stop.clone();
        let handshake_result = tokio::select! {
            handshake_result = tokio::time::timeout(self.connection_limits.handshake_timeout, tls_handshake) => handshake_result,
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        let failed = match handshake_result {
            Ok(Ok(stream)) => {
                let peer = self.admission.peer(stream.get_ref().1.peer_certificates());
                return Some((stream, peer));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::debug!(error = failed, "handshake failed");
        self.admission.monitor.handshake_failures.inc();
        None
    }

    async fn connection<I>(self: Arc<Self>, stream: I, peer: Option<Peer>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection_service = Arc::new(ConnectionService {
            shared: Arc::clone(&self),
            peer,
            started_requests: 0.into(),
            finished_requests: Arc::default(),
        });
        let for_requests = Arc::clone(&connection_service);
        let service = service_fn(move |request| {
            let connection_service = Arc::clone(&for_requests);
            async move { Ok::<_, Infallible>(connection_service.handle(request).await) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let mut stop = self.stop.clone();
        let timeout = tokio::select! {
            biased;
            ended = connection.as_mut() => return self.log_connection_error(ended),
            () = connection_service.wait_until_idle() => IDLE_CLOSE_TIMEOUT,
            _ = stop.wait_for(|stop| *stop) => self.connection_limits.drain_timeout,
        };
        // The client is told to send no more requests, and those in flight are answered.
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(timeout, connection).await {
            self.log_connection_error(ended);
        }
    }

    fn log_connection_error(&self, ended: Result<(), BoxError>) {
        let Err(error) = ended else { return };
        tracing::debug!(%error, "connection failed");
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            self.admission.monitor.count_rejection(RejectionReason::TooLarge);
        }
    }
}

/// The service of one connection, which counts its requests.
struct ConnectionService<S> {
    shared: Arc<ListenerContext<S>>,
    peer: Option<Peer>,
    started_requests: AtomicU64,
    finished_requests: Arc<AtomicU64>,
}

/// Counts a request as finished when it is dropped, also if it was cancelled.
struct RequestEndGuard<'a>(&'a AtomicU64);

impl Drop for RequestEndGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S, B> ConnectionService<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    async fn handle(&self, mut request: Request<Incoming>) -> ListenerResponse<B> {
        self.started_requests.fetch_add(1, Ordering::Relaxed);
        let _ending = RequestEndGuard(&self.finished_requests);
        let admission = &self.shared.admission;
        let place = match admission.admit(&mut request, self.peer.as_ref()) {
            Ok(place) => place,
            Err(rejection) => return self.reject(&rejection, admission.response_format(&request)),
        };
        let form = admission.response_format(&request);
        let mut answer = pin!(self.shared.service.call(request));
        // Most requests are answered at once, so they need no timer.
        let answered = match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
            Poll::Ready(answered) => Ok(answered),
            Poll::Pending => wait_for(answer, &place, admission.admission_limits.request_timeout).await,
        };
        match answered {
            Ok(Ok(response)) => {
                if let Some(reason) = rejection_reason(&response) {
                    admission.monitor.count_rejection(reason);
                }
                self.until_sent(response)
            }
            Err(rejection) => self.reject(&rejection, form),
        }
    }

    /// The response to a request. While a body of unknown length is being sent, the connection is not idle.
    fn until_sent(&self, response: Response<B>) -> ListenerResponse<B> {
        let is_long = response.body().size_hint().exact().is_none();
        let sending = is_long.then(|| {
            self.started_requests.fetch_add(1, Ordering::Relaxed);
            Sending(Arc::clone(&self.finished_requests))
        });
        response.map(|body| Either::Right(SentBody::new(body, sending)))
    }

    fn reject(&self, rejection: &Rejection, form: ResponseFormat) -> ListenerResponse<B> {
        self.shared.admission.monitor.count_rejection(rejection.reason());
        rejection.response(form).map(Either::Left)
    }
}

impl<S> ConnectionService<S> {
    /// Waits until the connection had no request for one idle timeout. One slow timer for each connection
    /// costs less than one for each request.
    async fn wait_until_idle(&self) {
        let mut before = None;
        loop {
            let now = (
                self.started_requests.load(Ordering::Relaxed),
                self.finished_requests.load(Ordering::Relaxed),
            );
            if before.replace(now) == Some(now) && now.0 == now.1 {
                return;
            }
            tokio::time::sleep(self.shared.connection_limits.idle_timeout).await;
        }
    }
}

/// Waits for an answer that is not ready, most likely because the body has not arrived.
async fn wait_for<T>(
    answer: impl Future<Output = T>,
    place: &Place<'_>,
    timeout: Duration,
) -> Result<T, Rejection> {
    let mut waiting = place.wait();
    tokio::select! {
        biased;
        answered = tokio::time::timeout(timeout, answer) => answered.map_err(|_| Rejection::TimedOut),
        () = waiting.displaced() => Err(Rejection::Overload),
    }
}

/// The reason for metrics, if the response counts as a rejection.
fn rejection_reason<B>(response: &Response<B>) -> Option<RejectionReason> {
    match response.status() {
        StatusCode::OK => None,
        StatusCode::REQUEST_TIMEOUT => Some(RejectionReason::Timeout),
        StatusCode::PAYLOAD_TOO_LARGE => Some(RejectionReason::TooLarge),
        _ => response.extensions().get().copied(),
    }
}
