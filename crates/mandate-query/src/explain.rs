//! Explanations: for a denial the smallest repairs that would turn it into a permit, for a permit the chains
//! of memberships that it relies on. Every repair shown was decided. Start reading at [`explain`]; the search
//! for repairs is in `repair_search`.

mod alternatives;
mod atomic_condition;
mod budget;
mod condition_analyzer;
mod edit;
mod hierarchy;
mod hypothesis;
mod membership_chains;
mod policy_alternatives;
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

/// Why a request was permitted or denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// For each `in` that holds in the permitting policies, the shortest chain of direct memberships behind
    /// it.
    Permit { chains: Vec<Vec<EntityUid>> },
    /// Each repair is sufficient for a permit and minimal: no part of it is sufficient. Smallest first.
    Denial {
        missing: Vec<Repair>,
        /// Whether these are all the repairs: no limit was reached, and every condition was understood.
        complete: bool,
    },
}

/// Explains the decision on a request, within the budget that is left.
///
/// # Errors
/// An internal error; see [`DecideError`].
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
            let chains = membership_chains::membership_chains(&hypothesis, decision, meter)?;
            Ok(Explanation::Permit { chains })
        }
        // An entity that does not exist has no attributes and no parents, so no single change can lead to a
        // permit.
        // While everything is denied, no change of entities or context can.
        Outcome::UnknownPrincipal | Outcome::UnknownResource | Outcome::Suspended(_) => {
            Ok(Explanation::Denial { missing: Vec::new(), complete: true })
        }
        Outcome::Forbidden(_) | Outcome::ForbidFailed(_) | Outcome::NotPermitted(_) => {
            let missing = repair_search::find_repairs(&hypothesis, meter)?;
            Ok(Explanation::Denial { missing, complete: meter.is_complete() })
        }
    })
}
