//! Proofs as JSON, for `mandate prove --format json` and for `/status`. Proofs for people are printed by
//! `src/cli/proof_text.rs`.

use std::time::Duration;

use serde::Serialize;

use crate::counterexample::WitnessReport;
use crate::prove::{CheckedClaim, ClaimResult, Counterexample};
use mandate_core::decision::Decision;
use mandate_core::schema::Schema;

/// A claim and its result.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimReport {
    pub claim: String,
    #[serde(rename = "form")]
    pub kind: &'static str,
    pub because: String,
    /// `proven`, `broken` or `unknown`.
    pub result: &'static str,
    pub took_ms: u64,
    /// Why the result is `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<CounterexampleReport>,
}

/// A request that breaks a claim, its entities, and the engine's decision.
#[derive(Debug, Clone, Serialize)]
pub struct CounterexampleReport {
    #[serde(flatten)]
    pub witness: WitnessReport,
    /// Absent if the entities cannot be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<DecisionReport>,
    /// For `independent` claims: the decision with the other value of the attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "otherwise")]
    pub counterfactual: Option<Counterfactual>,
}

/// A decision, and the policies that made it.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionReport {
    pub decision: bool,
    pub policies: Vec<String>,
    /// The policies that errored, each with its error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Counterfactual {
    /// The attribute's value, in all entities and in the context.
    pub attribute: bool,
    #[serde(flatten)]
    pub decided: DecisionReport,
}

impl ClaimReport {
    pub fn of(proof: &CheckedClaim, schema: &Schema) -> Self {
        let claim = &proof.claim;
        let (result, why, counterexample) = match &proof.result {
            ClaimResult::Proven => ("proven", None, None),
            ClaimResult::Broken(found) => ("broken", None, Some(CounterexampleReport::of(found, schema))),
            ClaimResult::Unknown(why) => ("unknown", Some(why.to_string()), None),
        };
        Self {
            claim: claim.id.to_string(),
            kind: claim.kind.name(),
            because: claim.because.to_string(),
            result,
            took_ms: milliseconds(proof.took),
            why,
            counterexample,
        }
    }
}

impl CounterexampleReport {
    fn of(found: &Counterexample, schema: &Schema) -> Self {
        let counterfactual = found.counterfactual.as_ref();
        Self {
            witness: found.witness.report(schema),
            decided: found.decision.as_ref().map(DecisionReport::of),
            counterfactual: counterfactual.map(|(value, decision)| Counterfactual {
                attribute: *value,
                decided: DecisionReport::of(decision),
            }),
        }
    }
}

impl DecisionReport {
    pub fn of(decision: &Decision) -> Self {
        let policies = decision.determining_policies().iter().map(|policy| policy.id.to_string()).collect();
        let errors = decision.errors.iter().map(|error| format!("{}: {}", error.policy.id, error.message));
        Self { decision: decision.is_permit(), policies, errors: errors.collect() }
    }
}

/// Whole milliseconds.
pub fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
