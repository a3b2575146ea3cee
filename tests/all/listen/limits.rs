//! Limits: of heads, bodies, depth, time, and how much at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fabrikam;
use crate::support::wire::{Connection, Version};
use crate::support::{Content, Sidecar, until};

const EVALUATION: &str = "/access/v1/evaluation";
const JSON: (&str, &str) = ("content-type", "application/json");

fn rejected(sidecar: &Sidecar, reason: &str) -> u64 {
    sidecar.metric(&format!(r#"mandate_rejected_total{{reason="{reason}"}}"#)) as u64
}

fn raw(sidecar: &Sidecar) -> TcpStream {
    let stream = TcpStream::connect(sidecar.decisions.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn head(length: usize) -> String {
    format!(
        "POST {EVALUATION} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // What was refused early may end by a reset.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn long_heads_are_refused() {
    let sidecar = Sidecar::of_pack(&["--max-header-bytes", "8192"]);
    for version in [Version::One, Version::Two] {
        let send = |length: usize| {
            let mut connection = Connection::open(&sidecar.decisions, version, None).unwrap();
            let long = "x".repeat(length);
            connection.send("POST", EVALUATION, &fabrikam().to_string(), &[JSON, ("x-long", &long)])
        };
        assert_eq!(send(6_000).unwrap().status, 200);
        // A client of HTTP/2 may see the end of the stream before it sees the answer.
        assert!(send(9_000).is_ok_and(|reply| reply.status == 431) || version == Version::Two);
    }
    until("it is counted", || rejected(&sidecar, "too_large") == 1);
    let mut endless = raw(&sidecar);
    let _ = endless.write_all(format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(50_000)).as_bytes());
    let answer = read_all(&mut endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut connection = Connection::open(&sidecar.decisions, Version::Two, None).unwrap();
    assert_eq!(connection.ask(&fabrikam(), None).unwrap().status, 200);
}

#[test]
fn long_and_deep_bodies_are_refused() {
    let sidecar = Sidecar::of_pack(&["--max-body-bytes", "1000", "--max-json-depth", "5"]);
    let long = json!({ "x": "x".repeat(1000) }).to_string();
    let reply = sidecar.post(EVALUATION, &long);
    assert_eq!((reply.status, reply.body.as_str()), (400, "the body is longer than 1000 bytes"));
    assert_eq!(rejected(&sidecar, "too_large"), 1);
    let nested = |levels: usize| {
        let mut body = fabrikam();
        let inner: Value = serde_json::from_str(&("[".repeat(levels) + &"]".repeat(levels))).unwrap();
        body["x"] = inner;
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
fn sixty_four_levels_are_the_default() {
    let sidecar = Sidecar::of_pack(&[]);
    let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(sidecar.post(EVALUATION, nested(63)).body.contains("action: missing"));
    assert!(sidecar.post(EVALUATION, nested(64)).body.contains("more than 64 levels"));
}

/// While all places are taken by requests whose bodies do not come, others are refused at once.
#[test]
fn too_many_requests_at_a_time_are_refused_at_once() {
    let sidecar = Sidecar::of_pack(&["--max-concurrent-requests", "3", "--read-timeout", "20s"]);
    let body = fabrikam().to_string();
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| raw(&sidecar)).collect();
    for stream in &mut waiting {
        stream.write_all(head(body.len()).as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..10]).unwrap();
    }
    let mut connection = Connection::open(&sidecar.decisions, Version::One, None).unwrap();
    until("all places are taken", || connection.ask(&fabrikam(), None).unwrap().status == 503);
    let asked = Instant::now();
    let reply = connection.ask(&fabrikam(), None).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!((reply.status, &reply.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(
        (reply.body.as_str(), &reply.headers["x-request-id"]),
        ("too many concurrent requests: try again", &"asked".parse().unwrap())
    );
    let mut two = Connection::open(&sidecar.decisions, Version::Two, None).unwrap();
    let grpc = two
        .send(
            "POST",
            "/envoy.service.auth.v3.Authorization/Check",
            "",
            &[("content-type", "application/grpc")],
        )
        .unwrap();
    assert_eq!((grpc.status, &grpc.headers["grpc-status"]), (200, &"14".parse().unwrap()));
    assert!(rejected(&sidecar, "overload") >= 3);
    waiting[0].write_all(&body.as_bytes()[10..]).unwrap();
    until("a place is free", || connection.ask(&fabrikam(), None).unwrap().status == 200);
    drop(waiting);
    until("all are", || two.ask(&fabrikam(), None).unwrap().status == 200);
}

#[test]
fn slow_heads_and_bodies_are_closed() {
    let sidecar = Sidecar::of_pack(&["--idle-timeout", "300ms", "--read-timeout", "300ms"]);
    let mut slow_head = raw(&sidecar);
    slow_head.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut slow_body = raw(&sidecar);
    slow_body.write_all(head(100).as_bytes()).unwrap();
    slow_body.write_all(b"{").unwrap();
    let mut after_one = raw(&sidecar);
    let body = fabrikam().to_string();
    after_one.write_all((head(body.len()) + &body + "POST / HT").as_bytes()).unwrap();
    let mut preface = raw(&sidecar);
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert_eq!(read_all(&mut slow_head), "");
    assert!(read_all(&mut slow_body).starts_with("HTTP/1.1 408"));
    assert!(read_all(&mut after_one).starts_with("HTTP/1.1 200"));
    read_all(&mut preface);
    assert_eq!(rejected(&sidecar, "timeout"), 1);
}

/// A request that takes longer than it may is answered so, whatever it waits for.
#[test]
fn requests_end_in_time() {
    let sidecar = Sidecar::of_pack(&["--request-timeout", "200ms"]);
    let mut slow = raw(&sidecar);
    slow.write_all(head(100).as_bytes()).unwrap();
    slow.write_all(b"{").unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert_eq!(rejected(&sidecar, "timeout"), 1);
}

#[test]
fn long_batches_end_in_time() {
    let sidecar = Sidecar::of_pack(&[
        "--request-timeout",
        "1ms",
        "--max-batch",
        "20000",
        "--max-body-bytes",
        "9999999",
    ]);
    let items: Vec<Value> =
        (0..20_000).map(|n| json!({ "subject": { "type": "Oem", "id": format!("{n}") } })).collect();
    let mut body = fabrikam();
    body["evaluations"] = json!(items);
    let reply = sidecar.post("/access/v1/evaluations", body.to_string());
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.body.contains("took too long"), "{}", reply.body);
}

#[test]
fn a_thousand_idle_connections_hold_up_nobody() {
    let sidecar = Sidecar::of_pack(&["--idle-timeout", "2s"]);
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| raw(&sidecar)).collect();
    let mut connection = Connection::open(&sidecar.decisions, Version::One, None).unwrap();
    assert_eq!(connection.ask(&fabrikam(), None).unwrap().status, 200);
    for stream in &mut idle {
        assert_eq!(read_all(stream), "");
    }
}

#[test]
fn connections_are_bounded() {
    let content = Content::of_pack();
    let sidecar = content.serve_with(&["--max-connections", "2", "--idle-timeout", "500ms"]);
    let held: Vec<TcpStream> = (0..2).map(|_| raw(&sidecar)).collect();
    let mut third = raw(&sidecar);
    let body = fabrikam().to_string();
    let asked = Instant::now();
    third.write_all((head(body.len()) + &body).as_bytes()).unwrap();
    let mut answer = [0; 12];
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(asked.elapsed() > Duration::from_millis(200), "it waited for a place");
    drop(held);
}

/// Streams that are opened and reset at once, and many at a time, cost their connection and no other.
#[test]
fn hostile_streams() {
    let sidecar = Sidecar::of_pack(&["--max-streams", "10"]);
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // :method GET, :scheme http, :path /
    let headers = [0x82, 0x86, 0x84];
    for resets in [true, false] {
        let mut stream = raw(&sidecar);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        for number in 0..5_000 {
            let id = 2 * number + 1;
            bytes.extend(frame(1, if resets { 5 } else { 4 }, id, &headers));
            if resets {
                bytes.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
            }
        }
        let _ = stream.write_all(&bytes);
        let mut connection = Connection::open(&sidecar.decisions, Version::Two, None).unwrap();
        assert_eq!(connection.ask(&fabrikam(), None).unwrap().status, 200);
    }
}

/// Limits in their table, and one at the top level, where they were before there was the table.
#[test]
fn the_file_has_limits() {
    let content = Content::of_pack();
    let sidecar = content.serve_by(
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
