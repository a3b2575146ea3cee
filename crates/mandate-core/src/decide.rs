//! Decides: a pure function of policies, slice and request, and the only caller of Cedar's evaluator.
//!
//! The policies' results are combined by Cedar's rule, except that a forbid that fails denies. That is done
//! here because Cedar's authorizer would build every policy's condition anew for each request.

use std::mem::take;
use std::sync::Arc;

use cedar_policy_core::ast::{self, EntityUIDEntry, Expr, Literal, SlotEnv, ValueKind};
use cedar_policy_core::entities::err::EntitiesError;
use cedar_policy_core::entities::{Entities as CedarEntities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::{EvaluationError, Evaluator};
use cedar_policy_core::extensions::Extensions;

use super::cedar;
use super::clause_reason::ClauseReasons;
use super::clauses::{self, TruthValues};
use super::decision::{Decision, Outcome, PolicyError, UnmetPermits};
use super::entities::CorruptEntity;
use super::policies::{CompiledPolicy, Effect, Policies, PolicyInfo};
use super::request::Request;
use super::schema::{EntityUidRef, Schema};
use super::slice::{Slice, SliceEntity};
use super::trace::PolicyTrace;
use super::value::Record;
use crate::reason::Reason;

/// An internal error: a valid request could not be evaluated. It is a bug in Mandate, not a decision.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error("the schema has no request environment for this action, principal type and resource type")]
    Environment,
    #[error("cannot build the request: {0}")]
    Request(Box<EvaluationError>),
    #[error("cannot build an entity of the slice: {0}")]
    Entity(Box<EvaluationError>),
    #[error("cannot build the slice of entities: {0}")]
    Slice(Box<EntitiesError>),
    #[error("cannot read an entity of the slice: {0}")]
    Corrupt(#[from] CorruptEntity),
}

/// Decides. A denial is a decision, not an error.
///
/// # Errors
/// A bug in Mandate; see [`DecideError`].
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
        match failed_conjunct(candidate, &evaluator) {
            Ok(None) => results.satisfied.push(Arc::clone(&candidate.info)),
            Ok(Some(failed)) => results.unsatisfied.push((&candidate.info, failed)),
            Err(error) => {
                let policy = Arc::clone(&candidate.info);
                results.errors.push(PolicyError { policy, message: error.to_string() });
            }
        }
    }
    let evaluate = |clause: &Expr| evaluate_condition(clause, &evaluator).ok();
    let reasons = ClauseReasons { schema, request, evaluate };
    Ok(results.decision(|failed| reasons.of_failed(failed)))
}

/// Like [`decide`], but evaluates the policies as they are written and returns the result of each clause.
/// Empty if the principal or resource does not exist: no policy is evaluated then.
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
            clauses.extend(clauses::source_range(clause).map(|span| (span, truth)));
            truth
        };
        let conditions = policies.conditions(&candidate.info);
        let satisfied =
            conditions.map_or(TruthValues::only(true), |conditions| clauses::walk(conditions, &mut evaluate));
        PolicyTrace { policy: Arc::clone(&candidate.info), satisfied, clauses }
    });
    Ok(traces.collect())
}

/// The policies whose scope matches the request.
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

/// Calls `read` with a function that evaluates expressions for this request. The function returns `None` if
/// evaluation fails.
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

/// The first part of a policy's condition that is false; `None` if the condition holds.
fn failed_conjunct<'p>(
    policy: &'p CompiledPolicy,
    evaluator: &Evaluator<'_>,
) -> Result<Option<&'p Expr>, ConditionError> {
    for conjunct in &policy.conjuncts {
        if !evaluate_condition(conjunct, evaluator)? {
            return Ok(Some(conjunct));
        }
    }
    Ok(None)
}

fn evaluate_condition(condition: &Expr, evaluator: &Evaluator<'_>) -> Result<bool, ConditionError> {
    // A policy without slots has no values for them.
    let value = evaluator
        .interpret(condition, &SlotEnv::new())
        .map_err(|error| ConditionError::Evaluation(Box::new(error)))?;
    match value.value {
        ValueKind::Lit(Literal::Bool(holds)) => Ok(holds),
        _ => Err(ConditionError::NotBoolean),
    }
}

/// Why the condition of a policy has no result.
#[derive(Debug, thiserror::Error)]
enum ConditionError {
    #[error("{0}")]
    Evaluation(Box<EvaluationError>),
    #[error("the condition is not a boolean")]
    NotBoolean,
}

/// Denies if the principal or resource is unknown: not stored, not enumerated by the schema, and without
/// accepted properties from the caller. Cedar alone would let a policy without conditions permit an unknown
/// principal.
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
    let context = cedar::context(&request.context, schema).map_err(DecideError::Request)?;
    let [principal, resource] =
        [&request.principal, &request.resource].map(|it| schema.cedar_uid(it.as_uid_ref()));
    let action = schema.action(request.action).uid.clone();
    // It was checked against the schema when it was read.
    Ok(ast::Request::new_unchecked(known(principal), known(action), known(resource), Some(context)))
}

