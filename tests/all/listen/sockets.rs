//! Addresses of listeners: several at a time, unix sockets and their files, and addresses that are refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::{check_refused_start, permitted_question};
use crate::support::wire::{Connection, Version};
use crate::support::{Content, Sidecar, get, until};

#[track_caller]
fn check_permit(address: &str, version: Version) {
    let mut connection = Connection::open(address, version, None).unwrap();
    for _ in 0..2 {
        let reply = connection.ask(&permitted_question(), None).unwrap();
        assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!(true)));
    }
}

/// The address of a unix socket in the folder of the content.
fn socket_address(content: &Content, name: &str) -> String {
    format!("unix:{}", content.path(name).display())
}

#[test]
fn several_listeners_give_the_same_answers() {
    let content = Content::of_pack();
    let socket = socket_address(&content, "a.sock");
    let args = ["--listen", "127.0.0.1:0", "--listen", &socket, "--listen", "http://127.0.0.2:0"];
    let sidecar = content.serve_with(&args);
    assert!(sidecar.listeners[0].starts_with("http://127.0.0.1:"), "{:?}", sidecar.listeners);
    assert_eq!(sidecar.listeners[1], socket);
    assert!(sidecar.listeners[2].starts_with("http://127.0.0.2:"), "{:?}", sidecar.listeners);
    for address in &sidecar.listeners {
        check_permit(address, Version::Http1);
        check_permit(address, Version::Http2);
    }
    let status = sidecar.status();
    let listeners = status["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 4);
    assert_eq!((&listeners[0]["serves"], &listeners[1]["serves"]), (&json!("admin"), &json!("decisions")));
    assert_eq!(listeners[2]["address"], json!(socket));
}

#[test]
fn the_socket_file_is_created_at_the_start_and_removed_at_the_end() {
    let content = Content::of_pack();
    let (socket, file) = (socket_address(&content, "a.sock"), content.path("a.sock"));
    let args = ["--listen", &socket, "--socket-mode", "600", "--shutdown-delay", "0s"];
    let mut sidecar = content.serve_with(&args);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    sidecar.signal("TERM");
    assert_eq!(sidecar.exit_code(), Some(0));
    assert!(!file.exists());
    let files: Vec<_> =
        fs::read_dir(content.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name.to_string_lossy().contains("sock")), "{files:?}");
}

#[test]
fn the_socket_file_of_an_ended_process_is_replaced() {
    let content = Content::of_pack();
    let (socket, file) = (socket_address(&content, "a.sock"), content.path("a.sock"));
    drop(UnixListener::bind(&file).unwrap());
    assert!(fs::metadata(&file).unwrap().file_type().is_socket(), "the file is left behind");
    let sidecar = content.serve_with(&["--listen", &socket]);
    check_permit(&socket, Version::Http1);
    sidecar.signal("KILL");
    until("the sidecar has ended", || Connection::open(&socket, Version::Http1, None).is_err());
    assert!(file.exists(), "a killed process cannot remove its file");
    let sidecar = content.serve_with(&["--listen", &socket]);
    check_permit(&socket, Version::Http1);
    drop(sidecar);
}

#[test]
fn a_socket_file_that_another_process_has_replaced_is_not_removed() {
    let content = Content::of_pack();
    let (socket, file) = (socket_address(&content, "a.sock"), content.path("a.sock"));
    let mut sidecar = content.serve_with(&["--listen", &socket, "--shutdown-delay", "0s"]);
    fs::remove_file(&file).unwrap();
    let other = UnixListener::bind(&file).unwrap();
    sidecar.signal("TERM");
    assert_eq!(sidecar.exit_code(), Some(0));
    assert!(file.exists());
    drop(other);
}

#[test]
fn a_socket_that_is_in_use_is_not_replaced() {
    let content = Content::of_pack();
    let socket = socket_address(&content, "a.sock");
    let _in_use = UnixListener::bind(content.path("a.sock")).unwrap();
    let args = ["--admin-listen", "127.0.0.1:0", "--listen", &socket];
    check_refused_start(&content, &args, &["cannot listen on unix:", "another process is listening on it"]);
    content.write("file", "");
    let file = socket_address(&content, "file");
    let args = ["--admin-listen", "127.0.0.1:0", "--listen", &file];
    check_refused_start(&content, &args, &["the path has a file that is not a socket"]);
    let nowhere = socket_address(&content, "nowhere/a.sock");
    let args = ["--admin-listen", "127.0.0.1:0", "--listen", &nowhere];
    check_refused_start(&content, &args, &["cannot listen on unix:", "No such file"]);
}

#[test]
fn wrong_and_unsafe_addresses_are_refused_with_all_errors() {
    let content = Content::of_pack();
    check_refused_start(
        &content,
        &["--listen", "localhost"],
        &["`localhost` is not a valid address", "unix:"],
    );
    check_refused_start(
        &content,
        &["--listen", "127.0.0.1:9,127.0.0.1:9"],
        &["two listeners have the same address, http://127.0.0.1:9"],
    );
    check_refused_start(&content, &["--socket-mode", "rw"], &["`rw` is not a file mode"]);
    let public =
        ["--listen=0.0.0.0:0", "--listen=[::]:0", "--listen=127.0.0.1:0", "--admin-listen=0.0.0.0:0"];
    check_refused_start(
        &content,
        &public,
        &[
            "`http://0.0.0.0:0` can be reached from other machines, and it has no TLS and does not authenticate callers",
            "`http://[::]:0` can be reached from other machines",
            "--insecure",
        ],
    );
    let output = content.mandate("serve", &public);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).matches("can be reached from other machines").count(),
        3
    );
}

