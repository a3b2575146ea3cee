//! What the load generators count in one round: answers, wrong answers, failed requests, and latencies.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::numbers::float;

/// The result of one round of load.
#[derive(Debug)]
pub struct Round {
    pub requests: u64,
    pub elapsed: Duration,
    /// Answers that were not correct.
    pub wrong: u64,
    /// Requests without an answer, or with a status other than 200.
    pub failed: u64,
    /// In nanoseconds.
    pub latencies: Histogram<u32>,
}

impl Round {
    /// A round without any requests yet.
    pub fn empty() -> Self {
        Self { requests: 0, elapsed: Duration::ZERO, wrong: 0, failed: 0, latencies: histogram() }
    }

    pub fn count_answer(&mut self, latency: Duration, is_correct: bool) {
        self.requests += 1;
        self.wrong += u64::from(!is_correct);
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds the counts of another connection.
    ///
    /// # Errors
    /// The latencies cannot be added.
    pub fn add(&mut self, other: &Self) -> io::Result<()> {
        self.requests += other.requests;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.latencies.add(&other.latencies).map_err(io::Error::other)
    }

    /// Requests per second.
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

/// Latencies from 1 µs to 60 s, with three significant digits.
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are valid"))
}