/// The slice as Cedar's entities. Each has all its ancestors as if they were parents, so the ancestors
/// themselves need not be in the slice.
fn cedar_entities(
    request: &Request,
    slice: &Slice<'_>,
    schema: &Schema,
) -> Result<CedarEntities, DecideError> {
    slice.check_complete()?;
    let mut entities: Vec<ast::Entity> = Vec::with_capacity(slice.entities.len() + 1);
    for (n, loaded) in slice.entities.iter().enumerate() {
        let is_duplicate = n == 1 && slice.entities.first().is_some_and(|first| first.uid == loaded.uid);
        let mut occurrences = slice.principal_and_resource().iter().filter(|asked| asked.uid == loaded.uid);
        if !is_duplicate && (loaded.entity.is_some() || occurrences.any(|asked| asked.properties.is_some())) {
            entities.push(cedar_entity(loaded, slice, schema)?);
        }
    }
    // An action without groups needs no entity: it is only in itself.
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
    .map_err(|error| DecideError::Slice(Box::new(error)))
}

fn cedar_entity(
    loaded: &SliceEntity<'_>,
    slice: &Slice<'_>,
    schema: &Schema,
) -> Result<ast::Entity, DecideError> {
    let (stored, tags) = match loaded.entity {
        Some(entity) => entity.attributes_and_tags(schema)?,
        None => Default::default(),
    };
    let descriptions = slice
        .principal_and_resource()
        .iter()
        .filter(|asked| asked.uid == loaded.uid)
        .filter_map(|it| it.properties);
    let attributes: Record =
        descriptions.fold(stored, |attributes, properties| attributes.with_overrides(properties));
    let ancestors = slice.ancestors(loaded).iter().map(|name| schema.cedar_uid(*name));
    cedar::entity(schema.cedar_uid(loaded.uid), &attributes, &tags, ancestors, schema)
        .map_err(DecideError::Entity)
}

/// The results of the policies whose scope matches.
#[derive(Default)]
struct PolicyResults<'p> {
    satisfied: Vec<Arc<PolicyInfo>>,
    /// These, each with the part of its condition that is false.
    unsatisfied: Vec<(&'p Arc<PolicyInfo>, &'p Expr)>,
    errors: Vec<PolicyError>,
}

impl PolicyResults<'_> {
    /// Cedar's rule: a satisfied forbid denies; else a satisfied permit permits; else nothing does. A forbid
    /// that failed denies as well, because nobody can tell whether it would have forbidden.
    fn decision<'s>(mut self, clause_reason: impl Fn(&Expr) -> Option<&'s Reason>) -> Decision {
        self.errors.sort_by(|a, b| a.policy.id.cmp(&b.policy.id));
        let failed = self.errors.iter().map(|error| &error.policy);
        let failed: Vec<_> = failed.filter(|policy| policy.effect == Effect::Forbid).cloned().collect();
        let (forbids, permits): (Vec<_>, Vec<_>) =
            take(&mut self.satisfied).into_iter().partition(|policy| policy.effect == Effect::Forbid);
        let outcome = match (forbids.is_empty(), failed.is_empty(), permits.is_empty()) {
            (false, ..) => Outcome::Forbidden(sorted_by_id(forbids)),
            (_, false, _) => Outcome::ForbidFailed(failed),
            (_, _, false) => Outcome::Permitted(sorted_by_id(permits)),
            (true, true, true) => Outcome::NotPermitted(self.unmet_permits(clause_reason)),
        };
        Decision { outcome, errors: self.errors }
    }

    fn unmet_permits<'s>(&self, clause_reason: impl Fn(&Expr) -> Option<&'s Reason>) -> UnmetPermits {
        let failed = self.errors.iter().map(|error| (&error.policy, None));
        let unsatisfied = self.unsatisfied.iter().map(|(policy, failed)| (*policy, Some(*failed)));
        let mut permits: Vec<_> =
            unsatisfied.chain(failed).filter(|(policy, _)| policy.effect == Effect::Permit).collect();
        permits.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        let mut reasons = Vec::new();
        for (policy, failed) in &permits {
            let reason = failed.and_then(&clause_reason).or(policy.reason.as_ref());
            if let Some(reason) = reason.filter(|reason| !reasons.contains(*reason)) {
                reasons.push(reason.clone());
            }
            if reasons.len() == UnmetPermits::MAX_REASONS {
                break;
            }
        }
        UnmetPermits {
            policies: permits.into_iter().map(|(policy, _)| Arc::clone(policy)).collect(),
            reasons,
        }
    }
}

fn sorted_by_id(mut policies: Vec<Arc<PolicyInfo>>) -> Vec<Arc<PolicyInfo>> {
    policies.sort_by(|a, b| a.id.cmp(&b.id));
    policies
}
