//! Coverage as text: a line for each policy, with excerpts of the clauses that the cases did not cover.
//! `lcov.rs` writes the same for other tools; mandate-analysis measures it.

use std::fmt::{self, Write as _};

use miette::{Diagnostic as MietteDiagnostic, LabeledSpan, SourceCode};

use crate::cli::report::{NamedText, counted, first_line, handler};
use mandate_analysis::coverage::{ClauseCoverage, Coverage, PolicyCoverage, Totals};
use mandate_core::trace::TruthValues;

/// A line for each policy, excerpts of what is not covered, and the totals.
pub fn render_text(coverage: &Coverage, colour: bool) -> String {
    let handler = handler(colour);
    let mut text = String::new();
    let mut file = "";
    for policy in coverage.policies() {
        if file != policy.span.source.path {
            file = &policy.span.source.path;
            let _ = writeln!(text, "{file}");
        }
        let open = UncoveredPolicy { policy, text: NamedText(&policy.span.source) };
        let shown = !policy.is_complete() && policy.scope_matches > 0;
        if !shown || handler.render_report(&mut text, &open).is_err() {
            let _ = writeln!(text, "  {} {open}", if policy.is_complete() { '✓' } else { '⚠' });
        }
    }
    text + &totals_line(coverage.totals())
}

/// One line about a policy.
fn summary_line(policy: &PolicyCoverage) -> String {
    let id = &policy.info.id;
    if policy.scope_matches == 0 {
        return format!("{id}, line {}: not covered by any case", policy.span.line_column().0);
    }
    let (outcomes, seen) = policy.outcomes();
    let seen =
        if outcomes == 0 { String::new() } else { format!(", {seen} of {}", counted(outcomes, "outcome")) };
    let failed =
        if policy.counts.failed == 0 { String::new() } else { format!(", failed {}", policy.counts.failed) };
    let never = match (policy.counts.yes, policy.counts.no) {
        (0, _) => ", never met",
        (_, 0) if outcomes > 0 => ", never unmet",
        _ => "",
    };
    format!("{id}: met {}, unmet {}{failed}{seen}{never}", policy.counts.yes, policy.counts.no)
}

fn totals_line(totals: Totals) -> String {
    format!(
        "coverage: {} of {} met, {} of {} of clauses seen, {}\n",
        totals.policies_satisfied,
        counted(totals.policies, "policy"),
        totals.outcomes_seen,
        counted(totals.outcomes, "outcome"),
        shown_percent(totals.percent()),
    )
}

/// Rounds down, so that `100.0 %` means everything.
pub fn shown_percent(percent: f64) -> String {
    format!("{:.1} %", (percent * 10.0).floor() / 10.0)
}

/// A policy that is not fully covered, as miette's renderer takes it.
struct UncoveredPolicy<'a> {
    policy: &'a PolicyCoverage,
    text: NamedText<'a>,
}

impl UncoveredPolicy<'_> {
    fn labels(&self) -> Vec<LabeledSpan> {
        let label = |span, text: String| {
            let (offset, length) = first_line(span);
            LabeledSpan::new(Some(text), offset, length)
        };
        let open = self.policy.clauses.iter().filter_map(|clause| Some((clause, uncovered_label(clause)?)));
        let mut labels: Vec<_> = open.map(|(clause, never)| label(&clause.clause.span, never)).collect();
        if labels.is_empty() {
            labels.push(label(&self.policy.span, "never met".to_owned()));
        }
        labels
    }
}

/// The outcomes that a clause never had; `None` if it had all that are possible.
fn uncovered_label(clause: &ClauseCoverage) -> Option<String> {
    let never = match clause.unseen() {
        TruthValues::NONE => return None,
        _ if clause.counts.total() == 0 => "never evaluated",
        TruthValues { includes_true: true, includes_false: true } => "never true or false",
        TruthValues { includes_true: true, .. } => "never true",
        TruthValues { includes_false: true, .. } => "never false",
    };
    let failed = clause.counts.failed;
    Some(if failed == 0 { never.to_owned() } else { format!("{never}, failed {failed}") })
}

impl fmt::Debug for UncoveredPolicy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.policy, f)
    }
}

impl fmt::Display for UncoveredPolicy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&summary_line(self.policy))
    }
}

impl std::error::Error for UncoveredPolicy<'_> {}

impl MietteDiagnostic for UncoveredPolicy<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Warning)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(UncoveredPolicy::labels(self).into_iter()))
    }
}
