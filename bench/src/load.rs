//! The load generator: keep-alive connections on one core, each sending its next question as soon as
//! its last was answered. It checks every answer.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::Question;

/// A request as bytes, and what the answer has to begin with; empty if any answer will do.
#[derive(Debug, Clone)]
pub struct Shot {
    pub bytes: Vec<u8>,
    pub expected: &'static [u8],
    /// Whether that may stand anywhere in the answer.
    pub anywhere: bool,
}

impl Shot {
    /// A POST of a body.
    pub fn post(path: &str, body: &str, expected: &'static [u8]) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { bytes: (head + body).into_bytes(), expected, anywhere: false }
    }

    /// The same, with what is expected anywhere in the answer.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self { anywhere: true, ..self }
    }

    fn is_answered_by(&self, body: &[u8]) -> bool {
        if !self.anywhere {
            return body.starts_with(self.expected);
        }
        body.windows(self.expected.len()).any(|part| part == self.expected)
    }

    /// A question for an `AuthZEN` server, and its answer.
    pub fn evaluation(question: &Question) -> Self {
        let expected: &[u8] =
            if question.permitted { br#"{"decision":true"# } else { br#"{"decision":false"# };
        Self::post("/access/v1/evaluation", &question.body(), expected)
    }
}

/// What a round of load brought.
#[derive(Debug)]
pub struct Round {
    pub requests: u64,
    pub elapsed: Duration,
    /// Answers that were not the expected ones.
    pub wrong: u64,
    /// Requests that got no answer, or none with status 200.
    pub failed: u64,
    /// In nanoseconds.
    pub latencies: Histogram<u32>,
}

impl Round {
    /// A round in which nothing happened yet.
    pub fn empty() -> Self {
        Self { requests: 0, elapsed: Duration::ZERO, wrong: 0, failed: 0, latencies: histogram() }
    }

    /// Counts an answer.
    pub fn answered(&mut self, after: Duration, right: bool) {
        self.requests += 1;
        self.wrong += u64::from(!right);
        self.latencies.saturating_record(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what another connection brought.
    ///
    /// # Errors
    /// The other's latencies do not fit in.
    pub fn add(&mut self, other: &Self) -> io::Result<()> {
        self.requests += other.requests;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.latencies.add(&other.latencies).map_err(io::Error::other)
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests_f64() / self.elapsed.as_secs_f64()
    }

    pub fn requests_f64(&self) -> f64 {
        crate::http::float(self.requests)
    }

    /// A quantile of the latency, in microseconds.
    pub fn micros(&self, quantile: f64) -> f64 {
        let nanos = self.latencies.value_at_quantile(quantile);
        Duration::from_nanos(nanos).as_secs_f64() * 1e6
    }
}

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

/// From 1 µs to 60 s, to three digits.
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are valid"))
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
