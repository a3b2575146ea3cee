//! Where the policies say that a search can find something: what has to be so of whoever is looked
//! for, if a permit is to be met.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{
    BinaryOp, EntityUID as CedarEntityUid, Expr, ExprKind, Literal, Value, ValueKind, Var,
};

use super::Target;
use mandate_core::decide::{DecideError, with_evaluator};
use mandate_core::policies::Effect;
use mandate_core::policies::{CompiledPolicy, ScopeConstraint};
use mandate_core::request::Request;
use mandate_core::schema::{EntityUid, EntityUidRef, Schema};
use mandate_core::snapshot::Snapshot;

/// Whoever is looked for is one of these, or in one of those.
#[derive(Debug, Default)]
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

    /// What lies in others is more than what is named.
    fn cost(&self) -> (usize, usize) {
        (self.within.len(), self.named.len())
    }
}

/// Where all permits together have to be looked for; `None` if anywhere.
///
/// # Errors
/// A defect of this program.
pub fn start_points(
    snapshot: &Snapshot,
    request: &Request,
    target: Target,
) -> Result<Option<StartPoints>, DecideError> {
    let policies = snapshot.policies().candidates(request.environment()).ok_or(DecideError::Environment)?;
    let slice = snapshot.gather(request);
    let given = target.given_entity(request).as_uid_ref();
    let admits_given = |candidate: &CompiledPolicy| {
        let part = match target {
            Target::Principal => &candidate.resource,
            Target::Resource => &candidate.principal,
        };
        part.matches(given, slice.ancestors_of(given))
    };
    with_evaluator(snapshot.schema(), request, &slice, |evaluate| {
        let finder = StartPointFinder { snapshot, target, evaluate };
        let permits = policies.all().filter(|it| it.info.effect == Effect::Permit && admits_given(it));
        permits
            .map(|permit| finder.for_permit(permit))
            .try_fold(StartPoints::default(), |all, of_one| of_one.map(|of_one| all.union(of_one)))
    })
}

struct StartPointFinder<'a> {
    snapshot: &'a Snapshot,
    target: Target,
    /// Reads an expression that does not speak of whoever is looked for.
    evaluate: &'a dyn Fn(&Expr) -> Option<Value>,
}

impl StartPointFinder<'_> {
    /// Any one of what has to be so is enough to look at: the one that leads to the fewest.
    fn for_permit(&self, permit: &CompiledPolicy) -> Option<StartPoints> {
        let part = match self.target {
            Target::Principal => &permit.principal,
            Target::Resource => &permit.resource,
        };
        let scope = match part {
            ScopeConstraint::Eq(name) => Some(StartPoints::named([name.clone()].into_iter())),
            ScopeConstraint::In(_, name) => Some(StartPoints::within([name.clone()].into_iter())),
            ScopeConstraint::Any | ScopeConstraint::Is(_) | ScopeConstraint::UnknownType => None,
        };
        narrower(scope, permit.condition.as_ref().and_then(|condition| self.for_expression(condition)))
    }

    /// What has to be so for an expression to be true; `None` if it says nothing about that.
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
                // What is tested may speak of others only; where it holds, the rest is never asked.
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
                let of: Vec<EntityUid> = self.evaluate_entities(left)?.collect();
                let entities = self.snapshot.entities();
                let above = of.iter().flat_map(|name| super::walk::ancestors(entities, name.as_uid_ref()));
                let above: Vec<EntityUid> = above.map(EntityUidRef::to_owned).collect();
                Some(StartPoints::named(of.into_iter().chain(above)))
            }
            _ => None,
        }
    }

    /// The entities that an expression comes to, one or a set of them. What cannot be read fails the
    /// policy, so nobody is found by it.
    fn evaluate_entities(&self, expr: &Expr) -> Option<impl Iterator<Item = EntityUid> + use<>> {
        if self.mentions_target(expr) {
            return None;
        }
        let mut names = Vec::new();
        if let Some(value) = (self.evaluate)(expr) {
            for_each_entity(&value, &mut |uid| names.extend(entity(uid, self.snapshot.schema())));
        }
        Some(names.into_iter())
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

/// Of two that both have to be so, the one that leads to fewer.
fn narrower(one: Option<StartPoints>, other: Option<StartPoints>) -> Option<StartPoints> {
    one.into_iter().chain(other).min_by_key(StartPoints::cost)
}

fn is_true(value: &Value) -> bool {
    matches!(value.value, ValueKind::Lit(Literal::Bool(true)))
}

fn for_each_entity(value: &Value, found: &mut impl FnMut(&CedarEntityUid)) {
    match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => found(uid),
        ValueKind::Set(set) => {
            for item in set.iter() {
                if let ValueKind::Lit(Literal::EntityUID(uid)) = &item.value {
                    found(uid);
                }
            }
        }
        _ => {}
    }
}

fn entity(uid: &CedarEntityUid, schema: &Schema) -> Option<EntityUid> {
    let entity_type = schema.entity_type_by_full_name(&uid.entity_type().to_string())?;
    let id: &str = uid.eid().as_ref();
    Some(EntityUid { entity_type, id: id.into() })
}
