//! The alternatives of a whole policy: its scope, and its condition taken apart down to comparisons. The
//! operators are combined in `alternatives`; the repairs of one comparison come from `atomic_condition`.

use cedar_policy_core::ast::{Expr, ExprKind, UnaryOp};

use super::alternatives::Alternatives;
use super::condition_analyzer::ConditionAnalyzer;
use mandate_core::policies::{CompiledPolicy, ScopeConstraint};
use mandate_core::schema::EntityUid;

impl ConditionAnalyzer<'_> {
    /// Whether a policy is satisfied, and the repairs that would change that.
    pub fn policy_alternatives(&self, policy: &CompiledPolicy) -> Alternatives {
        let request = &self.hypothesis.request;
        let principal = self.scope_alternatives(&request.principal, &policy.principal);
        let scope = principal.and(&self.scope_alternatives(&request.resource, &policy.resource), self.meter);
        match &policy.condition {
            Some(condition) => scope.and(&self.condition_alternatives(condition), self.meter),
            None => scope,
        }
    }

    /// The alternatives of a scope's constraint on the principal or the resource.
    fn scope_alternatives(&self, entity: &EntityUid, constraint: &ScopeConstraint) -> Alternatives {
        let matches = Some(self.matches(constraint, entity));
        match constraint {
            ScopeConstraint::In(_, of) => Alternatives::new(matches, |wanted| {
                self.membership_repairs(entity, std::slice::from_ref(of), wanted)
            }),
            ScopeConstraint::Any
            | ScopeConstraint::Is(_)
            | ScopeConstraint::Eq(_)
            | ScopeConstraint::UnknownType => Alternatives::constant(matches),
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
            _ => Alternatives::new(self.bool_value(expr), |wanted| self.repairs_to_make(expr, wanted)),
        }
    }
}

/// The operands of a chain of the same operator, in order. Without recursion, because a chain may be longer
/// than the stack is deep.
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
