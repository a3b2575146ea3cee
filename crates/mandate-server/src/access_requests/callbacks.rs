//! Where callers may be called back, and how a call is signed. The operator names the hosts; addresses of the own network
//! are reached only where it says so. When calls are made is in `deliver`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use mandate_client::{Client, ClientError, ClientSettings, is_public};

use crate::listen::error::{FileError, FileErrors};
use crate::listen::reloading_file::{FileBytes, FileContent, Reloadable, ReloadingFile};

/// How long one call may take, and how long the name of a host may take to be found.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const NAME_TIMEOUT: Duration = Duration::from_secs(3);

/// The shortest key, in bytes.
const MIN_KEY_BYTES: usize = 32;

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;

const SIGNATURE: HeaderName = HeaderName::from_static("mandate-signature");

/// A host that may be called back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackHost {
    /// Whether its address may be one of the own network.
    is_internal: bool,
    is_http: bool,
    host: String,
    /// `None`: the usual port of its scheme.
    port: Option<u16>,
}

/// Why a text names no host to call back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackHostError {
    #[error("has to be a host such as `pep.example.com`, `pep.example.com:8443` or `internal:pep.local`")]
    NotHost,
    #[error("`http` is only for the own network: write `internal:http://{0}`")]
    HttpOutside(String),
}

/// The hosts that may be called back, and the key that signs the calls.
pub struct Callbacks {
    hosts: Vec<CallbackHost>,
    key: Arc<ReloadingFile<CallbackKey>>,
    outside: Client,
    inside: Client,
}

/// The secret that the operator shares with those who are called back.
struct CallbackKey(aws_lc_rs::hmac::Key);

/// Why nobody is called back there.
#[derive(Debug, thiserror::Error)]
pub enum CallbackFault {
    #[error("has to be an `https` URL of at most {MAX_URL_BYTES} bytes")]
    NotUrl,
    #[error("the operator has to allow this host with `--callback-hosts`")]
    NotAllowed,
    #[error("the host has no address that can be found")]
    NotFound,
    #[error("the host is in the own network, which the operator has not allowed")]
    Internal,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl FileContent for CallbackKey {
    const LABEL: &'static str = "key of callbacks";
}

impl CallbackKey {
    fn parse(file: &FileBytes<'_>) -> Result<Self, FileErrors> {
        let secret = file.bytes.trim_ascii();
        if secret.len() < MIN_KEY_BYTES {
            return Err(
                FileError::ShortSecret { path: file.path.to_owned(), min_length: MIN_KEY_BYTES }.into()
            );
        }
        Ok(Self(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret)))
    }
}

/// Why nobody can be called back at all.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum CallbackSetupError {
    Key(#[from] FileErrors),
    Client(#[from] ClientError),
}

impl Callbacks {
    /// `ca` has certificates of further authorities.
    ///
    /// # Errors
    /// A file cannot be read, or TLS cannot be set up.
    pub fn open(
        hosts: Vec<CallbackHost>,
        key: PathBuf,
        ca: Option<&Path>,
    ) -> Result<Self, CallbackSetupError> {
        let client = |allowed_hosts| {
            let ca_file = ca.map(ToOwned::to_owned);
            let timeout = CALL_TIMEOUT;
            Client::new(ClientSettings { allowed_hosts, ca_file, timeout, ..ClientSettings::default() })
        };
        let internal = hosts.iter().filter(|host| host.is_internal).map(|host| host.host.clone()).collect();
        let key = ReloadingFile::open([key], |[file]| CallbackKey::parse(file))?;
        Ok(Self { key, outside: client(Vec::new())?, inside: client(internal)?, hosts })
    }

    /// The file that is reloaded.
    pub fn files(&self) -> Vec<Arc<dyn Reloadable>> {
        vec![Arc::clone(&self.key) as Arc<dyn Reloadable>]
    }

    /// Checks that a URL may be called back.
    ///
    /// # Errors
    /// It may not.
    pub async fn check(&self, url: &str) -> Result<(), CallbackFault> {
        let (uri, allowed) = self.allowed(url)?;
        let client = if allowed.is_internal { &self.inside } else { &self.outside };
        client.check_url(&uri)?;
        if allowed.is_internal {
            return Ok(());
        }
        let found = tokio::net::lookup_host((allowed.host.as_str(), 443));
        let found = tokio::time::timeout(NAME_TIMEOUT, found).await;
        let mut found = found.ok().and_then(Result::ok).ok_or(CallbackFault::NotFound)?;
        if found.any(|address| is_public(address.ip())) { Ok(()) } else { Err(CallbackFault::Internal) }
    }

    /// Calls a URL. The time is that of the signature, in seconds since 1970.
    ///
    /// # Errors
    /// It was not taken there.
    pub async fn call(&self, url: &str, body: String, time: i64) -> Result<(), CallbackFault> {
        let (uri, allowed) = self.allowed(url)?;
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "mandate")
            .header(SIGNATURE, self.signature(&body, time))
            .body(Bytes::from(body));
        let request = request.map_err(|_| CallbackFault::NotUrl)?;
        let client = if allowed.is_internal { &self.inside } else { &self.outside };
        let answer = client.send(request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(CallbackFault::Refused(answer.status())) }
    }

    /// The value of `Mandate-Signature`: the time, and the HMAC of it and the body.
    fn signature(&self, body: &str, time: i64) -> String {
        let signed = format!("{time}.{body}");
        let tag = aws_lc_rs::hmac::sign(&self.key.current().0, signed.as_bytes());
        format!("t={time},v1={}", HEXLOWER.encode(tag.as_ref()))
    }

    fn allowed(&self, url: &str) -> Result<(Uri, &CallbackHost), CallbackFault> {
        let uri: Uri = url.parse().map_err(|_| CallbackFault::NotUrl)?;
        if url.len() > MAX_URL_BYTES || url.contains(['#', '@']) {
            return Err(CallbackFault::NotUrl);
        }
        let is_http = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            Some(_) | None => return Err(CallbackFault::NotUrl),
        };
        let (host, port) = (uri.host().ok_or(CallbackFault::NotUrl)?, uri.port_u16());
        let fits = |allowed: &&CallbackHost| {
            let usual = if is_http { 80 } else { 443 };
            allowed.is_http == is_http
                && allowed.host.eq_ignore_ascii_case(host.trim_matches(['[', ']']))
                && allowed.port.unwrap_or(usual) == port.unwrap_or(usual)
        };
        let allowed = self.hosts.iter().find(fits).ok_or(CallbackFault::NotAllowed)?;
        Ok((uri, allowed))
    }
}

