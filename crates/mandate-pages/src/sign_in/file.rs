//! Reads the file that says how people sign in. Everything that is wrong with it is reported, with its places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, Uri};
use mandate_client::{Client, ClientError, ClientSettings, is_this_machine};
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_toml::{TomlReader, Value, type_name};
use toml::de::{DeTable, DeValue};

use super::claims::{AttributeRule, PrincipalRule, Template};
use super::gateway::GatewaySettings;
use super::key_set::{KeySet, KeySource};
use super::open_id::OpenIdSettings;
use crate::session::LONGEST;

/// What a file says, with what it refers to.
pub enum SignInFile {
    OpenId(OpenIdSettings),
    Gateway(GatewaySettings),
}

/// Why nobody can sign in with a file.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("cannot read `{0}`: {1}")]
    Read(PathBuf, std::io::Error),
    /// Everything that is wrong with the file, with its places.
    #[error(transparent)]
    File(#[from] Diagnostics),
    #[error("cannot set up the connection to the identity provider: {0}")]
    Client(#[from] ClientError),
}

/// Reads it. Other files are named from its folder.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<SignInFile, SignInError> {
    let source = SourceText::new(path.display().to_string(), read_text(path)?);
    let File { title, session, issuer, allow_http, certificates, allowed_hosts, rules, kind } =
        parse(&source)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let ca_file = certificates.map(|file| folder.join(file));
    let client = Client::new(ClientSettings { allowed_hosts, ca_file, ..ClientSettings::default() })?;
    Ok(match kind {
        Kind::OpenId { client_id, secret_file, scopes } => {
            let secret = secret_file.map(|file| read_text(&folder.join(file))).transpose()?;
            let client_secret = secret.map(|secret| secret.trim().to_owned());
            SignInFile::OpenId(OpenIdSettings {
                title,
                session,
                issuer,
                client_id,
                client_secret,
                scopes,
                allow_http,
                client,
                rules,
            })
        }
        Kind::Gateway { header, audience, keys } => {
            let keys = match keys {
                Keys::Url(url) => KeySource::Url(url, client),
                Keys::File(file) => KeySource::File(folder.join(file)),
            };
            let keys = KeySet::new(keys);
            SignInFile::Gateway(GatewaySettings { title, header, issuer, audience, keys, rules })
        }
    })
}

fn read_text(path: &Path) -> Result<String, SignInError> {
    std::fs::read_to_string(path).map_err(|error| SignInError::Read(path.to_owned(), error))
}

/// What the file says.
struct File {
    title: Option<String>,
    session: Option<Duration>,
    issuer: String,
    allow_http: bool,
    certificates: Option<PathBuf>,
    allowed_hosts: Vec<String>,
    rules: Vec<PrincipalRule>,
    kind: Kind,
}

enum Kind {
    OpenId { client_id: String, secret_file: Option<PathBuf>, scopes: Vec<String> },
    Gateway { header: HeaderName, audience: String, keys: Keys },
}

enum Keys {
    Url(String),
    File(PathBuf),
}

/// The keys of every file, of one for an identity provider, and of one for a gateway.
const COMMON_KEYS: [&str; 7] =
    ["title", "session", "issuer", "ca_file", "allow_http", "allowed_hosts", "principal"];
const OPEN_ID_KEYS: [&str; 3] = ["client_id", "client_secret_file", "scopes"];
const GATEWAY_KEYS: [&str; 4] = ["header", "audience", "jwks_url", "jwks_file"];

fn parse(source: &Arc<SourceText>) -> Result<File, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut toml = TomlReader { source, diagnostics: &mut diagnostics };
    let table = toml.parse();
    let file = table.as_ref().and_then(|table| Reader { toml }.file(table.get_ref()));
    diagnostics.into_result()?;
    // What is missing was reported.
    file.ok_or_else(Diagnostics::default)
}

struct Reader<'r> {
    toml: TomlReader<'r>,
}

