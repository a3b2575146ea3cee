//! The results of a run as data: the samples of each server, the points of the plots, and requirements with
//! the measured values. `report` writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::numbers::{float, number};
use crate::round::Round;

/// Everything that one run measured. The names in JSON are those of `docs/performance/results.json`.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    pub machine: BTreeMap<&'static str, String>,
    #[serde(rename = "bars")]
    pub requirements: Vec<Requirement>,
    /// By number of connections.
    pub samples: BTreeMap<usize, Samples>,
    pub by_policies: Vec<Point>,
    pub by_customers: Vec<Point>,
}

impl Results {
    pub fn add_samples(&mut self, connections: usize, samples: Samples) {
        self.samples.insert(connections, samples);
    }

    /// Adds a requirement with the measured value. It is one line of the table.
    pub fn require(&mut self, what: &str, measured: f64, unit: &'static str, bound: Bound, note: &str) {
        let (what, note) = (what.to_owned(), note.to_owned());
        self.requirements.push(Requirement { what, measured, unit, bound, note });
    }

    /// Adds the requirement that no answer is wrong and no request fails.
    pub fn require_correct_answers(&mut self, wrong_or_failed: f64) {
        let what = "wrong or failed meanwhile";
        self.require(what, wrong_or_failed, "", Bound::AtMost(0.0), "every answer is checked");
    }
}

/// A point of the plots: requests per second with one number of policies or customers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    /// The number of policies or customers.
    #[serde(rename = "of")]
    pub size: u64,
    pub limit: f64,
    pub hits: f64,
    pub uncached: f64,
}

/// The result of one server in one round.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    /// The server's processor time per request.
    pub cpu_micros: f64,
    pub wrong: u64,
    pub failed: u64,
}

/// The samples of all rounds, by the name of the server.
pub type Samples = BTreeMap<String, Vec<Sample>>;

impl Sample {
    /// The sample of a round in which the server used `cpu_time`.
    pub fn of(round: &Round, cpu_time: Duration) -> Self {
        Self {
            rate: round.rate(),
            p50_micros: round.micros(0.5),
            p99_micros: round.micros(0.99),
            cpu_micros: cpu_time.as_secs_f64() * 1e6 / round.requests_f64().max(1.0),
            wrong: round.wrong,
            failed: round.failed,
        }
    }
}

/// The samples of one server. Empty if there is no such server.
pub fn samples_of<'s>(samples: &'s Samples, name: &str) -> &'s [Sample] {
    samples.get(name).map_or(&[], Vec::as_slice)
}

/// Requests per second.
pub fn rates(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.rate).collect()
}

/// Latencies in microseconds.
pub fn p99s(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.p99_micros).collect()
}

/// The number of wrong answers and failed requests.
pub fn wrong_or_failed(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| float(sample.wrong + sample.failed)).sum()
}

/// A requirement and the measured value: one line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Requirement {
    pub what: String,
    pub measured: f64,
    pub unit: &'static str,
    pub bound: Bound,
    /// The conditions of the measurement, in a few words.
    pub note: String,
}

/// The values that a requirement allows.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Requirement {
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.measured >= least,
            Bound::AtMost(most) => self.measured <= most,
        }
    }

    /// The requirement as a row of a Markdown table.
    pub fn row(&self) -> String {
        let Self { what, measured, unit, note, .. } = self;
        let bound = match self.bound {
            Bound::AtLeast(least) => format!("at least {}", number(least)),
            Bound::AtMost(most) => format!("at most {}", number(most)),
        };
        let verdict = if self.is_met() { "met" } else { "**missed**" };
        format!("| {what} | {}{unit} | {bound}{unit} | {verdict} | {note} |", number(*measured))
    }
}
