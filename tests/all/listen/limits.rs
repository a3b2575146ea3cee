//! Limits: the size of headers and bodies, the depth of JSON, timeouts, and how many requests and
//! connections there can be at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http2::{END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame, preface};
use super::permitted_question;
use crate::support::wire::{Connection, Version};
use crate::support::{Content, Sidecar, until};

pub const EVALUATION: &str = "/access/v1/evaluation";
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// How many requests were rejected for this reason.
pub fn rejected(sidecar: &Sidecar, reason: &str) -> u64 {
    sidecar.metric(&format!(r#"mandate_rejected_total{{reason="{reason}"}}"#)) as u64
}

/// A plain TCP connection to the sidecar.
pub fn connect(sidecar: &Sidecar) -> TcpStream {
    let stream = TcpStream::connect(sidecar.decisions.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The head of a request with a body of this length.
pub fn head(length: usize) -> String {
    format!(
        "POST {EVALUATION} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

pub fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is refused early may end with a reset.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn too_many_header_bytes_are_refused() {
    let sidecar = Sidecar::of_pack(&["--max-header-bytes", "8192"]);
    for version in [Version::Http1, Version::Http2] {
        let send = |length: usize| {
            let mut connection = Connection::open(&sidecar.decisions, version, None).unwrap();
            let value = "x".repeat(length);
            connection.send(
                "POST",
                EVALUATION,
                &permitted_question().to_string(),
                &[JSON, ("x-long", &value)],
            )
        };
        assert_eq!(send(6_000).unwrap().status, 200);
        // An HTTP/2 client may see the end of the stream before the answer.
        assert!(send(9_000).is_ok_and(|reply| reply.status == 431) || version == Version::Http2);
    }
    until("the refusal is counted", || rejected(&sidecar, "too_large") == 1);
    let mut endless = connect(&sidecar);
    let _ = endless.write_all(format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(50_000)).as_bytes());
    let answer = read_all(&mut endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut connection = Connection::open(&sidecar.decisions, Version::Http2, None).unwrap();
    assert_eq!(connection.ask(&permitted_question(), None).unwrap().status, 200);
}

#[test]
fn too_long_and_too_deeply_nested_bodies_are_refused() {
    let sidecar = Sidecar::of_pack(&["--max-body-bytes", "1000", "--max-json-depth", "5"]);
    let long = json!({ "x": "x".repeat(1000) }).to_string();
    let reply = sidecar.post(EVALUATION, &long);
    assert_eq!((reply.status, reply.body.as_str()), (400, "the body is longer than 1000 bytes"));
    assert_eq!(rejected(&sidecar, "too_large"), 1);
    let nested = |levels: usize| {
        let mut body = permitted_question();
        let arrays: Value = serde_json::from_str(&("[".repeat(levels) + &"]".repeat(levels))).unwrap();
        body["x"] = arrays;
        sidecar.post(EVALUATION, body.to_string())
    };
    assert_eq!(nested(4).status, 200);
    let refused = nested(5);
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.starts_with("the body is not valid JSON: more than 5 levels at line 1 column "),
        "{}",
        refused.body
    );
}

#[test]
fn json_has_at_most_64_levels_by_default() {
    let sidecar = Sidecar::of_pack(&[]);
    let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(sidecar.post(EVALUATION, nested(63)).body.contains("action: missing"));
    assert!(sidecar.post(EVALUATION, nested(64)).body.contains("more than 64 levels"));
}

/// The one place is taken by batches, which are decided and so do not wait.
#[test]
fn too_many_concurrent_requests_are_refused_immediately() {
    let sidecar = Sidecar::of_pack(&["--max-concurrent-requests", "1", "--max-batch", "20000"]);
    let mut batch = permitted_question();
    batch["evaluations"] = vec![json!({}); 20_000].into();
    let batch = batch.to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                sidecar.post("/access/v1/evaluations", &batch);
            }
        });
        let mut connection = Connection::open(&sidecar.decisions, Version::Http1, None).unwrap();
        let mut refusal = None;
        until("a question is refused", || {
            let asked = Instant::now();
            let reply = connection.ask(&permitted_question(), None).unwrap();
            refusal = (reply.status == 503).then_some((reply, asked.elapsed()));
            refusal.is_some()
        });
        let (reply, took) = refusal.unwrap();
        assert!(took < Duration::from_secs(5), "the refusal is immediate");
        assert_eq!(&reply.headers["retry-after"], "1");
        assert_eq!(
            (reply.body.as_str(), &reply.headers["x-request-id"]),
            ("too many concurrent requests: try again", &"asked".parse().unwrap())
        );
        let mut http2 = Connection::open(&sidecar.decisions, Version::Http2, None).unwrap();
        until("a call over gRPC is refused", || {
            let path = "/envoy.service.auth.v3.Authorization/Check";
            let reply = http2.send("POST", path, "", &[("content-type", "application/grpc")]).unwrap();
            (reply.status, reply.headers.get("grpc-status")) == (200, Some(&"14".parse().unwrap()))
        });
        assert!(rejected(&sidecar, "overload") >= 2);
        is_over.store(true, Ordering::Relaxed);
    });
    let mut connection = Connection::open(&sidecar.decisions, Version::Http2, None).unwrap();
    assert_eq!(connection.ask(&permitted_question(), None).unwrap().status, 200);
}

