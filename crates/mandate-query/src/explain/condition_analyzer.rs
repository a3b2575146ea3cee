//! Reads scopes and conditions in one hypothesis: evaluates expressions and finds the attribute that an
//! expression reads. It proposes nothing; `atomic_condition` and `policy_alternatives` do.

use std::sync::Arc;

use cedar_policy_core::ast::{self, Expr, ExprKind, Literal, ValueKind, Var};

use super::budget::Meter;
use super::hypothesis::Hypothesis;
use super::repair::{AttributeOwner, AttributePath};
use mandate_core::cedar;
use mandate_core::decide::{DecideError, with_evaluator};
use mandate_core::policies::{CompiledPolicy, ScopeConstraint};
use mandate_core::schema::EntityUid;
use mandate_core::slice::Slice;
use mandate_core::value::Value;

pub struct ConditionAnalyzer<'a> {
    pub hypothesis: &'a Hypothesis<'a>,
    pub slice: &'a Slice<'a>,
    pub meter: &'a Meter,
    evaluate: &'a dyn Fn(&Expr) -> Option<ast::Value>,
}

/// Reads conditions in a hypothesis.
///
/// # Errors
/// As for [`mandate_core::decide::decide`].
pub fn analyze<T>(
    hypothesis: &Hypothesis<'_>,
    meter: &Meter,
    read: impl FnOnce(&ConditionAnalyzer<'_>) -> T,
) -> Result<T, DecideError> {
    let slice = hypothesis.slice();
    with_evaluator(hypothesis.schema(), &hypothesis.request, &slice, |evaluate| {
        read(&ConditionAnalyzer { hypothesis, slice: &slice, meter, evaluate })
    })
}

impl<'a> ConditionAnalyzer<'a> {
    /// A policy's constraints on principal and resource, each with whether the request matches it.
    pub fn scope_constraints<'p>(&self, policy: &'p CompiledPolicy) -> [(&'p ScopeConstraint, bool); 2] {
        let request = &self.hypothesis.request;
        [(&policy.principal, &request.principal), (&policy.resource, &request.resource)]
            .map(|(constraint, entity)| (constraint, self.matches(constraint, entity)))
    }

    pub fn matches(&self, constraint: &ScopeConstraint, entity: &EntityUid) -> bool {
        constraint.matches(entity.as_uid_ref(), self.slice.ancestors_of(entity.as_uid_ref()))
    }

    /// The policies whose scope matches the request.
    pub fn matching_policies(&self) -> impl Iterator<Item = &'a Arc<CompiledPolicy>> {
        let [principal, resource] = [&self.hypothesis.request.principal, &self.hypothesis.request.resource];
        let with_ancestors =
            |entity: &'a EntityUid| (entity.as_uid_ref(), self.slice.ancestors_of(entity.as_uid_ref()));
        self.hypothesis.candidates.matching(with_ancestors(principal), with_ancestors(resource))
    }

    /// The boolean value of an expression; `None` if it cannot be evaluated or is of another type.
    pub fn bool_value(&self, expr: &Expr) -> Option<bool> {
        match (self.evaluate)(expr)?.value {
            ValueKind::Lit(Literal::Bool(value)) => Some(value),
            _ => None,
        }
    }

    pub fn value(&self, expr: &Expr) -> Option<Value> {
        cedar::from_cedar_value(&(self.evaluate)(expr)?, self.hypothesis.schema())
    }

    pub fn entity(&self, expr: &Expr) -> Option<EntityUid> {
        match (self.evaluate)(expr)?.value {
            ValueKind::Lit(Literal::EntityUID(uid)) => cedar::entity_uid(&uid, self.hypothesis.schema()),
            _ => None,
        }
    }

    /// The entity, or the set of entities, that an expression evaluates to.
    pub fn entities(&self, expr: &Expr) -> Option<Vec<EntityUid>> {
        let entity = |value: &Value| match value {
            Value::Entity(entity) => Some(entity.clone()),
            _ => None,
        };
        match self.value(expr)? {
            Value::Set(items) => items.iter().map(entity).collect(),
            value => Some(vec![entity(&value)?]),
        }
    }

    /// The attribute that an expression reads; `None` if it reads none, such as a literal.
    pub fn attribute_path(&self, expr: &Expr) -> Option<AttributePath> {
        match expr.expr_kind() {
            ExprKind::Var(Var::Context) => {
                Some(AttributePath { owner: AttributeOwner::Context, path: Vec::new() })
            }
            ExprKind::GetAttr { expr, attr } => {
                let mut attribute_path = match self.entity(expr) {
                    Some(entity) => AttributePath { owner: AttributeOwner::Entity(entity), path: Vec::new() },
                    None => self.attribute_path(expr)?,
                };
                attribute_path.path.push(attr.clone());
                Some(attribute_path)
            }
            _ => None,
        }
    }
}
