//! Calling back: where, how it is signed, and what happens if nobody answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Served, header, refused, registration, text};
use crate::support::{Reply, until};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A server that answers requests with these statuses, one after the other, and the last of them from then on.
struct Receiving {
    url: String,
    port: u16,
    calls: Receiver<Call>,
}

#[derive(Debug)]
struct Call {
    signature: String,
    body: String,
}

impl Receiving {
    fn new(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for (count, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let status = statuses.get(count).or(statuses.last()).unwrap();
                let (mut reader, mut length, mut signature) = (BufReader::new(&stream), 0, String::new());
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                        break;
                    }
                    let (name, value) = line.trim_end().split_once(':').unwrap_or((&line, ""));
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.trim().parse().unwrap(),
                        "mandate-signature" => value.trim().clone_into(&mut signature),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                let read = reader.read_exact(&mut body);
                let answer = format!(
                    "HTTP/1.1 {status} Status\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = (&stream).write_all(answer.as_bytes());
                if read.is_ok()
                    && sender.send(Call { signature, body: String::from_utf8(body).unwrap() }).is_err()
                {
                    return;
                }
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/callbacks"), port, calls }
    }

    fn host(&self) -> String {
        format!("internal:http://127.0.0.1:{}", self.port)
    }

    #[track_caller]
    fn next(&self) -> Call {
        self.calls.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

struct Calling {
    served: Served,
    hosts: String,
}

impl Calling {
    fn to(hosts: &str) -> Self {
        let mut served = Served::new();
        served.content.write("callback-key", SECRET);
        let mut calling =
            Self { served: Served { sidecar: served.sidecar.take(), ..served }, hosts: hosts.to_owned() };
        calling.start();
        calling
    }

    fn start(&mut self) {
        let key = self.served.content.path("callback-key").display().to_string();
        self.served.start(&["--callback-hosts", &self.hosts, "--callback-key", &key]);
    }

    fn submit(&self, callback: &Value) -> Reply {
        let mut submission = self.served.denied(&registration());
        submission["callback"] = callback.clone();
        self.served.submit(&submission)
    }
}

#[test]
fn a_caller_is_told_what_became_of_its_task() {
    let receiving = Receiving::new(&[204]);
    let calling = Calling::to(&receiving.host());
    let state = json!({ "flow": [1, "ü"] });
    let task = super::task_of(&calling.submit(&json!({ "endpoint": receiving.url, "state": state })));
    calling.served.review(&task, "accept", "relecloud");
    let call = receiving.next();
    let body: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["state"], state);
    assert_eq!((&body["task"]["id"], &body["task"]["status"]), (&task["id"], &json!("approved")));
    assert_eq!(body["task"]["status_endpoint"], task["status_endpoint"]);
    assert!(body["result"].is_null(), "it is only a notification: {body}");
    // The signature covers its time and the body.
    let (time, tag) = call.signature.split_once(",v1=").unwrap();
    let signed = format!("{}.{}", time.strip_prefix("t=").unwrap(), call.body);
    let key = hmac(SECRET.as_bytes(), signed.as_bytes());
    assert_eq!(tag, key, "{call:?}");
    assert!(receiving.calls.recv_timeout(Duration::from_secs(3)).is_err(), "once");
}

/// HMAC-SHA256 as RFC 2104 has it.
fn hmac(key: &[u8], message: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let padded = |with: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).unwrap_or(&0) ^ with).collect() };
    let inner = Sha256::digest([padded(0x36), message.to_vec()].concat());
    let outer = Sha256::digest([padded(0x5c), inner.to_vec()].concat());
    outer.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn a_call_that_fails_is_repeated_and_no_redirect_is_followed() {
    let receiving = Receiving::new(&[500, 302, 200]);
    let calling = Calling::to(&receiving.host());
    let task = super::task_of(&calling.submit(&json!({ "endpoint": receiving.url })));
    calling.served.review(&task, "decline", "relecloud");
    let bodies: Vec<String> = (0..3).map(|_| receiving.next().body).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]) && bodies[0].contains("denied"), "{bodies:?}");
    assert!(
        receiving.calls.recv_timeout(Duration::from_secs(5)).is_err(),
        "after it was taken, it is not repeated"
    );
}

