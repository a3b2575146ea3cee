//! What a gateway protects: a server that takes everything and remembers what it got.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

/// A request that got through.
#[derive(Debug, Clone)]
pub struct Got {
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: usize,
}

impl Got {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// A running upstream; it ends with its runtime.
pub struct Upstream {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(serve(listener, Arc::clone(&got)));
        Self { port, got, _runtime: runtime }
    }

    /// What got through since the last look.
    pub fn got(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }
}

async fn serve(listener: tokio::net::TcpListener, got: Arc<Mutex<Vec<Got>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let got = Arc::clone(&got);
        let service = service_fn(move |request| take(request, Arc::clone(&got)));
        tokio::spawn(async move {
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    got: Arc<Mutex<Vec<Got>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let target = head.uri.path_and_query().unwrap().to_string();
    got.lock().unwrap().push(Got { target, headers: headers.collect(), body });
    let mut response = Response::new(Full::new(Bytes::from_static(b"taken")));
    *response.status_mut() = hyper::StatusCode::ACCEPTED;
    Ok(response)
}
