//! Which attributes of the context a policy reads: the time can change its result only through its clock attributes.

use cedar_policy_core::ast::{Expr, ExprKind, Var};

/// Whether the value of an attribute of the context can matter to a condition. A condition that uses the context as a
/// whole reads all of them; one that only tests whether the attribute is there does not read it.
pub fn reads(condition: &Expr, attribute: &str) -> bool {
    let is_context = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
    let (mut contexts, mut accesses) = (0, 0);
    for part in condition.subexpressions() {
        match part.expr_kind() {
            ExprKind::Var(Var::Context) => contexts += 1,
            ExprKind::GetAttr { expr, attr } if is_context(expr) => {
                if attr == attribute {
                    return true;
                }
                accesses += 1;
            }
            ExprKind::HasAttr { expr, .. } | ExprKind::ExtHasAttr { expr, .. } if is_context(expr) => {
                accesses += 1;
            }
            _ => {}
        }
    }
    contexts > accesses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_reads_what_it_takes_from_the_context() {
        for (condition, expected) in [
            ("context.now < datetime(\"2030-01-01\")", true),
            ("principal.active && (context.a || context.now == context.b)", true),
            ("[context.now].contains(principal.since)", true),
            ("principal.note == context", true),
            ("(if principal.active then context else context).a", true),
            ("{ a: context }.a.now == principal.since", true),
            ("context.a && context.b.now", false),
            ("context has now && context has a.now", false),
            ("principal.now == resource.now", false),
        ] {
            assert_eq!(reads(&condition.parse().unwrap(), "now"), expected, "{condition}");
        }
    }
}