#[test]
fn connections_with_slow_headers_and_bodies_are_closed() {
    let sidecar = Sidecar::of_pack(&["--idle-timeout", "300ms", "--read-timeout", "300ms"]);
    let mut slow_head = connect(&sidecar);
    slow_head.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut slow_body = connect(&sidecar);
    slow_body.write_all(head(100).as_bytes()).unwrap();
    slow_body.write_all(b"{").unwrap();
    let mut slow_second_head = connect(&sidecar);
    let body = permitted_question().to_string();
    slow_second_head.write_all((head(body.len()) + &body + "POST / HT").as_bytes()).unwrap();
    let mut slow_http2 = connect(&sidecar);
    slow_http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert_eq!(read_all(&mut slow_head), "");
    assert!(read_all(&mut slow_body).starts_with("HTTP/1.1 408"));
    assert!(read_all(&mut slow_second_head).starts_with("HTTP/1.1 200"));
    read_all(&mut slow_http2);
    assert_eq!(rejected(&sidecar, "timeout"), 1);
}

#[test]
fn a_request_that_takes_too_long_is_ended_with_503() {
    let sidecar = Sidecar::of_pack(&["--request-timeout", "200ms"]);
    let mut slow = connect(&sidecar);
    slow.write_all(head(100).as_bytes()).unwrap();
    slow.write_all(b"{").unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert_eq!(rejected(&sidecar, "timeout"), 1);
}

#[test]
fn a_batch_that_takes_too_long_is_ended_with_503() {
    let sidecar = Sidecar::of_pack(&[
        "--request-timeout",
        "20ms",
        "--max-batch",
        "20000",
        "--max-body-bytes",
        "9999999",
    ]);
    let items: Vec<Value> =
        (0..20_000).map(|n| json!({ "subject": { "type": "Oem", "id": format!("{n}") } })).collect();
    let mut body = permitted_question();
    body["evaluations"] = json!(items);
    let reply = sidecar.post("/access/v1/evaluations", body.to_string());
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.body.contains("took too long"), "{}", reply.body);
}

#[test]
fn a_thousand_idle_connections_do_not_delay_requests() {
    let sidecar = Sidecar::of_pack(&["--idle-timeout", "2s"]);
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| connect(&sidecar)).collect();
    let mut connection = Connection::open(&sidecar.decisions, Version::Http1, None).unwrap();
    assert_eq!(connection.ask(&permitted_question(), None).unwrap().status, 200);
    for stream in &mut idle {
        assert_eq!(read_all(stream), "");
    }
}

#[test]
fn the_number_of_connections_is_limited() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--max-connections", "2", "--idle-timeout", "500ms"]);
    let idle: Vec<TcpStream> = (0..2).map(|_| connect(&sidecar)).collect();
    let mut third = connect(&sidecar);
    let body = permitted_question().to_string();
    let asked = Instant::now();
    third.write_all((head(body.len()) + &body).as_bytes()).unwrap();
    let mut answer = [0; 12];
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(asked.elapsed() > Duration::from_millis(200), "it waited until another connection was closed");
    drop(idle);
}

/// Streams that are opened and immediately reset, and more streams than allowed.
#[test]
fn hostile_http2_streams_do_not_disturb_other_connections() {
    const CANCEL: u32 = 8;
    let sidecar = Sidecar::of_pack(&["--max-streams", "10"]);
    // HPACK for `:method: GET`, `:scheme: http` and `:path: /`.
    let headers = [0x82, 0x86, 0x84];
    for resets in [true, false] {
        let mut stream = connect(&sidecar);
        let mut frames = preface();
        for number in 0..5_000 {
            let id = 2 * number + 1;
            frames.extend(frame(
                HEADERS,
                if resets { END_HEADERS | END_STREAM } else { END_HEADERS },
                id,
                &headers,
            ));
            if resets {
                frames.extend(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
            }
        }
        let _ = stream.write_all(&frames);
        let mut connection = Connection::open(&sidecar.decisions, Version::Http2, None).unwrap();
        assert_eq!(connection.ask(&permitted_question(), None).unwrap().status, 200);
    }
}

#[test]
fn limits_are_read_from_their_table_and_from_the_deprecated_top_level() {
    let content = Content::of_pack();
    let sidecar = content.serve_with_config(
        "listen = \"127.0.0.1:0\"\nadmin-listen = \"127.0.0.1:0\"\nmax-json-depth = 5\n[limits]\nmax-body-bytes = 1000\n",
        1,
    );
    let long = sidecar.post(EVALUATION, "x".repeat(1001));
    assert_eq!((long.status, long.body.as_str()), (400, "the body is longer than 1000 bytes"));
    let deep = sidecar.post(EVALUATION, "[[[[[[]]]]]]");
    assert!(deep.body.contains("more than 5 levels"), "{}", deep.body);
    let log = sidecar.log();
    assert!(log.contains("`max-json-depth` at the top level is deprecated: move it to `[limits]`"), "{log}");
    assert_eq!(log.matches("deprecated").count(), 1, "{log}");
}
