//! TLS: certificates, client certificates, and their reload while connections stay open.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{check_refused_start, permitted_question};
use crate::support::wire::{Authority, Connection, Pair, Version};
use crate::support::{Content, Sidecar, until};

/// A sidecar with TLS. Its certificate is in the folder of its content.
struct TlsSidecar {
    content: Content,
    authority: Authority,
    sidecar: Sidecar,
}

/// The options of a listener with TLS, which uses `server.crt` and `server.key`. An argument `@name` in
/// `more` stands for the path of that file.
fn tls_options(content: &Content, more: &[&str]) -> Vec<String> {
    let file = |name: &str| content.path(name).display().to_string();
    let mut args = vec!["--listen".to_owned(), "https://127.0.0.1:0".to_owned()];
    args.extend(["--tls-cert".to_owned(), file("server.crt"), "--tls-key".to_owned(), file("server.key")]);
    args.extend(more.iter().map(|arg| arg.strip_prefix('@').map_or((*arg).to_owned(), file)));
    args
}

fn tls_sidecar(more: &[&str]) -> TlsSidecar {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    authority.issue("mandate", &["localhost"], &[]).write(&content.path(""), "server");
    content.write("clients.pem", &authority.pem());
    let args = tls_options(&content, more);
    let sidecar = content.serve_with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    TlsSidecar { content, authority, sidecar }
}

impl TlsSidecar {
    fn open(&self, identity: Option<&Pair>, version: Version) -> Result<Connection, String> {
        Connection::open(&self.sidecar.decisions, version, Some(&self.authority.client(identity)))
    }

    /// The status of an answer to a client with this certificate.
    fn ask(&self, identity: Option<&Pair>) -> Result<u16, String> {
        Ok(self.open(identity, Version::Http1)?.ask(&permitted_question(), None)?.status)
    }
}

#[test]
fn tls_serves_both_versions_of_http() {
    let tls = tls_sidecar(&[]);
    assert!(tls.sidecar.decisions.starts_with("https://127.0.0.1:"));
    for version in [Version::Http1, Version::Http2] {
        let mut connection = tls.open(None, version).unwrap();
        let reply = connection.ask(&permitted_question(), None).unwrap();
        assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!(true)));
    }
    let status = tls.sidecar.status();
    let listener = &status["listeners"][1];
    assert_eq!(
        (&listener["tls"], &listener["files"][0]["expires"]),
        (&json!(true), &json!("2099-01-01T00:00:00Z"))
    );
    let metric = format!(
        r#"mandate_certificate_expiry_timestamp_seconds{{file="{}"}}"#,
        tls.content.path("server.crt").display()
    );
    assert_eq!(tls.sidecar.metric(&metric) as u64, 4_070_908_800);
    let other = Authority::new("others").client(None);
    assert!(Connection::open(&tls.sidecar.decisions, Version::Http1, Some(&other)).is_err());
    until("the failed handshake is counted", || {
        tls.sidecar.metric("mandate_handshake_failures_total") as u64 == 1
    });
}

#[test]
fn only_valid_client_certificates_are_accepted() {
    let tls = tls_sidecar(&["--tls-client-ca", "@clients.pem"]);
    let client = tls.authority.issue("gateway", &[], &[]);
    let stranger = Authority::new("strangers").issue("gateway", &[], &[]);
    let expired = tls.authority.issue_until("gateway", &[], &[], 2020);
    assert_eq!(tls.ask(Some(&client)), Ok(200));
    for refused in [None, Some(&stranger), Some(&expired)] {
        assert!(tls.ask(refused).is_err());
    }
    assert_eq!(tls.sidecar.status()["listeners"][1]["authentication"], json!(["client certificate"]));
    until("the failed handshakes are counted", || {
        tls.sidecar.metric("mandate_handshake_failures_total") as u64 == 3
    });
}

