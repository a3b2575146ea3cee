//! Index of policies by what a request can match: action, types, principal and resource. Cedar alone would
//! evaluate every policy for each request; here only the conditions of those whose scope matches are left to
//! evaluate. A policy whose scope cannot be indexed is always found, and evaluated with its scope.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{ActionConstraint, EntityTypeName, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast::Expr;
use smol_str::SmolStr;

use super::clock_reads::reads;
use super::compile::{compile_condition, conjuncts};
use super::info::PolicyInfo;
use crate::cedar;
use crate::schema::{ActionDef, ActionId, ClockAttribute, EntityTypeId, EntityUid, EntityUidRef, Schema};

/// The request environment, by which policies are indexed first: action, principal type and resource type.
pub type EnvironmentKey = (ActionId, EntityTypeId, EntityTypeId);

/// A policy that is ready to be evaluated.
#[derive(Debug)]
pub struct CompiledPolicy {
    pub info: Arc<PolicyInfo>,
    /// What is left to evaluate once the index has found the policy: all its conditions, or `None` if it has
    /// none.
    pub condition: Option<Expr>,
    /// The parts of the condition that `&&` joins, in order. The condition holds if each of them does.
    pub conjuncts: Vec<Expr>,
    /// The longest chain of references that it follows.
    pub level: u32,
    /// The scope constraints on principal and resource. The index finds the policy by one of them; `matches`
    /// checks both.
    pub principal: ScopeConstraint,
    pub resource: ScopeConstraint,
}

/// The policies that requests of one environment can match.
#[derive(Debug, Default)]
pub struct CandidatePolicies {
    /// The longest chain of references that a policy follows: what a slice has to hold.
    pub level: u32,
    /// The clock attributes that a policy reads: only through them can the time change a decision.
    pub clocks: Vec<ClockAttribute>,
    /// The policies whose scope names no entity.
    unconstrained: Vec<Arc<CompiledPolicy>>,
    principal: ScopeIndex,
    resource: ScopeIndex,
}

/// Policies whose scope names an entity, by that entity.
#[derive(Debug, Default)]
struct ScopeIndex {
    eq: PoliciesByUid,
    within: PoliciesByUid,
}

type PoliciesByUid =
    HashMap<EntityTypeId, HashMap<SmolStr, Vec<Arc<CompiledPolicy>>, foldhash::fast::RandomState>>;

impl CandidatePolicies {
    /// The policies whose scope matches a request of this principal and resource, which have these ancestors.
    pub fn matching<'a>(
        &'a self,
        (principal, its_ancestors): (EntityUidRef<'a>, &'a [EntityUidRef<'a>]),
        (resource, ancestors): (EntityUidRef<'a>, &'a [EntityUidRef<'a>]),
    ) -> impl Iterator<Item = &'a Arc<CompiledPolicy>> {
        let named = self
            .principal
            .matching(principal, its_ancestors)
            .chain(self.resource.matching(resource, ancestors));
        let named = named.filter(move |found| {
            found.principal.matches(principal, its_ancestors) && found.resource.matches(resource, ancestors)
        });
        self.unconstrained.iter().chain(named)
    }

    /// All of them, in no particular order, also those whose scope names other entities than the request.
    pub fn all(&self) -> impl Iterator<Item = &Arc<CompiledPolicy>> {
        let named = [&self.principal, &self.resource].into_iter().flat_map(|it| [&it.eq, &it.within]);
        self.unconstrained.iter().chain(named.flat_map(HashMap::values).flat_map(HashMap::values).flatten())
    }

    fn add(&mut self, candidate: &Arc<CompiledPolicy>, scope: &PolicyScope) {
        self.level = self.level.max(candidate.level);
        let place = match (&scope.principal, &scope.resource) {
            (ScopeConstraint::Eq(name), _) => bucket(&mut self.principal.eq, name),
            (_, ScopeConstraint::Eq(name)) => bucket(&mut self.resource.eq, name),
            (ScopeConstraint::In(_, name), _) => bucket(&mut self.principal.within, name),
            (_, ScopeConstraint::In(_, name)) => bucket(&mut self.resource.within, name),
            _ => &mut self.unconstrained,
        };
        place.push(Arc::clone(candidate));
    }

    fn add_clocks(&mut self, condition: Option<&Expr>, of_action: &[ClockAttribute]) {
        for clock in of_action {
            let is_read = condition.is_some_and(|condition| reads(condition, &clock.name));
            if is_read && !self.clocks.contains(clock) {
                self.clocks.push(clock.clone());
            }
        }
    }
}

fn bucket<'a>(names: &'a mut PoliciesByUid, name: &EntityUid) -> &'a mut Vec<Arc<CompiledPolicy>> {
    names.entry(name.entity_type).or_default().entry(name.id.clone()).or_default()
}

