//! The load generator for HTTP. Each of its connections sends the next request as soon as the answer to the
//! last one has arrived. Every answer is checked.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::prepared::PreparedRequest;
use crate::round::Round;

/// Loads a server from the calling thread for `length`, over a number of connections.
///
/// # Errors
/// The server cannot be connected to.
pub fn run(
    port: u16,
    requests: &Rc<[PreparedRequest]>,
    connections: usize,
    length: Duration,
) -> io::Result<Round> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut workers = Vec::with_capacity(connections);
        let start = Instant::now();
        for n in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let first = n * requests.len() / connections;
            let worker = load_connection(stream, Rc::clone(requests), first, start + length);
            workers.push(tokio::task::spawn_local(worker));
        }
        let mut round = Round::empty();
        for worker in workers {
            round.add(&worker.await.map_err(io::Error::other)?)?;
        }
        round.elapsed = start.elapsed();
        Ok(round)
    })
}

/// Sends one request over a new connection, and returns the body of the answer.
///
/// # Errors
/// There is no answer, or its status is not 200.
pub fn ask_once(port: u16, request: &[u8]) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut buffer = Vec::new();
        let body_start = ask(&mut stream, request, &mut buffer).await?;
        Ok(buffer.split_off(body_start))
    })
}

/// Sends the requests one after the other, beginning with number `first`, until `end`.
async fn load_connection(
    mut stream: TcpStream,
    requests: Rc<[PreparedRequest]>,
    first: usize,
    end: Instant,
) -> Round {
    let mut round = Round::empty();
    let mut buffer = Vec::with_capacity(1 << 20);
    let mut sent = Instant::now();
    for request in requests.iter().cycle().skip(first) {
        let answer = ask(&mut stream, &request.bytes, &mut buffer).await;
        let now = Instant::now();
        let Ok(body_start) = answer else {
            round.failed += 1;
            break;
        };
        let is_correct = buffer.get(body_start..).is_some_and(|body| request.is_answered_by(body));
        round.count_answer(now - sent, is_correct);
        if now >= end {
            break;
        }
        sent = now;
    }
    round
}

/// Sends a request and reads the whole answer into the buffer. Returns the position of the body in the
/// buffer.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> io::Result<usize> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((body_start, length)) = find_body(buffer)? {
            while buffer.len() < body_start + length {
                if stream.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok(body_start);
        }
    }
}

/// The position and the length of the body, or `None` as long as the head is incomplete.
fn find_body(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default()).map_err(|_| invalid())?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(invalid());
    }
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    length.map(|length| Some((end + 4, length))).ok_or_else(invalid)
}
