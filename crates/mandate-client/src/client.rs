//! One request over HTTPS: the name of the host is resolved, its addresses are checked, and the connection goes to the
//! very address that was checked, so that a name cannot get another address in between.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::is_public;

/// What a client may do.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Hosts whose addresses may be internal, and which may be reached by `http`. Without ports.
    pub allowed_hosts: Vec<String>,
    /// Certificates of further authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take, from the resolution of the name to the end of the answer.
    pub timeout: Duration,
    /// The longest body of an answer.
    pub max_answer_bytes: usize,
}

/// No host is allowed to be internal; ten seconds and a mebibyte.
impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            ca_file: None,
            timeout: Duration::from_secs(10),
            max_answer_bytes: 1024 * 1024,
        }
    }
}

/// An HTTP client. Clones share the certificates.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    settings: Arc<ClientSettings>,
}

/// Why there is no answer, or no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{path}` cannot be used as a file of certificates: {reason}")]
    CaFile { path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("has to be an absolute URL with `https`, such as `https://example.com/path`")]
    NotHttps,
    #[error("`http` is only for hosts that are allowed explicitly, and `{0}` is not")]
    HttpNotAllowed(String),
    #[error("`{0}` cannot be resolved: {1}")]
    NotResolved(String, std::io::Error),
    #[error("`{0}` has no public address, and it is not allowed explicitly")]
    Internal(String),
    #[error("cannot connect to `{0}`: {1}")]
    NotConnected(String, std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the answer cannot be read, or it is too long: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
    #[error("it took longer than {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

/// Where a request goes.
struct Target {
    authority: Authority,
    is_https: bool,
    path: Uri,
}

impl Client {
    /// # Errors
    /// The certificates cannot be used.
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &settings.ca_file {
            add_certificates(&mut roots, path)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), settings: Arc::new(settings) })
    }

    /// Sends a request, and reads the answer, whatever its status.
    ///
    /// # Errors
    /// There is no answer, or the request must not be sent.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let limit = self.settings.timeout;
        let answer = tokio::time::timeout(limit, self.send_without_limit(request));
        answer.await.map_err(|_| ClientError::TimedOut(limit))?
    }

    /// Checks what can be known about a URL without asking the network.
    ///
    /// # Errors
    /// Nothing would be sent there.
    pub fn check_url(&self, url: &Uri) -> Result<(), ClientError> {
        let target = Target::of(url)?;
        let host = target.host();
        if !target.is_https && !self.is_allowed(host) {
            return Err(ClientError::HttpNotAllowed(host.to_owned()));
        }
        match host.parse::<IpAddr>() {
            Ok(address) if !self.is_allowed(host) && !is_public(address) => {
                Err(ClientError::Internal(host.to_owned()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    async fn send_without_limit(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        self.check_url(request.uri())?;
        let target = Target::of(request.uri())?;
        if let Ok(host) = HeaderValue::from_str(target.authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        target.path.clone_into(request.uri_mut());
        let request = request.map(Full::new);
        let stream = self.connect(&target).await?;
        if !target.is_https {
            return self.exchange(request, stream).await;
        }
        let host = target.host();
        let failed = |error| ClientError::NotConnected(host.to_owned(), error);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| failed(std::io::Error::other(error)))?;
        let stream = self.tls.connect(name, stream).await.map_err(failed)?;
        self.exchange(request, stream).await
    }

    /// Connects to the first address that may be reached and answers.
    async fn connect(&self, target: &Target) -> Result<TcpStream, ClientError> {
        let (host, port) = (target.host(), target.port());
        let resolved = tokio::net::lookup_host((host, port)).await;
        let resolved = resolved.map_err(|error| ClientError::NotResolved(host.to_owned(), error))?;
        let may_reach = |address: &SocketAddr| self.is_allowed(host) || is_public(address.ip());
        let mut failure = ClientError::Internal(host.to_owned());
        for address in resolved.filter(may_reach) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = ClientError::NotConnected(host.to_owned(), error),
            }
        }
        Err(failure)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Response<Bytes>, ClientError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let read = async {
            let answer = sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.settings.max_answer_bytes).collect().await;
            Ok(Response::from_parts(head, body.map_err(ClientError::Answer)?.to_bytes()))
        };
        tokio::pin!(read);
        // The connection works only while it is polled. Once it has ended, the answer is there or never comes.
        tokio::select! {
            answer = &mut read => answer,
            _ = connection => read.await,
        }
    }
}

impl Target {
    fn of(url: &Uri) -> Result<Self, ClientError> {
        let is_https = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) | None => return Err(ClientError::NotHttps),
        };
        let authority = url.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(ClientError::NotHttps)?.clone();
        let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = path.parse().map_err(|_| ClientError::NotHttps)?;
        Ok(Self { authority, is_https, path })
    }

    /// The host, without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_https { 443 } else { 80 })
    }
}

fn add_certificates(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    let failed = |reason: String| ClientError::CaFile { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let before = roots.len();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.len() == before { Err(failed("it has no certificate".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn client(allowed: &[&str], max_answer_bytes: usize) -> Client {
        let allowed_hosts = allowed.iter().map(|&host| host.to_owned()).collect();
        let timeout = Duration::from_secs(5);
        Client::new(ClientSettings { allowed_hosts, timeout, max_answer_bytes, ca_file: None }).unwrap()
    }

    async fn get(client: &Client, url: &str) -> Result<Response<Bytes>, ClientError> {
        client.send(Request::get(url).body(Bytes::new()).unwrap()).await
    }

    /// Answers one request, and gives its head.
    async fn answer_once(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head[..length].to_vec()).unwrap()
        });
        (port, task)
    }

    #[tokio::test]
    async fn internal_addresses_are_refused_before_anything_is_sent() {
        let refused = [
            ("https://127.0.0.1/x", "no public address"),
            ("https://localhost:1/", "no public address"),
            ("https://[::1]/", "no public address"),
            ("https://[::ffff:169.254.169.254]/", "no public address"),
            ("https://2130706433/", "no public address"),
            ("http://example.com/", "only for hosts that are allowed"),
            ("http://127.0.0.1/", "only for hosts that are allowed"),
            ("ftp://example.com/", "has to be an absolute URL"),
            ("https://user@example.com/", "has to be an absolute URL"),
            ("/relative", "has to be an absolute URL"),
        ];
        for (url, reason) in refused {
            let error = get(&client(&[], 100), url).await.unwrap_err().to_string();
            assert!(error.contains(reason) || error.contains("cannot be resolved"), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn an_allowed_host_answers_and_redirects_are_not_followed() {
        let (port, task) =
            answer_once("HTTP/1.1 302 Found\r\nLocation: https://10.0.0.1/\r\nContent-Length: 2\r\n\r\nhi")
                .await;
        let answer = get(&client(&["localhost"], 100), &format!("http://localhost:{port}/a?b=c")).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (302, &b"hi"[..]));
        let head = task.await.unwrap();
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: localhost:{port}\r\n")), "{head}");
    }

    #[tokio::test]
    async fn long_answers_are_refused() {
        let (port, _task) = answer_once("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world").await;
        let answer = get(&client(&["127.0.0.1"], 10), &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(answer, Err(ClientError::Answer(_))), "{answer:?}");
    }
}
