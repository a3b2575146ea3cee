//! TLS: certificates, client certificates, and their reload while connections live on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{fabrikam, refuses_to_start};
use crate::support::wire::{Authority, Connection, Pair, Version};
use crate::support::{Content, Sidecar, until};

/// A sidecar behind TLS, on certificates in a folder of its own.
struct Secured {
    content: Content,
    authority: Authority,
    sidecar: Sidecar,
}

/// The options of a listener with the pair `server` of a folder.
fn options(content: &Content, more: &[&str]) -> Vec<String> {
    let file = |name: &str| content.path(name).display().to_string();
    let mut args = vec!["--listen".to_owned(), "https://127.0.0.1:0".to_owned()];
    args.extend(["--tls-cert".to_owned(), file("server.crt"), "--tls-key".to_owned(), file("server.key")]);
    args.extend(more.iter().map(|arg| arg.strip_prefix('@').map_or((*arg).to_owned(), file)));
    args
}

fn secured(more: &[&str]) -> Secured {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    authority.issue("mandate", &["localhost"], &[]).write(&content.path(""), "server");
    content.write("clients.pem", &authority.pem());
    let args = options(&content, more);
    let sidecar = content.serve_with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    Secured { content, authority, sidecar }
}

impl Secured {
    fn open(&self, identity: Option<&Pair>, version: Version) -> Result<Connection, String> {
        Connection::open(&self.sidecar.decisions, version, Some(&self.authority.client(identity)))
    }

    fn asked_by(&self, identity: Option<&Pair>) -> Result<u16, String> {
        Ok(self.open(identity, Version::One)?.ask(&fabrikam(), None)?.status)
    }
}

#[test]
fn both_versions_over_tls() {
    let secured = secured(&[]);
    assert!(secured.sidecar.decisions.starts_with("https://127.0.0.1:"));
    for version in [Version::One, Version::Two] {
        let mut connection = secured.open(None, version).unwrap();
        let reply = connection.ask(&fabrikam(), None).unwrap();
        assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!(true)));
    }
    let status = secured.sidecar.status();
    let listener = &status["listeners"][1];
    assert_eq!(
        (&listener["tls"], &listener["files"][0]["expires"]),
        (&json!(true), &json!("2099-01-01T00:00:00Z"))
    );
    let name = format!(
        r#"mandate_certificate_expiry_timestamp_seconds{{file="{}"}}"#,
        secured.content.path("server.crt").display()
    );
    assert_eq!(secured.sidecar.metric(&name) as u64, 4_070_908_800);
    let other = Authority::new("others").client(None);
    assert!(Connection::open(&secured.sidecar.decisions, Version::One, Some(&other)).is_err());
    until("it is counted", || secured.sidecar.metric("mandate_handshake_failures_total") as u64 == 1);
}

#[test]
fn client_certificates_are_demanded() {
    let secured = secured(&["--tls-client-ca", "@clients.pem"]);
    let client = secured.authority.issue("gateway", &[], &[]);
    let stranger = Authority::new("strangers").issue("gateway", &[], &[]);
    let expired = secured.authority.issue_until("gateway", &[], &[], 2020);
    assert_eq!(secured.asked_by(Some(&client)), Ok(200));
    for refused in [None, Some(&stranger), Some(&expired)] {
        assert!(secured.asked_by(refused).is_err());
    }
    assert_eq!(secured.sidecar.status()["listeners"][1]["authentication"], json!(["client certificate"]));
    until("they are counted", || secured.sidecar.metric("mandate_handshake_failures_total") as u64 == 3);
}

