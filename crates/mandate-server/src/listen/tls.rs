//! The TLS settings of a listener, from PEM files: a certificate, its key, and the CA of client certificates.
//! The files are reloaded by `reloading_file`; handshakes are done in `server`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::certificate;
use super::error::{CaError, FileError, FileErrors};
use super::reloading_file::{FileBytes, FileContent, ReloadingFile};

/// The settings for handshakes.
pub struct Tls {
    pub acceptor: TlsAcceptor,
    not_after: i64,
}

impl FileContent for Tls {
    const LABEL: &'static str = "certificate";

    fn expires(&self) -> Option<i64> {
        Some(self.not_after)
    }
}

/// Reads a certificate, its key and the CA of clients. Later changes are reloaded.
///
/// # Errors
/// The files cannot be used.
pub fn open(
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
) -> Result<Arc<ReloadingFile<Tls>>, FileErrors> {
    match client_ca {
        Some(ca) => ReloadingFile::open([certificate, key, ca], |[certificate, key, ca]| {
            parse(certificate, key, Some(ca))
        }),
        None => ReloadingFile::open([certificate, key], |[certificate, key]| parse(certificate, key, None)),
    }
}

fn parse(
    certificate: &FileBytes<'_>,
    key: &FileBytes<'_>,
    client_ca: Option<&FileBytes<'_>>,
) -> Result<Tls, FileErrors> {
    let (chain, private) = (certificates(certificate), private_key(key));
    let clients = client_ca.map(client_verifier).transpose();
    let (chain, private, clients) = match (chain, private, clients) {
        (Ok(chain), Ok(private), Ok(clients)) => (chain, private, clients),
        (chain, private, clients) => {
            let errors = [chain.err(), private.err(), clients.err()];
            return Err(FileErrors(errors.into_iter().flatten().collect()));
        }
    };
    let not_after = chain.first().map(certificate::not_after).transpose();
    let not_after =
        not_after.map_err(|error| FileError::Certificate { path: certificate.path.to_owned(), error })?;
    let config = server_config(chain, private, clients).map_err(|error| {
        let (certificate, key) = (certificate.path.to_owned(), key.path.to_owned());
        match error {
            rustls::Error::InconsistentKeys(_) => FileError::KeyOfOtherCertificate { certificate, key },
            error => FileError::UnusableKeyPair { certificate, key, error },
        }
    })?;
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), not_after: not_after.unwrap_or_default() })
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &FileBytes<'_>) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let path = file.path.to_owned();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(FileError::NoCertificate { path }),
        Ok(found) => Ok(found),
        Err(error) => Err(FileError::NotPem { path, error }),
    }
}

fn private_key(file: &FileBytes<'_>) -> Result<PrivateKeyDer<'static>, FileError> {
    let path = file.path.to_owned();
    PrivateKeyDer::from_pem_slice(file.bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => FileError::NoPrivateKey { path },
        error => FileError::NotPem { path, error },
    })
}

fn client_verifier(file: &FileBytes<'_>) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let unusable = |error: CaError| FileError::UnusableCa { path: file.path.to_owned(), error };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(error.into()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| unusable(error.into()))
}
