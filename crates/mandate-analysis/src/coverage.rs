//! Coverage: which policies, and which clauses of their conditions, a run of test cases reached. It is
//! printed by `src/cli/test/coverage.rs` and `lcov.rs`; clauses are split in `mandate_core::trace`.

use std::collections::BTreeMap;
use std::sync::Arc;

use mandate_core::diagnostics::SourceSpan;
use mandate_core::policies::{Policies, PolicyInfo};
use mandate_core::trace::{Clause, PolicyTrace, TruthValues};

/// What the cases reached so far, and what they can reach.
pub struct Coverage {
    /// By file, then by offset in the file.
    policies: BTreeMap<(String, usize), PolicyCoverage>,
}

/// How often a policy was evaluated, and with which results.
#[derive(Debug)]
pub struct PolicyCoverage {
    pub info: Arc<PolicyInfo>,
    pub span: SourceSpan,
    /// How often its scope matched a request.
    pub scope_matches: u64,
    pub counts: TruthCounts,
    pub clauses: Vec<ClauseCoverage>,
}

/// How often a clause was evaluated, and with which results.
#[derive(Debug)]
pub struct ClauseCoverage {
    pub clause: Clause,
    pub counts: TruthCounts,
}

/// How often a policy or clause was true, false, or an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TruthCounts {
    pub yes: u64,
    pub no: u64,
    pub failed: u64,
}

/// How much can be covered, and how much is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub policies: usize,
    pub policies_satisfied: usize,
    /// The outcomes that clauses can have: two each, one for a literal.
    pub outcomes: usize,
    pub outcomes_seen: usize,
}

impl Coverage {
    /// All policies and clauses, none of them reached yet.
    pub fn of(policies: &Policies) -> Self {
        let covered = policies.infos().into_iter().filter_map(|info| {
            let span = info.span.clone()?;
            let clauses = policies.clauses(info).into_iter();
            let clauses =
                clauses.map(|clause| ClauseCoverage { clause, counts: TruthCounts::default() }).collect();
            let key = key(&span);
            let covered = PolicyCoverage {
                info: Arc::clone(info),
                span,
                scope_matches: 0,
                counts: TruthCounts::default(),
                clauses,
            };
            Some((key, covered))
        });
        Self { policies: covered.collect() }
    }

    /// Adds what one case reached.
    pub fn add(&mut self, traces: &[PolicyTrace]) {
        for trace in traces {
            let span = trace.policy.span.as_ref().map(key);
            let Some(policy) = span.and_then(|span| self.policies.get_mut(&span)) else { continue };
            policy.scope_matches += 1;
            policy.counts.add(trace.satisfied);
            for (span, truth) in &trace.clauses {
                let mut clauses = policy.clauses.iter_mut();
                let found = clauses.find(|covered| covered.clause.span.byte_range() == *span);
                if let Some(covered) = found {
                    covered.counts.add(*truth);
                }
            }
        }
    }

    /// All policies, in the order of the files and of their text.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyCoverage> {
        self.policies.values()
    }

    pub fn totals(&self) -> Totals {
        self.policies().fold(Totals::default(), |sum, policy| {
            let outcomes = policy.outcomes();
            Totals {
                policies: sum.policies + 1,
                policies_satisfied: sum.policies_satisfied + usize::from(policy.counts.yes > 0),
                outcomes: sum.outcomes + outcomes.0,
                outcomes_seen: sum.outcomes_seen + outcomes.1,
            }
        })
    }
}

fn key(span: &SourceSpan) -> (String, usize) {
    (span.source.name.clone(), span.offset)
}

impl PolicyCoverage {
    /// The number of outcomes that its clauses can have, and the number that were seen.
    pub fn outcomes(&self) -> (usize, usize) {
        let sum = |(all, seen), clause: &ClauseCoverage| {
            let of =
                |truth: TruthValues| usize::from(truth.includes_true) + usize::from(truth.includes_false);
            (all + of(clause.clause.possible), seen + of(clause.clause.possible) - of(clause.unseen()))
        };
        self.clauses.iter().fold((0, 0), sum)
    }

    /// Whether the policy was satisfied, and all outcomes of its clauses were seen.
    pub fn is_complete(&self) -> bool {
        let (all, seen) = self.outcomes();
        self.counts.yes > 0 && all == seen
    }
}

impl ClauseCoverage {
    /// The possible outcomes that were never seen.
    pub fn unseen(&self) -> TruthValues {
        let TruthValues { includes_true: yes, includes_false: no } = self.clause.possible;
        TruthValues { includes_true: yes && self.counts.yes == 0, includes_false: no && self.counts.no == 0 }
    }
}

impl TruthCounts {
    fn add(&mut self, truth: TruthValues) {
        let count = match truth {
            TruthValues { includes_true: true, .. } => &mut self.yes,
            TruthValues { includes_false: true, .. } => &mut self.no,
            TruthValues::NONE => &mut self.failed,
        };
        *count += 1;
    }

    pub fn total(self) -> u64 {
        self.yes + self.no + self.failed
    }
}

impl Totals {
    /// The covered share of policies and outcomes together, in percent; 100 if there are none.
    pub fn percent(&self) -> f64 {
        let (all, seen) = (self.policies + self.outcomes, self.policies_satisfied + self.outcomes_seen);
        let float = |n| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        if all == 0 { 100.0 } else { float(seen) / float(all) * 100.0 }
    }
}
