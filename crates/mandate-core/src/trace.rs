//! The clauses of a policy's conditions: what `&&`, `||`, `!` and `if` put together, and is none of
//! these itself. A walk visits them in the order in which Cedar evaluates them, as far as it would.

use std::ops::Range;
use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp};

use super::diagnostics::SourceSpan;
use super::policies::PolicyInfo;

/// Which truth values there are: of a clause that was evaluated, the one that it had, or none if it
/// failed; of a clause as it is written, those that it can have.
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

/// A clause as it is written.
#[derive(Debug)]
pub struct Clause {
    pub span: SourceSpan,
    /// Only a literal cannot be both.
    pub possible: TruthValues,
}

/// What a policy came to for a request that its scope takes.
#[derive(Debug)]
pub struct PolicyTrace {
    pub policy: Arc<PolicyInfo>,
    /// Whether its conditions hold; neither if they failed.
    pub satisfied: TruthValues,
    /// The clauses that were evaluated, by their bytes in the policy's file.
    pub clauses: Vec<(Range<usize>, TruthValues)>,
}

/// The clauses of a condition, those that a literal rules out left out.
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

/// Asks for the truth of each clause that counts, as those before it came out, and returns the truth
/// of the whole condition.
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
            // What was evaluated without a failure evaluated all its operands.
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
pub fn same_source_range(whole: &Expr, part: &Expr) -> bool {
    source_range(whole).is_some() && source_range(whole) == source_range(part)
}

/// Whether two operands of `&&` are what `a is T in b` was parsed to. Places do not tell: those of several
/// `when` and `unless` are the whole policy's.
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