impl CallbackFault {
    /// Whether it makes no sense to try again.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotUrl | Self::Refused(StatusCode::GONE) => true,
            // The operator may allow it again.
            Self::NotAllowed | Self::NotFound | Self::Internal | Self::Client(_) | Self::Refused(_) => false,
        }
    }
}

impl FromStr for CallbackHost {
    type Err = CallbackHostError;

    fn from_str(text: &str) -> Result<Self, CallbackHostError> {
        let (is_internal, rest) = text.strip_prefix("internal:").map_or((false, text), |rest| (true, rest));
        let (is_http, authority) = rest.strip_prefix("http://").map_or((false, rest), |rest| (true, rest));
        if is_http && !is_internal {
            return Err(CallbackHostError::HttpOutside(authority.to_owned()));
        }
        let plain = authority.trim_start_matches('[').replacen(']', "", 1);
        if let Ok(address) = plain.parse::<IpAddr>() {
            return Ok(Self { is_internal, is_http, host: address.to_string(), port: None });
        }
        let parsed: hyper::http::uri::Authority =
            authority.parse().map_err(|_| CallbackHostError::NotHost)?;
        let host = parsed.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || authority.contains('@') {
            return Err(CallbackHostError::NotHost);
        }
        Ok(Self { is_internal, is_http, host, port: parsed.port_u16() })
    }
}

#[cfg(test)]
mod tests {
    use super::{CallbackHost, CallbackHostError, Callbacks};

    fn callbacks(hosts: &[&str]) -> (tempfile::NamedTempFile, Callbacks) {
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let callbacks = Callbacks::open(hosts, key.path().to_owned(), None).unwrap();
        (key, callbacks)
    }

    #[test]
    fn only_hosts_that_are_named_are_called() {
        let names =
            ["pep.example.com", "other.example.com:8443", "internal:http://127.0.0.1:9000", "internal:[::1]"];
        let (_key, callbacks) = callbacks(&names);
        for url in [
            "https://pep.example.com/x?y",
            "https://PEP.example.com:443/x",
            "https://other.example.com:8443/",
            "http://127.0.0.1:9000/x",
            "https://[::1]/x",
        ] {
            assert!(callbacks.allowed(url).is_ok(), "{url}");
        }
        for url in [
            "http://pep.example.com/x",
            "https://pep.example.com:8443/",
            "https://pep.example.com.evil.example/",
            "https://evil.example/?pep.example.com",
            "https://pep.example.com@evil.example/",
            "https://other.example.com/",
            "https://127.0.0.1:9000/x",
            "http://127.0.0.1/",
            "http://127.1:9000/",
            "ftp://pep.example.com/",
            "//pep.example.com/",
            "pep.example.com",
            "",
        ] {
            assert!(callbacks.allowed(url).is_err(), "{url}");
        }
    }

    #[test]
    fn names_of_hosts() {
        let parse = |text: &str| text.parse::<CallbackHost>();
        assert_eq!(parse("http://pep"), Err(CallbackHostError::HttpOutside("pep".to_owned())));
        for wrong in ["", "internal:", "a@b", "https://pep", "pep/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_is_signed_with_its_time() {
        let (_key, callbacks) = callbacks(&[]);
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let tag = "417adf36b901772f658597a76d329694e335e65fc0849d7715c3ca33406309b5";
        let signature = callbacks.signature("{}", 1_700_000_000);
        assert_eq!(signature, format!("t=1700000000,v1={tag}"));
        assert_ne!(signature, callbacks.signature("{ }", 1_700_000_000));
        assert_ne!(signature, callbacks.signature("{}", 1_700_000_001));
    }

    #[test]
    fn a_short_key_is_refused() {
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "too short").unwrap();
        let error = Callbacks::open(Vec::new(), key.path().to_owned(), None).err().unwrap().to_string();
        assert!(error.contains("at least 32"), "{error}");
    }
}
