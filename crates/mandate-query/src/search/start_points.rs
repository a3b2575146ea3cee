//! Finds where a search has to look: the entities that a permit names as its target, or whose descendants it
//! accepts. It may find too many, because each candidate is decided afterwards; `walk` visits them.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Value, ValueKind, Var};

use super::target::Target;
use mandate_core::cedar;
use mandate_core::decide::{DecideError, with_evaluator};
use mandate_core::policies::{CompiledPolicy, Effect, ScopeConstraint};
use mandate_core::request::Request;
use mandate_core::schema::{EntityUid, EntityUidRef, Schema};
use mandate_core::snapshot::Snapshot;

/// Every result is in `named`, or is an entity in `within` or a descendant of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StartPoints {
    pub named: BTreeSet<EntityUid>,
    pub within: BTreeSet<EntityUid>,
}

impl StartPoints {
    pub fn named(names: impl Iterator<Item = EntityUid>) -> Self {
        Self { named: names.collect(), within: BTreeSet::new() }
    }

    fn within(names: impl Iterator<Item = EntityUid>) -> Self {
        Self { named: BTreeSet::new(), within: names.collect() }
    }

    fn union(mut self, other: Self) -> Self {
        self.named.extend(other.named);
        self.within.extend(other.within);
        self
    }

    /// An entity in `within` costs more than a named one, because its descendants are visited too.
    fn cost(&self) -> (usize, usize) {
        (self.within.len(), self.named.len())
    }
}

/// The start points of all permits together; `None` if a result can be anywhere.
///
/// # Errors
/// An internal error.
pub fn start_points(
    snapshot: &Snapshot,
    request: &Request,
    target: Target,
) -> Result<Option<StartPoints>, DecideError> {
    let policies = snapshot.policies().candidates(request.environment()).ok_or(DecideError::Environment)?;
    let slice = snapshot.gather(request);
    let given = target.given_entity(request).as_uid_ref();
    let matches_given = |policy: &CompiledPolicy| {
        let constraint = match target {
            Target::Principal => &policy.resource,
            Target::Resource => &policy.principal,
        };
        constraint.matches(given, slice.ancestors_of(given))
    };
    with_evaluator(snapshot.schema(), request, &slice, |evaluate| {
        let finder = StartPointFinder { snapshot, target, evaluate };
        let permits = policies.all().filter(|it| it.info.effect == Effect::Permit && matches_given(it));
        permits
            .map(|permit| finder.for_permit(permit))
            .try_fold(StartPoints::default(), |all, of_one| of_one.map(|of_one| all.union(of_one)))
    })
}

struct StartPointFinder<'a> {
    snapshot: &'a Snapshot,
    target: Target,
    /// Evaluates an expression that does not mention the target.
    evaluate: &'a dyn Fn(&Expr) -> Option<Value>,
}

impl StartPointFinder<'_> {
    /// The scope and the condition of a permit both have to hold, so the start points of one of them are
    /// enough: take the cheapest.
    fn for_permit(&self, permit: &CompiledPolicy) -> Option<StartPoints> {
        let constraint = match self.target {
            Target::Principal => &permit.principal,
            Target::Resource => &permit.resource,
        };
        let scope = match constraint {
            ScopeConstraint::Eq(name) => Some(StartPoints::named([name.clone()].into_iter())),
            ScopeConstraint::In(_, name) => Some(StartPoints::within([name.clone()].into_iter())),
            ScopeConstraint::Any | ScopeConstraint::Is(_) | ScopeConstraint::UnknownType => None,
        };
        narrower(scope, permit.condition.as_ref().and_then(|condition| self.for_expression(condition)))
    }

    /// Where a result has to be for the expression to be true; `None` if the expression does not restrict it.
    fn for_expression(&self, expr: &Expr) -> Option<StartPoints> {
        if !self.mentions_target(expr) {
            let holds = (self.evaluate)(expr).is_some_and(|value| is_true(&value));
            return if holds { None } else { Some(StartPoints::default()) };
        }
        match expr.expr_kind() {
            ExprKind::And { left, right } => narrower(self.for_expression(left), self.for_expression(right)),
            ExprKind::Or { left, right } => {
                Some(self.for_expression(left)?.union(self.for_expression(right)?))
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let then = narrower(self.for_expression(test_expr), self.for_expression(then_expr));
                // If the test does not mention the target and is true, the else branch is never evaluated.
                let otherwise = if self.is_known_true(test_expr) {
                    Some(StartPoints::default())
                } else {
                    self.for_expression(else_expr)
                };
                Some(then?.union(otherwise?))
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => self.for_operator(*op, arg1, arg2),
            _ => None,
        }
    }

    fn for_operator(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Option<StartPoints> {
        let (target_left, target_right) = (self.is_target_variable(left), self.is_target_variable(right));
        match op {
            BinaryOp::Eq if target_left => Some(StartPoints::named(self.evaluate_entities(right)?)),
            BinaryOp::Eq | BinaryOp::Contains if target_right => {
                Some(StartPoints::named(self.evaluate_entities(left)?))
            }
            BinaryOp::In if target_left => Some(StartPoints::within(self.evaluate_entities(right)?)),
            BinaryOp::In if target_right => {
                let entities = self.snapshot.entities();
                let of: Vec<EntityUid> = self.evaluate_entities(left)?.collect();
                let all = of.iter().flat_map(|uid| entities.with_ancestors(uid.as_uid_ref()));
                Some(StartPoints::named(all.map(EntityUidRef::to_owned)))
            }
            _ => None,
        }
    }

    /// The entity, or the set of entities, that an expression evaluates to; `None` if it mentions the target.
    /// If it cannot be evaluated, there are none: the policy fails, so it permits nothing.
    fn evaluate_entities(&self, expr: &Expr) -> Option<impl Iterator<Item = EntityUid> + use<>> {
        if self.mentions_target(expr) {
            return None;
        }
        let value = (self.evaluate)(expr);
        Some(value.map(|value| entities_of(&value, self.snapshot.schema())).unwrap_or_default().into_iter())
    }

    fn is_known_true(&self, expr: &Expr) -> bool {
        !self.mentions_target(expr) && (self.evaluate)(expr).is_some_and(|value| is_true(&value))
    }

    fn is_target_variable(&self, expr: &Expr) -> bool {
        let var = match self.target {
            Target::Principal => Var::Principal,
            Target::Resource => Var::Resource,
        };
        matches!(expr.expr_kind(), ExprKind::Var(found) if *found == var)
    }

    fn mentions_target(&self, expr: &Expr) -> bool {
        expr.subexpressions().any(|part| self.is_target_variable(part))
    }
}

/// The cheaper of two restrictions that both have to hold.
fn narrower(one: Option<StartPoints>, other: Option<StartPoints>) -> Option<StartPoints> {
    one.into_iter().chain(other).min_by_key(StartPoints::cost)
}

fn is_true(value: &Value) -> bool {
    matches!(value.value, ValueKind::Lit(Literal::Bool(true)))
}

fn entities_of(value: &Value, schema: &Schema) -> Vec<EntityUid> {
    let entity = |value: &Value| match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => cedar::entity_uid(uid, schema),
        _ => None,
    };
    match &value.value {
        ValueKind::Set(items) => items.iter().filter_map(entity).collect(),
        _ => entity(value).into_iter().collect(),
    }
}
