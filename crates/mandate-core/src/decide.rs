//! The only caller of Cedar's evaluator: a pure function of policies, slice and request.
//!
//! Combining the policies' results is Cedar's rule, but for one point: a forbid that fails denies. It
//! is done here, because Cedar's authorizer would build every policy's condition anew for each request.

use std::sync::Arc;

use cedar_policy_core::ast::{self, EntityUIDEntry, Expr, Literal, SlotEnv, ValueKind};
use cedar_policy_core::entities::{Entities as CedarEntities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use super::cedar;
use super::decision::{Decision, Outcome, PolicyError};
use super::policies::Effect;
use super::policies::{CompiledPolicy, Policies, PolicyInfo};
use super::request::Request;
use super::schema::{EntityUidRef, Schema};
use super::slice::{Slice, SliceEntity};
use super::trace::{self, PolicyTrace, TruthValues};
use super::value::Record;

/// Why a request that fits the schema could still not be decided: a defect of this program, which a
/// caller must not take for a decision.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error("the request does not fit the environment of any policy")]
    Environment,
    #[error("cannot build the request: {0}")]
    Request(String),
    #[error("cannot build the slice of entities: {0}")]
    Slice(String),
}

/// Decides. Denials are no errors.
///
/// # Errors
/// Only where Cedar does not take what was checked before; see [`DecideError`].
pub fn decide(policies: &Policies, request: &Request, slice: &Slice<'_>) -> Result<Decision, DecideError> {
    let schema = policies.schema();
    if let Some(outcome) = unknown_entity(schema, request, slice) {
        return Ok(Decision { outcome, errors: Vec::new() });
    }
    let cedar_request = cedar_request(request, schema)?;
    let entities = cedar_entities(request, slice, schema)?;
    let evaluator = Evaluator::new(cedar_request, &entities, Extensions::all_available());
    let mut results = PolicyResults::default();
    for candidate in matching_policies(policies, request, slice)? {
        let policy = Arc::clone(&candidate.info);
        match candidate
            .condition
            .as_ref()
            .map_or(Ok(true), |condition| evaluate_condition(condition, &evaluator))
        {
            Ok(true) => results.satisfied.push(policy),
            Ok(false) => results.unsatisfied.push(policy),
            Err(message) => results.errors.push(PolicyError { policy, message }),
        }
    }
    Ok(results.decision())
}

/// Evaluates like [`decide`], but the policies as they are written, and shows how their clauses came
/// out. Nothing, where principal or resource do not exist: then no policy is asked.
///
/// # Errors
/// Like [`decide`].
pub fn trace_policies(
    policies: &Policies,
    request: &Request,
    slice: &Slice<'_>,
) -> Result<Vec<PolicyTrace>, DecideError> {
    let schema = policies.schema();
    if unknown_entity(schema, request, slice).is_some() {
        return Ok(Vec::new());
    }
    let cedar_request = cedar_request(request, schema)?;
    let entities = cedar_entities(request, slice, schema)?;
    let evaluator = Evaluator::new(cedar_request, &entities, Extensions::all_available());
    let traces = matching_policies(policies, request, slice)?.map(|candidate| {
        let mut clauses = Vec::new();
        let mut evaluate = |clause| {
            let truth = evaluate_condition(clause, &evaluator).map_or(TruthValues::NONE, TruthValues::only);
            clauses.extend(trace::source_range(clause).map(|span| (span, truth)));
            truth
        };
        let conditions = policies.conditions(&candidate.info);
        let satisfied =
            conditions.map_or(TruthValues::only(true), |conditions| trace::walk(conditions, &mut evaluate));
        PolicyTrace { policy: Arc::clone(&candidate.info), satisfied, clauses }
    });
    Ok(traces.collect())
}

/// The policies whose scope takes the request.
fn matching_policies<'a>(
    policies: &'a Policies,
    request: &'a Request,
    slice: &'a Slice<'a>,
) -> Result<impl Iterator<Item = &'a Arc<CompiledPolicy>>, DecideError> {
    let candidates = policies.candidates(request.environment()).ok_or(DecideError::Environment)?;
    let [principal, resource] = [request.principal.as_uid_ref(), request.resource.as_uid_ref()];
    let [above_principal, above_resource] = [principal, resource].map(|name| slice.ancestors_of(name));
    Ok(candidates.matching((principal, above_principal), (resource, above_resource)))
}

/// Reads expressions as a decision on the request does; what cannot be evaluated is `None`.
///
/// # Errors
/// As for [`decide`].
pub fn with_evaluator<T>(
    schema: &Schema,
    request: &Request,
    slice: &Slice<'_>,
    read: impl FnOnce(&dyn Fn(&Expr) -> Option<ast::Value>) -> T,
) -> Result<T, DecideError> {
    let cedar_request = cedar_request(request, schema)?;
    let entities = cedar_entities(request, slice, schema)?;
    let evaluator = Evaluator::new(cedar_request, &entities, Extensions::all_available());
    Ok(read(&|expr| evaluator.interpret(expr, &SlotEnv::new()).ok()))
}

fn evaluate_condition(condition: &Expr, evaluator: &Evaluator<'_>) -> Result<bool, String> {
    // A policy without slots has no values for them.
    let value = evaluator.interpret(condition, &SlotEnv::new()).map_err(|error| error.to_string())?;
    match value.value {
        ValueKind::Lit(Literal::Bool(holds)) => Ok(holds),
        _ => Err("the condition is no boolean".to_owned()),
    }
}

