//! Ways to make a condition true or false: each a set of facts, found from the expression and what its
//! parts come to. They are proposals: whether one does it, a decision tells.

use std::sync::Arc;

use cedar_policy_core::ast::{self, BinaryOp, Expr, ExprKind, Literal, UnaryOp, ValueKind};

use super::budget::Meter;
use super::fact::Facts;
use super::hierarchy::chain;
use super::world::World;
use mandate_core::policies::{Candidate, Part};
use mandate_core::schema::EntityRef;
use mandate_core::slice::Slice;

/// What an expression comes to, and what would make it something else.
pub struct Ways {
    /// `None` if it cannot be evaluated.
    pub value: Option<bool>,
    pub to_true: Vec<Facts>,
    pub to_false: Vec<Facts>,
}

/// Reads conditions in one world.
pub struct Reader<'a> {
    pub world: &'a World<'a>,
    pub slice: &'a Slice<'a>,
    pub value_of: &'a dyn Fn(&Expr) -> Option<ast::Value>,
    pub meter: &'a Meter,
}

impl Ways {
    /// What has a value already needs no facts to have it.
    pub fn new(value: Option<bool>, mut to: impl FnMut(bool) -> Vec<Facts>) -> Self {
        let mut ways = |wanted| if value == Some(wanted) { vec![Facts::default()] } else { to(wanted) };
        Self { value, to_true: ways(true), to_false: ways(false) }
    }

    fn fixed(value: Option<bool>) -> Self {
        Self::new(value, |_| Vec::new())
    }

    fn not(self) -> Self {
        Self { value: self.value.map(|value| !value), to_true: self.to_false, to_false: self.to_true }
    }

    /// `self && other`, which looks at the other only if the first is true.
    fn and(self, other: &Self, meter: &Meter) -> Self {
        let value = if self.value == Some(true) { other.value } else { self.value };
        let to_true = self.guarding(&other.to_true, other.value, meter);
        let second_false = meter.both(&self.to_true, &other.to_false);
        Self { value, to_true, to_false: meter.either(self.to_false, second_false) }.settled()
    }

    /// What makes this true, and then these. What this guards may not be readable as long as this is
    /// false, and shows only in a world where it is true.
    fn guarding(&self, then: &[Facts], value: Option<bool>, meter: &Meter) -> Vec<Facts> {
        let unread = self.value != Some(true) && value.is_none() && then.is_empty();
        if unread { self.to_true.clone() } else { meter.both(&self.to_true, then) }
    }

    fn or(self, other: Self, meter: &Meter) -> Self {
        self.not().and(&other.not(), meter).not()
    }

    /// `if self then yes else no`.
    fn choosing(self, yes: &Self, no: &Self, meter: &Meter) -> Self {
        let value = self.value.and_then(|test| if test { yes.value } else { no.value });
        let opposite =
            Self { value: self.value.map(|it| !it), to_true: self.to_false.clone(), to_false: Vec::new() };
        let to = |yes_to: &[Facts], no_to: &[Facts]| {
            let then = self.guarding(yes_to, yes.value, meter);
            meter.either(then, opposite.guarding(no_to, no.value, meter))
        };
        Self { value, to_true: to(&yes.to_true, &no.to_true), to_false: to(&yes.to_false, &no.to_false) }
            .settled()
    }

    fn settled(mut self) -> Self {
        let value = self.value;
        Self::new(value, |wanted| std::mem::take(if wanted { &mut self.to_true } else { &mut self.to_false }))
    }
}

impl<'a> Reader<'a> {
    /// What a policy's scope says about principal and resource, and whether it takes them.
    pub fn scope<'p>(&self, policy: &'p Candidate) -> [(&'p Part, bool); 2] {
        let request = &self.world.request;
        [(&policy.principal, &request.principal), (&policy.resource, &request.resource)]
            .map(|(part, entity)| (part, part.takes(entity.name(), self.slice.above(entity.name()))))
    }

    /// The policies whose scope takes the request.
    pub fn matching(&self) -> impl Iterator<Item = &'a Arc<Candidate>> {
        let [principal, resource] = [&self.world.request.principal, &self.world.request.resource];
        let with_above = |entity: &'a EntityRef| (entity.name(), self.slice.above(entity.name()));
        self.world.candidates.of(with_above(principal), with_above(resource))
    }

    /// The chains behind each `in` of a policy that is true.
    pub fn chains(&self, policy: &Candidate) -> Vec<Vec<EntityRef>> {
        let cost = u32::try_from(self.slice.stamps().len()).unwrap_or(u32::MAX);
        let chain = |from: &EntityRef, to: &[EntityRef]| {
            let affordable = self.meter.spend(cost);
            affordable.then(|| chain(&self.world.entities, from.name(), to, &Facts::default()))?
        };
        let request = &self.world.request;
        let scope = [(&request.principal, &policy.principal), (&request.resource, &policy.resource)];
        let in_scope = scope.into_iter().filter_map(|(entity, part)| match part {
            Part::In(_, of) => chain(entity, std::slice::from_ref(of)),
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
    pub fn policy(&self, policy: &Candidate) -> Ways {
        let request = &self.world.request;
        let principal = self.part(&request.principal, &policy.principal);
        let scope = principal.and(&self.part(&request.resource, &policy.resource), self.meter);
        match &policy.condition {
            Some(condition) => scope.and(&self.condition(condition), self.meter),
            None => scope,
        }
    }

    /// What a scope says about the principal or the resource.
    fn part(&self, entity: &EntityRef, part: &Part) -> Ways {
        let takes = part.takes(entity.name(), self.slice.above(entity.name()));
        match part {
            Part::In(_, of) => {
                Ways::new(Some(takes), |wanted| self.membership(entity, std::slice::from_ref(of), wanted))
            }
            _ => Ways::fixed(Some(takes)),
        }
    }

    fn condition(&self, expr: &Expr) -> Ways {
        if !self.meter.spend(1) {
            return Ways::fixed(None);
        }
        let all = |operands: Vec<&Expr>, join: &dyn Fn(Ways, Ways) -> Ways| {
            let ways = operands.into_iter().map(|operand| self.condition(operand));
            ways.reduce(join).unwrap_or_else(|| Ways::fixed(None))
        };
        match expr.expr_kind() {
            ExprKind::And { .. } => all(operands(expr), &|a, b| a.and(&b, self.meter)),
            ExprKind::Or { .. } => all(operands(expr), &|a, b| a.or(b, self.meter)),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => self.condition(arg).not(),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let [test, yes, no] = [test_expr, then_expr, else_expr].map(|expr| self.condition(expr));
                test.choosing(&yes, &no, self.meter)
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let mut at = Expr::clone(expr);
                let steps = attrs.iter().map(|attr| {
                    let has = Expr::has_attr(at.clone(), attr.clone());
                    at = Expr::get_attr(at.clone(), attr.clone());
                    self.condition(&has)
                });
                steps.reduce(|a, b| a.and(&b, self.meter)).unwrap_or_else(|| Ways::fixed(None))
            }
            _ => {
                let value = (self.value_of)(expr).and_then(|value| boolean(&value));
                Ways::new(value, |wanted| self.turned(expr, wanted))
            }
        }
    }
}

fn boolean(value: &ast::Value) -> Option<bool> {
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
