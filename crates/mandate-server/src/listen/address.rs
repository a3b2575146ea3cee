//! Addresses to listen on, and the protocol of each: HTTP, HTTPS or a unix socket. Sockets are bound in
//! `socket`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Http(SocketAddr),
    /// HTTP over TLS.
    Https(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A text that is not an address.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a valid address: use for example `127.0.0.1:8181`, `https://0.0.0.0:8443` or `unix:/run/mandate.sock`"
)]
pub struct AddressError(String);

impl Address {
    /// The address on loopback that is the default.
    pub fn loopback(port: u16) -> Self {
        Self::Http(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Http(address) | Self::Https(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    pub fn is_https(&self) -> bool {
        matches!(self, Self::Https(_))
    }

    /// Whether two listeners cannot use both addresses.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Http(a) | Self::Https(a), Self::Http(b) | Self::Https(b)) => a == b && a.port() != 0,
            (Self::Unix(_), Self::Http(_) | Self::Https(_))
            | (Self::Http(_) | Self::Https(_), Self::Unix(_)) => false,
        }
    }

    /// The same address with the port that the system chose.
    #[must_use]
    pub fn with_bound_address(&self, address: SocketAddr) -> Self {
        match self {
            Self::Http(_) => Self::Http(address),
            Self::Https(_) => Self::Https(address),
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let error = || AddressError(text.to_owned());
        let socket = |text: &str| text.strip_suffix('/').unwrap_or(text).parse().map_err(|_| error());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            return if path.is_empty() { Err(error()) } else { Ok(Self::Unix(path.into())) };
        }
        if let Some(address) = text.strip_prefix("https://") {
            return socket(address).map(Self::Https);
        }
        socket(text.strip_prefix("http://").unwrap_or(text)).map(Self::Http)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => write!(f, "http://{address}"),
            Self::Https(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, shown: &str, local: bool) {
        let address: Address = text.parse().unwrap();
        assert_eq!((address.to_string().as_str(), address.is_local()), (shown, local));
    }

    #[test]
    fn forms() {
        reads("127.0.0.1:8181", "http://127.0.0.1:8181", true);
        reads("http://127.9.9.9:80/", "http://127.9.9.9:80", true);
        reads("https://0.0.0.0:8443", "https://0.0.0.0:8443", false);
        reads("[::1]:1", "http://[::1]:1", true);
        reads("[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1", true);
        reads("https://[::]:1", "https://[::]:1", false);
        reads(" unix:/run/a.sock", "unix:/run/a.sock", true);
        reads("unix:///run/a.sock", "unix:/run/a.sock", true);
        for wrong in ["", "unix:", "localhost:1", "ftp://127.0.0.1:1", "127.0.0.1", "https://:1", "/run/a"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn collisions() {
        let collide = |a: &str, b: &str| a.parse::<Address>().unwrap().conflicts_with(&b.parse().unwrap());
        assert!(collide("127.0.0.1:1", "https://127.0.0.1:1"));
        assert!(collide("unix:/a", "unix:/a"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
    }
}
