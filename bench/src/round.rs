//! What the load generators count: answers, wrong and failed ones, and latencies.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::numbers::float;

/// The result of one round of load.
#[derive(Debug)]
pub struct Round {
    pub requests: u64,
    pub elapsed: Duration,
    /// Answers that were not the expected ones.
    pub wrong: u64,
    /// Requests that got no answer, or one with another status than 200.
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

    /// Adds the counts of another connection.
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
        float(self.requests)
    }

    /// A quantile of the latency, in microseconds.
    pub fn micros(&self, quantile: f64) -> f64 {
        let nanos = self.latencies.value_at_quantile(quantile);
        Duration::from_nanos(nanos).as_secs_f64() * 1e6
    }
}

/// From 1 µs to 60 s, to three digits.
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are valid"))
}