#[test]
fn with_insecure_an_unsafe_address_is_a_warning() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--listen", "0.0.0.0:0", "--insecure"]);
    assert!(
        sidecar.log().contains("insecure: this address can be reached from other machines"),
        "{}",
        sidecar.log()
    );
    check_permit(&sidecar.decisions.replace("0.0.0.0", "127.0.0.1"), Version::Http1);
}

#[test]
fn each_listener_in_the_file_has_its_own_options() {
    let content = Content::of_pack();
    content.write("tokens", "alice 0123456789abcdef\n");
    let tokens = content.path("tokens").display().to_string();
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\ntokens = {tokens:?}\n\
         [[listener]]\naddress = {:?}\nsocket-mode = \"606\"\n[admin]\naddress = \"0.0.0.0:0\"\ninsecure = true\n",
        socket_address(&content, "b.sock"),
    );
    let sidecar = content.serve_with_config(&config, 3);
    check_permit(&sidecar.listeners[0], Version::Http1);
    check_permit(&sidecar.listeners[2], Version::Http1);
    assert_eq!(fs::metadata(content.path("b.sock")).unwrap().permissions().mode() & 0o777, 0o606);
    let ask = |token| {
        let mut connection = Connection::open(&sidecar.listeners[1], Version::Http1, None).unwrap();
        connection.ask(&permitted_question(), token).unwrap().status
    };
    assert_eq!((ask(None), ask(Some("0123456789abcdef"))), (401, 200));
}

#[test]
fn errors_in_the_file_are_reported_with_their_places() {
    let content = Content::of_pack();
    let check = |config: &str, messages: &[&str]| {
        content.write("mandate.toml", config);
        let file = content.path("mandate.toml").display().to_string();
        check_refused_start(&content, &["--config", &file], messages);
    };
    check("\nlisen = 1", &["mandate.toml:2:1", "unknown field `lisen`", "`listen`"]);
    check("[[listener]]\nadress = \"x\"", &["mandate.toml:2:1", "unknown field `adress`", "`address`"]);
    check("[[listener]]\ntokens = \"x\"", &["a `[[listener]]` has no `address`"]);
    check("admin-listen = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"", &["are the same option"]);
    check("socket-mode = \"888\"", &["mandate.toml:1:15", "`888` is not a file mode"]);
    check("listen = [\"127.0.0.1:0\", \"x\"]", &["`x` is not a valid address"]);
    check("max-header-bytes = 100", &["mandate.toml:1:20", "`max-header-bytes`: has to be at least 8192"]);
    check(
        "[limits]\nmax-json-depth = 128",
        &["mandate.toml:2:18", "`max-json-depth`: has to be at most 127"],
    );
    check(
        "[limits]\nrequest-timeout = \"0s\"",
        &["mandate.toml:2:19", "`request-timeout`: has to be more than 0s"],
    );
    check("[limits]\nmax-bach = 1", &["mandate.toml:2:1", "unknown field `max-bach`", "`max-batch`"]);
    check(
        "max-batch = 1\n[limits]\nmax-batch = 1",
        &["mandate.toml:1:1", "`max-batch` is set at the top level and in `[limits]`, line 3"],
    );
}

#[test]
fn listeners_in_flags_replace_all_listeners_of_the_file() {
    let content = Content::of_pack();
    content
        .write("mandate.toml", "[[listener]]\naddress = \"0.0.0.0:1\"\n[admin]\naddress = \"0.0.0.0:2\"\n");
    let file = content.path("mandate.toml").display().to_string();
    let sidecar: Sidecar = content.serve_with(&["--config", &file]);
    check_permit(&sidecar.decisions, Version::Http1);
}

#[test]
fn health_probes_have_a_port_that_other_machines_may_reach() {
    let sidecar = Sidecar::of_pack(&["--health-listen", "0.0.0.0:0", "--shutdown-delay", "20s"]);
    let address = sidecar.health.clone().unwrap().replace("0.0.0.0", "127.0.0.1");
    let probe = |path: &str| {
        let reply = get(&format!("{address}{path}"));
        (reply.status, reply.body)
    };
    assert_eq!(probe("/livez"), (200, "ok\n".to_owned()));
    assert_eq!(probe("/readyz"), (200, "ready\n".to_owned()));
    for path in ["/", "/status", "/metrics", "/access/v1/evaluation"] {
        assert_eq!(probe(path), (404, "no such path: use /livez or /readyz\n".to_owned()), "{path}");
    }
    assert!(!sidecar.log().contains("insecure"), "{}", sidecar.log());
    let listeners = sidecar.status()["listeners"].clone();
    assert!(listeners.as_array().unwrap().iter().any(|it| it["serves"] == "health"), "{listeners}");
    sidecar.signal("TERM");
    until("it is not ready", || probe("/readyz") == (503, "stopping\n".to_owned()));
    assert_eq!(probe("/livez").0, 200);
}

#[test]
fn the_address_of_health_probes_is_checked() {
    let content = Content::of_pack();
    let https = ["--health-listen", "https://0.0.0.0:8443"];
    check_refused_start(&content, &https, &["`health-listen` has no TLS: use `http://` or `unix:`"]);
    let taken = ["--health-listen", "127.0.0.1:8181"];
    check_refused_start(&content, &taken, &["two listeners have the same address"]);
    content.write("mandate.toml", "health-listen = \"nowhere\"");
    let path = content.path("mandate.toml");
    check_refused_start(&content, &["--config", path.to_str().unwrap()], &["nowhere"]);
}
