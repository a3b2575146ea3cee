//! Translates policies into the solver's terms, for one request environment at a time and only the policies
//! that can match its requests. What is asked about them is in `prove`, `diff`, `lint` and `decompose`.

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, RequestEnv};
use cedar_policy_core::ast::{Expr, ExprKind, StaticPolicy, Var};
use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet};

use crate::error::AnalysisError;
use mandate_core::expression::map_subexpressions;
use mandate_core::policies::{CandidatePolicies, EnvironmentKey, Policies};
use mandate_core::schema::Schema;

/// A request environment, with the engine's ids and in Cedar's form.
#[derive(Debug, Clone)]
pub struct RequestEnvironment {
    pub ids: EnvironmentKey,
    pub cedar: RequestEnv,
}

/// All request environments of a schema, in the order of actions, principal types and resource types.
pub fn environments(schema: &Schema) -> Vec<RequestEnvironment> {
    let environments = schema.cedar().request_envs().filter_map(|cedar| {
        let action = schema.actions().find(|(_, action)| action.uid == *cedar.action().as_ref())?.0;
        let [principal, resource] = [cedar.principal(), cedar.resource()].map(ToString::to_string);
        let ids = (
            action,
            schema.entity_type_by_full_name(&principal)?,
            schema.entity_type_by_full_name(&resource)?,
        );
        Some(RequestEnvironment { ids, cedar })
    });
    let mut environments: Vec<_> = environments.collect();
    environments.sort_by_key(|environment| environment.ids);
    environments
}

/// The policies that requests of this environment can match.
pub fn policies_in(policies: &Policies, environment: EnvironmentKey) -> Vec<Policy> {
    let candidates = policies.candidates(environment).into_iter().flat_map(CandidatePolicies::all);
    let ids = candidates.map(|candidate| PolicyId::new(&candidate.info.id));
    let mut relevant: Vec<Policy> =
        ids.filter_map(|id| policies.cedar_policies().policy(&id).cloned()).collect();
    relevant.sort_by(|a, b| a.id().cmp(b.id()));
    relevant
}

/// Policies in the solver's terms.
///
/// # Errors
/// The policies that cannot be analysed, each with the reason.
pub fn compile(
    policies: &[Policy],
    environment: &RequestEnvironment,
    schema: &Schema,
) -> Result<CompiledPolicySet, AnalysisError> {
    let set = PolicySet::from_policies(policies.iter().cloned()).map_err(Box::new)?;
    CompiledPolicySet::compile(&set, &environment.cedar, schema.cedar()).map_err(|error| {
        let alone = policies.iter().filter_map(|policy| compile_policy(policy, environment, schema).err());
        let alone: Vec<AnalysisError> = alone.collect();
        if alone.is_empty() {
            AnalysisError::Together(Box::new(error))
        } else {
            AnalysisError::Policies(alone)
        }
    })
}

/// One policy in the solver's terms.
///
/// # Errors
/// Why it cannot be analysed.
pub fn compile_policy(
    policy: &Policy,
    environment: &RequestEnvironment,
    schema: &Schema,
) -> Result<CompiledPolicy, AnalysisError> {
    CompiledPolicy::compile(policy, &environment.cedar, schema.cedar())
        .map_err(|error| AnalysisError::Policy { policy: policy.id().clone(), error: Box::new(error) })
}

/// A policy with the same scope, but another effect and other conditions.
///
/// # Errors
/// The policy is a template; no policy here is one.
pub fn with_effect_and_conditions(
    policy: &Policy,
    effect: Effect,
    conditions: Option<Expr>,
) -> Result<Policy, AnalysisError> {
    let policy = policy.as_ref();
    let variant = StaticPolicy::new(
        policy.id().clone(),
        None,
        policy.annotations_arc().as_ref().clone(),
        effect,
        policy.principal_constraint(),
        policy.action_constraint().clone(),
        policy.resource_constraint(),
        conditions,
    );
    Ok(Policy::from(variant.map_err(Box::new)?))
}

/// A policy's conditions, joined into one expression.
pub fn conditions(policy: &Policy) -> Option<Expr> {
    policy.as_ref().non_scope_constraints().cloned()
}

/// An expression with a constant in place of each attribute of this name.
pub fn substitute_attribute(expr: &Expr, attribute: &str, value: bool) -> Expr {
    match expr.expr_kind() {
        ExprKind::GetAttr { attr, .. } if attr == attribute => Expr::val(value),
        _ => map_subexpressions(expr, |part| substitute_attribute(part, attribute, value)),
    }
}

/// Whether an attribute of this name is read anywhere.
pub fn reads_attribute(expr: &Expr, attribute: &str) -> bool {
    let reads = |part: &Expr| matches!(part.expr_kind(), ExprKind::GetAttr { attr, .. } if attr == attribute);
    expr.subexpressions().any(reads)
}

/// Whether the context is read as a whole, so that any of its attributes may matter.
pub fn reads_whole_context(expr: &Expr) -> bool {
    let is_context = |part: &Expr| matches!(part.expr_kind(), ExprKind::Var(Var::Context));
    // `context.x` and `context has x` contain the context once each. A further one is read as a whole.
    let read = |part: &&Expr| match part.expr_kind() {
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. } => is_context(expr),
        _ => false,
    };
    let all = expr.subexpressions().filter(|part| is_context(part)).count();
    all > expr.subexpressions().filter(read).count()
}
