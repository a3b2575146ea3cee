//! Admission: every request passes it before its body is read, whatever its path. It checks who the caller is
//! and how many requests are in flight. Tokens are checked in `authentication`, places are given by `places`,
//! answers are written in `rejection`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use hyper::Request;
use rustls::pki_types::CertificateDer;

use super::address::Address;
use super::authentication::{Authentication, Caller, JwtConfig};
use super::certificate;
use super::error::FileErrors;
use super::monitor::ListenerMonitor;
use super::places::{Place, Places};
use super::rejection::{Rejection, ResponseFormat};
use super::reloading_file::{Reloadable, ReloadingFile};
use super::tls::{self, Tls};

/// The security of a listener. Clones share the files and their reloads.
#[derive(Clone, Default)]
pub struct Security {
    tls: Option<Arc<ReloadingFile<Tls>>>,
    requires_client_certificate: bool,
    /// A client certificate has to have one of these names. If the list is empty, every name is allowed.
    allowed_client_names: Vec<String>,
    authentication: Authentication,
}

/// What [`Security`] is made from.
#[derive(Debug, Clone, Default)]
pub struct SecurityConfig {
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub client_ca: Option<PathBuf>,
    pub client_names: Vec<String>,
    pub tokens: Option<PathBuf>,
    pub jwt: Option<JwtConfig>,
}

impl Security {
    /// Reads the files. Later changes are reloaded.
    ///
    /// # Errors
    /// One error for each group of files that cannot be used.
    pub fn open(files: SecurityConfig) -> Result<Self, Vec<FileErrors>> {
        let requires_client_certificate = files.client_ca.is_some();
        let tls = files.certificate.map(|(certificate, key)| tls::open(certificate, key, files.client_ca));
        match (tls.transpose(), Authentication::open(files.tokens, files.jwt)) {
            (Ok(tls), Ok(authentication)) => Ok(Self {
                tls,
                requires_client_certificate,
                allowed_client_names: files.client_names,
                authentication,
            }),
            (tls, authentication) => {
                Err(tls.err().into_iter().chain(authentication.err().into_iter().flatten()).collect())
            }
        }
    }

    /// The settings that apply to this address: without TLS, only tokens and JWTs.
    #[must_use]
    pub fn for_address(&self, address: &Address) -> Self {
        if address.is_https() {
            return self.clone();
        }
        Self { authentication: self.authentication.clone(), ..Self::default() }
    }

    /// The names of the methods of authentication.
    pub fn methods(&self) -> Vec<&'static str> {
        self.requires_client_certificate
            .then_some("client certificate")
            .into_iter()
            .chain(self.authentication.methods())
            .collect()
    }

    /// The files that are reloaded when they change.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        let tls = self.tls.clone().map(|tls| tls as Arc<dyn Reloadable>);
        tls.into_iter().chain(self.authentication.files()).collect()
    }
}

/// The limits on requests.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Requests in flight, on all listeners together. This also limits the memory that bodies take.
    pub max_concurrent_requests: usize,
    /// The time from the head of a request to its answer.
    pub request_timeout: Duration,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { max_concurrent_requests: 4_096, request_timeout: Duration::from_secs(30) }
    }
}

/// Paths with rules of their own.
#[derive(Debug, Clone, Copy)]
pub struct SpecialPaths {
    /// Paths that need no authentication.
    pub unauthenticated: &'static [&'static str],
    /// The prefix of the paths of gRPC; empty if the service has no gRPC.
    pub grpc_prefix: &'static str,
}

/// The admission control of one listener. Those of several listeners share the places of requests in flight.
pub struct Admission {
    security: Security,
    paths: SpecialPaths,
    pub admission_limits: AdmissionLimits,
    places: Arc<Places>,
    pub monitor: Arc<ListenerMonitor>,
}

/// The client of a connection, from its verified certificate.
#[derive(Debug)]
pub struct Peer {
    names: Vec<String>,
    caller: Option<Caller>,
}

impl Admission {
    pub fn new(
        security: Security,
        paths: SpecialPaths,
        admission_limits: AdmissionLimits,
        monitor: Arc<ListenerMonitor>,
    ) -> Self {
        let places = Arc::new(Places::new(admission_limits.max_concurrent_requests));
        Self { security, paths, admission_limits, places, monitor }
    }

    /// An admission control for another listener, with its own security and the shared limit on requests.
    #[must_use]
    pub fn for_listener(&self, security: Security) -> Self {
        let (places, monitor) = (Arc::clone(&self.places), Arc::clone(&self.monitor));
        Self { security, places, monitor, ..*self }
    }

    /// The TLS settings in use, if the listener has TLS.
    pub fn tls(&self) -> Option<Guard<Arc<Tls>>> {
        self.security.tls.as_ref().map(|tls| tls.current())
    }

    /// The client, from the certificates that the handshake verified.
    pub fn peer(&self, certificates: Option<&[CertificateDer<'_>]>) -> Option<Peer> {
        let names = certificates?.first().map(certificate::subject_names)?;
        let allowed = |name: &&String| {
            self.security.allowed_client_names.is_empty() || self.security.allowed_client_names.contains(name)
        };
        let caller = names.iter().find(allowed).map(|name| Caller(name.as_str().into()));
        Some(Peer { names, caller })
    }

    /// The format in which this request would be rejected.
    pub fn response_format<B>(&self, request: &Request<B>) -> ResponseFormat {
        ResponseFormat::for_request(request.uri().path(), request.headers(), self.paths.grpc_prefix)
    }

    /// Admits a request, and puts the name of its caller into its extensions. The request is in flight until
    /// its place is dropped.
    ///
    /// # Errors
    /// The request is rejected.
    pub fn admit<B>(&self, request: &mut Request<B>, peer: Option<&Peer>) -> Result<Place<'_>, Rejection> {
        let caller = match self.caller(request, peer) {
            Err(_) if self.paths.unauthenticated.contains(&request.uri().path()) => None,
            caller => caller?,
        };
        let place = self.places.take().ok_or(Rejection::Overload)?;
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        Ok(place)
    }

    fn caller<B>(&self, request: &Request<B>, peer: Option<&Peer>) -> Result<Option<Caller>, Rejection> {
        let certified = match peer {
            Some(Peer { names, caller: None }) if !self.security.allowed_client_names.is_empty() => {
                return Err(Rejection::Forbidden(names.clone()));
            }
            Some(peer) => peer.caller.clone(),
            None => None,
        };
        if !self.security.authentication.is_required() {
            return Ok(certified);
        }
        self.security.authentication.caller(request.headers()).map(Some).map_err(Rejection::Unauthenticated)
    }
}
