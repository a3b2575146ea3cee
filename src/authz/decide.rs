//! The only caller of Cedar's authorizer: a pure function of policies, slice and request.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Diagnostics, Entities as CedarEntities, Entity as CedarEntity, EntityUid, PolicyId,
};

use super::decision::{Decision, Outcome, PolicyError};
use super::policies::{Candidates, Policies, PolicyInfo};
use super::request::Request;
use super::schema::{EntityRef, Schema};
use super::slice::{Loaded, Slice};
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
    if let Some(outcome) = unknown(schema, request, slice) {
        return Ok(Decision { outcome, errors: Vec::new() });
    }
    let environment = (request.action, request.principal.kind, request.resource.kind);
    let candidates = policies.candidates(environment).ok_or(DecideError::Environment)?;
    let cedar_request = cedar_request(request, schema)?;
    let entities = cedar_entities(request, slice, schema)?;
    let response = Authorizer::new().is_authorized(&cedar_request, &candidates.set, &entities);
    let permits = response.decision() == cedar_policy::Decision::Allow;
    Ok(judge(policies, candidates, permits, response.diagnostics()))
}

/// Principal and resource have to exist: stored, enumerated by the schema, or described by a caller
/// who may. Cedar alone would let a policy without conditions permit anybody anything.
fn unknown(schema: &Schema, request: &Request, slice: &Slice<'_>) -> Option<Outcome> {
    let exists = |name: &EntityRef| {
        let mut loaded = slice.loaded.iter().filter(|loaded| loaded.name == name);
        schema.enumerates(name) || loaded.any(|loaded| loaded.entity.is_some() || loaded.described.is_some())
    };
    if !exists(&request.principal) {
        return Some(Outcome::UnknownPrincipal);
    }
    (!exists(&request.resource)).then_some(Outcome::UnknownResource)
}

fn cedar_request(request: &Request, schema: &Schema) -> Result<cedar_policy::Request, DecideError> {
    let context = Context::from_pairs(request.context.to_cedar(schema))
        .map_err(|error| DecideError::Request(error.to_string()))?;
    let action = schema.action(request.action).uid.clone();
    let (principal, resource) = (schema.uid(&request.principal), schema.uid(&request.resource));
    cedar_policy::Request::new(principal, action, resource, context, Some(schema.cedar()))
        .map_err(|error| DecideError::Request(error.to_string()))
}

/// The slice as Cedar's entities. The ancestors of each stand beside it as if they were parents, so
/// the ancestors themselves need not be there.
fn cedar_entities(
    request: &Request,
    slice: &Slice<'_>,
    schema: &Schema,
) -> Result<CedarEntities, DecideError> {
    let mut entities: HashMap<&EntityRef, CedarEntity> = HashMap::with_capacity(slice.loaded.len());
    for loaded in &slice.loaded {
        let earlier =
            slice.loaded.iter().find(|other| other.name == loaded.name && other.described.is_some());
        if loaded.entity.is_none() && earlier.is_none() {
            continue;
        }
        if let Entry::Vacant(entry) = entities.entry(loaded.name) {
            entry.insert(cedar_entity(loaded, slice, schema)?);
        }
    }
    let actions = schema.action(request.action).entities.iter().cloned();
    CedarEntities::from_entities(entities.into_values().chain(actions), None)
        .map_err(|error| DecideError::Slice(error.to_string()))
}

fn cedar_entity(loaded: &Loaded<'_>, slice: &Slice<'_>, schema: &Schema) -> Result<CedarEntity, DecideError> {
    let empty = Record::default();
    let stored = loaded.entity.map_or(&empty, |entity| &entity.attributes);
    let tags = loaded.entity.map_or(&empty, |entity| &entity.tags);
    let descriptions =
        slice.loaded.iter().filter(|other| other.name == loaded.name).filter_map(|l| l.described);
    let attributes =
        descriptions.fold(stored.clone(), |attributes, described| attributes.overlaid(described));
    let ancestors: HashSet<EntityUid> = loaded.ancestors.iter().map(|name| schema.uid(name)).collect();
    let uid: EntityUid = schema.uid(loaded.name);
    CedarEntity::new_with_tags(uid, attributes.to_cedar(schema), ancestors, tags.to_cedar(schema))
        .map_err(|error| DecideError::Slice(error.to_string()))
}

/// Turns Cedar's answer into a decision. Cedar skips policies that fail; here, a forbid that failed
/// denies, because nobody can tell whether it would have forbidden.
fn judge(policies: &Policies, candidates: &Candidates, permits: bool, diagnostics: &Diagnostics) -> Decision {
    let errors = errors(policies, diagnostics);
    let failed = named(errors.iter().map(|error| Arc::clone(&error.policy)).filter(|policy| policy.forbids));
    let determining = named(diagnostics.reason().filter_map(|id: &PolicyId| policies.info(id).cloned()));
    let outcome = match (permits, determining.is_empty(), failed.is_empty()) {
        (true, _, true) => Outcome::Permitted(determining),
        (false, false, _) => Outcome::Forbidden(determining),
        (_, _, false) => Outcome::ForbidFailed(failed),
        (false, true, true) => Outcome::NotPermitted(candidates.permits.clone()),
    };
    Decision { outcome, errors }
}

fn errors(policies: &Policies, diagnostics: &Diagnostics) -> Vec<PolicyError> {
    let mut errors: Vec<PolicyError> = diagnostics
        .errors()
        .filter_map(|error| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = Arc::clone(policies.info(error.policy_id())?);
            Some(PolicyError { policy, message: error.inner().to_string() })
        })
        .collect();
    errors.sort_by(|a, b| a.policy.id.cmp(&b.policy.id));
    errors
}

fn named(policies: impl Iterator<Item = Arc<PolicyInfo>>) -> Vec<Arc<PolicyInfo>> {
    let mut policies: Vec<_> = policies.collect();
    policies.sort_by(|a, b| a.id.cmp(&b.id));
    policies
}
