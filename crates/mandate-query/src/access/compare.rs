//! Compares two versions of the entities by searches: those of the principals that a change affects for
//! resources, and those of the resources that it affects for principals.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::affected::{AffectedEntities, UidSet};
use super::contexts::ActionContexts;
use crate::search::{PageLimits, SearchError, Target, search};
use mandate_core::entities::EntityDifference;
use mandate_core::moment::Moment;
use mandate_core::policies::{CandidatePolicies, Effect, EnvironmentKey};
use mandate_core::request::Request;
use mandate_core::schema::{ActionId, EntityTypeId, EntityUid, EntityUidRef};
use mandate_core::snapshot::Snapshot;
use mandate_core::value::Record;

/// Whether something is permitted only after a change, or only before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeDirection {
    Gain,
    Loss,
}

/// What a principal gains or loses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessChange {
    pub principal: EntityUid,
    pub direction: ChangeDirection,
    pub action: ActionId,
    pub resource: EntityUid,
    /// The contexts in which it does.
    pub contexts: Vec<Record>,
}

/// Two versions of the entities, of which changes made the later from the earlier, under the same policies.
pub struct AccessComparison<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    differences: Vec<EntityDifference<'a>>,
    asked_at: Option<Moment>,
}

/// Searching so many resources for principals costs little, even if all principals have to be decided.
const FEW_RESOURCES: usize = 4;

/// No limits: one page has all results.
const WHOLE: PageLimits<'_> =
    PageLimits { max_results: usize::MAX, max_visited: usize::MAX, may_continue: &|| true };

impl<'a> AccessComparison<'a> {
    pub fn new(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let differences = before.entities().differences(after.entities());
        Self { before, after, differences, asked_at: None }
    }

    /// This comparison at a time: entities that have ended then have no members.
    #[must_use]
    pub fn at(self, moment: Moment) -> Self {
        Self { asked_at: self.before.schema().has_ends().then_some(moment), ..self }
    }

    /// The entities that differ.
    pub fn differences(&self) -> &[EntityDifference<'a>] {
        &self.differences
    }

    /// The actions that some policy permits; all others are denied before and after.
    pub fn permitted_actions(&self) -> Vec<ActionId> {
        let actions: BTreeSet<ActionId> = self.environments().map(|((action, ..), _)| action).collect();
        actions.into_iter().collect()
    }

    /// The environments in which some policy permits, with their policies.
    fn environments(&self) -> impl Iterator<Item = (EnvironmentKey, &'a CandidatePolicies)> {
        let actions = self.after.schema().actions();
        let all = actions.flat_map(|(action, info)| {
            let principals = info.principal_types.iter();
            principals.flat_map(move |principal| {
                info.resource_types.iter().map(move |resource| (action, *principal, *resource))
            })
        });
        all.filter_map(|environment| {
            let candidates = self.after.policies().candidates(environment)?;
            let permits = candidates.all().any(|policy| policy.info.effect == Effect::Permit);
            permits.then_some((environment, candidates))
        })
    }

    /// Calls `found` for everything that somebody gains or loses in these contexts, once for each principal,
    /// direction, action and resource; in no particular order.
    ///
    /// # Errors
    /// A bug in Mandate: something cannot be decided.
    pub fn for_each_change(
        &self,
        contexts: &[ActionContexts],
        mut found: impl FnMut(AccessChange),
    ) -> Result<(), SearchError> {
        let affected = AffectedEntities::new(&self.differences, self.after.entities(), self.after.schema());
        for (environment, policies) in self.environments() {
            let (action, principal, resource) = environment;
            let contexts = contexts.iter().find(|contexts| contexts.action == action);
            let contexts = contexts.map_or(&[][..], |contexts| &contexts.contexts);
            let search = EnvironmentSearch { comparison: self, environment, contexts };
            let affected = affected.for_policies(policies);
            let (mut principals, mut resources) = (of_type(affected, principal), of_type(affected, resource));
            if names_any(contexts, affected) || search.prefers_principals(&resources)? {
                (principals, resources) = (self.all_entities(principal, principals), Vec::new());
            }
            for principal in &principals {
                search.changes(principal, Target::Resource)?.into_iter().for_each(&mut found);
            }
            for resource in &resources {
                let changes = search.changes(resource, Target::Principal)?.into_iter();
                // Those of affected principals were found before.
                let others = changes.filter(|change| !affected.contains(&change.principal.as_uid_ref()));
                others.for_each(&mut found);
            }
        }
        Ok(())
    }

