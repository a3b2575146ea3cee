//! Properties of the engine, the cache and searches that hold for all policies, entities and changes, tested on random
//! ones. `access` has the properties of comparisons of entities, `http` those of a running sidecar.

mod access;
mod http;
mod world;

use std::sync::Arc;

use cedar_policy::{Authorizer, Context, Decision as CedarDecision, Entities as CedarEntities};
use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::entities::{Entities, Entity, EntityChanges, EntityData, EntityUpsert};
use mandate_core::json::Json;
use mandate_core::policies::Effect;
use mandate_core::request::{Question, QuestionEntity, Request};
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::RequestConfig;
use mandate_core::trace::TruthValues;
use mandate_pdp::{DecisionContext, Pdp, PdpConfig, Transport};
use mandate_query::search::{PageLimits, Target, search};
use mandate_sources::loader::{ContentPaths, Loader};
use mandate_sources::policy_limits::PolicyLimits;
use proptest::prelude::*;

use crate::support::Content;
use world::{RandomQuestion, Step, World, snapshot_of, valid_policies};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() }
}

fn decide(snapshot: &Snapshot, question: &RandomQuestion) -> Decision {
    let context = question.context();
    let request = snapshot.request_from_question(&question.question(&context), Clock::InQuestion).unwrap();
    let slice = snapshot.gather(&request);
    snapshot.decide(&request, &slice).unwrap()
}

fn ids(policies: &[Arc<mandate_core::policies::PolicyInfo>]) -> Vec<String> {
    policies.iter().map(|policy| policy.id.to_string()).collect()
}

/// Decides with Cedar's own authorizer over all policies and all entities. Two rules of Mandate are stricter, and are
/// added here: an unknown principal or resource is denied, and a forbid that fails denies.
///
/// Returns whether the request is permitted, the policies that determined it, and those that failed.
fn decide_with_cedar(
    world: &World,
    snapshot: &Snapshot,
    question: &RandomQuestion,
) -> (bool, Vec<String>, Vec<String>) {
    let cedar = snapshot.schema().cedar();
    let all = CedarEntities::from_json_value(world.entities_json(), Some(cedar)).unwrap();
    let [principal, resource] = [question.principal_uid(), question.resource_uid()]
        .map(|uid| uid.parse::<cedar_policy::EntityUid>().unwrap());
    let known = all.get(&principal).is_some() && all.get(&resource).is_some();
    let action: cedar_policy::EntityUid = question.action_uid().parse().unwrap();
    let context = Context::from_json_value(question.cedar_context(), Some((cedar, &action))).unwrap();
    let request = cedar_policy::Request::new(principal, action, resource, context, Some(cedar)).unwrap();
    let set = snapshot.policies().cedar_policies();
    let response = Authorizer::new().is_authorized(&request, set, &all);
    let id = |id: &cedar_policy::PolicyId| -> String { id.to_string() };
    let mut errors: Vec<String> = response
        .diagnostics()
        .errors()
        .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| id(error.policy_id()))
        .collect();
    errors.sort();
    let forbid_failed = errors.iter().any(|error| {
        set.policy(&cedar_policy::PolicyId::new(error)).unwrap().effect() == cedar_policy::Effect::Forbid
    });
    let mut reasons: Vec<String> = response.diagnostics().reason().map(id).collect();
    reasons.sort();
    let permit = known && !forbid_failed && response.decision() == CedarDecision::Allow;
    if !known {
        return (false, Vec::new(), Vec::new());
    }
    (permit, reasons, errors)
}

/// The results of all pages of a search.
fn search_all_pages(
    snapshot: &Snapshot,
    request: &Request,
    target: Target,
    limits: PageLimits<'_>,
) -> Vec<EntityUid> {
    let (mut results, mut after) = (Vec::new(), None);
    loop {
        let page = search(snapshot, request, target, after.as_ref(), limits, &|_| ()).unwrap();
        assert!(page.results.len() <= limits.max_results);
        results.extend(page.results);
        after = page.next;
        if after.is_none() {
            return results;
        }
    }
}

/// The results of a search by brute force: all entities of the type that are permitted, sorted.
fn search_by_brute_force(snapshot: &Snapshot, request: &Request, target: Target) -> Vec<EntityUid> {
    let with_target = |uid: EntityUid| match target {
        Target::Principal => Request { principal: uid, ..request.clone() },
        Target::Resource => Request { resource: uid, ..request.clone() },
    };
    let entity_type = if target == Target::Principal {
        request.principal.entity_type
    } else {
        request.resource.entity_type
    };
    let candidates = snapshot
        .entities()
        .iter()
        .map(|entity| entity.uid().to_owned())
        .filter(|uid| uid.entity_type == entity_type);
    let is_permitted = |uid: &EntityUid| {
        let request = with_target(uid.clone());
        snapshot.decide(&request, &snapshot.gather(&request)).unwrap().is_permit()
    };
    let mut permitted: Vec<EntityUid> = candidates.filter(is_permitted).collect();
    permitted.sort();
    permitted
}

