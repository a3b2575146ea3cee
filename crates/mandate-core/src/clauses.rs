//! The clauses of a policy's conditions: the parts that `&&`, `||`, `!` and `if` combine. A walk visits them
//! in the order in which Cedar evaluates them, and skips those that Cedar would skip. Evaluating a clause is
//! the caller's part: `decide.rs` does it for `trace.rs`.

use std::ops::Range;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp};

use super::diagnostics::SourceSpan;

/// A set of truth values. For an evaluated clause: its result, or none if evaluation failed. For a clause in
/// a policy text: the results that it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruthValues {
    pub includes_true: bool,
    pub includes_false: bool,
}

impl TruthValues {
    pub const BOTH: Self = Self { includes_true: true, includes_false: true };
    pub const NONE: Self = Self { includes_true: false, includes_false: false };

    pub fn only(value: bool) -> Self {
        Self { includes_true: value, includes_false: !value }
    }

    fn union(self, other: Self) -> Self {
        Self {
            includes_true: self.includes_true || other.includes_true,
            includes_false: self.includes_false || other.includes_false,
        }
    }
}

/// A clause in a policy text.
#[derive(Debug)]
pub struct Clause {
    pub span: SourceSpan,
    /// The results that it can have: both, unless it is a literal.
    pub possible: TruthValues,
}

/// The clauses of a condition. Clauses that a literal makes unreachable (`false && x`) are left out.
pub fn clauses(condition: &Expr, policy: &SourceSpan) -> Vec<Clause> {
    let mut clauses = Vec::new();
    walk(condition, &mut |clause| {
        let possible = match clause.expr_kind() {
            ExprKind::Lit(Literal::Bool(value)) => TruthValues::only(*value),
            _ => TruthValues::BOTH,
        };
        if let Some(range) = source_range(clause) {
            clauses
                .push(Clause { span: SourceSpan::new(&policy.source, range.start, range.len()), possible });
        }
        possible
    });
    clauses.sort_by_key(|clause| clause.span.offset);
    clauses
}

/// Calls `evaluate` for each clause that the results of the clauses before it leave relevant, and returns the
/// result of the whole condition.
pub fn walk<'e>(condition: &'e Expr, evaluate: &mut dyn FnMut(&'e Expr) -> TruthValues) -> TruthValues {
    match condition.expr_kind() {
        ExprKind::And { left, right } if !is_type_in_test(left, right) => {
            let left = walk(left, evaluate);
            let right = if left.includes_true { walk(right, evaluate) } else { TruthValues::NONE };
            TruthValues {
                includes_true: right.includes_true,
                includes_false: left.includes_false || right.includes_false,
            }
        }
        ExprKind::Or { left, right } => {
            let left = walk(left, evaluate);
            let right = if left.includes_false { walk(right, evaluate) } else { TruthValues::NONE };
            TruthValues {
                includes_true: left.includes_true || right.includes_true,
                includes_false: right.includes_false,
            }
        }
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } if !same_source_range(condition, arg) => {
            let TruthValues { includes_true: yes, includes_false: no } = walk(arg, evaluate);
            TruthValues { includes_true: no, includes_false: yes }
        }
        ExprKind::If { test_expr, then_expr, else_expr } => {
            let test = walk(test_expr, evaluate);
            let then = if test.includes_true { walk(then_expr, evaluate) } else { TruthValues::NONE };
            then.union(if test.includes_false { walk(else_expr, evaluate) } else { TruthValues::NONE })
        }
        _ => {
            let truth = evaluate(condition);
            // A clause that did not fail has evaluated all its operands.
            if truth != TruthValues::NONE {
                for operand in operands(condition) {
                    walk_operand(operand, evaluate);
                }
            }
            truth
        }
    }
}

/// Finds the clauses in a value, such as the test in `(if a then 1 else 2) == n`.
fn walk_operand<'e>(value: &'e Expr, evaluate: &mut dyn FnMut(&'e Expr) -> TruthValues) {
    match value.expr_kind() {
        ExprKind::If { test_expr, then_expr, else_expr } => {
            let test = walk(test_expr, evaluate);
            if test.includes_true {
                walk_operand(then_expr, evaluate);
            }
            if test.includes_false {
                walk_operand(else_expr, evaluate);
            }
        }
        ExprKind::And { left, right } if !is_type_in_test(left, right) => {
            walk(value, evaluate);
        }
        ExprKind::Or { .. } => {
            walk(value, evaluate);
        }
        _ => {
            for operand in operands(value) {
                walk_operand(operand, evaluate);
            }
        }
    }
}

/// The operands of an expression that is not written as `&&`, `||` or `if`: Cedar evaluates all of them.
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

/// Whether both expressions have the same source range. Each of these is one clause in the text, though Cedar
/// parses `a != b` as `!(a == b)`, `a > b` as `!(a <= b)`, and `a is T in b` as `a is T && a in b`.
pub fn same_source_range(whole: &Expr, part: &Expr) -> bool {
    source_range(whole).is_some() && source_range(whole) == source_range(part)
}

/// Whether `left && right` was written as `a is T in b`. Source ranges alone cannot tell: the conditions of
/// several `when` and `unless` clauses all have the range of the whole policy.
pub fn is_type_in_test(left: &Expr, right: &Expr) -> bool {
    match (left.expr_kind(), right.expr_kind()) {
        (ExprKind::Is { expr, .. }, ExprKind::BinaryApp { op: BinaryOp::In, arg1, .. }) => {
            same_source_range(left, right) && expr.eq_shape(arg1)
        }
        _ => false,
    }
}

/// The bytes of an expression in the text that it was parsed from.
pub fn source_range(expr: &Expr) -> Option<Range<usize>> {
    expr.source_loc().map(|loc| loc.start()..loc.end())
}