impl Reader<'_> {
    fn file(&mut self, table: &DeTable<'_>) -> Option<File> {
        let is_gateway = table.contains_key("header");
        let own: &[&str] = if is_gateway { &GATEWAY_KEYS } else { &OPEN_ID_KEYS };
        self.toml.reject_unknown_keys(table, &[&COMMON_KEYS, own].concat());
        let allow_http = self.bool(table, "allow_http");
        let issuer = self.needed(table, "issuer").and_then(|text| self.issuer(table, text, allow_http));
        let kind = if is_gateway { self.gateway(table, allow_http) } else { self.open_id(table) };
        let (title, session) = (self.text(table, "title"), self.session(table));
        let certificates = self.text(table, "ca_file").map(PathBuf::from);
        let mut allowed_hosts = self.texts(table, "allowed_hosts");
        let rules = self.rules(table);
        let (issuer, kind) = (issuer?, kind?);
        // The operator names it, so it may be an internal host.
        allowed_hosts.extend(host_of(&issuer));
        if let Kind::Gateway { keys: Keys::Url(url), .. } = &kind {
            allowed_hosts.extend(host_of(url));
        }
        Some(File { title, session, issuer, allow_http, certificates, allowed_hosts, rules, kind })
    }

    fn open_id(&mut self, table: &DeTable<'_>) -> Option<Kind> {
        let secret_file = self.text(table, "client_secret_file").map(PathBuf::from);
        let mut scopes = self.texts(table, "scopes");
        if scopes.is_empty() {
            scopes = vec!["openid".to_owned(), "profile".to_owned()];
        }
        if let Some(value) = table.get("scopes")
            && !scopes.iter().any(|scope| scope == "openid")
        {
            self.toml.report(value.span(), "has to have `openid`: without it there is no ID token");
        }
        Some(Kind::OpenId { client_id: self.needed(table, "client_id")?, secret_file, scopes })
    }

    fn gateway(&mut self, table: &DeTable<'_>, allow_http: bool) -> Option<Kind> {
        let header = self.needed(table, "header")?;
        let name = HeaderName::try_from(header).ok();
        if name.is_none() {
            self.report(table, "header", "is no name of a header");
        }
        let audience = self.needed(table, "audience");
        let keys = match (self.text(table, "jwks_url"), self.text(table, "jwks_file")) {
            (Some(url), None) => {
                self.check_url(table, "jwks_url", &url, allow_http);
                Keys::Url(url)
            }
            (None, Some(file)) => Keys::File(file.into()),
            (Some(_), Some(_)) | (None, None) => {
                self.report(
                    table,
                    "header",
                    "needs the keys of the ID tokens: write `jwks_url` or `jwks_file`",
                );
                return None;
            }
        };
        Some(Kind::Gateway { header: name?, audience: audience?, keys })
    }

    fn issuer(&mut self, table: &DeTable<'_>, issuer: String, allow_http: bool) -> Option<String> {
        // The organization in it is no URL's part yet.
        self.check_url(table, "issuer", &issuer.replace("{tenantid}", "organization"), allow_http)
            .then_some(issuer)
    }

    fn check_url(&mut self, table: &DeTable<'_>, key: &str, url: &str, allow_http: bool) -> bool {
        let parsed: Option<Uri> = url.parse().ok();
        let host = parsed.as_ref().and_then(Uri::host).unwrap_or_default();
        let message = match parsed.as_ref().and_then(Uri::scheme_str) {
            Some("https") if !host.is_empty() => return true,
            Some("http") if allow_http && is_this_machine(host) => return true,
            Some("http") => {
                "has to begin with `https`; `http` is only for this machine, with `allow_http = true`"
            }
            Some(_) | None => "has to be a URL such as `https://login.example.com`",
        };
        self.report(table, key, message);
        false
    }

    fn session(&mut self, table: &DeTable<'_>) -> Option<Duration> {
        let text = self.text(table, "session")?;
        let time =
            humantime::parse_duration(&text).ok().filter(|time| (MIN_SESSION..=LONGEST).contains(time));
        if time.is_none() {
            self.report(table, "session", "has to be a time from `1m` to `8h`");
        }
        time
    }

    fn rules(&mut self, table: &DeTable<'_>) -> Vec<PrincipalRule> {
        let Some(value) = table.get("principal") else {
            self.toml.report(0..0, "`principal` is missing: write `[[principal]]` with `type` and `id`");
            return Vec::new();
        };
        let items: Vec<&Value<'_>> = self.toml.items(value).iter().collect();
        items.into_iter().filter_map(|item| self.rule(item)).collect()
    }

    fn rule(&mut self, value: &Value<'_>) -> Option<PrincipalRule> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, &["type", "id", "attributes"]);
        let (entity_type, id) = (self.required(table, "type", value), self.template(table, "id", value));
        let attributes = table.get("attributes").map(|value| self.attributes(value));
        Some(PrincipalRule { entity_type: entity_type?, id: id?, attributes })
    }

    fn attributes(&mut self, value: &Value<'_>) -> BTreeMap<String, AttributeRule> {
        let Some(table) = self.toml.table(value) else { return BTreeMap::new() };
        let rules = table.iter().map(|(name, value)| (name.get_ref().to_string(), value));
        let rules: Vec<(String, &Value<'_>)> = rules.collect();
        rules.into_iter().filter_map(|(name, value)| Some((name, self.attribute(value)?))).collect()
    }

    /// `{ entity, id }` or `{ claim, entity, map }`.
    fn attribute(&mut self, value: &Value<'_>) -> Option<AttributeRule> {
        let table = self.toml.table(value)?;
        if !table.contains_key("claim") {
            self.toml.reject_unknown_keys(table, &["entity", "id", "claim"]);
            let (entity_type, id) =
                (self.required(table, "entity", value), self.template(table, "id", value));
            return Some(AttributeRule::Entity { entity_type: entity_type?, id: id? });
        }
        self.toml.reject_unknown_keys(table, &["claim", "entity", "map"]);
        let (claim, entity_type) =
            (self.required(table, "claim", value), self.required(table, "entity", value));
        let map = self.toml.required(table, "map", value)?;
        let map = self.toml.table(map)?;
        let mut ids = BTreeMap::new();
        for (sent, id) in map {
            if let Some(id) = self.toml.string(id) {
                ids.insert(sent.get_ref().to_string(), id.to_owned());
            }
        }
        Some(AttributeRule::Mapped { claim: claim?, entity_type: entity_type?, map: ids })
    }

    fn template(&mut self, table: &DeTable<'_>, key: &str, around: &Value<'_>) -> Option<Template> {
        let value = self.toml.required(table, key, around)?;
        let text = self.toml.string(value)?;
        Template::parse(text).map_err(|wrong| self.toml.report(value.span(), wrong)).ok()
    }

    fn required(&mut self, table: &DeTable<'_>, key: &str, around: &Value<'_>) -> Option<String> {
        let value = self.toml.required(table, key, around)?;
        self.toml.string(value).map(ToOwned::to_owned)
    }

    fn needed(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        if !table.contains_key(key) {
            self.toml.report(0..0, format!("`{key}` is missing"));
        }
        self.text(table, key)
    }

    fn text(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        self.toml.string(table.get(key)?).map(ToOwned::to_owned)
    }

    fn texts(&mut self, table: &DeTable<'_>, key: &str) -> Vec<String> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let items: Vec<&Value<'_>> = self.toml.items(value).iter().collect();
        items.into_iter().filter_map(|item| self.toml.string(item).map(ToOwned::to_owned)).collect()
    }

    fn bool(&mut self, table: &DeTable<'_>, key: &str) -> bool {
        match table.get(key).map(|value| (value.span(), value.get_ref())) {
            None => false,
            Some((_, DeValue::Boolean(on))) => *on,
            Some((span, other)) => {
                self.toml.report(span, format!("has to be `true` or `false`, found {}", type_name(other)));
                false
            }
        }
    }

    fn report(&mut self, table: &DeTable<'_>, key: &str, message: &str) {
        let span = table.get(key).map(toml::Spanned::span).unwrap_or_default();
        self.toml.report(span, message);
    }
}

