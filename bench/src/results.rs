//! The results of a run as data: samples of each server, points of the plots, and requirements with what
//! was measured. `report` writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::numbers::{float, number};
use crate::round::Round;

/// How answers are known to be right.
pub const CHECKED: &str = "every answer is checked";

/// Everything that one run measured.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    pub machine: BTreeMap<&'static str, String>,
    pub bars: Vec<Bar>,
    /// By number of connections.
    pub samples: BTreeMap<usize, Samples>,
    pub by_policies: Vec<Point>,
    pub by_customers: Vec<Point>,
}

impl Results {
    pub fn samples(&mut self, connections: usize, samples: Samples) {
        self.samples.insert(connections, samples);
    }

    /// Adds a line to the table.
    pub fn bar(&mut self, what: &str, measured: f64, unit: &'static str, bound: Bound, note: &str) {
        self.bars.push(Bar { what: what.to_owned(), measured, unit, bound, note: note.to_owned() });
    }
}

/// Requests a second at one size.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    pub of: u64,
    pub limit: f64,
    pub hits: f64,
    pub uncached: f64,
}

/// The work of one server in one round.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sample {
    pub rate: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    /// Processor time of the server for each request.
    pub cpu_micros: f64,
    pub wrong: u64,
    pub failed: u64,
}

/// Samples of each server, round by round.
pub type Samples = BTreeMap<String, Vec<Sample>>;

impl Sample {
    /// A round, and the server's processor time in it.
    pub fn of(round: &Round, cpu: Duration) -> Self {
        Self {
            rate: round.rate(),
            p50_micros: round.micros(0.5),
            p99_micros: round.micros(0.99),
            cpu_micros: cpu.as_secs_f64() * 1e6 / round.requests_f64().max(1.0),
            wrong: round.wrong,
            failed: round.failed,
        }
    }
}

/// The samples of one server; none if there is no such server.
pub fn of<'s>(samples: &'s Samples, name: &str) -> &'s [Sample] {
    samples.get(name).map_or(&[], Vec::as_slice)
}

/// Requests a second.
pub fn rates(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.rate).collect()
}

/// In microseconds.
pub fn p99s(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.p99_micros).collect()
}

/// Wrong answers and failed requests.
pub fn bad(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| float(sample.wrong + sample.failed)).sum()
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    pub what: String,
    pub measured: f64,
    pub unit: &'static str,
    pub bound: Bound,
    /// How it was measured, in a few words.
    pub note: String,
}

/// The requirement for a measured value.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.measured >= least,
            Bound::AtMost(most) => self.measured <= most,
        }
    }

    /// The line as Markdown.
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
