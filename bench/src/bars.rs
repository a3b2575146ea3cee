//! What is asked of the sidecar, what was measured, and whether that is enough.

use serde::Serialize;

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

/// What a measurement has to keep.
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

/// With as many decimals as its size calls for.
pub fn number(n: f64) -> String {
    match n.abs() {
        a if a >= 1_000.0 => {
            let digits = format!("{n:.0}");
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
            groups.join(",")
        }
        a if a >= 10.0 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

/// The middle of the values, or of the two in the middle; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |n: usize| sorted.get(n).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(middle(half.saturating_sub(1)), middle(half))
    } else {
        middle(half)
    }
}

/// The median of what each round gave, as a fraction of what the other gave in the same round, so that
/// what slows the machine for a while slows both.
pub fn ratio(of: &[f64], by: &[f64]) -> f64 {
    median(&of.iter().zip(by).map(|(of, by)| of / by).collect::<Vec<_>>())
}
