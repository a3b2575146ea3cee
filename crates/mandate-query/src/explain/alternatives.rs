//! Ways to make a condition true or false: each a set of facts, found from the expression and what its
//! parts come to. They are proposals: whether one does it, a decision tells.

use std::sync::Arc;

use cedar_policy_core::ast::{self, BinaryOp, Expr, ExprKind, Literal, UnaryOp, ValueKind};

use super::budget::Meter;
use super::hierarchy::shortest_chain;
use super::hypothesis::Hypothesis;
use super::repair::Repair;
use mandate_core::policies::{CompiledPolicy, ScopeConstraint};
use mandate_core::schema::EntityUid;
use mandate_core::slice::Slice;

/// What an expression comes to, and what would make it something else.
pub struct Alternatives {
    /// `None` if it cannot be evaluated.
    pub value: Option<bool>,
    pub to_true: Vec<Repair>,
    pub to_false: Vec<Repair>,
}

/// Reads conditions in one world.
pub struct ConditionAnalyzer<'a> {
    pub hypothesis: &'a Hypothesis<'a>,
    pub slice: &'a Slice<'a>,
    pub evaluate: &'a dyn Fn(&Expr) -> Option<ast::Value>,
    pub meter: &'a Meter,
}

impl Alternatives {
    /// What has a value already needs no facts to have it.
    pub fn new(value: Option<bool>, mut to: impl FnMut(bool) -> Vec<Repair>) -> Self {
        let mut alternatives =
            |wanted| if value == Some(wanted) { vec![Repair::default()] } else { to(wanted) };
        Self { value, to_true: alternatives(true), to_false: alternatives(false) }
    }

    fn constant(value: Option<bool>) -> Self {
        Self::new(value, |_| Vec::new())
    }

    fn not(self) -> Self {
        Self { value: self.value.map(|value| !value), to_true: self.to_false, to_false: self.to_true }
    }

    /// `self && other`, which looks at the other only if the first is true.
    fn and(self, other: &Self, meter: &Meter) -> Self {
        let value = if self.value == Some(true) { other.value } else { self.value };
        let to_true = self.behind_guard(&other.to_true, other.value, meter);
        let second_false = meter.combine(&self.to_true, &other.to_false);
        Self { value, to_true, to_false: meter.union(self.to_false, second_false) }.normalized()
    }

    /// What makes this true, and then these. What this guards may not be readable as long as this is
    /// false, and shows only in a world where it is true.
    fn behind_guard(&self, then: &[Repair], value: Option<bool>, meter: &Meter) -> Vec<Repair> {
        let unread = self.value != Some(true) && value.is_none() && then.is_empty();
        if unread { self.to_true.clone() } else { meter.combine(&self.to_true, then) }
    }

    fn or(self, other: Self, meter: &Meter) -> Self {
        self.not().and(&other.not(), meter).not()
    }

    /// `if self then yes else no`.
    fn if_then_else(self, yes: &Self, no: &Self, meter: &Meter) -> Self {
        let value = self.value.and_then(|test| if test { yes.value } else { no.value });
        let opposite =
            Self { value: self.value.map(|it| !it), to_true: self.to_false.clone(), to_false: Vec::new() };
        let to = |yes_to: &[Repair], no_to: &[Repair]| {
            let then = self.behind_guard(yes_to, yes.value, meter);
            meter.union(then, opposite.behind_guard(no_to, no.value, meter))
        };
        Self { value, to_true: to(&yes.to_true, &no.to_true), to_false: to(&yes.to_false, &no.to_false) }
            .normalized()
    }

    fn normalized(mut self) -> Self {
        let value = self.value;
        Self::new(value, |wanted| std::mem::take(if wanted { &mut self.to_true } else { &mut self.to_false }))
    }
}

