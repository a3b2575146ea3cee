//! Policies by what a request can match: Cedar looks at every policy for each request, and here only
//! those are found whose scope takes the request, so that only their conditions are left to evaluate.
//! A policy whose scope cannot be indexed is always found, and evaluated with its scope.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};
use cedar_policy_core::ast::Expr;
use smol_str::SmolStr;

use super::PolicyInfo;
use super::prepare::prepared;
use crate::schema::{ActionId, ActionInfo, EntityRef, Kind, Name, Schema};

/// What a request is indexed by first: its action, principal type and resource type.
pub type Environment = (ActionId, Kind, Kind);

/// A policy that is ready to be evaluated.
#[derive(Debug)]
pub struct Candidate {
    pub info: Arc<PolicyInfo>,
    /// What is left to evaluate once the index has found the policy: its conditions together, or
    /// nothing if it has none.
    pub condition: Option<Expr>,
    /// How many references in a row it follows.
    pub level: u32,
    /// What its scope says about the principal and the resource: it is found by one that it names, and
    /// may name the other as well.
    pub principal: Part,
    pub resource: Part,
}

/// The policies that requests of one environment can match.
#[derive(Debug, Default)]
pub struct Candidates {
    /// How many references in a row the policies follow at most: what a slice has to hold.
    pub level: u32,
    /// Those whose scope names no entity.
    any: Vec<Arc<Candidate>>,
    principal: Named,
    resource: Named,
}

/// Policies whose scope names an entity, by that entity.
#[derive(Debug, Default)]
struct Named {
    is: ByName,
    within: ByName,
}

type ByName = HashMap<Kind, HashMap<SmolStr, Vec<Arc<Candidate>>, foldhash::fast::RandomState>>;

impl Candidates {
    /// The policies that can match a request of this principal and resource, which are in these.
    pub fn of<'a>(
        &'a self,
        (principal, its_ancestors): (Name<'a>, &'a [Name<'a>]),
        (resource, ancestors): (Name<'a>, &'a [Name<'a>]),
    ) -> impl Iterator<Item = &'a Arc<Candidate>> {
        let named = self.principal.of(principal, its_ancestors).chain(self.resource.of(resource, ancestors));
        let named = named.filter(move |found| {
            found.principal.takes(principal, its_ancestors) && found.resource.takes(resource, ancestors)
        });
        self.any.iter().chain(named)
    }

    /// All of them, also those whose scope names other entities than the request's; in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Candidate>> {
        let named = [&self.principal, &self.resource].into_iter().flat_map(|it| [&it.is, &it.within]);
        self.any.iter().chain(named.flat_map(HashMap::values).flat_map(HashMap::values).flatten())
    }

    fn add(&mut self, candidate: &Arc<Candidate>, scope: &Scope) {
        self.level = self.level.max(candidate.level);
        let place = match (&scope.principal, &scope.resource) {
            (Part::Is(name), _) => put(&mut self.principal.is, name),
            (_, Part::Is(name)) => put(&mut self.resource.is, name),
            (Part::In(_, name), _) => put(&mut self.principal.within, name),
            (_, Part::In(_, name)) => put(&mut self.resource.within, name),
            _ => &mut self.any,
        };
        place.push(Arc::clone(candidate));
    }
}

fn put<'a>(names: &'a mut ByName, name: &EntityRef) -> &'a mut Vec<Arc<Candidate>> {
    names.entry(name.kind).or_default().entry(name.id.clone()).or_default()
}

impl Named {
    fn of<'a>(
        &'a self,
        name: Name<'a>,
        ancestors: &'a [Name<'a>],
    ) -> impl Iterator<Item = &'a Arc<Candidate>> {
        let within = if self.within.is_empty() { &[] } else { ancestors };
        let itself = [(&self.is, name), (&self.within, name)];
        let ancestors = within.iter().map(|name| (&self.within, *name));
        itself.into_iter().chain(ancestors).flat_map(|(names, name)| {
            let of_kind = if names.is_empty() { None } else { names.get(&name.kind) };
            of_kind.and_then(|ids| ids.get(name.id)).into_iter().flatten()
        })
    }
}

/// For every environment of the schema, the policies that can match.
pub fn index<'p>(
    policies: impl Iterator<Item = (&'p Policy, Arc<PolicyInfo>, u32)>,
    schema: &Schema,
) -> HashMap<Environment, Candidates, foldhash::fast::RandomState> {
    let mut index: HashMap<Environment, Candidates, _> = HashMap::default();
    for (action, info) in schema.actions() {
        for principal in &info.principals {
            for resource in &info.resources {
                index.insert((action, *principal, *resource), Candidates::default());
            }
        }
    }
    for (policy, info, level) in policies {
        let scope = Scope::of(policy, schema);
        let condition = if scope.is_exact() {
            policy.as_ref().non_scope_constraints().map(prepared)
        } else {
            Some(prepared(&policy.as_ref().condition()))
        };
        let candidate = Arc::new(Candidate {
            info,
            condition,
            level,
            principal: scope.principal.clone(),
            resource: scope.resource.clone(),
        });
        for ((action, principal, resource), candidates) in &mut index {
            if scope.fits(schema.action(*action), *principal, *resource, schema) {
                candidates.add(&candidate, &scope);
            }
        }
    }
    for candidates in index.values_mut() {
        candidates.sort();
    }
    index
}

