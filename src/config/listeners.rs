//! Listeners: where to listen, and who may connect and ask. Flags and the keys at the top of the file
//! describe the listeners of `listen`; each `[[listener]]` and `[admin]` describe themselves.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use mandate_server::listen::address::Address;
use mandate_server::listen::admission::{Security, SecurityConfig};
use mandate_server::listen::authentication::JwtConfig;

/// Who may connect to a listener, and ask.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ListenerOptions {
    #[arg(skip)]
    pub(super) address: Option<Addresses>,
    /// Certificate of the `https` listeners, with those between it and its authority (PEM)
    #[arg(long, env = "MANDATE_TLS_CERT", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Key of the certificate (PEM)
    #[arg(long, env = "MANDATE_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Authorities whose client certificates `https` listeners demand (PEM)
    #[arg(long, env = "MANDATE_TLS_CLIENT_CA", value_name = "FILE")]
    pub(super) tls_client_ca: Option<PathBuf>,
    /// Names of which a client certificate needs one, separated by commas [default: any]
    #[arg(long, env = "MANDATE_TLS_CLIENT_NAMES", value_name = "NAMES", value_delimiter = ',')]
    pub(super) tls_client_names: Option<Vec<String>>,
    /// Bearer tokens of callers: lines of a name and a token, or `sha256:` and its digest
    #[arg(long, env = "MANDATE_TOKENS", value_name = "FILE")]
    pub(super) tokens: Option<PathBuf>,
    /// Who issues the JWTs of callers
    #[arg(long, env = "MANDATE_JWT_ISSUER", value_name = "ISS")]
    pub(super) jwt_issuer: Option<String>,
    /// For whom JWTs have to be
    #[arg(long, env = "MANDATE_JWT_AUDIENCE", value_name = "AUD")]
    pub(super) jwt_audience: Option<String>,
    /// Public keys of the issuer (JWKS)
    #[arg(long, env = "MANDATE_JWT_JWKS", value_name = "FILE")]
    pub(super) jwt_jwks: Option<PathBuf>,
    /// Listen where others can reach, without TLS or without knowing who asks
    #[arg(long, env = "MANDATE_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) insecure: Option<bool>,
    /// Permissions of unix sockets [default: 660]
    #[arg(long, env = "MANDATE_SOCKET_MODE", value_name = "MODE")]
    pub(super) socket_mode: Option<SocketMode>,
}

/// One address, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Addresses {
    One(String),
    Several(Vec<String>),
}

impl Addresses {
    fn read(&self, wrong: &mut Vec<String>) -> Vec<Address> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts.as_slice(),
        };
        let read =
            texts.iter().filter_map(|text| text.parse().map_err(|error| push_error(wrong, &error)).ok());
        read.collect()
    }
}

/// Permissions, as octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SocketMode(u32);

impl std::str::FromStr for SocketMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| format!("`{text}` is no mode: use octal digits such as `660`"))
    }
}

impl TryFrom<String> for SocketMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Listeners that are alike.
pub struct ListenerConfig {
    pub addresses: Vec<Address>,
    pub socket_mode: u32,
    pub security: Security,
}

/// All listeners, as they are asked for.
pub struct ListenerSettings {
    /// The addresses of flags and environment.
    pub listen_flag: Option<Vec<Address>>,
    pub admin_listen_flag: Option<Address>,
    /// The options of flags and environment, and under them those of the file.
    pub options: ListenerOptions,
    /// The file's.
    pub listen: Option<Addresses>,
    pub admin_listen: Option<String>,
    pub listener_tables: Vec<ListenerOptions>,
    pub admin: Option<ListenerOptions>,
}

impl ListenerOptions {
    /// These options, and the other's where these say nothing.
    #[must_use]
    pub fn or_file(self, file: Self) -> Self {
        Self {
            address: self.address.or(file.address),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_client_ca: self.tls_client_ca.or(file.tls_client_ca),
            tls_client_names: self.tls_client_names.or(file.tls_client_names),
            tokens: self.tokens.or(file.tokens),
            jwt_issuer: self.jwt_issuer.or(file.jwt_issuer),
            jwt_audience: self.jwt_audience.or(file.jwt_audience),
            jwt_jwks: self.jwt_jwks.or(file.jwt_jwks),
            insecure: self.insecure.or(file.insecure),
            socket_mode: self.socket_mode.or(file.socket_mode),
        }
    }

    /// The listeners on these addresses; what is wrong goes to the list.
    fn open(self, addresses: Vec<Address>, wrong: &mut Vec<String>) -> ListenerConfig {
        let socket_mode = self.socket_mode.map_or(0o660, |mode| mode.0);
        let insecure = self.insecure.unwrap_or(false);
        let before = wrong.len();
        let files = self.files(&addresses, wrong);
        let security = if wrong.len() == before { Security::open(files) } else { Ok(Security::default()) };
        let security = security.map_err(|errors| wrong.extend(errors)).unwrap_or_default();
        if wrong.len() == before && !insecure {
            wrong.extend(addresses.iter().filter_map(|address| exposure_error(address, &security)));
        }
        ListenerConfig { addresses, socket_mode, security }
    }