proptest! {
    #![proptest_config(config(200))]

    /// Deciding on a slice with the indexed policies gives the same as Cedar with all entities and all policies.
    #[test]
    fn decisions_are_those_of_cedar_on_all_entities(world in world::world(), questions in prop::collection::vec(world::question(), 1..12)) {
        let snapshot = snapshot_of(&world);
        for question in &questions {
            let decision = decide(&snapshot, question);
            let (permit, reasons, errors) = decide_with_cedar(&world, &snapshot, question);
            prop_assert_eq!(decision.is_permit(), permit, "{:?} {:?}", question, decision);
            let failed: Vec<String> = decision.errors.iter().map(|error| error.policy.id.to_string()).collect();
            prop_assert_eq!(failed, errors);
            match &decision.outcome {
                Outcome::Permitted(policies) | Outcome::Forbidden(policies) => prop_assert_eq!(ids(policies), reasons),
                Outcome::NotPermitted(_) => prop_assert!(reasons.is_empty()),
                Outcome::ForbidFailed(_) | Outcome::UnknownPrincipal | Outcome::UnknownResource => {}
                Outcome::Suspended(_) => prop_assert!(false, "nobody suspended decisions"),
            }
        }
    }

    /// Evaluating policies clause by clause gives the same as evaluating their conditions as a whole.
    #[test]
    fn traces_of_clauses_give_the_decision(world in world::world(), questions in prop::collection::vec(world::question(), 1..12)) {
        let snapshot = snapshot_of(&world);
        for question in &questions {
            let (context, decision) = (question.context(), decide(&snapshot, question));
            let request = snapshot.request_from_question(&question.question(&context), Clock::InQuestion).unwrap();
            let traces = snapshot.trace_policies(&request, &snapshot.gather(&request)).unwrap();
            let traced = |satisfied: TruthValues, effect: Effect| {
                let found = traces.iter().filter(|trace| trace.satisfied == satisfied && trace.policy.effect == effect);
                let mut ids: Vec<String> = found.map(|trace| trace.policy.id.to_string()).collect();
                ids.sort();
                ids
            };
            let mut failed = [traced(TruthValues::NONE, Effect::Forbid), traced(TruthValues::NONE, Effect::Permit)].concat();
            failed.sort();
            prop_assert_eq!(failed, decision.errors.iter().map(|error| error.policy.id.to_string()).collect::<Vec<_>>());
            match &decision.outcome {
                Outcome::Permitted(policies) => prop_assert_eq!(ids(policies), traced(TruthValues::only(true), Effect::Permit)),
                Outcome::Forbidden(policies) => prop_assert_eq!(ids(policies), traced(TruthValues::only(true), Effect::Forbid)),
                _ => prop_assert!(traced(TruthValues::only(true), Effect::Forbid).is_empty() && traced(TruthValues::only(true), Effect::Permit).is_empty() || !decision.errors.is_empty()),
            }
        }
    }

    /// After every change, all earlier questions are asked again: the cache answers like a new decision.
    #[test]
    fn cached_decisions_are_those_without_a_cache(world in world::world(), steps in prop::collection::vec(world::step(), 1..50)) {
        // This policy reads nothing but groups, so a change high up in the hierarchy changes decisions.
        let world = world.with_policy("permit (principal in Team::\"team3\", action, resource);");
        let (cached, publisher) = Pdp::new(snapshot_of(&world), PdpConfig::cached(10_000));
        let mut asked: Vec<&RandomQuestion> = Vec::new();
        for step in &steps {
            let snapshot = cached.view().snapshot().clone();
            match step {
                Step::Question(question) => asked.push(question),
                Step::Entities(change) => {
                    // A change that breaks a rule is refused, and nothing changes.
                    if let Ok(next) = snapshot.apply(&change.changes(&snapshot)) {
                        publisher.publish(next);
                    }
                }
                Step::Policies(texts) => {
                    let policies = valid_policies(texts, snapshot.policies().schema());
                    publisher.publish(snapshot.with_policies(Arc::new(policies)).unwrap());
                }
            }
            let view = cached.view();
            for question in &asked {
                let context = question.context();
                let cached_decision = view.decide(&question.question(&context), &DecisionContext::new(Transport::InProcess)).unwrap().decision;
                prop_assert_eq!(&*cached_decision, &decide(view.snapshot(), question), "{:?}", question);
            }
        }
    }

    /// A change is refused exactly if the entities with it could not be loaded: checking what it touches is enough.
    #[test]
    fn a_change_is_held_to_the_rules_of_loading(world in world::world(), changes in prop::collection::vec(world::change(), 1..20)) {
        let mut snapshot = snapshot_of(&world);
        for change in &changes {
            let change = change.changes(&snapshot);
            let is_left = |entity: &&Entity| {
                let written = change.upserts.iter().map(|upsert| upsert.entity.uid());
                written.chain(change.removals.iter().map(EntityUid::as_uid_ref)).all(|uid| uid != entity.uid())
            };
            let left = snapshot.entities().iter().filter(is_left).cloned().map(|entity| EntityUpsert { entity, span: None });
            let moved = |upsert: &&EntityUpsert| {
                let stored = snapshot.entities().get(upsert.entity.uid());
                stored.is_some_and(|it| it.entity.origin() != upsert.entity.origin()) && !change.removals.iter().any(|uid| uid.as_uid_ref() == upsert.entity.uid())
            };
            let from_two_files = change.upserts.iter().any(|upsert| moved(&upsert));
            let all = EntityChanges { upserts: left.chain(change.upserts.iter().cloned()).collect(), removals: Vec::new() };
            let at_once = Entities::default().apply(&all, snapshot.schema());
            let applied = snapshot.apply(&change);
            prop_assert_eq!(applied.is_ok(), at_once.is_ok() && !from_two_files, "{:?} {:?}", applied.err(), at_once.err());
            snapshot = snapshot.apply(&change).unwrap_or(snapshot);
            prop_assert!(world::vaults_with_members_have_codes(&snapshot));
        }
    }

    #[test]
    fn entities_after_changes_equal_entities_loaded_at_once(world in world::world(), changes in prop::collection::vec(world::change(), 1..20)) {
        let mut snapshot = snapshot_of(&world);
        for change in &changes {
            snapshot = snapshot.apply(&change.changes(&snapshot)).unwrap_or(snapshot);
        }
        let upserts = snapshot.entities().iter().map(|entity| EntityUpsert { entity: entity.clone(), span: None }).collect();
        let change = EntityChanges { upserts, removals: Vec::new() };
        let at_once = Entities::default().apply(&change, snapshot.schema()).map_err(|diagnostics| TestCaseError::fail(diagnostics.to_string()))?;
        prop_assert_eq!(at_once.digest(), snapshot.entities().digest());
        prop_assert_eq!(at_once.len(), snapshot.entities().len());
    }

    /// Pages of all sizes give the same results, before and after a change.
    #[test]
    fn searches_find_exactly_the_permitted_entities(world in world::world(), change in world::change(), questions in prop::collection::vec(world::question(), 1..8), size in 1..4_usize, steps in 1..9_usize) {
        let before = snapshot_of(&world);
        let after = before.apply(&change.changes(&before)).unwrap_or_else(|_| before.clone());
        for (snapshot, question) in [&before, &after].into_iter().flat_map(|snapshot| questions.iter().map(move |question| (snapshot, question))) {
            let context = question.context();
            let request = snapshot.request_from_question(&question.question(&context), Clock::InQuestion).unwrap();
            for target in [Target::Principal, Target::Resource] {
                let whole = search_all_pages(snapshot, &request, target, PageLimits { max_results: 1_000, max_visited: 1_000_000, may_continue: &|| true });
                let paged = search_all_pages(snapshot, &request, target, PageLimits { max_results: size, max_visited: steps, may_continue: &|| true });
                prop_assert_eq!(&paged, &whole);
                let mut sorted = whole;
                sorted.sort();
                prop_assert_eq!(sorted, search_by_brute_force(snapshot, &request, target), "{:?} {:?}", target, question);
            }
        }
    }

    /// The members of an entity are the entities that have it as a parent.
    #[test]
    fn the_index_of_members_agrees_with_the_parents(world in world::world(), changes in prop::collection::vec(world::change(), 1..12)) {
        let mut snapshot = snapshot_of(&world);
        for change in &changes {
            snapshot = snapshot.apply(&change.changes(&snapshot)).unwrap_or(snapshot);
        }
        let (entities, schema) = (snapshot.entities(), snapshot.schema());
        for parent in entities.iter().map(|entity| Some(entity.uid())).chain([None]) {
            for (entity_type, _) in schema.entity_types() {
                let mut members: Vec<EntityUid> = entities.members(parent, entity_type, None, schema).map(|member| member.uid().to_owned()).collect();
                let is_in = |entity: &&Entity| parent.is_none_or(|parent| entity.parents().any(|uid| uid == parent));
                let all = entities.iter().filter(|entity| entity.uid().entity_type == entity_type).filter(is_in);
                let mut expected: Vec<EntityUid> = all.map(|entity| entity.uid().to_owned()).collect();
                members.sort();
                expected.sort();
                prop_assert_eq!(members, expected);
            }
        }
    }

    #[test]
    fn the_order_of_files_and_entities_does_not_matter(world in world::world(), seed in any::<u64>(), questions in prop::collection::vec(world::question(), 1..6)) {
        let (one, other) = (snapshot_of(&world), snapshot_of(&world.shuffled(seed)));
        prop_assert_eq!(one.policies().digest(), other.policies().digest());
        prop_assert_eq!(one.entities().digest(), other.entities().digest());
        for question in &questions {
            prop_assert_eq!(decide(&one, question), decide(&other, question));
        }
    }

    /// Cached decisions that read only unaltered entities stay valid.
    #[test]
    fn a_change_gives_new_versions_only_to_altered_entities(world in world::world(), change in world::change()) {
        let before = snapshot_of(&world);
        let Ok(after) = before.apply(&change.changes(&before)) else { return Ok(()) };
        for entity in before.entities().iter() {
            let version = |snapshot: &Snapshot| snapshot.entities().get(entity.uid()).map(|stored| (stored.entity.clone(), stored.version));
            if let (Some((old, old_version)), Some((new, new_version))) = (version(&before), version(&after)) {
                prop_assert_eq!(old.same_content(&new), old_version == new_version);
            }
        }
    }
}