    /// All entities of a type. The affected ones may be only in the earlier version.
    fn all_entities(&self, entity_type: EntityTypeId, affected: Vec<EntityUid>) -> Vec<EntityUid> {
        let (entities, schema) = (self.after.entities(), self.after.schema());
        let stored = entities.members(None, entity_type, None, schema).map(|entity| entity.uid().to_owned());
        let enumerated = schema.enumerated_entities(entity_type).into_iter().flatten();
        affected.into_iter().chain(stored).chain(enumerated).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn of_type(entities: &UidSet<'_>, entity_type: EntityTypeId) -> Vec<EntityUid> {
    let of_type = entities.iter().copied().filter(|uid| uid.entity_type == entity_type);
    of_type.map(EntityUidRef::to_owned).collect()
}

/// Whether a context names one of the entities: then it affects whatever is decided in that context.
fn names_any(contexts: &[Record], entities: &UidSet<'_>) -> bool {
    let mut found = false;
    for context in contexts {
        context.for_each_entity(&mut |uid| found |= entities.contains(&uid));
    }
    found
}

/// The searches in one environment.
struct EnvironmentSearch<'a> {
    comparison: &'a AccessComparison<'a>,
    environment: EnvironmentKey,
    contexts: &'a [Record],
}

impl EnvironmentSearch<'_> {
    /// Whether it costs less to search all principals for resources than these resources for principals.
    fn prefers_principals(&self, resources: &[EntityUid]) -> Result<bool, SearchError> {
        let (entities, schema) = (self.comparison.after.entities(), self.comparison.after.schema());
        let mut principals = entities.members(None, self.environment.1, None, schema);
        let (Some(principal), Some(resource)) = (principals.next(), resources.first()) else {
            return Ok(false);
        };
        // At most one more than there are resources.
        let few_principals = principals.nth(resources.len()).is_none();
        let narrow = |given: &EntityUid, target| self.is_narrow(given, target);
        Ok(few_principals
            || resources.len() > FEW_RESOURCES
                && !narrow(resource, Target::Principal)?
                && narrow(&principal.uid().to_owned(), Target::Resource)?)
    }

    /// Whether the policies say where to look; otherwise a search decides all entities of a type.
    fn is_narrow(&self, given: &EntityUid, target: Target) -> Result<bool, SearchError> {
        let Some(request) = self.requests(given, target).next() else { return Ok(true) };
        let first = PageLimits { max_results: 1, max_visited: 1, ..WHOLE };
        let is_narrow = |snapshot| search(snapshot, &request, target, None, first, &|_| {});
        Ok(is_narrow(self.comparison.before)?.narrowed_by_policies
            && is_narrow(self.comparison.after)?.narrowed_by_policies)
    }

    /// A request for each context, with the given entity and any target.
    fn requests(&self, given: &EntityUid, target: Target) -> impl Iterator<Item = Request> {
        let (action, principal, resource) = self.environment;
        let any = |entity_type| EntityUid { entity_type, id: SmolStr::default() };
        let (principal, resource) = match target {
            Target::Principal => (any(principal), given.clone()),
            Target::Resource => (given.clone(), any(resource)),
        };
        let asked_at = self.comparison.asked_at;
        self.contexts.iter().map(move |context| Request {
            asked_at,
            action,
            principal: principal.clone(),
            resource: resource.clone(),
            context: context.clone(),
            principal_properties: None,
            resource_properties: None,
        })
    }

    /// What changes for the given entity: its resources if it is a principal, and its principals if it is a
    /// resource.
    fn changes(&self, given: &EntityUid, target: Target) -> Result<Vec<AccessChange>, SearchError> {
        let mut changes: BTreeMap<(EntityUid, ChangeDirection), Vec<Record>> = BTreeMap::new();
        for request in self.requests(given, target) {
            let before = permitted(self.comparison.before, &request, target)?;
            let after = permitted(self.comparison.after, &request, target)?;
            let gains = after.difference(&before).map(|uid| (uid.clone(), ChangeDirection::Gain));
            let losses = before.difference(&after).map(|uid| (uid.clone(), ChangeDirection::Loss));
            for change in gains.chain(losses) {
                changes.entry(change).or_default().push(request.context.clone());
            }
        }
        let change = |((found, direction), contexts)| {
            let (principal, resource) = match target {
                Target::Principal => (found, given.clone()),
                Target::Resource => (given.clone(), found),
            };
            AccessChange { principal, direction, action: self.environment.0, resource, contexts }
        };
        Ok(changes.into_iter().map(change).collect())
    }
}

fn permitted(
    snapshot: &Snapshot,
    request: &Request,
    target: Target,
) -> Result<BTreeSet<EntityUid>, SearchError> {
    Ok(search(snapshot, request, target, None, WHOLE, &|_| {})?.results.into_iter().collect())
}
