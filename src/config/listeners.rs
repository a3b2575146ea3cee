//! Options of listeners: addresses, TLS, and how callers authenticate. Flags and the top-level keys of the
//! file describe the listeners of `listen`; each `[[listener]]` and `[admin]` has keys of its own. The
//! listeners themselves are in `cli/serve/listeners.rs`.

use std::path::PathBuf;

use serde::Deserialize;

use super::options::options;
use super::values::{FileMode, non_empty_names};
use mandate_server::listen::address::{Address, AddressError};
use mandate_server::listen::admission::{Security, SecurityConfig};
use mandate_server::listen::authentication::JwtConfig;
use mandate_server::listen::error::FileErrors;

options! {
    /// Who may connect to a listener, and how callers authenticate.
    pub struct ListenerOptions {
        /// Certificate chain of the `https` listeners, leaf first, without the root (PEM)
        #[arg(long, env = "MANDATE_TLS_CERT", value_name = "FILE")]
        pub tls_cert: Option<PathBuf>,
        /// Private key of the certificate, not encrypted (PEM)
        #[arg(long, env = "MANDATE_TLS_KEY", value_name = "FILE")]
        pub tls_key: Option<PathBuf>,
        /// CA certificates for mutual TLS: clients must present a certificate issued by one of them (PEM)
        #[arg(long, env = "MANDATE_TLS_CLIENT_CA", value_name = "FILE")]
        pub tls_client_ca: Option<PathBuf>,
        /// Accept only client certificates with one of these names, comma-separated: a URI or DNS name among
        /// the subject alternative names, or the common name if there are no such names of any kind [default:
        /// any]
        #[arg(long, env = "MANDATE_TLS_CLIENT_NAMES", value_name = "NAMES", value_delimiter = ',')]
        pub tls_client_names: Option<Vec<String>>,
        /// Accept the bearer tokens of this file: on each line a caller's name and a token, or a name and
        /// `sha256:` with the token's digest
        #[arg(long, env = "MANDATE_TOKENS", value_name = "FILE")]
        pub tokens: Option<PathBuf>,
        /// Accept JWTs whose `iss` is this
        #[arg(long, env = "MANDATE_JWT_ISSUER", value_name = "ISS")]
        pub jwt_issuer: Option<String>,
        /// Accept JWTs whose `aud` is or contains this
        #[arg(long, env = "MANDATE_JWT_AUDIENCE", value_name = "AUD")]
        pub jwt_audience: Option<String>,
        /// Verify JWTs with the public keys of this file (JWKS)
        #[arg(long, env = "MANDATE_JWT_JWKS", value_name = "FILE")]
        pub jwt_jwks: Option<PathBuf>,
        /// Allow addresses that other machines can reach without TLS or without authentication; applies to
        /// --listen and --admin-listen
        #[arg(long, env = "MANDATE_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub insecure: Option<bool>,
        /// Set the permissions of unix sockets, in octal digits [default: 660]
        #[arg(long, env = "MANDATE_SOCKET_MODE", value_name = "MODE")]
        pub socket_mode: Option<FileMode>,
    }
}

/// One address, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "has to be an address or an array of addresses")]
pub enum Addresses {
    One(String),
    Several(Vec<String>),
}

/// A table `[[listener]]` or `[admin]`.
#[derive(Debug, Clone, Default)]
pub struct ListenerTable {
    pub address: Option<Addresses>,
    pub options: ListenerOptions,
}

