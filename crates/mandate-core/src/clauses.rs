//! The clauses of a policy's conditions: what `&&`, `||`, `!` and `if` put together, and is none of
//! these itself. A walk visits them in the order in which Cedar evaluates them, as far as it would.

use std::ops::Range;
use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp};

use super::fault::Place;
use super::policies::PolicyInfo;

/// Which truth values there are: of a clause that was evaluated, the one that it had, or none if it
/// failed; of a clause as it is written, those that it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    pub yes: bool,
    pub no: bool,
}

impl Truth {
    pub const EITHER: Self = Self { yes: true, no: true };
    pub const NEITHER: Self = Self { yes: false, no: false };

    pub fn of(value: bool) -> Self {
        Self { yes: value, no: !value }
    }

    fn or(self, other: Self) -> Self {
        Self { yes: self.yes || other.yes, no: self.no || other.no }
    }
}

/// A clause as it is written.
#[derive(Debug)]
pub struct Clause {
    pub place: Place,
    /// Only a literal cannot be both.
    pub can_be: Truth,
}

/// What a policy came to for a request that its scope takes.
#[derive(Debug)]
pub struct Trial {
    pub policy: Arc<PolicyInfo>,
    /// Whether its conditions hold; neither if they failed.
    pub met: Truth,
    /// The clauses that were evaluated, by their bytes in the policy's file.
    pub clauses: Vec<(Range<usize>, Truth)>,
}

/// The clauses of a condition, those that a literal rules out left out.
pub fn clauses(condition: &Expr, policy: &Place) -> Vec<Clause> {
    let mut clauses = Vec::new();
    walk(condition, &mut |clause| {
        let can_be = match clause.expr_kind() {
            ExprKind::Lit(Literal::Bool(value)) => Truth::of(*value),
            _ => Truth::EITHER,
        };
        if let Some(span) = span(clause) {
            clauses.push(Clause { place: Place::new(&policy.source, span.start, span.len()), can_be });
        }
        can_be
    });
    clauses.sort_by_key(|clause| clause.place.offset);
    clauses
}

/// Asks for the truth of each clause that counts, as those before it came out, and returns the truth
/// of the whole condition.
pub fn walk<'e>(condition: &'e Expr, ask: &mut dyn FnMut(&'e Expr) -> Truth) -> Truth {
    match condition.expr_kind() {
        ExprKind::And { left, right } if !is_membership(left, right) => {
            let left = walk(left, ask);
            let right = if left.yes { walk(right, ask) } else { Truth::NEITHER };
            Truth { yes: right.yes, no: left.no || right.no }
        }
        ExprKind::Or { left, right } => {
            let left = walk(left, ask);
            let right = if left.no { walk(right, ask) } else { Truth::NEITHER };
            Truth { yes: left.yes || right.yes, no: right.no }
        }
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } if !same_place(condition, arg) => {
            let Truth { yes, no } = walk(arg, ask);
            Truth { yes: no, no: yes }
        }
        ExprKind::If { test_expr, then_expr, else_expr } => {
            let test = walk(test_expr, ask);
            let then = if test.yes { walk(then_expr, ask) } else { Truth::NEITHER };
            then.or(if test.no { walk(else_expr, ask) } else { Truth::NEITHER })
        }
        _ => {
            let truth = ask(condition);
            // What was evaluated without a failure evaluated all its operands.
            if truth != Truth::NEITHER {
                for operand in operands(condition) {
                    look_inside(operand, ask);
                }
            }
            truth
        }
    }
}

/// Finds the clauses in a value, such as the test in `(if a then 1 else 2) == n`.
fn look_inside<'e>(value: &'e Expr, ask: &mut dyn FnMut(&'e Expr) -> Truth) {
    match value.expr_kind() {
        ExprKind::If { test_expr, then_expr, else_expr } => {
            let test = walk(test_expr, ask);
            if test.yes {
                look_inside(then_expr, ask);
            }
            if test.no {
                look_inside(else_expr, ask);
            }
        }
        ExprKind::And { left, right } if !is_membership(left, right) => {
            walk(value, ask);
        }
        ExprKind::Or { .. } => {
            walk(value, ask);
        }
        _ => {
            for operand in operands(value) {
                look_inside(operand, ask);
            }
        }
    }
}

/// What Cedar evaluates, all of it, to evaluate an expression that is no `&&`, `||` or `if` as written.
fn operands(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        // `is … in …` is one clause.
        ExprKind::And { left, .. } => operands(left),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// Whether a part stands where the whole stands: `a != b` is parsed as `!(a == b)`, `a > b` as
/// `!(a <= b)`, and `a is T in b` as `a is T && a in b`, but each is one clause as it is written.
pub fn same_place(whole: &Expr, part: &Expr) -> bool {
    span(whole).is_some() && span(whole) == span(part)
}

/// Whether two operands of `&&` are what `a is T in b` was parsed to. Places do not tell: those of several
/// `when` and `unless` are the whole policy's.
pub fn is_membership(left: &Expr, right: &Expr) -> bool {
    match (left.expr_kind(), right.expr_kind()) {
        (ExprKind::Is { expr, .. }, ExprKind::BinaryApp { op: BinaryOp::In, arg1, .. }) => {
            same_place(left, right) && expr.eq_shape(arg1)
        }
        _ => false,
    }
}

/// The bytes of an expression in the text that it was parsed from.
pub fn span(expr: &Expr) -> Option<Range<usize>> {
    expr.source_loc().map(|loc| loc.start()..loc.end())
}