#[test]
fn only_named_clients_may_ask() {
    let names = "spiffe://a/gateway,gateway.local,by-subject";
    let secured = secured(&["--tls-client-ca", "@clients.pem", "--tls-client-names", names]);
    let asked_by = |subject: &str, hosts: &[&str], uris: &[&str]| {
        secured.asked_by(Some(&secured.authority.issue(subject, hosts, uris))).unwrap()
    };
    assert_eq!(asked_by("x", &[], &["spiffe://a/gateway"]), 200);
    assert_eq!(asked_by("x", &["other", "gateway.local"], &[]), 200);
    assert_eq!(asked_by("by-subject", &[], &[]), 200);
    assert_eq!(asked_by("x", &[], &["spiffe://a/other"]), 403);
    assert_eq!(asked_by("by-subject", &["other"], &[]), 403, "a subject counts only without other names");
    let mut connection = secured.open(Some(&secured.authority.issue("x", &[], &[])), Version::Two).unwrap();
    let reply = connection.ask(&fabrikam(), None).unwrap();
    assert_eq!(reply.body, "the client certificate of `x` is not allowed on this listener");
    assert_eq!(secured.sidecar.metric(r#"mandate_rejected_total{reason="forbidden"}"#) as u64, 3);
}

/// A certificate and a token: one does not stand for the other.
#[test]
fn a_token_is_needed_beside_a_certificate() {
    let content = Content::of_pack();
    content.write("tokens", "alice 0123456789abcdef\n");
    let file = content.path("tokens").display().to_string();
    let secured = secured(&["--tls-client-ca", "@clients.pem", "--tokens", &file]);
    let client = secured.authority.issue("gateway", &[], &[]);
    let mut connection = secured.open(Some(&client), Version::Two).unwrap();
    let mut ask = |token| connection.ask(&fabrikam(), token).unwrap().status;
    assert_eq!((ask(None), ask(Some("0123456789abcdee")), ask(Some("0123456789abcdef"))), (401, 401, 200));
    assert!(secured.asked_by(None).is_err(), "a token does not replace a certificate");
    let kinds = &secured.sidecar.status()["listeners"][1]["authentication"];
    assert_eq!(*kinds, json!(["client certificate", "tokens"]));
}

/// The expiry that new handshakes see.
fn year(secured: &Secured) -> String {
    secured.sidecar.status()["listeners"][1]["files"][0]["expires"].as_str().unwrap()[..4].to_owned()
}

#[test]
fn new_certificates_come_into_use_under_load() {
    let secured = secured(&[]);
    let asking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let load = |version| {
            let mut connection = secured.open(None, version).unwrap();
            while asking.load(Ordering::Relaxed) {
                assert_eq!(connection.ask(&fabrikam(), None).unwrap().status, 200);
            }
        };
        let loads = [scope.spawn(move || load(Version::One)), scope.spawn(move || load(Version::Two))];
        // A new authority shows that new handshakes use the new pair.
        let renewed = Authority::new("renewed");
        renewed.issue_until("mandate", &["localhost"], &[], 2098).write(&secured.content.path(""), "server");
        until("the new pair is in use", || year(&secured) == "2098");
        let client = renewed.client(None);
        assert!(Connection::open(&secured.sidecar.decisions, Version::One, Some(&client)).is_ok());
        assert!(secured.open(None, Version::One).is_err(), "the old authority is of no use");
        asking.store(false, Ordering::Relaxed);
        for load in loads {
            load.join().unwrap();
        }
    });
}

#[test]
fn a_broken_pair_keeps_the_last_good_one() {
    let secured = secured(&[]);
    let metric = format!(
        r#"mandate_listener_file_refused{{file="{}"}}"#,
        secured.content.path("server.crt").display()
    );
    let good = secured.content.read("server.key");
    for (broken, says) in [("nothing", "has no private key"), ("", "has no private key")] {
        secured.content.place("server.key", broken);
        until("it is refused", || secured.sidecar.metric(&metric) as u64 == 1);
        let refused = secured.sidecar.status()["listeners"][1]["files"][0]["refused"].clone();
        assert!(refused.as_str().unwrap().contains(says), "{refused}");
        assert_eq!(secured.asked_by(None), Ok(200));
    }
    let other = secured.authority.issue("other", &["localhost"], &[]);
    secured.content.place("server.key", &other.key);
    until("the log tells", || secured.sidecar.log().contains("does not belong to the certificate"));
    assert_eq!(secured.sidecar.log().matches("does not belong to the certificate").count(), 1);
    secured.content.place("server.key", &good);
    until("it is used again", || secured.sidecar.metric(&metric) as u64 == 0);
}