/// What is wrong with the listeners that are asked for.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("a `[[listener]]` has no `address`")]
    NoAddress,
    #[error("two listeners have the same address, {0}")]
    SameAddress(Address),
    #[error("`admin-listen` and the `address` of `[admin]` are the same option: use one")]
    TwoAdminAddresses,
    #[error("the admin listener takes exactly one address")]
    SeveralAdminAddresses,
    #[error("`health-listen` has no TLS: use `http://` or `unix:`, found `{0}`")]
    HealthOverTls(Address),
    #[error(
        "the pages at `{0}` can be reached from other machines, and have no TLS: use `https://` with `tls-cert` and `tls-key`, or accept the risk with `--insecure`"
    )]
    PagesWithoutTls(Address),
    #[error("`{given}` needs `{missing}`")]
    HalfCertificate { given: &'static str, missing: &'static str },
    #[error("`{0}` needs `tls-cert` and `tls-key`")]
    NoCertificate(Address),
    #[error("`tls-cert` is set, but no address begins with `https://`: use one that does")]
    UnusedCertificate,
    #[error("`tls-client-ca` needs `tls-cert` and `tls-key`")]
    ClientCaWithoutCertificate,
    #[error("`tls-client-names` needs `tls-client-ca`")]
    NamesWithoutClientCa,
    #[error("`tls-client-names` is empty: list names, or remove it to accept any")]
    NoClientNames,
    #[error("set all three of `jwt-issuer`, `jwt-audience` and `jwt-jwks`, or none")]
    PartialJwt,
    #[error(
        "`{address}` can be reached from other machines, and {problem}; or listen on a loopback address, or accept the risk with `--insecure` (in the file: `insecure = true`)"
    )]
    Exposed { address: Address, problem: &'static str },
    #[error(transparent)]
    Files(#[from] FileErrors),
}

/// Listeners with the same options.
pub struct ListenerConfig {
    pub addresses: Vec<Address>,
    pub socket_mode: u32,
    pub security: Security,
}

/// The listeners of `mandate serve`.
pub struct ListenerConfigs {
    pub decisions: Vec<ListenerConfig>,
    pub admin: ListenerConfig,
    /// Shows only whether the program is alive and ready, so everybody may reach it.
    pub health: Option<ListenerConfig>,
    /// People sign in on the pages themselves.
    pub pages: Option<ListenerConfig>,
}

/// All that flags, environment and file say about listeners.
pub struct ListenerSettings {
    /// `--pages-listen`, its environment variable, or `pages-listen` of the file.
    pub pages_listen: Option<Address>,
    /// `--listen`, `--admin-listen` and `--health-listen`, or their environment variables.
    pub listen_flag: Option<Vec<Address>>,
    pub admin_listen_flag: Option<Address>,
    pub health_listen_flag: Option<Address>,
    /// The options of the listeners of `listen`, flags before the file.
    pub options: ListenerOptions,
    /// `listen`, `admin-listen`, `health-listen` and the tables of the file.
    pub listen: Option<Addresses>,
    pub admin_listen: Option<String>,
    pub health_listen: Option<String>,
    pub tables: Vec<ListenerTable>,
    pub admin: Option<ListenerTable>,
}

type Errors = Vec<ListenerError>;

impl Addresses {
    fn parse(&self, errors: &mut Errors) -> Vec<Address> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts.as_slice(),
        };
        let (mut addresses, mut wrong) = (Vec::new(), Vec::new());
        for text in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(error) => wrong.push(ListenerError::Address(error)),
            }
        }
        errors.extend(wrong);
        addresses
    }
}

impl ListenerOptions {
    /// Reads the files of these options, for listeners on these addresses.
    fn open(self, addresses: Vec<Address>, errors: &mut Errors) -> ListenerConfig {
        let socket_mode = self.socket_mode.unwrap_or(FileMode::SOCKET).get();
        let insecure = self.insecure.unwrap_or(false);
        let before = errors.len();
        let files = self.files(&addresses, errors);
        let security = if errors.len() == before { Security::open(files) } else { Ok(Security::default()) };
        let security = security.unwrap_or_else(|unusable| {
            errors.extend(unusable.into_iter().map(ListenerError::Files));
            Security::default()
        });
        if errors.len() == before && !insecure {
            errors.extend(addresses.iter().filter_map(|address| exposure_error(address, &security)));
        }
        ListenerConfig { addresses, socket_mode, security }
    }

    fn files(self, addresses: &[Address], errors: &mut Errors) -> SecurityConfig {
        let is_half = self.tls_cert.is_some() != self.tls_key.is_some();
        if is_half {
            let (given, missing) =
                if self.tls_cert.is_some() { ("tls-cert", "tls-key") } else { ("tls-key", "tls-cert") };
            errors.push(ListenerError::HalfCertificate { given, missing });
        }
        let certificate = self.tls_cert.zip(self.tls_key);
        match (addresses.iter().find(|address| address.is_https()), &certificate) {
            (Some(address), None) if !is_half => errors.push(ListenerError::NoCertificate(address.clone())),
            (None, Some(_)) => errors.push(ListenerError::UnusedCertificate),
            (Some(_) | None, _) => {}
        }
        if self.tls_client_ca.is_some() && certificate.is_none() && !is_half {
            errors.push(ListenerError::ClientCaWithoutCertificate);
        }
        if self.tls_client_names.is_some() && self.tls_client_ca.is_none() {
            errors.push(ListenerError::NamesWithoutClientCa);
        }
        let jwt = match (self.jwt_issuer, self.jwt_audience, self.jwt_jwks) {
            (Some(issuer), Some(audience), Some(jwks)) => Some(JwtConfig { issuer, audience, jwks }),
            (None, None, None) => None,
            _ => {
                errors.push(ListenerError::PartialJwt);
                None
            }
        };
        let restricts_names = self.tls_client_names.is_some();
        let client_names = non_empty_names(self.tls_client_names);
        if restricts_names && client_names.is_empty() {
            errors.push(ListenerError::NoClientNames);
        }
        SecurityConfig { certificate, client_ca: self.tls_client_ca, client_names, tokens: self.tokens, jwt }
    }
}

