//! What all pages share: the decision point, the queue of changes, sessions and keys.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use mandate_client::is_this_machine;
use mandate_pdp::{CommitQueue, Pdp};
use tokio::sync::Semaphore;

use crate::secret::Seal;
use crate::session::{LONGEST, Sessions};
use crate::sign_in::SignIn;

/// What the pages need.
pub struct PagesConfig {
    pub pdp: Pdp,
    pub commits: CommitQueue,
    /// The base URL, without a slash at the end; see [`check_url`].
    pub url: String,
    pub sign_in: SignIn,
    /// How long a change may take.
    pub wait: Duration,
}

/// Why pages cannot have a base URL.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("has to be a URL without a path, such as `https://consent.example.com`")]
    Malformed,
    #[error("has to begin with `https`: `http` is only for this machine, such as `http://localhost:8080`")]
    NotHttps,
    #[error("the demo sign-in is only for this machine: use a URL such as `http://localhost:8080`")]
    Demo,
}

/// Checks a base URL. Links and cookies need a host of their own; without HTTPS they are only for this machine.
///
/// # Errors
/// The pages cannot have this URL with this sign-in.
pub fn check_url(url: &str, sign_in: &SignIn) -> Result<(), UrlError> {
    let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
    let authority = uri.authority().ok_or(UrlError::Malformed)?.as_str();
    if url.ends_with('/') || uri.path() != "/" || uri.query().is_some() || authority.contains('@') {
        return Err(UrlError::Malformed);
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_this_machine(authority) => {}
        Some("http") => return Err(UrlError::NotHttps),
        Some(_) | None => return Err(UrlError::Malformed),
    }
    if matches!(sign_in, SignIn::Demo) && !is_this_machine(authority) {
        return Err(UrlError::Demo);
    }
    Ok(())
}

/// What all pages share.
pub struct Pages {
    pub pdp: Pdp,
    pub commits: CommitQueue,
    pub url: String,
    pub is_https: bool,
    pub sign_in: SignIn,
    pub wait: Duration,
    pub sessions: Sessions,
    pub seal: Seal,
    /// Searches take turns, so that decisions find a free core.
    pub searches: Arc<Semaphore>,
}

impl Pages {
    pub fn new(config: PagesConfig) -> Self {
        let PagesConfig { pdp, commits, url, sign_in, wait } = config;
        let lifetime = sign_in.session_lifetime().unwrap_or(LONGEST);
        Self {
            pdp,
            commits,
            is_https: url.starts_with("https:"),
            url,
            wait,
            sessions: Sessions::new(lifetime),
            seal: Seal::new(),
            searches: Arc::new(Semaphore::new(1)),
            sign_in,
        }
    }

    pub fn is_demo(&self) -> bool {
        matches!(self.sign_in, SignIn::Demo)
    }
}
