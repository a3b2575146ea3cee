//! Compares the claims of two versions of the guardrails: which are new, gone, or promise something else.

use std::collections::BTreeSet;

use cedar_policy::PolicyId;
use cedar_policy_core::ast::Expr;
use smol_str::SmolStr;

use crate::claims::{ClaimKind, Guardrails};
use mandate_core::change_kind::ChangeKind;

/// The claims that differ, by id. A claim is changed if its kind, scope or conditions differ; a new `@because` is
/// no change.
pub fn claim_changes(old: &Guardrails, new: &Guardrails) -> Vec<(SmolStr, ChangeKind)> {
    let ids: BTreeSet<&SmolStr> = old.claims().iter().chain(new.claims()).map(|claim| &claim.id).collect();
    let changes = ids.into_iter().filter_map(|id| {
        let (old, new) = (promise(old, id), promise(new, id));
        if let (Some(old), Some(new)) = (&old, &new)
            && same(old, new)
        {
            return None;
        }
        Some((id.clone(), ChangeKind::between(old.is_some(), new.is_some())))
    });
    changes.collect()
}

/// What a claim promises: its kind, and the condition that stands for its scope and its conditions. A claim
/// that is not written has no condition.
fn promise<'a>(guardrails: &'a Guardrails, id: &str) -> Option<(&'a ClaimKind, Option<Expr>)> {
    let claim = guardrails.claims().iter().find(|claim| claim.id == id)?;
    let policy = guardrails.policies().and_then(|all| all.cedar_policies().policy(&PolicyId::new(id)));
    Some((&claim.kind, policy.map(|policy| policy.as_ref().condition())))
}

fn same((old_kind, old): &(&ClaimKind, Option<Expr>), (new_kind, new): &(&ClaimKind, Option<Expr>)) -> bool {
    let same_condition = match (old, new) {
        (Some(old), Some(new)) => old.eq_shape(new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    old_kind == new_kind && same_condition
}
