//! Requests whose bodies do not arrive. They hold places only as long as nobody else needs one.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::http2::{DATA, END_HEADERS, HEADERS, frame, headers, preface};
use super::limits::{EVALUATION, JSON, connect, head, read_all, rejected};
use super::permitted_question;
use crate::support::wire::{Connection, Version};
use crate::support::{Sidecar, until};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// An HTTP/2 connection with this number of requests, of each of which only the head and a byte of the body are sent.
fn send_halves(sidecar: &Sidecar, requests: u32, path: &str, content_type: (&str, &str)) -> TcpStream {
    let head = headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        content_type,
    ]);
    let mut frames = preface();
    for id in (0..requests).map(|number| 2 * number + 1) {
        frames.extend(frame(HEADERS, END_HEADERS, id, &head));
        frames.extend(frame(DATA, 0, id, b"{"));
    }
    let mut stream = connect(sidecar);
    stream.write_all(&frames).unwrap();
    stream
}

/// The start of the answer to a question, on a connection to which its head has been sent.
fn status_after_body(stream: &mut TcpStream, body: &str) -> String {
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[test]
fn thousands_of_half_sent_requests_keep_nobody_out() {
    let sidecar = Sidecar::of_pack(&["--read-timeout", "60s", "--request-timeout", "60s"]);
    let attackers: Vec<TcpStream> = (0..21)
        .map(|number| {
            let (path, content_type) = if number % 2 == 0 { (EVALUATION, JSON) } else { (CHECK, GRPC) };
            send_halves(&sidecar, 198, path, content_type)
        })
        .collect();
    until("all 4,096 places are taken", || rejected(&sidecar, "overload") == 21 * 198 - 4_096);
    let body = permitted_question().to_string();
    let mut slow = connect(&sidecar);
    slow.write_all(head(body.len()).as_bytes()).unwrap();
    for version in [Version::Http1, Version::Http2] {
        let mut connection = Connection::open(&sidecar.decisions, version, None).unwrap();
        for _ in 0..100 {
            assert_eq!(connection.ask(&permitted_question(), None).unwrap().status, 200);
        }
    }
    assert_eq!(status_after_body(&mut slow, &body), "HTTP/1.1 200");
    let mut grpc = Connection::open(&sidecar.decisions, Version::Http2, None).unwrap();
    let empty_message = "\0\0\0\0\0";
    let answer = grpc.send("POST", CHECK, empty_message, &[GRPC]).unwrap();
    assert_eq!(answer.headers.get("grpc-status"), None, "{answer:?}");
    drop(attackers);
}

#[test]
fn a_request_that_gives_up_its_place_is_told_to_try_again() {
    let sidecar = Sidecar::of_pack(&["--max-concurrent-requests", "1", "--read-timeout", "60s"]);
    let body = permitted_question().to_string();
    let [mut first, mut second] = [(); 2].map(|()| {
        let mut stream = connect(&sidecar);
        stream.write_all((head(body.len()) + "{").as_bytes()).unwrap();
        stream
    });
    // Which of the two arrived first is not known.
    until("one request has given up its place", || rejected(&sidecar, "overload") == 1);
    first.set_nonblocking(true).unwrap();
    let is_first = first.peek(&mut [0]).is_ok();
    first.set_nonblocking(false).unwrap();
    let (displaced, kept) = if is_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
    let refusal = read_all(displaced);
    assert!(refusal.starts_with("HTTP/1.1 503") && refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert!(refusal.ends_with("too many concurrent requests: try again"), "{refusal}");
    assert_eq!(status_after_body(kept, &body[1..]), "HTTP/1.1 200");
}