impl ScopeIndex {
    fn matching<'a>(
        &'a self,
        name: EntityUidRef<'a>,
        ancestors: &'a [EntityUidRef<'a>],
    ) -> impl Iterator<Item = &'a Arc<CompiledPolicy>> {
        let within = if self.within.is_empty() { &[] } else { ancestors };
        let itself = [(&self.eq, name), (&self.within, name)];
        let ancestors = within.iter().map(|name| (&self.within, *name));
        itself.into_iter().chain(ancestors).flat_map(|(names, name)| {
            let of_type = if names.is_empty() { None } else { names.get(&name.entity_type) };
            of_type.and_then(|ids| ids.get(name.id)).into_iter().flatten()
        })
    }
}

/// For every environment of the schema, the policies that can match its requests.
pub fn index<'p>(
    policies: impl Iterator<Item = (&'p Policy, Arc<PolicyInfo>, u32)>,
    schema: &Schema,
) -> HashMap<EnvironmentKey, CandidatePolicies, foldhash::fast::RandomState> {
    let mut index: HashMap<EnvironmentKey, CandidatePolicies, _> = HashMap::default();
    for (action, info) in schema.actions() {
        for principal in &info.principal_types {
            for resource in &info.resource_types {
                index.insert((action, *principal, *resource), CandidatePolicies::default());
            }
        }
    }
    for (policy, info, level) in policies {
        let scope = PolicyScope::from_policy(policy, schema);
        let condition = if scope.is_exact() {
            policy.as_ref().non_scope_constraints().map(compile_condition)
        } else {
            Some(compile_condition(&policy.as_ref().condition()))
        };
        let candidate = Arc::new(CompiledPolicy {
            info,
            conjuncts: condition.iter().flat_map(conjuncts).cloned().collect(),
            condition,
            level,
            principal: scope.principal.clone(),
            resource: scope.resource.clone(),
        });
        for ((action, principal, resource), candidates) in &mut index {
            let action = schema.action(*action);
            if scope.can_match(action, *principal, *resource, schema) {
                candidates.add(&candidate, &scope);
                candidates.add_clocks(candidate.condition.as_ref(), &action.clocks);
            }
        }
    }
    for candidates in index.values_mut() {
        candidates.sort();
    }
    index
}

impl CandidatePolicies {
    /// Makes the order the same in every run.
    fn sort(&mut self) {
        let names = [&mut self.principal, &mut self.resource];
        let lists =
            names.into_iter().flat_map(|named| named.eq.values_mut().chain(named.within.values_mut()));
        for list in lists.flat_map(HashMap::values_mut).chain([&mut self.unconstrained]) {
            list.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        }
    }
}

/// The scope of a policy, with the uids and types of our schema.
struct PolicyScope {
    action: ActionConstraint,
    principal: ScopeConstraint,
    resource: ScopeConstraint,
}

/// The constraint of a scope on the principal or the resource.
#[derive(Debug, Clone)]
pub enum ScopeConstraint {
    Any,
    Is(EntityTypeId),
    Eq(EntityUid),
    /// In an entity, and of this type if the scope names one.
    In(Option<EntityTypeId>, EntityUid),
    /// The scope names a type that the schema does not declare. Validation prevents this; if it happens, the
    /// index does not filter and the evaluator decides.
    UnknownType,
}

