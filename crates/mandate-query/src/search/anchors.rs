//! Where the policies say that a search can find something: what has to be so of whoever is looked
//! for, if a permit is to be met.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, Value, ValueKind, Var};

use super::Side;
use mandate_core::decide::{DecideError, reading};
use mandate_core::policies::{Candidate, Part};
use mandate_core::request::Request;
use mandate_core::schema::{EntityRef, Name, Schema};
use mandate_core::snapshot::Snapshot;

/// Whoever is looked for is one of these, or in one of those.
#[derive(Debug, Default)]
pub struct Anchors {
    pub named: BTreeSet<EntityRef>,
    pub within: BTreeSet<EntityRef>,
}

impl Anchors {
    pub fn named(names: impl Iterator<Item = EntityRef>) -> Self {
        Self { named: names.collect(), within: BTreeSet::new() }
    }

    fn within(names: impl Iterator<Item = EntityRef>) -> Self {
        Self { named: BTreeSet::new(), within: names.collect() }
    }

    fn and_those(mut self, other: Self) -> Self {
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
pub fn anchors(snapshot: &Snapshot, request: &Request, side: Side) -> Result<Option<Anchors>, DecideError> {
    let policies = snapshot.policies().candidates(request.environment()).ok_or(DecideError::Environment)?;
    let slice = snapshot.gather(request);
    let fixed = side.fixed(request).name();
    let takes_fixed = |candidate: &Candidate| {
        let part = match side {
            Side::Principal => &candidate.resource,
            Side::Resource => &candidate.principal,
        };
        part.takes(fixed, slice.above(fixed))
    };
    reading(snapshot.schema(), request, &slice, |read| {
        let finder = Finder { snapshot, side, read };
        let permits = policies.all().filter(|it| !it.info.forbids && takes_fixed(it));
        permits.map(|permit| finder.of_permit(permit)).try_fold(Anchors::default(), |all, of_permit| {
            of_permit.map(|of_permit| all.and_those(of_permit))
        })
    })
}

struct Finder<'a> {
    snapshot: &'a Snapshot,
    side: Side,
    /// Reads an expression that does not speak of whoever is looked for.
    read: &'a dyn Fn(&Expr) -> Option<Value>,
}

impl Finder<'_> {
    /// Any one of what has to be so is enough to look at: the one that leads to the fewest.
    fn of_permit(&self, permit: &Candidate) -> Option<Anchors> {
        let part = match self.side {
            Side::Principal => &permit.principal,
            Side::Resource => &permit.resource,
        };
        let scope = match part {
            Part::Is(name) => Some(Anchors::named([name.clone()].into_iter())),
            Part::In(_, name) => Some(Anchors::within([name.clone()].into_iter())),
            Part::Any | Part::OfType(_) | Part::Unclear => None,
        };
        either(scope, permit.condition.as_ref().and_then(|condition| self.of(condition)))
    }

    /// What has to be so for an expression to be true; `None` if it says nothing about that.
    fn of(&self, expr: &Expr) -> Option<Anchors> {
        if !self.speaks_of_searched(expr) {
            let holds = (self.read)(expr).is_some_and(|value| is_true(&value));
            return if holds { None } else { Some(Anchors::default()) };
        }
        match expr.expr_kind() {
            ExprKind::And { left, right } => either(self.of(left), self.of(right)),
            ExprKind::Or { left, right } => Some(self.of(left)?.and_those(self.of(right)?)),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let then = either(self.of(test_expr), self.of(then_expr));
                // What is tested may speak of others only; where it holds, the rest is never asked.
                let otherwise =
                    if self.surely_holds(test_expr) { Some(Anchors::default()) } else { self.of(else_expr) };
                Some(then?.and_those(otherwise?))
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => self.of_operator(*op, arg1, arg2),
            _ => None,
        }
    }

    fn of_operator(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Option<Anchors> {
        let (searched_left, searched_right) = (self.is_searched(left), self.is_searched(right));
        match op {
            BinaryOp::Eq if searched_left => Some(Anchors::named(self.names(right)?)),
            BinaryOp::Eq | BinaryOp::Contains if searched_right => Some(Anchors::named(self.names(left)?)),
            BinaryOp::In if searched_left => Some(Anchors::within(self.names(right)?)),
            BinaryOp::In if searched_right => {
                let of: Vec<EntityRef> = self.names(left)?.collect();
                let entities = self.snapshot.entities();
                let above = of.iter().flat_map(|name| super::walk::above(entities, name.name()));
                let above: Vec<EntityRef> = above.map(Name::to_owned).collect();
                Some(Anchors::named(of.into_iter().chain(above)))
            }
            _ => None,
        }
    }

    /// The entities that an expression comes to, one or a set of them. What cannot be read fails the
    /// policy, so nobody is found by it.
    fn names(&self, expr: &Expr) -> Option<impl Iterator<Item = EntityRef> + use<>> {
        if self.speaks_of_searched(expr) {
            return None;
        }
        let mut names = Vec::new();
        if let Some(value) = (self.read)(expr) {
            for_each_entity(&value, &mut |uid| names.extend(entity(uid, self.snapshot.schema())));
        }
        Some(names.into_iter())
    }

    fn surely_holds(&self, expr: &Expr) -> bool {
        !self.speaks_of_searched(expr) && (self.read)(expr).is_some_and(|value| is_true(&value))
    }

    fn is_searched(&self, expr: &Expr) -> bool {
        let var = match self.side {
            Side::Principal => Var::Principal,
            Side::Resource => Var::Resource,
        };
        matches!(expr.expr_kind(), ExprKind::Var(found) if *found == var)
    }

    fn speaks_of_searched(&self, expr: &Expr) -> bool {
        expr.subexpressions().any(|part| self.is_searched(part))
    }
}

/// Of two that both have to be so, the one that leads to fewer.
fn either(one: Option<Anchors>, other: Option<Anchors>) -> Option<Anchors> {
    one.into_iter().chain(other).min_by_key(Anchors::cost)
}

fn is_true(value: &Value) -> bool {
    matches!(value.value, ValueKind::Lit(Literal::Bool(true)))
}

fn for_each_entity(value: &Value, found: &mut impl FnMut(&EntityUID)) {
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

fn entity(uid: &EntityUID, schema: &Schema) -> Option<EntityRef> {
    let kind = schema.kind_of_full_name(&uid.entity_type().to_string())?;
    let id: &str = uid.eid().as_ref();
    Some(EntityRef { kind, id: id.into() })
}
