//! Connections like those of gateways, over TCP, TLS and unix sockets, with HTTP/1.1 and HTTP/2; and a certificate
//! authority for them.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, Reply};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// An open connection.
pub struct Connection(Sender);

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The version of HTTP on a connection: 1.1 or 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Connection {
    /// Connects to a listener. The address is as `mandate serve` prints it.
    pub fn open(address: &str, version: Version, tls: Option<&Arc<ClientConfig>>) -> Result<Self, String> {
        let opening = async {
            if let Some(path) = address.strip_prefix("unix:") {
                return Self::over(UnixStream::connect(path).await?, version).await;
            }
            let (_, host_and_port) = address.split_once("://").unwrap();
            let stream = TcpStream::connect(host_and_port).await?;
            let Some(config) = tls else { return Self::over(stream, version).await };
            let mut config = ClientConfig::clone(config);
            let offered: &[u8] = if version == Version::Http2 { b"h2" } else { b"http/1.1" };
            config.alpn_protocols = vec![offered.to_vec()];
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(offered));
            Self::over(stream, version).await
        };
        in_time(opening)
    }

    /// Starts HTTP on an open stream.
    async fn over<I>(stream: I, version: Version) -> Result<Self, Failure>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        if version == Version::Http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            return Ok(Self(Sender::Http2(sender)));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self(Sender::Http1(sender)))
    }

    /// Sends a request and reads the answer.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Result<Reply, String> {
        let is_http2 = matches!(self.0, Sender::Http2(_));
        let uri = if is_http2 { format!("http://localhost{path}") } else { path.to_owned() };
        let mut request = Request::builder().method(method).uri(uri);
        if !is_http2 {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        in_time(async {
            let response = match &mut self.0 {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => sender.send_request(request).await?,
            };
            Ok::<_, Failure>(reply(response).await)
        })
    }

    /// Asks a question, with or without a bearer token.
    pub fn ask(&mut self, question: &serde_json::Value, token: Option<&str>) -> Result<Reply, String> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json"), ("x-request-id", "asked")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.send("POST", "/access/v1/evaluation", &question.to_string(), &headers)
    }
}

async fn reply(response: Response<Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    // When the server refuses a request early, it may close the connection before the whole answer is read.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

/// Waits for the work, at most for [`PATIENCE`].
fn in_time<T, E: ToString>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    RUNTIME.block_on(async {
        let done = tokio::time::timeout(PATIENCE, work).await.expect("the server answers in time");
        done.map_err(|error| error.to_string())
    })
}

/// An authority that signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a subject with host names and URIs.
    pub fn issue(&self, subject: &str, hosts: &[&str], uris: &[&str]) -> Pair {
        self.issue_until(subject, hosts, uris, 2099)
    }

    /// A certificate that is valid until January of a year.
    pub fn issue_until(&self, subject: &str, hosts: &[&str], uris: &[&str], year: i32) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        let hosts = hosts.iter().map(|host| SanType::DnsName((*host).try_into().unwrap()));
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = hosts.chain(uris).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The TLS configuration of a client that trusts this authority, with or without a certificate of its own.
    pub fn client(&self, identity: Option<&Pair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}

impl Pair {
    /// Writes both into a folder, as `NAME.crt` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.crt")), &self.certificate).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}