/// Kubernetes puts a new folder in the place of an old one by one link.
#[test]
fn certificates_behind_a_link_that_is_swapped() {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    for (folder, year) in [("one", 2090), ("two", 2091)] {
        std::fs::create_dir(content.path(folder)).unwrap();
        let pair = authority.issue_until("mandate", &["localhost"], &[], year);
        pair.write(&content.path(folder), "server");
    }
    let link = |folder: &str| {
        std::os::unix::fs::symlink(folder, content.path("..new")).unwrap();
        std::fs::rename(content.path("..new"), content.path("..data")).unwrap();
    };
    link("one");
    for name in ["server.crt", "server.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), content.path(name)).unwrap();
    }
    let args = options(&content, &[]);
    let sidecar = content.serve_with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let secured = Secured { content: Content::of_pack(), authority, sidecar };
    assert_eq!(year(&secured), "2090");
    link("two");
    until("the new pair is in use", || year(&secured) == "2091");
    assert_eq!(secured.asked_by(None), Ok(200));
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    authority.issue("mandate", &["localhost"], &[]).write(&content.path(""), "server");
    authority.issue("other", &["localhost"], &[]).write(&content.path(""), "other");
    let check = |cert: &str, key: &str, more: &[&str], says: &[&str]| {
        let file = |name: &str| content.path(name).display().to_string();
        let (cert, key) = (file(cert), file(key));
        let mut args = vec!["--listen", "https://127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
        args.extend(more);
        refuses_to_start(&content, &args, says);
    };
    check("server.crt", "other.key", &[], &["other.key` does not belong to the certificate", "server.crt`"]);
    check("server.key", "server.key", &[], &["server.key` has no certificate: it has to be PEM"]);
    check("server.crt", "server.crt", &[], &["server.crt` has no private key"]);
    check("none", "gone", &[], &["cannot read `", "/none`", "/gone`"]);
    check(
        "server.crt",
        "server.key",
        &["--tls-client-names", "x"],
        &["`tls-client-names` needs `tls-client-ca`"],
    );
    check("server.crt", "server.key", &["--tls-client-names", ""], &["`tls-client-names` is empty"]);
    refuses_to_start(&content, &["--listen", "https://127.0.0.1:0"], &["needs `tls-cert` and `tls-key`"]);
    refuses_to_start(&content, &["--tls-cert", "x"], &["`tls-cert` needs `tls-key`"]);
    refuses_to_start(
        &content,
        &["--tls-cert", "x", "--tls-key", "y"],
        &["no address begins with `https://`"],
    );
    let file = |name: &str| content.path(name).display().to_string();
    let (cert, key) = (file("server.crt"), file("server.key"));
    let public = ["--listen", "https://0.0.0.0:0", "--tls-cert", &cert, "--tls-key", &key];
    refuses_to_start(
        &content,
        &public,
        &["`https://0.0.0.0:0` can be reached from other machines, and it does not authenticate callers"],
    );
}

#[test]
fn an_expired_certificate_is_said() {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    authority.issue_until("mandate", &["localhost"], &[], 2020).write(&content.path(""), "server");
    let args = options(&content, &[]);
    let sidecar = content.serve_with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(sidecar.log().contains("the certificate has expired"), "{}", sidecar.log());
}

/// Requests in flight end, and a handshake that does not come on is not waited for.
#[test]
fn half_handshakes_do_not_hold_up_the_end() {
    let mut secured = secured(&["--shutdown-delay", "0s", "--read-timeout", "60s"]);
    let mut idle = secured.open(None, Version::Two).unwrap();
    assert_eq!(idle.ask(&fabrikam(), None).unwrap().status, 200);
    let mut half = TcpStream::connect(secured.sidecar.decisions.strip_prefix("https://").unwrap()).unwrap();
    half.write_all(&[22, 3, 1]).unwrap();
    secured.sidecar.signal("TERM");
    assert_eq!(secured.sidecar.exit_code(), Some(0));
    assert!(!secured.sidecar.log().contains("drain timeout has passed"), "{}", secured.sidecar.log());
}

/// Whatever a stranger sends to the port, others are served.
#[test]
fn strangers_do_not_hold_up_others() {
    let secured = secured(&["--read-timeout", "1s"]);
    let address = secured.sidecar.decisions.strip_prefix("https://").unwrap();
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let silent: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    let mut garbage = connect();
    garbage.write_all(&[0x55; 4096]).unwrap();
    let mut plain = connect();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    // The first bytes of a handshake, and no more.
    let mut half = connect();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
    assert_eq!(secured.asked_by(None), Ok(200));
    for mut stream in silent.into_iter().chain([garbage, plain, half]) {
        // Ends, by an end or a reset; a timeout would be an error of another kind.
        let ended = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    }
    assert_eq!(secured.asked_by(None), Ok(200));
    until("they are counted", || secured.sidecar.metric("mandate_handshake_failures_total") as u64 == 203);
}
