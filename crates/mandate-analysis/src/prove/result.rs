//! The result of a proof: proven, broken with a counterexample, or unknown, and its description for people.
//! As JSON it is in `proof_report`; how it is found is in `prover`.

use std::sync::Arc;
use std::time::Duration;

use crate::claims::Claim;
use crate::counterexample::Witness;
use crate::error::AnalysisError;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::schema::Schema;

/// A claim with its result.
#[derive(Debug)]
pub struct CheckedClaim {
    pub claim: Arc<Claim>,
    pub result: ClaimResult,
    pub took: Duration,
}

/// Only `Proven` is a proof; in doubt, a claim does not hold.
#[derive(Debug)]
pub enum ClaimResult {
    /// The claim holds for every request and all entities.
    Proven,
    /// The claim does not hold for this request.
    Broken(Box<Counterexample>),
    /// The claim is neither proven nor broken.
    Unknown(AnalysisError),
}

/// A request that breaks a claim, with its entities.
#[derive(Debug)]
pub struct Counterexample {
    pub witness: Witness,
    /// The engine's decision. `None` if no completion of the solver's model breaks the claim in the engine,
    /// most likely because the loading rules exclude such entities.
    pub decision: Option<Decision>,
    /// For `independent` claims: the other decision, and the value of the attribute that leads to it when the
    /// attribute has that value everywhere.
    pub counterfactual: Option<(bool, Decision)>,
}

impl From<AnalysisError> for ClaimResult {
    fn from(error: AnalysisError) -> Self {
        Self::Unknown(error)
    }
}

impl CheckedClaim {
    pub fn holds(&self) -> bool {
        matches!(self.result, ClaimResult::Proven)
    }

    pub fn is_broken(&self) -> bool {
        matches!(self.result, ClaimResult::Broken(_))
    }
}

/// An error for each claim that is not proven.
pub fn unproven(proofs: &[CheckedClaim], schema: &Schema) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    for proof in proofs {
        let claim = &proof.claim;
        let (message, help) = match &proof.result {
            ClaimResult::Proven => continue,
            ClaimResult::Broken(found) => ("is broken", found.describe(schema)),
            ClaimResult::Unknown(why) => ("is not proven", why.to_string()),
        };
        let diagnostic = Diagnostic::error(format!("the claim `{}` {message}: {}", claim.id, claim.because));
        diagnostics.push(diagnostic.help(help).at(claim.span.clone()));
    }
    diagnostics
}

impl Counterexample {
    /// The whole counterexample in one sentence.
    pub fn describe(&self, schema: &Schema) -> String {
        let mut text = self.witness.describe(schema);
        match (&self.decision, &self.counterfactual) {
            (None, _) => text += " (found by the solver; the loading rules may exclude it)",
            (Some(decision), None) => text = format!("{}: {text}", describe_decision(decision)),
            (Some(decision), Some((value, counterfactual))) => {
                text = format!(
                    "{}, but {} if the attribute is {value} everywhere: {text}",
                    describe_decision(decision),
                    describe_decision(counterfactual)
                );
            }
        }
        text
    }
}

/// The decision and the policies that determined it, or the policies that errored.
pub fn describe_decision(decision: &Decision) -> String {
    if !decision.errors.is_empty() {
        let errors = decision.errors.iter().map(|error| format!("{} ({})", error.policy.id, error.message));
        return format!("a policy errors: {}", errors.collect::<Vec<_>>().join("; "));
    }
    let policies: Vec<&str> =
        decision.determining_policies().iter().map(|policy| policy.id.as_str()).collect();
    let by = if policies.is_empty() { String::new() } else { format!(" by {}", policies.join(", ")) };
    format!("{}{by}", if decision.is_permit() { "permitted" } else { "denied" })
}