impl Candidates {
    /// The same order in every run.
    fn sort(&mut self) {
        let names = [&mut self.principal, &mut self.resource];
        let lists =
            names.into_iter().flat_map(|named| named.is.values_mut().chain(named.within.values_mut()));
        for list in lists.flat_map(HashMap::values_mut).chain([&mut self.any]) {
            list.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        }
    }
}

/// What a policy's scope says, in the schema's terms.
struct Scope {
    action: ActionConstraint,
    principal: Part,
    resource: Part,
}

/// What a scope says about the principal or the resource.
#[derive(Debug, Clone)]
pub enum Part {
    Any,
    OfType(Kind),
    Is(EntityRef),
    /// In an entity, and of a type where the scope says so.
    In(Option<Kind>, EntityRef),
    /// Of a type that the schema does not have, which no validated policy should name: it rules out
    /// nothing here, and is left to the evaluation.
    Unclear,
}

impl Scope {
    fn of(policy: &Policy, schema: &Schema) -> Self {
        let (ty, is, within) = (Part::of_type, Part::is, Part::within);
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Part::Any,
            PrincipalConstraint::Is(name) => ty(&name, schema),
            PrincipalConstraint::Eq(uid) => is(&uid, schema),
            PrincipalConstraint::In(uid) => within(None, &uid, schema),
            PrincipalConstraint::IsIn(name, uid) => within(Some(&name), &uid, schema),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Part::Any,
            ResourceConstraint::Is(name) => ty(&name, schema),
            ResourceConstraint::Eq(uid) => is(&uid, schema),
            ResourceConstraint::In(uid) => within(None, &uid, schema),
            ResourceConstraint::IsIn(name, uid) => within(Some(&name), &uid, schema),
        };
        Self { action: policy.action_constraint(), principal, resource }
    }

    /// Whether the index finds the policy for exactly the requests that its scope takes.
    fn is_exact(&self) -> bool {
        let clear = |part: &Part| !matches!(part, Part::Unclear);
        clear(&self.principal) && clear(&self.resource)
    }

    fn fits(&self, action: &ActionInfo, principal: Kind, resource: Kind, schema: &Schema) -> bool {
        let is_or_in = |uid: &EntityUid| action.entities.iter().any(|entity| entity.uid() == uid.as_ref());
        let action_fits = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => *uid.as_ref() == action.uid,
            ActionConstraint::In(uids) => uids.iter().any(is_or_in),
        };
        action_fits && self.principal.fits(principal, schema) && self.resource.fits(resource, schema)
    }
}

fn kind(name: &EntityTypeName, schema: &Schema) -> Option<Kind> {
    schema.kind_of_full_name(&name.to_string())
}

fn entity(uid: &EntityUid, schema: &Schema) -> Option<EntityRef> {
    let id: &str = uid.id().as_ref();
    Some(EntityRef { kind: kind(uid.type_name(), schema)?, id: id.into() })
}

impl Part {
    fn of_type(name: &EntityTypeName, schema: &Schema) -> Self {
        kind(name, schema).map_or(Self::Unclear, Self::OfType)
    }

    fn is(uid: &EntityUid, schema: &Schema) -> Self {
        entity(uid, schema).map_or(Self::Unclear, Self::Is)
    }

    fn within(name: Option<&EntityTypeName>, uid: &EntityUid, schema: &Schema) -> Self {
        let of_type = name.map(|name| kind(name, schema));
        match (of_type, entity(uid, schema)) {
            (None, Some(entity)) => Self::In(None, entity),
            (Some(Some(kind)), Some(entity)) => Self::In(Some(kind), entity),
            _ => Self::Unclear,
        }
    }

    /// Whether an entity that fits is the one that is named, or in it.
    pub fn takes(&self, name: Name<'_>, ancestors: &[Name<'_>]) -> bool {
        match self {
            Self::Any | Self::OfType(_) | Self::Unclear => true,
            Self::Is(entity) => entity.name() == name,
            Self::In(_, entity) => entity.name() == name || ancestors.contains(&entity.name()),
        }
    }

    fn fits(&self, kind: Kind, schema: &Schema) -> bool {
        match self {
            Self::Any | Self::Unclear => true,
            Self::OfType(of) => *of == kind,
            Self::Is(entity) => entity.kind == kind,
            Self::In(of, entity) => of.is_none_or(|of| of == kind) && schema.can_be_in(kind, entity.kind),
        }
    }
}
