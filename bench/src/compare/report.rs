//! The ratios of a comparison, as a table and as data.

use serde::Serialize;

use crate::numbers::{float, median, number, ratio, ratios};
use crate::results::{Sample, bad, p99s, rates};

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

/// One part. Each ratio is the median over the rounds of the ratio in one round.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: &'static str,
    pub old_of_limit: f64,
    pub new_of_limit: f64,
    pub new_of_old: f64,
    /// The lowest and the highest of the rounds.
    pub new_of_old_range: [f64; 2],
    pub p99_new_of_old: f64,
    /// The processor time of the server for each request.
    pub cpu_new_of_old: f64,
    /// Decisions a second: the old, the new, and the limit.
    pub decisions_per_second: [f64; 3],
    /// Wrong answers and requests without an answer, of all three.
    pub wrong_or_failed: f64,
    /// By round: the old, the new, and the limit.
    pub samples: [Vec<Sample>; 3],
}

impl Part {
    pub fn new(name: &'static str, questions: usize, samples: [Vec<Sample>; 3]) -> Self {
        let [old, new, limit] = &samples;
        let pairs = ratios(&rates(new), &rates(old));
        let cpu = |samples: &[Sample]| samples.iter().map(|s| s.cpu_micros).collect::<Vec<_>>();
        let decisions = |samples: &[Sample]| median(&rates(samples)) * float(questions as u64);
        Self {
            name,
            old_of_limit: ratio(&rates(old), &rates(limit)),
            new_of_limit: ratio(&rates(new), &rates(limit)),
            new_of_old: median(&pairs),
            new_of_old_range: range(&pairs),
            p99_new_of_old: ratio(&p99s(new), &p99s(old)),
            cpu_new_of_old: ratio(&cpu(new), &cpu(old)),
            decisions_per_second: [decisions(old), decisions(new), decisions(limit)],
            wrong_or_failed: samples.iter().map(|samples| bad(samples)).sum(),
            samples,
        }
    }

    fn row(&self) -> String {
        let [least, most] = self.new_of_old_range;
        let [old, new, limit] = self.decisions_per_second.map(number);
        format!(
            "| {} | {old} | {new} | {limit} | {:.3} | {:.3} | {:.3} | {least:.3}–{most:.3} | {:.3} | {:.3} |\n",
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
    /// A table in Markdown.
    pub fn table(&self) -> String {
        let Self { old, new, rounds, seconds, parts } = self;
        let mut text = format!("old: {old}\nnew: {new}\n{rounds} rounds of {seconds} s\n\n");
        text += "| part | old/s | new/s | limit/s | old/limit | new/limit | new/old | min–max | p99 new/old | CPU new/old |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|\n";
        text.extend(parts.iter().map(Part::row));
        text
    }

    /// The reasons to fail: wrong answers, and ratios below the least one.
    pub fn failures(&self, least: Option<f64>) -> Vec<String> {
        let bad = self.parts.iter().filter(|part| part.wrong_or_failed > 0.0).map(|part| {
            format!("{}: {} answers were wrong or missing", part.name, number(part.wrong_or_failed))
        });
        let slow = self.parts.iter().filter_map(|part| {
            let least = least.filter(|least| part.new_of_old < *least)?;
            Some(format!(
                "{}: the median of new/old is {:.3}, and has to be at least {least}",
                part.name, part.new_of_old
            ))
        });
        bad.chain(slow).collect()
    }
}
