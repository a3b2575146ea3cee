//! The door of a listener: every request passes it, whatever its path, before its body is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use hyper::Request;
use rustls::pki_types::CertificateDer;

use super::address::Address;
use super::authentication::{Authentication, Caller, JwtConfig};
use super::certificate;
use super::monitor::ListenerMonitor;
use super::rejection::{Rejection, ResponseFormat};
use super::reloading_file::{Reloadable, ReloadingFile};
use super::tls::{self, Tls};

/// Who may connect and ask. Clones share the files that they follow.
#[derive(Clone, Default)]
pub struct Security {
    tls: Option<Arc<ReloadingFile<Tls>>>,
    requires_client_certificate: bool,
    /// Names of which a client's certificate needs one; none is any.
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
    /// Reads the files, and follows them.
    ///
    /// # Errors
    /// The files that cannot be used.
    pub fn open(files: SecurityConfig) -> Result<Self, Vec<String>> {
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

    /// What of it holds on an address: without TLS there are no certificates.
    #[must_use]
    pub fn for_address(&self, address: &Address) -> Self {
        if address.is_https() {
            return self.clone();
        }
        Self { authentication: self.authentication.clone(), ..Self::default() }
    }

    /// How callers are told apart, in words.
    pub fn methods(&self) -> Vec<&'static str> {
        self.requires_client_certificate
            .then_some("client certificate")
            .into_iter()
            .chain(self.authentication.methods())
            .collect()
    }

    /// The files that are followed.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        let tls = self.tls.clone().map(|tls| tls as Arc<dyn Reloadable>);
        tls.into_iter().chain(self.authentication.files()).collect()
    }
}

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Requests at a time.
    pub max_concurrent_requests: usize,
    /// From a request's head to its answer.
    pub request_timeout: Duration,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { max_concurrent_requests: 4_096, request_timeout: Duration::from_secs(30) }
    }
}

/// Paths that are not like others.
#[derive(Debug, Clone, Copy)]
pub struct SpecialPaths {
    /// Open to all.
    pub unauthenticated: &'static [&'static str],
    /// What gRPC's paths begin with, or nothing.
    pub grpc_prefix: &'static str,
}

/// The door of one or several listeners.
pub struct Admission {
    security: Security,
    paths: SpecialPaths,
    pub admission_limits: AdmissionLimits,
    in_flight: Arc<AtomicUsize>,
    pub monitor: Arc<ListenerMonitor>,
}

/// Who is at the other end of a connection, by a verified certificate.
#[derive(Debug)]
pub struct Peer {
    names: Vec<String>,
    caller: Option<Caller>,
}

/// The place of a request that is being answered.
#[derive(Debug)]
pub struct InFlightGuard<'d>(&'d AtomicUsize);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub fn new(
        security: Security,
        paths: SpecialPaths,
        admission_limits: AdmissionLimits,
        monitor: Arc<ListenerMonitor>,
    ) -> Self {
        Self { security, paths, admission_limits, in_flight: Arc::default(), monitor }
    }

    /// The same door for a listener with other callers: both count their requests as one.
    #[must_use]
    pub fn for_listener(&self, security: Security) -> Self {
        let (in_flight, monitor) = (Arc::clone(&self.in_flight), Arc::clone(&self.monitor));
        Self { security, in_flight, monitor, ..*self }
    }

    /// What handshakes need now, if there are any.
    pub fn tls(&self) -> Option<Guard<Arc<Tls>>> {
        self.security.tls.as_ref().map(|tls| tls.current())
    }

    /// Who is at the other end, by the certificates that were verified.
    pub fn peer(&self, certificates: Option<&[CertificateDer<'_>]>) -> Option<Peer> {
        let names = certificates?.first().map(certificate::subject_names)?;
        let allowed = |name: &&String| {
            self.security.allowed_client_names.is_empty() || self.security.allowed_client_names.contains(name)
        };
        let caller = names.iter().find(allowed).map(|name| Caller(name.as_str().into()));
        Some(Peer { names, caller })
    }

    /// The form of a refusal of this request.
    pub fn response_format<B>(&self, request: &Request<B>) -> ResponseFormat {
        ResponseFormat::for_request(request.uri().path(), request.headers(), self.paths.grpc_prefix)
    }

    /// Lets a request in, with the name of its caller, for as long as its place is held.
    ///
    /// # Errors
    /// It has to stay outside.
    pub fn admit<B>(
        &self,
        request: &mut Request<B>,
        peer: Option<&Peer>,
    ) -> Result<InFlightGuard<'_>, Rejection> {
        let caller = match self.caller(request, peer) {
            Err(_) if self.paths.unauthenticated.contains(&request.uri().path()) => None,
            caller => caller?,
        };
        let guard = self.enter()?;
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        Ok(guard)
    }

    fn caller<B>(&self, request: &Request<B>, peer: Option<&Peer>) -> Result<Option<Caller>, Rejection> {
        let of_certificate = match peer {
            Some(Peer { names, caller: None }) if !self.security.allowed_client_names.is_empty() => {
                return Err(Rejection::Forbidden(names.clone()));
            }
            Some(peer) => peer.caller.clone(),
            None => None,
        };
        if !self.security.authentication.is_required() {
            return Ok(of_certificate);
        }
        self.security.authentication.caller(request.headers()).map(Some).map_err(Rejection::Unauthenticated)
    }

    fn enter(&self) -> Result<InFlightGuard<'_>, Rejection> {
        let guard = InFlightGuard(&self.in_flight);
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.admission_limits.max_concurrent_requests {
            return Err(Rejection::Overload);
        }
        Ok(guard)
    }
}
