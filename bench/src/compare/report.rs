//! The ratios of a comparison, as a Markdown table and as JSON.

use serde::Serialize;

use crate::numbers::{float, median, number, ratio, ratios};
use crate::results::{Sample, p99s, rates, wrong_or_failed};

/// Everything that a comparison measured.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub old: String,
    pub new: String,
    pub rounds: usize,
    /// The length of a round.
    pub seconds: f64,
    pub parts: Vec<Part>,
}

/// The results of one part. The ratio is computed in each round; the fields have the median over all rounds.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: &'static str,
    pub old_of_limit: f64,
    pub new_of_limit: f64,
    pub new_of_old: f64,
    /// The lowest and the highest ratio of a round.
    pub new_of_old_range: [f64; 2],
    pub p99_new_of_old: f64,
    /// The ratio of the servers' processor times per request.
    pub cpu_new_of_old: f64,
    /// Medians, of the old binary, the new one, and the limit.
    pub decisions_per_second: [f64; 3],
    /// The number of wrong answers and failed requests, of all three servers.
    pub wrong_or_failed: f64,
    /// The samples of all rounds, of the old binary, the new one, and the limit.
    pub samples: [Vec<Sample>; 3],
}

impl Part {
    pub fn new(name: &'static str, questions_per_request: usize, samples: [Vec<Sample>; 3]) -> Self {
        let [old, new, limit] = &samples;
        let new_of_old = ratios(&rates(new), &rates(old));
        let cpu = |samples: &[Sample]| samples.iter().map(|sample| sample.cpu_micros).collect::<Vec<_>>();
        let decisions = |samples: &[Sample]| median(&rates(samples)) * float(questions_per_request as u64);
        Self {
            name,
            old_of_limit: ratio(&rates(old), &rates(limit)),
            new_of_limit: ratio(&rates(new), &rates(limit)),
            new_of_old: median(&new_of_old),
            new_of_old_range: range(&new_of_old),
            p99_new_of_old: ratio(&p99s(new), &p99s(old)),
            cpu_new_of_old: ratio(&cpu(new), &cpu(old)),
            decisions_per_second: [decisions(old), decisions(new), decisions(limit)],
            wrong_or_failed: samples.iter().map(|samples| wrong_or_failed(samples)).sum(),
            samples,
        }
    }

    fn row(&self) -> String {
        let [lowest, highest] = self.new_of_old_range;
        let [old, new, limit] = self.decisions_per_second.map(number);
        format!(
            "| {} | {old} | {new} | {limit} | {:.3} | {:.3} | {:.3} | {lowest:.3}–{highest:.3} | {:.3} | {:.3} |\n",
            self.name,
            self.old_of_limit,
            self.new_of_limit,
            self.new_of_old,
            self.p99_new_of_old,
            self.cpu_new_of_old,
        )
    }
}

/// The lowest and the highest value.
fn range(values: &[f64]) -> [f64; 2] {
    [values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max)]
}

impl Comparison {
    /// The comparison as a Markdown table.
    pub fn table(&self) -> String {
        let Self { old, new, rounds, seconds, parts } = self;
        let mut text = format!("old: {old}\nnew: {new}\n{rounds} rounds of {seconds} s\n\n");
        text += "| part | old/s | new/s | limit/s | old/limit | new/limit | new/old | min–max | p99 new/old | CPU new/old |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|\n";
        text.extend(parts.iter().map(Part::row));
        text
    }

    /// The reasons to exit with an error: wrong answers, and parts whose ratio is below `least`.
    pub fn failures(&self, least: Option<f64>) -> Vec<String> {
        let incorrect = self.parts.iter().filter(|part| part.wrong_or_failed > 0.0).map(|part| {
            format!("{}: {} answers were wrong or missing", part.name, number(part.wrong_or_failed))
        });
        let too_slow = self.parts.iter().filter_map(|part| {
            let least = least.filter(|least| part.new_of_old < *least)?;
            Some(format!(
                "{}: the median of new/old is {:.3}, and has to be at least {least}",
                part.name, part.new_of_old
            ))
        });
        incorrect.chain(too_slow).collect()
    }
}