impl PolicyScope {
    fn from_policy(policy: &Policy, schema: &Schema) -> Self {
        let (from_is, from_eq, from_in) =
            (ScopeConstraint::from_is, ScopeConstraint::from_eq, ScopeConstraint::from_in);
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => ScopeConstraint::Any,
            PrincipalConstraint::Is(name) => from_is(&name, schema),
            PrincipalConstraint::Eq(uid) => from_eq(&uid, schema),
            PrincipalConstraint::In(uid) => from_in(None, &uid, schema),
            PrincipalConstraint::IsIn(name, uid) => from_in(Some(&name), &uid, schema),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => ScopeConstraint::Any,
            ResourceConstraint::Is(name) => from_is(&name, schema),
            ResourceConstraint::Eq(uid) => from_eq(&uid, schema),
            ResourceConstraint::In(uid) => from_in(None, &uid, schema),
            ResourceConstraint::IsIn(name, uid) => from_in(Some(&name), &uid, schema),
        };
        Self { action: policy.action_constraint(), principal, resource }
    }

    /// Whether the index finds the policy for exactly the requests that its scope matches.
    fn is_exact(&self) -> bool {
        let clear = |constraint: &ScopeConstraint| !matches!(constraint, ScopeConstraint::UnknownType);
        clear(&self.principal) && clear(&self.resource)
    }

    fn can_match(
        &self,
        action: &ActionDef,
        principal: EntityTypeId,
        resource: EntityTypeId,
        schema: &Schema,
    ) -> bool {
        let is_or_in = |uid: &cedar_policy::EntityUid| {
            action.self_and_groups.iter().any(|entity| entity.uid() == uid.as_ref())
        };
        let action_fits = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => *uid.as_ref() == action.uid,
            ActionConstraint::In(uids) => uids.iter().any(is_or_in),
        };
        action_fits
            && self.principal.can_match_type(principal, schema)
            && self.resource.can_match_type(resource, schema)
    }
}

impl ScopeConstraint {
    fn from_is(name: &EntityTypeName, schema: &Schema) -> Self {
        cedar::entity_type(name.as_ref(), schema).map_or(Self::UnknownType, Self::Is)
    }

    fn from_eq(uid: &cedar_policy::EntityUid, schema: &Schema) -> Self {
        cedar::entity_uid(uid.as_ref(), schema).map_or(Self::UnknownType, Self::Eq)
    }

    fn from_in(name: Option<&EntityTypeName>, uid: &cedar_policy::EntityUid, schema: &Schema) -> Self {
        let of_type = name.map(|name| cedar::entity_type(name.as_ref(), schema));
        match (of_type, cedar::entity_uid(uid.as_ref(), schema)) {
            (None, Some(entity)) => Self::In(None, entity),
            (Some(Some(entity_type)), Some(entity)) => Self::In(Some(entity_type), entity),
            _ => Self::UnknownType,
        }
    }

    /// Whether the entity satisfies this constraint. Its type was checked with `can_match_type`.
    pub fn matches(&self, name: EntityUidRef<'_>, ancestors: &[EntityUidRef<'_>]) -> bool {
        match self {
            Self::Any | Self::Is(_) | Self::UnknownType => true,
            Self::Eq(entity) => entity.as_uid_ref() == name,
            Self::In(_, entity) => entity.as_uid_ref() == name || ancestors.contains(&entity.as_uid_ref()),
        }
    }

    fn can_match_type(&self, entity_type: EntityTypeId, schema: &Schema) -> bool {
        match self {
            Self::Any | Self::UnknownType => true,
            Self::Is(of) => *of == entity_type,
            Self::Eq(entity) => entity.entity_type == entity_type,
            Self::In(of, entity) => {
                of.is_none_or(|of| of == entity_type) && schema.can_be_in(entity_type, entity.entity_type)
            }
        }
    }
}