/// The shortest session that an operator can ask for.
const MIN_SESSION: Duration = Duration::from_mins(1);

fn host_of(url: &str) -> Option<String> {
    let url: Uri = url.replace("{tenantid}", "organization").parse().ok()?;
    Some(url.host()?.trim_start_matches('[').trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINCIPAL: &str = "[[principal]]\ntype = \"TenantUser\"\nid = \"{oid}@{tid}\"\n";

    fn problems(text: &str) -> String {
        parse(&SourceText::new("sign-in.toml", text)).err().map(|found| found.to_string()).unwrap_or_default()
    }

    #[test]
    fn files_that_are_right() {
        let files = [
            "issuer = \"https://login.example\"\nclient_id = \"a\"\n",
            "issuer = \"http://localhost:1\"\nallow_http = true\nclient_id = \"a\"\nsession = \"1h\"\nscopes = [\"openid\"]\n",
            "issuer = \"https://login.example/{tenantid}/v2.0\"\nheader = \"X-Id-Token\"\naudience = \"a\"\njwks_url = \"https://login.example/keys\"\n",
        ];
        for file in files {
            assert_eq!(problems(&format!("{file}{PRINCIPAL}")), "", "{file}");
        }
    }

    #[test]
    fn the_documented_files_are_right() {
        let documentation = include_str!("../../../../docs/pages.md");
        let files: Vec<&str> = documentation.split("```toml\n").skip(1).collect();
        assert_eq!(files.len(), 2);
        for file in files {
            let file = file.split("```").next().unwrap();
            assert_eq!(problems(file), "", "{file}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_reported_with_its_place() {
        let cases = [
            ("x = 1\n", vec!["unknown key", "`issuer` is missing", "`client_id` is missing"]),
            ("issuer = 1\nclient_id = \"a\"\n", vec!["sign-in.toml:1", "has to be a string"]),
            ("issuer = \"http://login.example\"\nclient_id = \"a\"\n", vec!["has to begin with `https`"]),
            (
                "issuer = \"http://login.example\"\nallow_http = true\nclient_id = \"a\"\n",
                vec!["has to begin with `https`"],
            ),
            (
                "issuer = \"https://l.example\"\nclient_id = \"a\"\nsession = \"9h\"\n",
                vec!["from `1m` to `8h`"],
            ),
            (
                "issuer = \"https://l.example\"\nclient_id = \"a\"\nscopes = [\"profile\"]\n",
                vec!["has to have `openid`"],
            ),
            (
                "issuer = \"https://l.example\"\nheader = \"X\"\naudience = \"a\"\n",
                vec!["write `jwks_url` or `jwks_file`"],
            ),
            ("issuer = \"https://l.example\"\nheader = \"X\"\nclient_id = \"a\"\n", vec!["unknown key"]),
        ];
        for (file, expected) in cases {
            let found = problems(&format!("{file}{PRINCIPAL}"));
            for text in expected {
                assert!(found.contains(text), "{file}: {found}");
            }
        }
        let attributes = [
            ("customer = { entity = \"Customer\", id = \"fixed\" }", "names no claim"),
            ("customer = { entity = \"Customer\" }", "`id` is missing"),
            ("roles = { claim = \"wids\", entity = \"Role\" }", "`map` is missing"),
            ("roles = 1", "has to be a table"),
        ];
        for (attribute, expected) in attributes {
            let file = format!(
                "issuer = \"https://l.example\"\nclient_id = \"a\"\n{PRINCIPAL}[principal.attributes]\n{attribute}\n"
            );
            let found = problems(&file);
            assert!(found.contains(expected), "{attribute}: {found}");
        }
        assert!(
            problems("issuer = \"https://l.example\"\nclient_id = \"a\"\n")
                .contains("`principal` is missing")
        );
    }
}