impl ListenerSettings {
    /// The listeners of decisions, of operators and of health probes.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(self) -> Result<ListenerConfigs, Vec<ListenerError>> {
        let mut errors = Vec::new();
        let health = self.open_health_listener(&mut errors);
        let pages = self.open_pages_listener(&mut errors);
        let admin = self.admin.clone().unwrap_or_default();
        if self.admin_listen.is_some() && admin.address.is_some() {
            errors.push(ListenerError::TwoAdminAddresses);
        }
        let in_file = self.admin_listen.clone().map(Addresses::One).or(admin.address);
        let in_file = in_file.map_or_else(|| vec![Address::loopback(8182)], |it| it.parse(&mut errors));
        let addresses = self.admin_listen_flag.clone().map_or(in_file, |address| vec![address]);
        if addresses.len() > 1 {
            errors.push(ListenerError::SeveralAdminAddresses);
        }
        // Unlike the other options, `insecure` also applies to the admin listener.
        let insecure = admin.options.insecure.or(self.options.insecure);
        let mut decisions = Vec::new();
        self.open_decision_listeners(&mut decisions, &mut errors);
        let admin = ListenerOptions { insecure, ..admin.options }.open(addresses, &mut errors);
        let all = decisions
            .iter()
            .chain([&admin])
            .chain(&health)
            .chain(&pages)
            .flat_map(|config| &config.addresses);
        find_conflicts(&all.collect::<Vec<_>>(), &mut errors);
        if errors.is_empty() { Ok(ListenerConfigs { decisions, admin, health, pages }) } else { Err(errors) }
    }

    fn open_health_listener(&self, errors: &mut Errors) -> Option<ListenerConfig> {
        let in_file = self.health_listen.clone().map(|text| Addresses::One(text).parse(errors));
        let addresses = self.health_listen_flag.clone().map(|address| vec![address]).or(in_file)?;
        if let Some(address) = addresses.iter().find(|address| address.is_https()) {
            errors.push(ListenerError::HealthOverTls(address.clone()));
            return None;
        }
        // It may be reached from other machines, because it shows nothing but its state of health.
        let options = ListenerOptions { insecure: Some(true), ..ListenerOptions::default() };
        Some(options.open(addresses, errors))
    }

    fn open_pages_listener(&self, errors: &mut Errors) -> Option<ListenerConfig> {
        let address = self.pages_listen.clone()?;
        let insecure = self.options.insecure.unwrap_or(false);
        if !address.is_local() && !address.is_https() && !insecure {
            errors.push(ListenerError::PagesWithoutTls(address.clone()));
        }
        // People sign in on the pages, so callers need no credentials.
        let mut options = ListenerOptions { insecure: Some(true), ..ListenerOptions::default() };
        if address.is_https() {
            options.tls_cert.clone_from(&self.options.tls_cert);
            options.tls_key.clone_from(&self.options.tls_key);
        }
        Some(options.open(vec![address], errors))
    }

    fn open_decision_listeners(mut self, configs: &mut Vec<ListenerConfig>, errors: &mut Errors) {
        let listen = self.listen.map(|listen| listen.parse(errors));
        // `--listen` replaces every listener of the configuration file.
        let (addresses, tables) = match (self.listen_flag, listen) {
            (Some(listen_flag), _) => (listen_flag, Vec::new()),
            (None, Some(listen)) => (listen, self.tables),
            (None, None) if self.tables.is_empty() => (vec![Address::loopback(8181)], Vec::new()),
            (None, None) => (Vec::new(), self.tables),
        };
        // The pages may be the only ones that use the certificate.
        let pages_use_it = self.pages_listen.as_ref().is_some_and(Address::is_https);
        if pages_use_it && !addresses.iter().any(Address::is_https) {
            (self.options.tls_cert, self.options.tls_key) = (None, None);
        }
        if !addresses.is_empty() {
            configs.push(self.options.open(addresses, errors));
        }
        for table in tables {
            let addresses = table.address.as_ref().map(|address| address.parse(errors)).unwrap_or_default();
            if addresses.is_empty() {
                errors.push(ListenerError::NoAddress);
            }
            configs.push(table.options.open(addresses, errors));
        }
    }
}

/// The error if other machines can reach the address without TLS or without authentication.
fn exposure_error(address: &Address, security: &Security) -> Option<ListenerError> {
    let authenticates = !security.for_address(address).methods().is_empty();
    let problem = match (address.is_https(), authenticates) {
        _ if address.is_local() => return None,
        (true, true) => return None,
        (false, true) => "it has no TLS: use `https://` with `tls-cert` and `tls-key`",
        (true, false) => "it does not authenticate callers: set `tokens`, `jwt-jwks` or `tls-client-ca`",
        (false, false) => {
            "it has no TLS and does not authenticate callers: use `https://` with `tls-cert` and `tls-key`, and set `tokens`, `jwt-jwks` or `tls-client-ca`"
        }
    };
    Some(ListenerError::Exposed { address: address.clone(), problem })
}

fn find_conflicts(addresses: &[&Address], errors: &mut Errors) {
    for (index, address) in addresses.iter().enumerate() {
        if addresses.iter().skip(index + 1).any(|other| other.conflicts_with(address)) {
            errors.push(ListenerError::SameAddress((*address).clone()));
        }
    }
}
