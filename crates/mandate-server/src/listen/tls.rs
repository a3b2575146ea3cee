//! The TLS settings of a listener, from PEM files: a certificate, its key, and the CA of client certificates.
//! The files are reloaded by `reloading_file`; handshakes are done in `server`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::certificate;
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
/// The files cannot be used; the message names them.
pub fn open(
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
) -> Result<Arc<ReloadingFile<Tls>>, String> {
    let paths = [Some(certificate), Some(key), client_ca].into_iter().flatten().collect();
    ReloadingFile::open(paths, parse)
}

fn parse(files: &[FileBytes<'_>]) -> Result<Tls, String> {
    let [certificate, key, ca @ ..] = files else { return Err("there is no key".to_owned()) };
    let (chain, private) = (certificates(certificate), private_key(key));
    let clients = ca.first().map(client_verifier).transpose();
    let (chain, private, clients) = match (chain, private, clients) {
        (Ok(chain), Ok(private), Ok(clients)) => (chain, private, clients),
        (chain, private, clients) => {
            let errors = [chain.err(), private.err(), clients.err()];
            return Err(errors.into_iter().flatten().collect::<Vec<_>>().join("; "));
        }
    };
    let not_after = chain.first().map(certificate::not_after).transpose();
    let not_after = not_after.map_err(|error| format!("`{}`: {error}", certificate.path.display()))?;
    let not_after = not_after.unwrap_or_default();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, private).map_err(|error| unusable_pair(certificate, key, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), not_after })
}

fn certificates(file: &FileBytes<'_>) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = file.path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(format!("`{path}` has no certificate: it has to be PEM, with `-----BEGIN CERTIFICATE-----`"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("`{path}` is not valid PEM: {error}")),
    }
}

fn private_key(file: &FileBytes<'_>) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(file.bytes).map_err(|error| {
        let path = file.path.display();
        match error {
            rustls::pki_types::pem::Error::NoItemsFound => format!(
                "`{path}` has no private key: it has to be PEM, with `-----BEGIN PRIVATE KEY-----`, and not encrypted"
            ),
            error => format!("`{path}` is not valid PEM: {error}"),
        }
    })
}

fn client_verifier(file: &FileBytes<'_>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let unusable = |error: &dyn std::fmt::Display| {
        format!("`{}` has a certificate that cannot be used as a CA: {error}", file.path.display())
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| unusable(&error))
}

fn unusable_pair(certificate: &FileBytes<'_>, key: &FileBytes<'_>, error: &rustls::Error) -> String {
    let (certificate, key) = (certificate.path.display(), key.path.display());
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!(
                "the key `{key}` does not belong to the certificate `{certificate}`: use the key that the certificate was issued for"
            )
        }
        error => format!("the certificate `{certificate}` and the key `{key}` cannot be used: {error}"),
    }
}
