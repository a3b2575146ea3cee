//! How people sign in: by an identity provider (OpenID Connect), by an ID token that a gateway in front sends, or for
//! trying things out. All of it is about what a file says and what an ID token says; pages and sessions are not known
//! here. Start reading at `open_id` or `gateway`; `file` reads the file.

pub mod claims;
pub mod failure;
mod file;
pub mod gateway;
mod id_token;
mod key_set;
pub mod open_id;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use file::SignInError;
use file::SignInFile;

/// How people sign in.
#[derive(Clone)]
pub enum SignIn {
    /// Everybody acts as anybody, on this machine.
    Demo,
    OpenIdConnect(Arc<open_id::OpenIdConnect>),
    /// A gateway in front signs people in, and sends their ID token.
    Gateway(Arc<gateway::Gateway>),
}

impl SignIn {
    /// Reads the file that says how people sign in. The identity provider is asked only when somebody does.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, SignInError> {
        Ok(match file::read(path)? {
            SignInFile::OpenId(settings) => {
                Self::OpenIdConnect(Arc::new(open_id::OpenIdConnect::new(settings)))
            }
            SignInFile::Gateway(settings) => Self::Gateway(Arc::new(gateway::Gateway::new(settings))),
        })
    }

    /// What the pages are called.
    pub fn title(&self) -> Option<&str> {
        match self {
            Self::Demo => None,
            Self::OpenIdConnect(provider) => provider.title(),
            Self::Gateway(gateway) => gateway.title(),
        }
    }

    /// How long somebody stays signed in, if the operator says so.
    pub fn session_lifetime(&self) -> Option<Duration> {
        match self {
            Self::OpenIdConnect(provider) => provider.session_lifetime(),
            Self::Demo | Self::Gateway(_) => None,
        }
    }
}
