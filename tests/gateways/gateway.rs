//! Runs gateways as processes, each with its configuration from `examples/`. Only the ports are changed, because tests
//! run at the same time.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Client, Reply};
use crate::support::{Content, Sidecar, get, repository_path, until};
use crate::upstream::Upstream;

/// A kind of gateway, and how it differs from others.
pub struct Kind {
    pub name: &'static str,
    program: &'static str,
    /// The environment variable with the path of the program, if it is not on `PATH`.
    named_by: &'static str,
    configuration: &'static str,
    /// Whether it resolves dot segments and double slashes before it asks Mandate.
    pub resolves_paths: bool,
    /// Whether it sends bodies to Mandate.
    pub passes_bodies: bool,
    /// Whether it removes all headers of a client that begin with `x-mandate-`. Otherwise it removes only those that
    /// Mandate sets.
    pub removes_all_spoofed: bool,
    /// The possible statuses for a client when Mandate gives no answer.
    pub statuses_without_answer: &'static [u16],
}

pub const ENVOY: Kind = Kind {
    name: "Envoy over gRPC",
    program: "envoy",
    named_by: "ENVOY",
    configuration: "examples/envoy/envoy.yaml",
    resolves_paths: true,
    passes_bodies: true,
    removes_all_spoofed: true,
    statuses_without_answer: &[503],
};

pub const ENVOY_HTTP: Kind =
    Kind { name: "Envoy over HTTP", configuration: "examples/envoy/envoy-http.yaml", ..ENVOY };

pub const NGINX: Kind = Kind {
    name: "nginx",
    program: "nginx",
    named_by: "NGINX",
    configuration: "examples/nginx/nginx.conf",
    resolves_paths: false,
    passes_bodies: false,
    removes_all_spoofed: false,
    statuses_without_answer: &[500],
};

pub const CADDY: Kind = Kind {
    name: "Caddy",
    program: "caddy",
    named_by: "CADDY",
    configuration: "examples/caddy/Caddyfile",
    removes_all_spoofed: true,
    statuses_without_answer: &[502, 504],
    ..NGINX
};

/// The client that sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A direct-bill partner with Contoso's consent.
    Fabrikam,
    /// A reseller, which is never permitted to use the API.
    Tailspin,
    /// A manufacturer with Contoso's consent.
    Trey,
    /// A client without credentials.
    Nobody,
}

impl Who {
    /// The type and the id of the partner.
    fn partner(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Fabrikam => Some(("DirectBillPartner", "fabrikam")),
            Self::Tailspin => Some(("IndirectReseller", "tailspin")),
            Self::Trey => Some(("Oem", "trey")),
            Self::Nobody => None,
        }
    }
}

/// A gateway between clients, a sidecar and an upstream.
pub struct Gateway {
    pub kind: &'static Kind,
    process: Child,
    port: u16,
    pub sidecar: Sidecar,
    pub content: Content,
    pub upstream: Upstream,
    token_issuer: TokenIssuer,
    folder: TempDir,
}

impl Gateway {
    /// Starts a gateway with a sidecar and an upstream. If the gateway is not installed, prints this and returns `None`.
    pub fn start(kind: &'static Kind) -> Option<Self> {
        let Some(program) = find_program(kind) else {
            let note = format!(
                "\nNOT RUN: {}, because there is no `{}`; install it, or name it with {}\n",
                kind.name, kind.program, kind.named_by
            );
            // Written directly, because the test harness would capture the output of `eprintln!` and hide it.
            std::io::stderr().write_all(note.as_bytes()).unwrap();
            return None;
        };
        let content = Content::of_pack();
        let (sidecar, upstream) = (content.serve(), Upstream::start());
        let decisions = sidecar.decisions.rsplit(':').next().unwrap().parse().unwrap();
        let [port, admin] = free_ports();
        let folder = TempDir::new().unwrap();
        let ports = [(10000, port), (9901, admin), (8181, decisions), (8080, upstream.port)];
        let configuration =
            with_ports(&fs::read_to_string(repository_path(kind.configuration)).unwrap(), &ports);
        let token_issuer = TokenIssuer::new();
        fs::write(folder.path().join("jwks.json"), token_issuer.public_keys()).unwrap();
        let file = folder.path().join(Path::new(kind.configuration).file_name().unwrap());
        fs::write(&file, configuration).unwrap();
        let process = command(kind, &program, folder.path(), &file).spawn().unwrap();
        let gateway = Self { kind, process, port, sidecar, content, upstream, token_issuer, folder };
        gateway.wait_until_ready(admin);
        Some(gateway)
    }

    fn wait_until_ready(&self, admin: u16) {
        until("the gateway listens", || TcpStream::connect(self.address()).is_ok());
        if self.kind.program == "envoy" {
            until("Envoy is ready", || get(&format!("http://127.0.0.1:{admin}/ready")).body.trim() == "LIVE");
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    /// The headers with the credentials of a client.
    pub fn credentials(&self, who: Who) -> Vec<(&'static str, String)> {
        let Some((partner_type, id)) = who.partner() else { return Vec::new() };
        if self.kind.program == "envoy" {
            vec![("authorization", format!("Bearer {}", self.token_issuer.token(partner_type, id)))]
        } else {
            vec![("x-api-key", format!("example-key-of-{id}"))]
        }
    }

    /// Sends one request on a new connection.
    pub fn send(&self, who: Who, method: &str, target: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
        let credentials = self.credentials(who);
        let mut headers: Vec<(&str, &str)> =
            credentials.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(more);
        self.client().send(method, target, &headers, body).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // nginx has a child process, which ends only if nginx gets SIGTERM.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3);
        while std::time::Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}'s log:\n{}", self.kind.name, self.log());
        }
    }
}

fn command(kind: &Kind, program: &Path, folder: &Path, file: &Path) -> Command {
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder).stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
    match kind.program {
        "envoy" => {
            command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warn", "-c"]).arg(file)
        }
        "nginx" => command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(file),
        _ => command.env("HOME", folder).args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
    };
    command
}

/// Replaces ports `(from, to)` in a configuration. Each port has to be in it, except for the admin port of Envoy.
fn with_ports(configuration: &str, ports: &[(u16, u16)]) -> String {
    let mut text = configuration.to_owned();
    for (from, to) in ports {
        let spellings = [format!(":{from}"), format!("port_value: {from}")];
        assert!(*from == 9901 || spellings.iter().any(|spelling| text.contains(spelling)), "{from}");
        for spelling in spellings {
            text = text.replace(&spelling, &spelling.replace(&from.to_string(), &to.to_string()));
        }
    }
    text
}

/// The path of the program: from its environment variable, or in one of the usual folders.
fn find_program(kind: &Kind) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(kind.named_by) {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(kind.program)).find(|path| path.is_file())
}

/// Two free ports.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Issues tokens to partners.
struct TokenIssuer(rcgen::KeyPair);

impl TokenIssuer {
    fn new() -> Self {
        Self(rcgen::KeyPair::generate().unwrap())
    }

    /// The public key, as a JSON Web Key Set.
    fn public_keys(&self) -> String {
        let point = self.0.public_key_raw();
        let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": coordinate(1..33), "y": coordinate(33..65) });
        json!({ "keys": [key] }).to_string()
    }

    fn token(&self, partner_type: &str, id: &str) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some("k".to_owned());
        let claims = json!({
            "iss": "https://partners.example", "aud": "device-api", "exp": 4_000_000_000_u64,
            "partner_type": partner_type, "partner_id": id,
        });
        let key = jsonwebtoken::EncodingKey::from_ec_der(&self.0.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}
