//! Counterexamples of the solver, decided by the engine.

use std::sync::Arc;

use cedar_policy::Policy;

use super::claims::{Claim, ClaimKind};
use super::counterexample::Witness;
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::SourceText;
use mandate_core::policies::Policies;
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::{Record, Value};

/// Decides what a solver found, as the engine would.
pub(crate) struct Replay<'a> {
    claim: &'a Claim,
    /// The policies, on no entities.
    policies: Snapshot,
    /// The one policy that the claim is about.
    about: Arc<Policies>,
}

impl<'a> Replay<'a> {
    pub fn new(claim: &'a Claim, policies: &Arc<Policies>, about: &Policy) -> Result<Self, String> {
        let schema = policies.schema();
        let text = SourceText::new("claim.cedar", about.to_string());
        let about =
            Policies::parse(&[text], Arc::clone(schema)).map_err(|diagnostics| diagnostics.to_string())?.0;
        let policies = Snapshot::new(Arc::clone(policies), &RequestConfig::default());
        let policies = policies.map_err(|diagnostics| diagnostics.to_string())?;
        Ok(Self { claim, policies, about: Arc::new(about) })
    }

    /// What the engine decides, if the witness can be loaded and breaks the claim; for an attribute that
    /// should not matter, also what it decides with the other value.
    pub fn breaks(&self, witness: &Witness) -> Option<(Decision, Option<(bool, Decision)>)> {
        let loaded = witness.load_into(&self.policies).ok()?;
        let about = witness.decide(&loaded.with_policies(Arc::clone(&self.about)).ok()?)?;
        let decision = witness.decide(&loaded)?;
        if self.claim.kind == ClaimKind::NeverErrors {
            return (!about.errors.is_empty()).then_some((about, None));
        }
        if !about.is_permit() {
            return None;
        }
        match &self.claim.kind {
            ClaimKind::Never | ClaimKind::Ceiling => decision.is_permit().then_some((decision, None)),
            ClaimKind::Floor => (!decision.is_permit()).then_some((decision, None)),
            ClaimKind::Independent { attribute } => [true, false].into_iter().find_map(|value| {
                let other = with_attribute(witness, attribute, value);
                let counterfactual = other.decide(&other.load_into(&self.policies).ok()?)?;
                let differs = counterfactual.is_permit() != decision.is_permit();
                differs.then(|| (decision.clone(), Some((value, counterfactual))))
            }),
            ClaimKind::NeverErrors => None,
        }
    }
}

/// The witness with one value of an attribute, wherever it stands.
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