/// A decision on a customer depends on the partnership, which is two parents above the customer.
#[test]
fn a_cached_decision_follows_a_change_two_parents_above() {
    let content = Content::of_pack();
    let content_paths = ContentPaths {
        policies: content.policies(),
        entities: content.entities(),
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    };
    let snapshot = Loader::new(&content_paths).load().unwrap().snapshot;
    let (pdp, publisher) = Pdp::new(snapshot, PdpConfig::cached(100));
    let context = Json::parse(br#"{"channel": "partner-center-api"}"#).unwrap();
    let entity = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
    let permits = |provider| {
        let question = Question {
            principal: entity("IndirectProvider", provider),
            action: "registerDevice",
            action_properties: None,
            resource: entity("Customer", "northwind"),
            context: context.as_object(),
        };
        pdp.view()
            .decide(&question, &DecisionContext::new(Transport::InProcess))
            .unwrap()
            .decision
            .is_permit()
    };
    assert!(permits("wingtip") && permits("proseware"));
    // Wingtip's partnership with Tailspin moves to Proseware, then Proseware's partnership with Litware to Wingtip.
    let view = pdp.view();
    let schema = view.snapshot().schema();
    let uid = |entity_type: &str, id: &str| EntityUid {
        entity_type: schema.resolve_entity_type(entity_type).unwrap(),
        id: id.into(),
    };
    let moved = |partnership: &str, provider: &str, reseller: &str| {
        let stored = view.snapshot().entities().get(uid("Partnership", partnership).as_uid_ref()).unwrap();
        let mut parents = vec![uid("IndirectProvider", provider), uid("IndirectReseller", reseller)];
        parents.sort();
        let entity = EntityData { parents, ..stored.entity.unpack(schema) };
        EntityUpsert { entity: Entity::pack(&entity, stored.entity.origin(), schema), span: None }
    };
    let publish = |upsert| {
        let changes = EntityChanges { upserts: vec![upsert], removals: Vec::new() };
        publisher.publish(view.snapshot().apply(&changes).unwrap());
    };
    publish(moved("wingtip--tailspin", "proseware", "tailspin"));
    assert!(!permits("wingtip") && permits("proseware"));
    publish(moved("proseware--litware", "wingtip", "litware"));
    assert!(permits("wingtip") && !permits("proseware"));
}

#[test]
fn random_policies_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    let (mut all_policies, mut valid_policies) = (0, 0);
    for _ in 0..150 {
        let world = world::world().new_tree(&mut runner).unwrap().current();
        let snapshot = snapshot_of(&world);
        all_policies += world.policy_count();
        valid_policies += snapshot.policies().len();
        for _ in 0..10 {
            let question = world::question().new_tree(&mut runner).unwrap().current();
            seen.insert(decide(&snapshot, &question).outcome.as_str());
        }
    }
    let outcomes =
        ["forbid_failed", "forbidden", "not_permitted", "permitted", "unknown_principal", "unknown_resource"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), outcomes);
    assert!(
        valid_policies * 3 > all_policies,
        "only {valid_policies} of {all_policies} random policies are valid"
    );
}
