//! Arithmetic on measured numbers: medians and ratios, and numbers as text.

/// A number as text. The larger the number, the fewer decimals: `0.98`, `11.4`, `82,489`.
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

/// The middle value, or the mean of the two in the middle; 0 if there is no value.
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

/// The ratio in each round. Both values come from the same round, so anything that slows the machine for a
/// while slows both of them.
pub fn ratios(numerators: &[f64], denominators: &[f64]) -> Vec<f64> {
    numerators.iter().zip(denominators).map(|(numerator, denominator)| numerator / denominator).collect()
}

/// The median of [`ratios`].
pub fn ratio(numerators: &[f64], denominators: &[f64]) -> f64 {
    median(&ratios(numerators, denominators))
}

#[expect(clippy::cast_precision_loss, reason = "the counts here are far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}