    fn files(self, addresses: &[Address], wrong: &mut Vec<String>) -> SecurityConfig {
        let https = addresses.iter().find(|address| address.is_https());
        let half = self.tls_cert.is_some() != self.tls_key.is_some();
        let certificate = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (certificate, _) => {
                let (there, lacks) =
                    if certificate.is_some() { ("tls-cert", "tls-key") } else { ("tls-key", "tls-cert") };
                push_error(wrong, &format!("`{there}` needs `{lacks}`"));
                None
            }
        };
        match (https, &certificate) {
            (Some(address), None) if !half => {
                push_error(wrong, &format!("`{address}` needs `tls-cert` and `tls-key`"));
            }
            (None, Some(_)) => {
                push_error(
                    wrong,
                    &"`tls-cert` is given, and no address begins with `https://`: use one that does",
                );
            }
            _ => {}
        }
        if self.tls_client_ca.is_some() && certificate.is_none() && !half {
            push_error(wrong, &"`tls-client-ca` needs `tls-cert` and `tls-key`");
        }
        if self.tls_client_names.is_some() && self.tls_client_ca.is_none() {
            push_error(wrong, &"`tls-client-names` needs `tls-client-ca`");
        }
        let jwt = match (self.jwt_issuer, self.jwt_audience, self.jwt_jwks) {
            (Some(issuer), Some(audience), Some(jwks)) => Some(JwtConfig { issuer, audience, jwks }),
            (None, None, None) => None,
            _ => {
                push_error(
                    wrong,
                    &"`jwt-issuer`, `jwt-audience` and `jwt-jwks` need each other: give all three",
                );
                None
            }
        };
        let named = self.tls_client_names.is_some();
        let client_names = super::non_empty_names(self.tls_client_names);
        if named && client_names.is_empty() {
            push_error(wrong, &"`tls-client-names` names nobody: give names, or leave it out for any");
        }
        SecurityConfig { certificate, client_ca: self.tls_client_ca, client_names, tokens: self.tokens, jwt }
    }
}

impl ListenerSettings {
    /// The listeners of decisions, and that of operators.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(self) -> Result<(Vec<ListenerConfig>, ListenerConfig), Vec<String>> {
        let mut wrong = Vec::new();
        let admin = self.admin.clone().unwrap_or_default();
        if self.admin_listen.is_some() && admin.address.is_some() {
            push_error(
                &mut wrong,
                &"`admin-listen` and the `address` of `[admin]` are the same option: use one",
            );
        }
        let in_file = self.admin_listen.clone().map(Addresses::One).or_else(|| admin.address.clone());
        let in_file = in_file.map_or_else(|| vec![Address::loopback(8182)], |it| it.read(&mut wrong));
        let addresses = self.admin_listen_flag.clone().map_or(in_file, |address| vec![address]);
        if addresses.len() > 1 {
            push_error(&mut wrong, &"the operators' port is one address");
        }
        // Whoever says so by a flag means this port, too.
        let insecure = admin.insecure.or(self.options.insecure);
        let mut config = Vec::new();
        self.open_decision_listeners(&mut config, &mut wrong);
        let admin = ListenerOptions { insecure, ..admin }.open(addresses, &mut wrong);
        let all = config.iter().flat_map(|config: &ListenerConfig| &config.addresses).chain(&admin.addresses);
        collisions(&all.collect::<Vec<_>>(), &mut wrong);
        if wrong.is_empty() { Ok((config, admin)) } else { Err(wrong) }
    }

    fn open_decision_listeners(self, config: &mut Vec<ListenerConfig>, wrong: &mut Vec<String>) {
        let listen = self.listen.map(|listen| listen.read(wrong));
        // What is flagged takes the place of all that the file names.
        let (addresses, listener_tables) = match (self.listen_flag, listen) {
            (Some(listen_flag), _) => (listen_flag, Vec::new()),
            (None, Some(listen)) => (listen, self.listener_tables),
            (None, None) if self.listener_tables.is_empty() => (vec![Address::loopback(8181)], Vec::new()),
            (None, None) => (Vec::new(), self.listener_tables),
        };
        if !addresses.is_empty() {
            config.push(self.options.open(addresses, wrong));
        }
        for table in listener_tables {
            let addresses = table.address.as_ref().map(|address| address.read(wrong)).unwrap_or_default();
            if addresses.is_empty() {
                push_error(wrong, &"a `[[listener]]` has no `address`");
            }
            config.push(table.open(addresses, wrong));
        }
    }
}

/// Why an address must not be listened on with so little security.
fn exposure_error(address: &Address, security: &Security) -> Option<String> {
    let (tls, callers) = (address.is_https(), !security.for_address(address).methods().is_empty());
    let lacks = match (tls, callers) {
        _ if address.is_local() => return None,
        (true, true) => return None,
        (false, true) => "there is no TLS: use `https://` with `tls-cert` and `tls-key`",
        (true, false) => "nobody knows who asks: give `tokens`, `jwt-jwks` or `tls-client-ca`",
        (false, false) => {
            "there is no TLS, and nobody knows who asks: use `https://` with `tls-cert` and `tls-key`, and give `tokens`, `jwt-jwks` or `tls-client-ca`"
        }
    };
    Some(format!(
        "others can reach `{address}`, and {lacks}; or listen on loopback; to listen all the same, say `--insecure`, in the file `insecure = true`"
    ))
}

fn collisions(addresses: &[&Address], wrong: &mut Vec<String>) {
    for (index, address) in addresses.iter().enumerate() {
        if addresses.iter().skip(index + 1).any(|other| other.conflicts_with(address)) {
            push_error(wrong, &format!("two listeners have the same address, {address}"));
        }
    }
}

fn push_error(wrong: &mut Vec<String>, what: &impl ToString) {
    wrong.push(what.to_string());
}
