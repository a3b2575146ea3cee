//! The explanation of a permit: the chains of direct memberships that the permitting policies rely on. The
//! chains are found in `hierarchy`; the explanation of a denial is `repair_search`.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind};

use super::budget::{MAX_REPAIRS, Meter};
use super::condition_analyzer::{ConditionAnalyzer, analyze};
use super::hierarchy::shortest_chain;
use super::hypothesis::Hypothesis;
use mandate_core::decide::DecideError;
use mandate_core::decision::Decision;
use mandate_core::policies::{CompiledPolicy, ScopeConstraint};
use mandate_core::schema::EntityUid;

/// The chain behind each `in` that is true in the scopes and conditions of the permitting policies.
///
/// # Errors
/// An internal error; see [`DecideError`].
pub fn membership_chains(
    hypothesis: &Hypothesis<'_>,
    decision: &Decision,
    meter: &Meter,
) -> Result<Vec<Vec<EntityUid>>, DecideError> {
    analyze(hypothesis, meter, |analyzer| {
        let permitting = analyzer
            .matching_policies()
            .filter(|policy| decision.determining_policies().contains(&policy.info));
        let mut chains: Vec<Vec<EntityUid>> =
            permitting.flat_map(|policy| chains_of_policy(analyzer, policy)).collect();
        // `x in x` always holds, so a chain of one entity says nothing.
        chains.retain(|chain| chain.len() > 1);
        chains.sort();
        chains.dedup();
        chains.truncate(MAX_REPAIRS);
        chains
    })
}

fn chains_of_policy(analyzer: &ConditionAnalyzer<'_>, policy: &CompiledPolicy) -> Vec<Vec<EntityUid>> {
    let cost = u32::try_from(analyzer.slice.look_ups().len()).unwrap_or(u32::MAX);
    let chain = |from: &EntityUid, to: &[EntityUid]| {
        let affordable = analyzer.meter.spend(cost);
        affordable.then(|| shortest_chain(analyzer.hypothesis, from.as_uid_ref(), to))?
    };
    let request = &analyzer.hypothesis.request;
    let scope = [(&request.principal, &policy.principal), (&request.resource, &policy.resource)];
    let in_scope = scope.into_iter().filter_map(|(entity, constraint)| match constraint {
        ScopeConstraint::In(_, of) => chain(entity, std::slice::from_ref(of)),
        ScopeConstraint::Any
        | ScopeConstraint::Is(_)
        | ScopeConstraint::Eq(_)
        | ScopeConstraint::UnknownType => None,
    });
    let parts = policy.condition.iter().flat_map(Expr::subexpressions);
    let in_condition = parts.filter_map(|part| match part.expr_kind() {
        ExprKind::BinaryApp { op: BinaryOp::In, arg1, arg2 } => {
            chain(&analyzer.entity(arg1)?, &analyzer.entities(arg2)?)
        }
        _ => None,
    });
    in_scope.chain(in_condition).collect()
}
