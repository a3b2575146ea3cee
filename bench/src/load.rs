//! The load generator: keep-alive connections on one core, each sending its next question as soon as
//! its last was answered. It checks every answer.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::round::Round;
use crate::shot::Shot;

/// Loads a server for a while, over so many connections, from the calling thread.
///
/// # Errors
/// The server cannot be connected to.
pub fn run(port: u16, shots: &Rc<[Shot]>, connections: usize, length: Duration) -> io::Result<Round> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut workers = Vec::with_capacity(connections);
        let start = Instant::now();
        for n in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let first = n * shots.len() / connections;
            workers.push(tokio::task::spawn_local(worker(stream, Rc::clone(shots), first, start + length)));
        }
        let mut round = Round::empty();
        for worker in workers {
            round.add(&worker.await.map_err(io::Error::other)?)?;
        }
        round.elapsed = start.elapsed();
        Ok(round)
    })
}

/// Asks once, over a connection of its own; the body of the answer.
///
/// # Errors
/// There is no answer, or none with status 200.
pub fn one(port: u16, request: &[u8]) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut buffer = Vec::new();
        let body = ask(&mut stream, request, &mut buffer).await?;
        Ok(buffer.split_off(body))
    })
}

async fn worker(mut stream: TcpStream, shots: Rc<[Shot]>, first: usize, end: Instant) -> Round {
    let mut round = Round::empty();
    let mut buffer = Vec::with_capacity(1 << 20);
    let mut sent = Instant::now();
    for shot in shots.iter().cycle().skip(first) {
        let answer = ask(&mut stream, &shot.bytes, &mut buffer).await;
        let now = Instant::now();
        let Ok(body) = answer else {
            round.failed += 1;
            break;
        };
        let right = buffer.get(body..).is_some_and(|body| shot.is_answered_by(body));
        round.answered(now - sent, right);
        if now >= end {
            break;
        }
        sent = now;
    }
    round
}

/// Sends a request and reads the whole answer; where its body begins in the buffer.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> io::Result<usize> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((body, length)) = head(buffer)? {
            while buffer.len() < body + length {
                if stream.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok(body);
        }
    }
}

/// Where the body begins and how long it is, once the head is there.
fn head(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
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