impl<'a> ConditionAnalyzer<'a> {
    /// What a policy's scope says about principal and resource, and whether it takes them.
    pub fn scope_constraints<'p>(&self, policy: &'p CompiledPolicy) -> [(&'p ScopeConstraint, bool); 2] {
        let request = &self.hypothesis.request;
        [(&policy.principal, &request.principal), (&policy.resource, &request.resource)].map(
            |(part, entity)| {
                (part, part.matches(entity.as_uid_ref(), self.slice.ancestors_of(entity.as_uid_ref())))
            },
        )
    }

    /// The policies whose scope takes the request.
    pub fn matching_policies(&self) -> impl Iterator<Item = &'a Arc<CompiledPolicy>> {
        let [principal, resource] = [&self.hypothesis.request.principal, &self.hypothesis.request.resource];
        let with_above =
            |entity: &'a EntityUid| (entity.as_uid_ref(), self.slice.ancestors_of(entity.as_uid_ref()));
        self.hypothesis.candidates.matching(with_above(principal), with_above(resource))
    }

    /// The chains behind each `in` of a policy that is true.
    pub fn membership_chains(&self, policy: &CompiledPolicy) -> Vec<Vec<EntityUid>> {
        let cost = u32::try_from(self.slice.versions().len()).unwrap_or(u32::MAX);
        let chain = |from: &EntityUid, to: &[EntityUid]| {
            let affordable = self.meter.spend(cost);
            affordable.then(|| {
                shortest_chain(&self.hypothesis.entities, from.as_uid_ref(), to, &Repair::default())
            })?
        };
        let request = &self.hypothesis.request;
        let scope = [(&request.principal, &policy.principal), (&request.resource, &policy.resource)];
        let in_scope = scope.into_iter().filter_map(|(entity, part)| match part {
            ScopeConstraint::In(_, of) => chain(entity, std::slice::from_ref(of)),
            _ => None,
        });
        let parts = policy.condition.iter().flat_map(Expr::subexpressions);
        let in_condition = parts.filter_map(|part| match part.expr_kind() {
            ExprKind::BinaryApp { op: BinaryOp::In, arg1, arg2 } => {
                chain(&self.entity(arg1)?, &self.entities(arg2)?)
            }
            _ => None,
        });
        in_scope.chain(in_condition).collect()
    }

    /// Whether a policy is met, and what would make it so or not.
    pub fn policy_alternatives(&self, policy: &CompiledPolicy) -> Alternatives {
        let request = &self.hypothesis.request;
        let principal = self.scope_alternatives(&request.principal, &policy.principal);
        let scope = principal.and(&self.scope_alternatives(&request.resource, &policy.resource), self.meter);
        match &policy.condition {
            Some(condition) => scope.and(&self.condition_alternatives(condition), self.meter),
            None => scope,
        }
    }

    /// What a scope says about the principal or the resource.
    fn scope_alternatives(&self, entity: &EntityUid, part: &ScopeConstraint) -> Alternatives {
        let takes = part.matches(entity.as_uid_ref(), self.slice.ancestors_of(entity.as_uid_ref()));
        match part {
            ScopeConstraint::In(_, of) => Alternatives::new(Some(takes), |wanted| {
                self.membership_repairs(entity, std::slice::from_ref(of), wanted)
            }),
            _ => Alternatives::constant(Some(takes)),
        }
    }

    fn condition_alternatives(&self, expr: &Expr) -> Alternatives {
        if !self.meter.spend(1) {
            return Alternatives::constant(None);
        }
        let all = |operands: Vec<&Expr>, join: &dyn Fn(Alternatives, Alternatives) -> Alternatives| {
            let alternatives = operands.into_iter().map(|operand| self.condition_alternatives(operand));
            alternatives.reduce(join).unwrap_or_else(|| Alternatives::constant(None))
        };
        match expr.expr_kind() {
            ExprKind::And { .. } => all(operands(expr), &|a, b| a.and(&b, self.meter)),
            ExprKind::Or { .. } => all(operands(expr), &|a, b| a.or(b, self.meter)),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => self.condition_alternatives(arg).not(),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let [test, yes, no] =
                    [test_expr, then_expr, else_expr].map(|expr| self.condition_alternatives(expr));
                test.if_then_else(&yes, &no, self.meter)
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let mut at = Expr::clone(expr);
                let steps = attrs.iter().map(|attr| {
                    let has = Expr::has_attr(at.clone(), attr.clone());
                    at = Expr::get_attr(at.clone(), attr.clone());
                    self.condition_alternatives(&has)
                });
                steps.reduce(|a, b| a.and(&b, self.meter)).unwrap_or_else(|| Alternatives::constant(None))
            }
            _ => {
                let value = (self.evaluate)(expr).and_then(|value| as_bool(&value));
                Alternatives::new(value, |wanted| self.repairs_to_make(expr, wanted))
            }
        }
    }
}

fn as_bool(value: &ast::Value) -> Option<bool> {
    match value.value {
        ValueKind::Lit(Literal::Bool(value)) => Some(value),
        _ => None,
    }
}

/// The operands of a chain of the same operator, in their order: chains may be longer than a stack
/// is deep.
fn operands(chain: &Expr) -> Vec<&Expr> {
    let (mut operands, mut open) = (Vec::new(), vec![chain]);
    while let Some(expr) = open.pop() {
        match (chain.expr_kind(), expr.expr_kind()) {
            (ExprKind::And { .. }, ExprKind::And { left, right })
            | (ExprKind::Or { .. }, ExprKind::Or { left, right }) => open.extend([right.as_ref(), left]),
            _ => operands.push(expr),
        }
    }
    operands
}
