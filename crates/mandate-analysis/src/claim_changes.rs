//! Compares the claims of two versions of the guardrails: which are new, gone, or promise something else.

use std::collections::BTreeSet;

use cedar_policy::PolicyId;
use cedar_policy_core::ast::Expr;
use smol_str::SmolStr;

use crate::claims::{ClaimKind, Guardrails};

/// How a claim differs between two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimChange {
    Added,
    Removed,
    /// Its kind, scope or conditions differ. A new `@because` is no change.
    Changed,
}

impl ClaimChange {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// The claims that differ, by id.
pub fn claim_changes(old: &Guardrails, new: &Guardrails) -> Vec<(SmolStr, ClaimChange)> {
    let ids: BTreeSet<&SmolStr> = old.claims().iter().chain(new.claims()).map(|claim| &claim.id).collect();
    let changes = ids.into_iter().filter_map(|id| {
        let change = match (promise(old, id), promise(new, id)) {
            (None, None) => return None,
            (None, Some(_)) => ClaimChange::Added,
            (Some(_), None) => ClaimChange::Removed,
            (Some(old), Some(new)) if same(&old, &new) => return None,
            (Some(_), Some(_)) => ClaimChange::Changed,
        };
        Some((id.clone(), change))
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
