//! Rebuilds Cedar's expressions from their parts. What the new parts are is up to the callers:
//! `policies/compile.rs` here, and the analysis crate.

use cedar_policy_core::ast::{Expr, ExprKind};

/// The expression with each of its direct parts replaced by `new`, and without its source location.
pub fn map_subexpressions(expr: &Expr, mut new: impl FnMut(&Expr) -> Expr) -> Expr {
    match expr.expr_kind() {
        ExprKind::And { left, right } => Expr::and(new(left), new(right)),
        ExprKind::Or { left, right } => Expr::or(new(left), new(right)),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            Expr::ite(new(test_expr), new(then_expr), new(else_expr))
        }
        ExprKind::UnaryApp { op, arg } => Expr::unary_app(*op, new(arg)),
        ExprKind::BinaryApp { op, arg1, arg2 } => Expr::binary_app(*op, new(arg1), new(arg2)),
        ExprKind::ExtensionFunctionApp { fn_name, args } => {
            Expr::call_extension_fn(fn_name.clone(), args.iter().map(new).collect())
        }
        ExprKind::GetAttr { expr, attr } => Expr::get_attr(new(expr), attr.clone()),
        ExprKind::HasAttr { expr, attr } => Expr::has_attr(new(expr), attr.clone()),
        ExprKind::ExtHasAttr { expr, attrs } => Expr::extended_has_attr(new(expr), attrs.clone()),
        ExprKind::Is { expr, entity_type } => Expr::is_entity_type(new(expr), entity_type.clone()),
        ExprKind::Like { expr, pattern } => Expr::like(new(expr), pattern.clone()),
        ExprKind::Set(items) => Expr::set(items.iter().map(new)),
        ExprKind::Record(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), new(value)));
            Expr::record_arc(std::sync::Arc::new(members.collect()))
        }
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {
            expr.clone().with_maybe_source_loc(None)
        }
    }
}