/// Principal and resource have to exist: stored, enumerated by the schema, or described by a caller
/// who may. Cedar alone would let a policy without conditions permit anybody anything.
fn unknown_entity(schema: &Schema, request: &Request, slice: &Slice<'_>) -> Option<Outcome> {
    let exists = |name: EntityUidRef<'_>| {
        let mut loaded = slice.principal_and_resource().iter().filter(|loaded| loaded.uid == name);
        loaded.any(|loaded| loaded.entity.is_some() || loaded.properties.is_some())
            || schema.is_enumerated(name)
    };
    if !exists(request.principal.as_uid_ref()) {
        return Some(Outcome::UnknownPrincipal);
    }
    (!exists(request.resource.as_uid_ref())).then_some(Outcome::UnknownResource)
}

fn cedar_request(request: &Request, schema: &Schema) -> Result<ast::Request, DecideError> {
    let known = |euid| EntityUIDEntry::Known { euid: Arc::new(euid), loc: None };
    let context =
        cedar::context(&request.context, schema).map_err(|error| DecideError::Request(error.to_string()))?;
    let [principal, resource] =
        [&request.principal, &request.resource].map(|it| schema.cedar_uid(it.as_uid_ref()));
    let action = schema.action(request.action).uid.clone();
    // That it fits the schema was seen when it was read.
    Ok(ast::Request::new_unchecked(known(principal), known(action), known(resource), Some(context)))
}

/// The slice as Cedar's entities. The ancestors of each stand beside it as if they were parents, so
/// the ancestors themselves need not be there.
fn cedar_entities(
    request: &Request,
    slice: &Slice<'_>,
    schema: &Schema,
) -> Result<CedarEntities, DecideError> {
    let mut entities: Vec<ast::Entity> = Vec::with_capacity(slice.entities.len() + 1);
    for (n, loaded) in slice.entities.iter().enumerate() {
        let is_duplicate = n == 1 && slice.entities.first().is_some_and(|first| first.uid == loaded.uid);
        let mut occurrences = slice.principal_and_resource().iter().filter(|asked| asked.uid == loaded.uid);
        if !is_duplicate && (loaded.entity.is_some() || occurrences.any(|asked| asked.properties.is_some())) {
            entities.push(cedar_entity(loaded, slice, schema)?);
        }
    }
    // An action that is in no group is in nothing but itself, which needs no entity.
    let action = &schema.action(request.action).self_and_groups;
    if action.len() > 1 {
        entities.extend(action.iter().map(|entity| ast::Entity::clone(entity)));
    }
    let extensions = Extensions::all_available();
    CedarEntities::from_entities(
        entities,
        None::<&NoEntitiesSchema>,
        TCComputation::AssumeAlreadyComputed,
        extensions,
    )
    .map_err(|error| DecideError::Slice(error.to_string()))
}

fn cedar_entity(
    loaded: &SliceEntity<'_>,
    slice: &Slice<'_>,
    schema: &Schema,
) -> Result<ast::Entity, DecideError> {
    let (stored, tags) =
        loaded.entity.map_or_else(Default::default, |entity| entity.attributes_and_tags(schema));
    let descriptions = slice
        .principal_and_resource()
        .iter()
        .filter(|asked| asked.uid == loaded.uid)
        .filter_map(|it| it.properties);
    let attributes: Record =
        descriptions.fold(stored, |attributes, properties| attributes.with_overrides(properties));
    let ancestors = slice.ancestors(loaded).iter().map(|name| schema.cedar_uid(*name));
    cedar::entity(schema.cedar_uid(loaded.uid), &attributes, &tags, ancestors, schema)
        .map_err(|error| DecideError::Slice(error.to_string()))
}

/// What the policies that can match came to.
#[derive(Default)]
struct PolicyResults {
    satisfied: Vec<Arc<PolicyInfo>>,
    unsatisfied: Vec<Arc<PolicyInfo>>,
    errors: Vec<PolicyError>,
}

impl PolicyResults {
    /// Cedar's rule: a forbid that is met denies, else a permit that is met permits, else nothing
    /// does. A forbid that failed denies, because nobody can tell whether it would have forbidden.
    fn decision(mut self) -> Decision {
        self.errors.sort_by(|a, b| a.policy.id.cmp(&b.policy.id));
        let failed = self.errors.iter().map(|error| &error.policy);
        let failed: Vec<_> = failed.filter(|policy| policy.effect == Effect::Forbid).cloned().collect();
        let (forbids, permits): (Vec<_>, Vec<_>) =
            self.satisfied.into_iter().partition(|policy| policy.effect == Effect::Forbid);
        let failed_permits =
            self.errors.iter().map(|error| &error.policy).filter(|policy| policy.effect == Effect::Permit);
        let unsatisfied = self
            .unsatisfied
            .into_iter()
            .filter(|policy| policy.effect == Effect::Permit)
            .chain(failed_permits.cloned());
        let outcome = match (forbids.is_empty(), failed.is_empty(), permits.is_empty()) {
            (false, ..) => Outcome::Forbidden(sorted_by_id(forbids)),
            (_, false, _) => Outcome::ForbidFailed(failed),
            (_, _, false) => Outcome::Permitted(sorted_by_id(permits)),
            (true, true, true) => Outcome::NotPermitted(sorted_by_id(unsatisfied.collect())),
        };
        Decision { outcome, errors: self.errors }
    }
}

fn sorted_by_id(mut policies: Vec<Arc<PolicyInfo>>) -> Vec<Arc<PolicyInfo>> {
    policies.sort_by(|a, b| a.id.cmp(&b.id));
    policies
}