#[test]
fn a_call_that_was_not_made_is_made_after_a_restart() {
    let receiving = Receiving::new(&[503]);
    let mut calling = Calling::to(&receiving.host());
    let task = super::task_of(&calling.submit(&json!({ "endpoint": receiving.url })));
    calling.served.review(&task, "accept", "relecloud");
    receiving.next();
    calling.start();
    let again = receiving.next();
    assert!(again.body.contains(text(&task["id"])), "{again:?}");
}

#[test]
fn only_the_events_that_it_wants_are_told() {
    let receiving = Receiving::new(&[200]);
    let calling = Calling::to(&receiving.host());
    let callback = json!({ "endpoint": receiving.url, "events": ["approved", "expired"] });
    let declined = super::task_of(&calling.submit(&callback));
    calling.served.review(&declined, "decline", "relecloud");
    let accepted = super::task_of(&calling.submit(&callback));
    calling.served.review(&accepted, "accept", "relecloud");
    let call = receiving.next();
    assert!(call.body.contains(text(&accepted["id"])), "{call:?}");
    assert!(receiving.calls.recv_timeout(Duration::from_secs(3)).is_err());
    let wrong = json!({ "endpoint": receiving.url, "events": ["accepted"] });
    let mut submission = calling.served.denied(&crate::support::register(
        ("DirectBillPartner", "fabrikam"),
        "northwind",
        "partner-center-api",
    ));
    submission["callback"] = wrong;
    let reply = calling.served.submit(&submission);
    refused(&reply, 400, "");
    assert!(reply.body.contains("callback.events"), "{reply:?}");
}

#[test]
fn only_allowed_hosts_are_called() {
    let calling = Calling::to("pep.example.com,localhost,internal:http://127.0.0.1:9");
    for (endpoint, words) in [
        ("https://evil.example.com/", "--callback-hosts"),
        ("http://pep.example.com/", "--callback-hosts"),
        ("https://pep.example.com:8443/", "--callback-hosts"),
        ("https://user@pep.example.com/", "https"),
        ("http://169.254.169.254/latest", "--callback-hosts"),
        // It is allowed, but it is in the own network.
        ("https://localhost/", "own network"),
        ("ftp://pep.example.com/", "https"),
        ("pep.example.com", "https"),
    ] {
        let reply = calling.submit(&json!({ "endpoint": endpoint }));
        refused(&reply, 400, "");
        assert!(
            reply.body.contains("callback.endpoint") && reply.body.contains(words),
            "{endpoint}: {reply:?}"
        );
    }
    let reply = Served::new();
    let mut submission = reply.denied(&registration());
    submission["callback"] = json!({ "endpoint": "https://pep.example.com/" });
    let answer = reply.submit(&submission);
    refused(&answer, 400, "");
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let served = Served::new();
    served.content.write("callback-key", SECRET);
    served.content.write("short", "short");
    let path = |name: &str| served.content.path(name).display().to_string();
    let (key, short, store) = (path("callback-key"), path("short"), path("store-2.redb"));
    for (args, words) in [
        (vec!["--callback-hosts", "pep.example.com"], "`callback-hosts` needs `callback-key`"),
        (vec!["--callback-key", &key], "`callback-key` needs `callback-hosts`"),
        (vec!["--callback-hosts", "http://pep", "--callback-key", &key], "internal:http://pep"),
        (vec!["--callback-hosts", "pep", "--callback-key", &short], "at least 32 bytes"),
        (vec!["--signing-keys", &short], "has no private key"),
    ] {
        let output =
            served.content.mandate("serve", &[vec!["--store", &store, "--demo-sign-in"], args].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(words), "{words}: {error}");
    }
    let output = served.content.mandate("serve", &["--request-callers", "gateway"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("`request-callers` needs `store`"));
    until("nothing is left to do", || true);
}
