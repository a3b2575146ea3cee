//! Addresses: several at a time, unix sockets and their files, and what is refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::{fabrikam, refuses_to_start};
use crate::support::wire::{Connection, Version};
use crate::support::{Content, Sidecar, until};

#[track_caller]
fn permits(address: &str, version: Version) {
    let mut connection = Connection::open(address, version, None).unwrap();
    for _ in 0..2 {
        let reply = connection.ask(&fabrikam(), None).unwrap();
        assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!(true)));
    }
}

fn path(content: &Content, name: &str) -> String {
    format!("unix:{}", content.path(name).display())
}

#[test]
fn several_listeners_serve_the_same() {
    let content = Content::of_pack();
    let socket = path(&content, "a.sock");
    let args = ["--listen", "127.0.0.1:0", "--listen", &socket, "--listen", "http://127.0.0.2:0"];
    let sidecar = content.serve_with(&args);
    assert!(sidecar.listeners[0].starts_with("http://127.0.0.1:"), "{:?}", sidecar.listeners);
    assert_eq!(sidecar.listeners[1], socket);
    assert!(sidecar.listeners[2].starts_with("http://127.0.0.2:"), "{:?}", sidecar.listeners);
    for address in &sidecar.listeners {
        permits(address, Version::One);
        permits(address, Version::Two);
    }
    let status = sidecar.status();
    let listeners = status["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 4);
    assert_eq!((&listeners[0]["serves"], &listeners[1]["serves"]), (&json!("admin"), &json!("decisions")));
    assert_eq!(listeners[2]["address"], json!(socket));
}

#[test]
fn the_file_of_a_socket_comes_and_goes() {
    let content = Content::of_pack();
    let (socket, file) = (path(&content, "a.sock"), content.path("a.sock"));
    let args = ["--listen", &socket, "--socket-mode", "600", "--shutdown-delay", "0s"];
    let mut sidecar = content.serve_with(&args);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    sidecar.signal("TERM");
    assert_eq!(sidecar.exit_code(), Some(0));
    assert!(!file.exists());
    let left: Vec<_> =
        fs::read_dir(content.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("sock")), "{left:?}");
}

#[test]
fn a_socket_of_a_process_that_is_gone_is_replaced() {
    let content = Content::of_pack();
    let (socket, file) = (path(&content, "a.sock"), content.path("a.sock"));
    drop(UnixListener::bind(&file).unwrap());
    assert!(fs::metadata(&file).unwrap().file_type().is_socket(), "it is left behind");
    let sidecar = content.serve_with(&["--listen", &socket]);
    permits(&socket, Version::One);
    sidecar.signal("KILL");
    until("it is gone", || Connection::open(&socket, Version::One, None).is_err());
    assert!(file.exists(), "killed, so it could not be removed");
    let sidecar = content.serve_with(&["--listen", &socket]);
    permits(&socket, Version::One);
    drop(sidecar);
}

/// What another process put in its place belongs to that process.
#[test]
fn a_socket_that_was_replaced_is_left_alone() {
    let content = Content::of_pack();
    let (socket, file) = (path(&content, "a.sock"), content.path("a.sock"));
    let mut sidecar = content.serve_with(&["--listen", &socket, "--shutdown-delay", "0s"]);
    fs::remove_file(&file).unwrap();
    let other = UnixListener::bind(&file).unwrap();
    sidecar.signal("TERM");
    assert_eq!(sidecar.exit_code(), Some(0));
    assert!(file.exists());
    drop(other);
}

#[test]
fn a_living_socket_is_not_taken() {
    let content = Content::of_pack();
    let socket = path(&content, "a.sock");
    let _living = UnixListener::bind(content.path("a.sock")).unwrap();
    let admin = ["--admin-listen", "127.0.0.1:0", "--listen", &socket];
    refuses_to_start(&content, &admin, &["cannot listen on unix:", "another process is listening on it"]);
    content.write("file", "");
    let file = path(&content, "file");
    let admin = ["--admin-listen", "127.0.0.1:0", "--listen", &file];
    refuses_to_start(&content, &admin, &["the path has a file that is not a socket"]);
    let nowhere = path(&content, "nowhere/a.sock");
    let admin = ["--admin-listen", "127.0.0.1:0", "--listen", &nowhere];
    refuses_to_start(&content, &admin, &["cannot listen on unix:", "No such file"]);
}

#[test]
fn addresses_that_cannot_be_are_refused_all_at_once() {
    let content = Content::of_pack();
    refuses_to_start(&content, &["--listen", "localhost"], &["`localhost` is not a valid address", "unix:"]);
    refuses_to_start(
        &content,
        &["--listen", "127.0.0.1:9,127.0.0.1:9"],
        &["two listeners have the same address, http://127.0.0.1:9"],
    );
    refuses_to_start(&content, &["--socket-mode", "rw"], &["`rw` is not a file mode"]);
    let public =
        ["--listen=0.0.0.0:0", "--listen=[::]:0", "--listen=127.0.0.1:0", "--admin-listen=0.0.0.0:0"];
    refuses_to_start(
        &content,
        &public,
        &[
            "`http://0.0.0.0:0` can be reached from other machines, and it has no TLS and does not authenticate callers",
            "`http://[::]:0` can be reached from other machines",
            "--insecure",
        ],
    );
    let said = content.mandate("serve", &public);
    assert_eq!(
        String::from_utf8_lossy(&said.stderr).matches("can be reached from other machines").count(),
        3
    );
}

#[test]
fn insecure_is_a_warning() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--listen", "0.0.0.0:0", "--insecure"]);
    assert!(
        sidecar.log().contains("insecure: this address can be reached from other machines"),
        "{}",
        sidecar.log()
    );
    permits(&sidecar.decisions.replace("0.0.0.0", "127.0.0.1"), Version::One);
}

#[test]
fn the_file_describes_listeners_one_by_one() {
    let content = Content::of_pack();
    content.write("tokens", "alice 0123456789abcdef\n");
    let tokens = content.path("tokens").display().to_string();
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\ntokens = {tokens:?}\n\
         [[listener]]\naddress = {:?}\nsocket-mode = \"606\"\n[admin]\naddress = \"0.0.0.0:0\"\ninsecure = true\n",
        path(&content, "b.sock"),
    );
    let sidecar = content.serve_by(&config, 3);
    permits(&sidecar.listeners[0], Version::One);
    permits(&sidecar.listeners[2], Version::One);
    assert_eq!(fs::metadata(content.path("b.sock")).unwrap().permissions().mode() & 0o777, 0o606);
    let ask = |token| {
        let mut connection = Connection::open(&sidecar.listeners[1], Version::One, None).unwrap();
        connection.ask(&fabrikam(), token).unwrap().status
    };
    assert_eq!((ask(None), ask(Some("0123456789abcdef"))), (401, 200));
}

#[test]
fn the_file_is_read_strictly() {
    let content = Content::of_pack();
    let check = |config: &str, says: &[&str]| {
        content.write("mandate.toml", config);
        let file = content.path("mandate.toml").display().to_string();
        refuses_to_start(&content, &["--config", &file], says);
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

/// A flag takes the place of all that the file names.
#[test]
fn flags_go_before_the_file() {
    let content = Content::of_pack();
    content
        .write("mandate.toml", "[[listener]]\naddress = \"0.0.0.0:1\"\n[admin]\naddress = \"0.0.0.0:2\"\n");
    let file = content.path("mandate.toml").display().to_string();
    let sidecar: Sidecar = content.serve_with(&["--config", &file]);
    permits(&sidecar.decisions, Version::One);
}
