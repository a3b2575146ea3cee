//! The door of a listener: every request passes it, whatever its path, before its body is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use hyper::Request;
use rustls::pki_types::CertificateDer;

use super::address::Address;
use super::authentication::{Authentication, Caller, Jwt};
use super::board::Board;
use super::certificate;
use super::refusal::{Form, Refusal};
use super::tls::{self, Tls};
use super::watched::{Follow, Watched};

/// Who may connect and ask. Clones share the files that they follow.
#[derive(Clone, Default)]
pub struct Security {
    tls: Option<Arc<Watched<Tls>>>,
    clients: bool,
    /// Names of which a client's certificate needs one; none is any.
    names: Vec<String>,
    authentication: Authentication,
}

/// What [`Security`] is made from.
#[derive(Debug, Clone, Default)]
pub struct SecurityFiles {
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub client_ca: Option<PathBuf>,
    pub client_names: Vec<String>,
    pub tokens: Option<PathBuf>,
    pub jwt: Option<Jwt>,
}

impl Security {
    /// Reads the files, and follows them.
    ///
    /// # Errors
    /// The files that cannot be used.
    pub fn open(files: SecurityFiles) -> Result<Self, Vec<String>> {
        let clients = files.client_ca.is_some();
        let tls = files.certificate.map(|(certificate, key)| tls::open(certificate, key, files.client_ca));
        match (tls.transpose(), Authentication::open(files.tokens, files.jwt)) {
            (Ok(tls), Ok(authentication)) => {
                Ok(Self { tls, clients, names: files.client_names, authentication })
            }
            (tls, authentication) => {
                Err(tls.err().into_iter().chain(authentication.err().into_iter().flatten()).collect())
            }
        }
    }

    /// What of it holds on an address: without TLS there are no certificates.
    #[must_use]
    pub fn on(&self, address: &Address) -> Self {
        if address.is_https() {
            return self.clone();
        }
        Self { authentication: self.authentication.clone(), ..Self::default() }
    }

    /// How callers are told apart, in words.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.clients.then_some("client certificate").into_iter().chain(self.authentication.kinds()).collect()
    }

    /// The files that are followed.
    pub fn files(&self) -> Vec<Arc<dyn Follow>> {
        let tls = self.tls.clone().map(|tls| tls as Arc<dyn Follow>);
        tls.into_iter().chain(self.authentication.files()).collect()
    }
}

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Requests at a time.
    pub requests: usize,
    /// From a request's head to its answer.
    pub time: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { requests: 4_096, time: Duration::from_secs(30) }
    }
}

/// Paths that are not like others.
#[derive(Debug, Clone, Copy)]
pub struct Paths {
    /// Open to all.
    pub open: &'static [&'static str],
    /// What gRPC's paths begin with, or nothing.
    pub grpc: &'static str,
}

/// The door of one or several listeners.
pub struct Door {
    security: Security,
    paths: Paths,
    pub allowance: Allowance,
    inside: Arc<AtomicUsize>,
    pub board: Arc<Board>,
}

/// Who is at the other end of a connection, by a verified certificate.
#[derive(Debug)]
pub struct Peer {
    names: Vec<String>,
    caller: Option<Caller>,
}

/// The place of a request that is being answered.
#[derive(Debug)]
pub struct Place<'d>(&'d AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    pub fn new(security: Security, paths: Paths, allowance: Allowance, board: Arc<Board>) -> Self {
        Self { security, paths, allowance, inside: Arc::default(), board }
    }

    /// The same door for a listener with other callers: both count their requests as one.
    #[must_use]
    pub fn beside(&self, security: Security) -> Self {
        let (inside, board) = (Arc::clone(&self.inside), Arc::clone(&self.board));
        Self { security, inside, board, ..*self }
    }

    /// What handshakes need now, if there are any.
    pub fn tls(&self) -> Option<Guard<Arc<Tls>>> {
        self.security.tls.as_ref().map(|tls| tls.current())
    }

    /// Who is at the other end, by the certificates that were verified.
    pub fn peer(&self, certificates: Option<&[CertificateDer<'_>]>) -> Option<Peer> {
        let names = certificates?.first().map(certificate::names)?;
        let allowed = |name: &&String| self.security.names.is_empty() || self.security.names.contains(name);
        let caller = names.iter().find(allowed).map(|name| Caller(name.as_str().into()));
        Some(Peer { names, caller })
    }

    /// The form of a refusal of this request.
    pub fn form<B>(&self, request: &Request<B>) -> Form {
        Form::of(request.uri().path(), request.headers(), self.paths.grpc)
    }

    /// Lets a request in, with the name of its caller, for as long as its place is held.
    ///
    /// # Errors
    /// It has to stay outside.
    pub fn admit<B>(&self, request: &mut Request<B>, peer: Option<&Peer>) -> Result<Place<'_>, Refusal> {
        let caller = match self.caller(request, peer) {
            Err(_) if self.paths.open.contains(&request.uri().path()) => None,
            caller => caller?,
        };
        let place = self.place()?;
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        Ok(place)
    }

    fn caller<B>(&self, request: &Request<B>, peer: Option<&Peer>) -> Result<Option<Caller>, Refusal> {
        let of_certificate = match peer {
            Some(Peer { names, caller: None }) if !self.security.names.is_empty() => {
                return Err(Refusal::Forbidden(names.clone()));
            }
            Some(peer) => peer.caller.clone(),
            None => None,
        };
        if !self.security.authentication.is_required() {
            return Ok(of_certificate);
        }
        self.security.authentication.caller(request.headers()).map(Some).map_err(Refusal::Unauthenticated)
    }

    fn place(&self) -> Result<Place<'_>, Refusal> {
        let place = Place(&self.inside);
        if self.inside.fetch_add(1, Ordering::Relaxed) >= self.allowance.requests {
            return Err(Refusal::Overload);
        }
        Ok(place)
    }
}
