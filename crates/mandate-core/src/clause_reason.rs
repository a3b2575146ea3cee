//! The sentence for a permit whose conditions do not hold: the `@reason` that the schema has for what the
//! failed clause is about. `decide.rs` evaluates the clauses.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, UnaryOp, Var};

use crate::reason::Reason;
use crate::request::Request;
use crate::schema::{EntityTypeId, RecordType, Schema, Type};

/// Finds the reasons of clauses that decided a condition.
pub struct ClauseReasons<'a, Evaluate> {
    pub schema: &'a Schema,
    pub request: &'a Request,
    /// The truth of a clause; `None` if it cannot be evaluated.
    pub evaluate: Evaluate,
}

/// The truth of a condition, and the reason of the clauses that made it so; `None` if they have several reasons
/// or one of them has none.
struct Verdict<'a> {
    holds: bool,
    reason: Option<&'a Reason>,
}

/// What an expression evaluates to, as far as it can have attributes or be a member.
#[derive(Clone, Copy)]
enum Typed<'a> {
    Entity(EntityTypeId),
    Record(&'a RecordType),
}

impl<'a, Evaluate: Fn(&Expr) -> Option<bool>> ClauseReasons<'a, Evaluate> {
    /// The reason of the clauses because of which a condition does not hold.
    pub fn of_failed(&self, condition: &Expr) -> Option<&'a Reason> {
        match condition.expr_kind() {
            ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::UnaryApp { op: UnaryOp::Not, .. }
            | ExprKind::If { .. } => self.verdict(condition).filter(|verdict| !verdict.holds)?.reason,
            // It is known to be false.
            _ => self.reason_of(condition),
        }
    }

    /// Evaluates the clauses in Cedar's order, and skips those that Cedar would skip: so it nests no deeper than
    /// the evaluation did before.
    fn verdict(&self, condition: &Expr) -> Option<Verdict<'a>> {
        let (left, right, decided_by) = match condition.expr_kind() {
            ExprKind::And { left, right } => (left, right, false),
            ExprKind::Or { left, right } => (left, right, true),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => {
                let Verdict { holds, reason } = self.verdict(arg)?;
                return Some(Verdict { holds: !holds, reason });
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let test = self.verdict(test_expr)?;
                return self.verdict(if test.holds { then_expr } else { else_expr });
            }
            _ => {
                let holds = (self.evaluate)(condition)?;
                return Some(Verdict { holds, reason: self.reason_of(condition) });
            }
        };
        let left = self.verdict(left)?;
        if left.holds == decided_by {
            return Some(left);
        }
        let right = self.verdict(right)?;
        if right.holds == decided_by {
            return Some(right);
        }
        Some(Verdict { reason: left.reason.filter(|reason| right.reason == Some(reason)), ..right })
    }

    /// The only reason of the attributes and memberships that a clause reads.
    fn reason_of(&self, clause: &Expr) -> Option<&'a Reason> {
        let read = clause.subexpressions().filter_map(|part| match part.expr_kind() {
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                self.attributes(expr)?.get(attr)?.reason.as_ref()
            }
            ExprKind::BinaryApp { op: BinaryOp::In, arg1, .. } => match self.typed(arg1)? {
                Typed::Entity(member) => self.schema.entity_type(member).reason.as_ref(),
                Typed::Record(_) => None,
            },
            _ => None,
        });
        let mut reasons = read;
        let first = reasons.next()?;
        reasons.all(|reason| reason == first).then_some(first)
    }

    fn attributes(&self, expr: &Expr) -> Option<&'a RecordType> {
        Some(match self.typed(expr)? {
            Typed::Entity(entity_type) => &self.schema.entity_type(entity_type).attributes,
            Typed::Record(record) => record,
        })
    }

    /// The type of a variable or of a path of attributes.
    fn typed(&self, expr: &Expr) -> Option<Typed<'a>> {
        match expr.expr_kind() {
            ExprKind::Var(Var::Principal) => Some(Typed::Entity(self.request.principal.entity_type)),
            ExprKind::Var(Var::Resource) => Some(Typed::Entity(self.request.resource.entity_type)),
            ExprKind::Var(Var::Context) => {
                Some(Typed::Record(&self.schema.action(self.request.action).context_type))
            }
            ExprKind::GetAttr { expr, attr } => match &self.attributes(expr)?.get(attr)?.ty {
                Type::Entity(entity_type) => Some(Typed::Entity(*entity_type)),
                Type::Record(record) => Some(Typed::Record(record)),
                Type::Bool | Type::Long | Type::String | Type::Set(_) | Type::Extension(_) => None,
            },
            _ => None,
        }
    }
}
