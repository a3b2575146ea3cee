//! Gateways as processes, each with the configuration that `examples/` ships. Only addresses differ:
//! tests run beside each other.

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
use crate::support::{Content, Sidecar, get, pack, until};
use crate::upstream::Upstream;

/// A kind of gateway, and in what it differs from others.
pub struct Kind {
    pub name: &'static str,
    program: &'static str,
    /// The environment variable that says where the program is, if it is not on `PATH`.
    named_by: &'static str,
    configuration: &'static str,
    /// Whether it resolves dots and double slashes, for Mandate and the upstream alike.
    pub resolves_paths: bool,
    /// Whether it passes bodies on to Mandate.
    pub passes_bodies: bool,
    /// Whether it takes away every header in Mandate's name, and not only those that Mandate sets.
    pub removes_all_spoofed: bool,
    /// What clients get that it does not know.
    pub unauthenticated: u16,
    /// What clients get when Mandate gives no answer.
    pub without_answer: &'static [u16],
}

pub const ENVOY: Kind = Kind {
    name: "Envoy over gRPC",
    program: "envoy",
    named_by: "ENVOY",
    configuration: "examples/envoy/envoy.yaml",
    resolves_paths: true,
    passes_bodies: true,
    removes_all_spoofed: true,
    unauthenticated: 401,
    without_answer: &[503],
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
    unauthenticated: 403,
    without_answer: &[500],
};

pub const CADDY: Kind = Kind {
    name: "Caddy",
    program: "caddy",
    named_by: "CADDY",
    configuration: "examples/caddy/Caddyfile",
    removes_all_spoofed: true,
    without_answer: &[502, 504],
    ..NGINX
};

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A direct-bill partner with Contoso's consent.
    Fabrikam,
    /// A reseller, which never has the API.
    Tailspin,
    /// A manufacturer with Contoso's consent.
    Trey,
    Nobody,
}

impl Who {
    fn enrolment(self) -> Option<(&'static str, &'static str)> {
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
    keys: Keys,
    folder: TempDir,
}

impl Gateway {
    /// Starts it; `None` if it is not installed, which is said aloud.
    pub fn start(kind: &'static Kind) -> Option<Self> {
        let Some(program) = found(kind) else {
            let note = format!(
                "\nNOT RUN: {}, because there is no `{}`; install it, or name it with {}\n",
                kind.name, kind.program, kind.named_by
            );
            // Past the test harness's capture: a test that did not run has to be seen.
            std::io::stderr().write_all(note.as_bytes()).unwrap();
            return None;
        };
        let content = Content::of_pack();
        let (sidecar, upstream) = (content.serve(), Upstream::start());
        let decisions = sidecar.decisions.rsplit(':').next().unwrap().parse().unwrap();
        let [port, admin] = free_ports();
        let folder = TempDir::new().unwrap();
        let ports = [(10000, port), (9901, admin), (8181, decisions), (8080, upstream.port)];
        let configuration = moved(&fs::read_to_string(pack(kind.configuration)).unwrap(), &ports);
        let keys = Keys::new();
        fs::write(folder.path().join("jwks.json"), keys.public()).unwrap();
        let file = folder.path().join(Path::new(kind.configuration).file_name().unwrap());
        fs::write(&file, configuration).unwrap();
        let process = command(kind, &program, folder.path(), &file).spawn().unwrap();
        let gateway = Self { kind, process, port, sidecar, content, upstream, keys, folder };
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

    /// The headers with which a client shows who it is.
    pub fn credentials(&self, who: Who) -> Vec<(&'static str, String)> {
        let Some((kind, id)) = who.enrolment() else { return Vec::new() };
        if self.kind.program == "envoy" {
            vec![("authorization", format!("Bearer {}", self.keys.token(kind, id)))]
        } else {
            vec![("x-api-key", format!("example-key-of-{id}"))]
        }
    }

    /// One request on a connection of its own.
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
        // nginx has a child that ends with its parent only if the parent is asked to end.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let ended = std::time::Instant::now() + std::time::Duration::from_secs(3);
        while std::time::Instant::now() < ended && matches!(self.process.try_wait(), Ok(None)) {
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

/// A configuration with other ports; each has to stand in it, but for Envoy's own.
fn moved(configuration: &str, ports: &[(u16, u16)]) -> String {
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

fn found(kind: &Kind) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(kind.named_by) {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(kind.program)).find(|path| path.is_file())
}

/// Two ports that nobody listens on.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Who issues tokens to partners.
struct Keys(rcgen::KeyPair);

impl Keys {
    fn new() -> Self {
        Self(rcgen::KeyPair::generate().unwrap())
    }

    /// The public key, as a set of keys.
    fn public(&self) -> String {
        let point = self.0.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": part(1..33), "y": part(33..65) });
        json!({ "keys": [key] }).to_string()
    }

    fn token(&self, kind: &str, id: &str) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some("k".to_owned());
        let claims = json!({
            "iss": "https://partners.example", "aud": "device-api", "exp": 4_000_000_000_u64,
            "partner_type": kind, "partner_id": id,
        });
        let key = jsonwebtoken::EncodingKey::from_ec_der(&self.0.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}
