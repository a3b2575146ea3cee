//! Explanations: for a denial the smallest sets of facts that would have made it a permit, for a
//! permit the chains of memberships that it rests on. Nothing is shown that was not decided.

mod alternatives;
mod atomic_condition;
mod budget;
mod edit;
mod hierarchy;
mod hypothesis;
mod repair;
mod repair_search;

pub use budget::{Budget, MAX_MODIFICATIONS, MAX_REPAIRS};
pub use hierarchy::types_between;
pub use repair::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};

use budget::Meter;
use hypothesis::Hypothesis;

use mandate_core::Snapshot;
use mandate_core::decide::DecideError;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::request::Request;
use mandate_core::schema::EntityUid;

/// Why a decision is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// The shortest chains of direct memberships by which what the policies want is `in` is so.
    Permit { chains: Vec<Vec<EntityUid>> },
    /// Each of these sets would make it a permit, and no part of one would; the smallest come first.
    Denial {
        missing: Vec<Repair>,
        /// Whether there can be no other sets: nothing was cut off, and every condition was understood.
        complete: bool,
    },
}

/// Explains what was decided on a request, within what the budget still has.
///
/// # Errors
/// A defect of this program; see [`DecideError`].
pub fn explain(
    snapshot: &Snapshot,
    request: &Request,
    decision: &Decision,
    budget: &mut Budget,
) -> Result<Explanation, DecideError> {
    let mut hypothesis = Hypothesis::new(snapshot.policies(), snapshot.entities(), request)?;
    if budget.scan_entities && !decision.is_permit() {
        hypothesis = hypothesis.with_reserved_parents();
    }
    Meter::run(budget, |meter| match &decision.outcome {
        Outcome::Permitted(_) => {
            Ok(Explanation::Permit { chains: membership_chains(&hypothesis, decision, meter)? })
        }
        // Who does not exist is in nothing and has nothing: no single fact changes that.
        Outcome::UnknownPrincipal | Outcome::UnknownResource => {
            Ok(Explanation::Denial { missing: Vec::new(), complete: true })
        }
        Outcome::Forbidden(_) | Outcome::ForbidFailed(_) | Outcome::NotPermitted(_) => {
            let missing = repair_search::find_repairs(&hypothesis, meter)?;
            Ok(Explanation::Denial { missing, complete: meter.is_complete() })
        }
    })
}

/// The chains behind each `in` that is true in the scopes and conditions of what permitted.
fn membership_chains(
    hypothesis: &Hypothesis<'_>,
    decision: &Decision,
    meter: &Meter,
) -> Result<Vec<Vec<EntityUid>>, DecideError> {
    hypothesis.analyze(meter, |analyzer| {
        let permitting = analyzer
            .matching_policies()
            .filter(|policy| decision.determining_policies().contains(&policy.info));
        let mut chains: Vec<Vec<EntityUid>> =
            permitting.flat_map(|policy| analyzer.membership_chains(policy)).collect();
        // What is in itself needs no chain.
        chains.retain(|chain| chain.len() > 1);
        chains.sort();
        chains.dedup();
        chains.truncate(MAX_REPAIRS);
        chains
    })
}