#[test]
fn only_clients_with_an_allowed_name_are_accepted() {
    let names = "spiffe://a/gateway,gateway.local,by-subject";
    let tls = tls_sidecar(&["--tls-client-ca", "@clients.pem", "--tls-client-names", names]);
    let ask_as = |subject: &str, hosts: &[&str], uris: &[&str]| {
        tls.ask(Some(&tls.authority.issue(subject, hosts, uris))).unwrap()
    };
    assert_eq!(ask_as("x", &[], &["spiffe://a/gateway"]), 200);
    assert_eq!(ask_as("x", &["other", "gateway.local"], &[]), 200);
    assert_eq!(ask_as("by-subject", &[], &[]), 200);
    assert_eq!(ask_as("x", &[], &["spiffe://a/other"]), 403);
    assert_eq!(
        ask_as("by-subject", &["other"], &[]),
        403,
        "the subject counts only if there are no other names"
    );
    let mut connection = tls.open(Some(&tls.authority.issue("x", &[], &[])), Version::Http2).unwrap();
    let reply = connection.ask(&permitted_question(), None).unwrap();
    assert_eq!(reply.body, "the client certificate of `x` is not allowed on this listener");
    assert_eq!(tls.sidecar.metric(r#"mandate_rejected_total{reason="forbidden"}"#) as u64, 3);
}

#[test]
fn a_client_certificate_and_a_token_can_both_be_required() {
    let content = Content::of_pack();
    content.write("tokens", "alice 0123456789abcdef\n");
    let file = content.path("tokens").display().to_string();
    let tls = tls_sidecar(&["--tls-client-ca", "@clients.pem", "--tokens", &file]);
    let client = tls.authority.issue("gateway", &[], &[]);
    let mut connection = tls.open(Some(&client), Version::Http2).unwrap();
    let mut ask = |token| connection.ask(&permitted_question(), token).unwrap().status;
    assert_eq!((ask(None), ask(Some("0123456789abcdee")), ask(Some("0123456789abcdef"))), (401, 401, 200));
    assert!(tls.ask(None).is_err(), "a token does not replace a certificate");
    let authentication = &tls.sidecar.status()["listeners"][1]["authentication"];
    assert_eq!(*authentication, json!(["client certificate", "tokens"]));
}

/// The year in which the certificate in use expires.
fn expiry_year(tls: &TlsSidecar) -> String {
    tls.sidecar.status()["listeners"][1]["files"][0]["expires"].as_str().unwrap()[..4].to_owned()
}

#[test]
fn a_new_certificate_comes_into_use_without_failed_requests() {
    let tls = tls_sidecar(&[]);
    let keep_asking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let load = |version| {
            let mut connection = tls.open(None, version).unwrap();
            while keep_asking.load(Ordering::Relaxed) {
                assert_eq!(connection.ask(&permitted_question(), None).unwrap().status, 200);
            }
        };
        let threads = [scope.spawn(move || load(Version::Http1)), scope.spawn(move || load(Version::Http2))];
        // The new certificate is from a new authority, so a client can tell which one a handshake uses.
        let renewed = Authority::new("renewed");
        renewed.issue_until("mandate", &["localhost"], &[], 2098).write(&tls.content.path(""), "server");
        until("the new certificate is in use", || expiry_year(&tls) == "2098");
        let client = renewed.client(None);
        assert!(Connection::open(&tls.sidecar.decisions, Version::Http1, Some(&client)).is_ok());
        assert!(tls.open(None, Version::Http1).is_err(), "the new certificate is not from the old authority");
        keep_asking.store(false, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn the_last_good_certificate_stays_if_a_new_file_is_broken() {
    let tls = tls_sidecar(&[]);
    let metric =
        format!(r#"mandate_listener_file_refused{{file="{}"}}"#, tls.content.path("server.crt").display());
    let good = tls.content.read("server.key");
    for (broken, message) in [("nothing", "has no private key"), ("", "has no private key")] {
        tls.content.replace_file("server.key", broken);
        until("the broken key is refused", || tls.sidecar.metric(&metric) as u64 == 1);
        let refused = tls.sidecar.status()["listeners"][1]["files"][0]["refused"].clone();
        assert!(refused.as_str().unwrap().contains(message), "{refused}");
        assert_eq!(tls.ask(None), Ok(200));
    }
    let other = tls.authority.issue("other", &["localhost"], &[]);
    tls.content.replace_file("server.key", &other.key);
    until("the log shows the error", || tls.sidecar.log().contains("does not belong to the certificate"));
    assert_eq!(tls.sidecar.log().matches("does not belong to the certificate").count(), 1);
    tls.content.replace_file("server.key", &good);
    until("the original key is accepted again", || tls.sidecar.metric(&metric) as u64 == 0);
}

/// Kubernetes updates a mounted secret by replacing one symbolic link to a folder.
#[test]
fn a_certificate_is_loaded_after_its_symbolic_link_is_replaced() {
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
    let args = tls_options(&content, &[]);
    let sidecar = content.serve_with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let tls = TlsSidecar { content: Content::of_pack(), authority, sidecar };
    assert_eq!(expiry_year(&tls), "2090");
    link("two");
    until("the new certificate is in use", || expiry_year(&tls) == "2091");
    assert_eq!(tls.ask(None), Ok(200));
}

#[test]
fn serve_refuses_to_start_with_wrong_tls_files_and_options() {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    authority.issue("mandate", &["localhost"], &[]).write(&content.path(""), "server");
    authority.issue("other", &["localhost"], &[]).write(&content.path(""), "other");
    let check = |cert: &str, key: &str, more: &[&str], messages: &[&str]| {
        let file = |name: &str| content.path(name).display().to_string();
        let (cert, key) = (file(cert), file(key));
        let mut args = vec!["--listen", "https://127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
        args.extend(more);
        check_refused_start(&content, &args, messages);
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
    check_refused_start(&content, &["--listen", "https://127.0.0.1:0"], &["needs `tls-cert` and `tls-key`"]);
    check_refused_start(&content, &["--tls-cert", "x"], &["`tls-cert` needs `tls-key`"]);
    check_refused_start(
        &content,
        &["--tls-cert", "x", "--tls-key", "y"],
        &["no address begins with `https://`"],
    );
    let file = |name: &str| content.path(name).display().to_string();
    let (cert, key) = (file("server.crt"), file("server.key"));
    let public = ["--listen", "https://0.0.0.0:0", "--tls-cert", &cert, "--tls-key", &key];
    check_refused_start(
        &content,
        &public,
        &["`https://0.0.0.0:0` can be reached from other machines, and it does not authenticate callers"],
    );
}

#[test]
fn an_expired_certificate_is_logged() {
    let content = Content::of_pack();
    let authority = Authority::new("servers");
    authority.issue_until("mandate", &["localhost"], &[], 2020).write(&content.path(""), "server");
    let args = tls_options(&content, &[]);
    let sidecar = content.serve_with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(sidecar.log().contains("the certificate has expired"), "{}", sidecar.log());
}

#[test]
fn an_unfinished_handshake_does_not_delay_the_shutdown() {
    let mut tls = tls_sidecar(&["--shutdown-delay", "0s", "--read-timeout", "60s"]);
    let mut idle = tls.open(None, Version::Http2).unwrap();
    assert_eq!(idle.ask(&permitted_question(), None).unwrap().status, 200);
    let mut unfinished = TcpStream::connect(tls.sidecar.decisions.strip_prefix("https://").unwrap()).unwrap();
    unfinished.write_all(&[22, 3, 1]).unwrap();
    tls.sidecar.signal("TERM");
    assert_eq!(tls.sidecar.exit_code(), Some(0));
    assert!(!tls.sidecar.log().contains("drain timeout has passed"), "{}", tls.sidecar.log());
}

#[test]
fn connections_without_a_valid_handshake_do_not_delay_others() {
    let tls = tls_sidecar(&["--read-timeout", "1s"]);
    let address = tls.sidecar.decisions.strip_prefix("https://").unwrap();
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
    // Only the first bytes of a handshake.
    let mut unfinished = connect();
    unfinished.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
    assert_eq!(tls.ask(None), Ok(200));
    for mut stream in silent.into_iter().chain([garbage, plain, unfinished]) {
        // The sidecar closes or resets the connection. A timeout would be another kind of error.
        let ended = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    }
    assert_eq!(tls.ask(None), Ok(200));
    until("the failed handshakes are counted", || {
        tls.sidecar.metric("mandate_handshake_failures_total") as u64 == 203
    });
}
