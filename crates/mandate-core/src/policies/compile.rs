//! Rewrites conditions so that they evaluate faster, with the same value and the same errors. The property
//! tests compare with Cedar's authorizer on the policies as they are written. Traces and explanations use the
//! original conditions.

use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind};

use crate::expression::map_subexpressions;

/// Membership in a literal set of at most so many members becomes comparisons; in larger sets, a lookup is
/// faster.
const MAX_LITERALS: usize = 4;

/// A condition without source locations, which Cedar would copy at every step, without small literal sets, which
/// it would build for every request, and with chains of `&&` and `||` that nest no deeper than they have to, because
/// Cedar refuses to evaluate what nests too deep for the stack of a thread that answers requests.
pub fn compile_condition(expr: &Expr) -> Expr {
    match expr.expr_kind() {
        ExprKind::And { .. } => balanced(&conjuncts(expr), Expr::and),
        ExprKind::Or { .. } => balanced(&disjuncts(expr), Expr::or),
        ExprKind::BinaryApp { op: BinaryOp::Contains, arg1, arg2 } => match few_literals(arg1) {
            Some(literals) if is_path(arg2) => one_of(literals, &compile_condition(arg2)),
            _ => Expr::contains(compile_condition(arg1), compile_condition(arg2)),
        },
        _ => map_subexpressions(expr, compile_condition),
    }
}

/// The parts of a condition that `&&` joins, in the order in which Cedar evaluates them.
pub fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    operands(condition, |expr| match expr.expr_kind() {
        ExprKind::And { left, right } => Some([left, right]),
        _ => None,
    })
}

/// As [`conjuncts`], of `||`.
fn disjuncts(condition: &Expr) -> Vec<&Expr> {
    operands(condition, |expr| match expr.expr_kind() {
        ExprKind::Or { left, right } => Some([left, right]),
        _ => None,
    })
}

fn operands(chain: &Expr, split: impl Fn(&Expr) -> Option<[&Arc<Expr>; 2]>) -> Vec<&Expr> {
    let (mut open, mut operands) = (vec![chain], Vec::new());
    while let Some(expr) = open.pop() {
        match split(expr) {
            Some([left, right]) => open.extend([&**right, &**left]),
            None => operands.push(expr),
        }
    }
    operands
}

/// The compiled operands, joined in their order. Both operators are associative, also in what fails.
fn balanced(operands: &[&Expr], join: fn(Expr, Expr) -> Expr) -> Expr {
    if let [operand] = operands {
        return compile_condition(operand);
    }
    let (left, right) = operands.split_at(operands.len() / 2);
    join(balanced(left, join), balanced(right, join))
}

/// The elements of a set, if they are few and all literals.
fn few_literals(set: &Expr) -> Option<&[Expr]> {
    let ExprKind::Set(items) = set.expr_kind() else { return None };
    let literal = |item: &Expr| matches!(item.expr_kind(), ExprKind::Lit(_));
    ((1..=MAX_LITERALS).contains(&items.len()) && items.iter().all(literal)).then_some(items)
}

/// Whether the expression is a variable or an attribute path: cheap enough to evaluate once per comparison.
/// Copies of larger expressions would grow exponentially when nested.
fn is_path(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Var(_) => true,
        ExprKind::GetAttr { expr, .. } => is_path(expr),
        _ => false,
    }
}

/// `[a, b].contains(x)` as `x == a || x == b`. Literals cannot fail, and `x` fails in both forms or in
/// neither.
fn one_of(literals: &[Expr], member: &Expr) -> Expr {
    let is = literals.iter().map(|literal| Expr::is_eq(member.clone(), compile_condition(literal)));
    is.reduce(Expr::or).unwrap_or_else(|| Expr::val(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, evaluated: &str) {
        let compile_condition = compile_condition(&written.parse().expect("an expression"));
        assert!(
            compile_condition.eq_shape(&evaluated.parse().expect("an expression")),
            "{compile_condition}"
        );
    }

    #[test]
    fn membership_of_a_path_becomes_comparisons() {
        check("[1, 2].contains(context.n)", "context.n == 1 || context.n == 2");
        check("!([1].contains(principal.a.b)) && true", "!(principal.a.b == 1) && true");
    }

    #[test]
    fn conjuncts_are_in_order_however_they_are_grouped() {
        let condition: Expr = "(context.a && (context.b && (context.c || context.d && context.e))) && true"
            .parse()
            .expect("an expression");
        let parts: Vec<String> = conjuncts(&condition).into_iter().map(ToString::to_string).collect();
        let expected = ["context.a", "context.b", "context.c || (context.d && context.e)", "true"];
        for (part, expected) in parts.iter().zip(expected) {
            let expected: Expr = expected.parse().expect("an expression");
            assert_eq!(*part, expected.to_string());
        }
        assert_eq!(parts.len(), expected.len());
    }

    #[test]
    fn chains_nest_as_little_as_possible() {
        check(
            "((context.a || context.b) || context.c) || context.d",
            "(context.a || context.b) || (context.c || context.d)",
        );
        check(
            "context.a && (context.b && (context.c && context.d))",
            "(context.a && context.b) && (context.c && context.d)",
        );
    }

    #[test]
    fn what_is_not_a_path_is_evaluated_once() {
        check(
            "[true].contains([1, 2].contains(context.n))",
            "[true].contains(context.n == 1 || context.n == 2)",
        );
        check("[1, 2].contains(context.n + 1)", "[1, 2].contains(context.n + 1)");
        check("[1, 2, 3, 4, 5].contains(context.n)", "[1, 2, 3, 4, 5].contains(context.n)");
        check("[1, context.m].contains(context.n)", "[1, context.m].contains(context.n)");
    }
}
