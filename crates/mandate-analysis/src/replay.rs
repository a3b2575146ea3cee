//! Replays a counterexample of the solver on the engine, to see whether it breaks the claim there too. How
//! the counterexample is made is in `counterexample`; `prove` asks the solver.

use std::sync::Arc;

use cedar_policy::Policy;

use crate::claims::{Claim, ClaimKind};
use crate::counterexample::Witness;
use crate::error::AnalysisError;
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::SourceText;
use mandate_core::policies::Policies;
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::{Record, Value};

/// The policies and one claim, on which witnesses are decided.
pub(crate) struct Replay<'a> {
    claim: &'a Claim,
    /// The policies, without entities.
    policies: Snapshot,
    /// For `never-errors`, the policy that may error; else the requests that the claim is about, as a
    /// permit.
    about: Arc<Policies>,
}

impl<'a> Replay<'a> {
    pub fn new(claim: &'a Claim, policies: &Arc<Policies>, about: &Policy) -> Result<Self, AnalysisError> {
        let schema = policies.schema();
        let text = SourceText::new("claim.cedar", about.to_string());
        let about = Policies::parse(&[text], Arc::clone(schema))?.0;
        let policies = Snapshot::new(Arc::clone(policies), &RequestConfig::default())?;
        Ok(Self { claim, policies, about: Arc::new(about) })
    }

    /// The engine's decision, if the witness can be loaded and breaks the claim. For `independent` claims,
    /// also the value of the attribute that changes the decision, and that other decision.
    pub fn breaks(&self, witness: &Witness) -> Option<(Decision, Option<(bool, Decision)>)> {
        let loaded = witness.load_into(&self.policies).ok()?;
        let about = witness.decide(&loaded.with_policies(Arc::clone(&self.about)).ok()?)?;
        let decision = witness.decide(&loaded)?;
        let is_claimed = about.is_permit();
        match &self.claim.kind {
            ClaimKind::NeverErrors => (!about.errors.is_empty()).then_some((about, None)),
            ClaimKind::Never | ClaimKind::Ceiling => {
                (is_claimed && decision.is_permit()).then_some((decision, None))
            }
            ClaimKind::Floor => (is_claimed && !decision.is_permit()).then_some((decision, None)),
            ClaimKind::Independent { attribute } if is_claimed => self.depends(witness, attribute, decision),
            ClaimKind::Independent { .. } => None,
        }
    }

    /// The decision, and the value of the attribute with which the engine decides otherwise.
    fn depends(
        &self,
        witness: &Witness,
        attribute: &str,
        decision: Decision,
    ) -> Option<(Decision, Option<(bool, Decision)>)> {
        let counterfactual = [true, false].into_iter().find_map(|value| {
            let other = with_attribute(witness, attribute, value);
            let counterfactual = other.decide(&other.load_into(&self.policies).ok()?)?;
            (counterfactual.is_permit() != decision.is_permit()).then_some((value, counterfactual))
        })?;
        Some((decision, Some(counterfactual)))
    }
}

/// The witness with this value for the attribute, in all entities and in the context.
fn with_attribute(witness: &Witness, attribute: &str, value: bool) -> Witness {
    let set = |record: &mut Record| {
        if record.get(attribute).is_some() {
            *record = record.with_overrides(&Record::new([(attribute.into(), Value::Bool(value))]));
        }
    };
    let mut witness = witness.clone();
    witness.entities.values_mut().for_each(|entity| set(&mut entity.attributes));
    set(&mut witness.request.context);
    witness
}
