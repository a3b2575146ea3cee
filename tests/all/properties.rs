//! What has to hold for any policies, any entities and any order of events.

mod world;

use std::sync::Arc;

use cedar_policy::{Authorizer, Context, Decision as CedarDecision, Entities as CedarEntities};
use mandate_core::Snapshot;
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
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Content, Sidecar, register};
use world::{Ask, Step, World, policies_of, snapshot_of};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() }
}

fn decide(snapshot: &Snapshot, ask: &Ask) -> Decision {
    let context = ask.context();
    let request = snapshot.request_from_question(&ask.question(&context)).unwrap();
    let slice = snapshot.gather(&request);
    snapshot.decide(&request, &slice).unwrap()
}

fn ids(policies: &[Arc<mandate_core::policies::PolicyInfo>]) -> Vec<String> {
    policies.iter().map(|policy| policy.id.to_string()).collect()
}

/// The reference: Cedar's own authorizer over the whole set and all entities, with the two rules that
/// are stricter here: whoever is unknown is denied, and so is everybody when a forbid fails.
fn reference(world: &World, snapshot: &Snapshot, ask: &Ask) -> (bool, Vec<String>, Vec<String>) {
    let cedar = snapshot.schema().cedar();
    let all = CedarEntities::from_json_value(world.entities_json(), Some(cedar)).unwrap();
    let [principal, resource] =
        [ask.principal_uid(), ask.resource_uid()].map(|uid| uid.parse::<cedar_policy::EntityUid>().unwrap());
    let known = all.get(&principal).is_some() && all.get(&resource).is_some();
    let action: cedar_policy::EntityUid = ask.action_uid().parse().unwrap();
    let context = Context::from_json_value(ask.cedar_context(), Some((cedar, &action))).unwrap();
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
    let failed = errors.iter().any(|error| {
        set.policy(&cedar_policy::PolicyId::new(error)).unwrap().effect() == cedar_policy::Effect::Forbid
    });
    let mut reasons: Vec<String> = response.diagnostics().reason().map(id).collect();
    reasons.sort();
    let permit = known && !failed && response.decision() == CedarDecision::Allow;
    if !known {
        return (false, Vec::new(), Vec::new());
    }
    (permit, reasons, errors)
}

/// All pages of a search, together.
fn found(snapshot: &Snapshot, request: &Request, target: Target, bounds: PageLimits<'_>) -> Vec<EntityUid> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = search(snapshot, request, target, after.as_ref(), bounds, &|_| ()).unwrap();
        assert!(page.results.len() <= bounds.max_results);
        found.extend(page.results);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Everybody of the type that is permitted, each decided; sorted.
fn permitted(snapshot: &Snapshot, request: &Request, target: Target) -> Vec<EntityUid> {
    let with = |name: EntityUid| match target {
        Target::Principal => Request { principal: name, ..request.clone() },
        Target::Resource => Request { resource: name, ..request.clone() },
    };
    let entity_type = if target == Target::Principal {
        request.principal.entity_type
    } else {
        request.resource.entity_type
    };
    let names = snapshot
        .entities()
        .iter()
        .map(|entity| entity.uid().to_owned())
        .filter(|it| it.entity_type == entity_type);
    let permits = |name: &EntityUid| {
        let request = with(name.clone());
        snapshot.decide(&request, &snapshot.gather(&request)).unwrap().is_permit()
    };
    let mut permitted: Vec<EntityUid> = names.filter(permits).collect();
    permitted.sort();
    permitted
}

proptest! {
    #![proptest_config(config(200))]

    /// Gathering a slice and deciding by the indexed policies is deciding over everything.
    #[test]
    fn slices_decide_as_all_entities_do(world in world::world(), asks in prop::collection::vec(world::ask(), 1..12)) {
        let snapshot = snapshot_of(&world);
        for ask in &asks {
            let decision = decide(&snapshot, ask);
            let (permit, reasons, errors) = reference(&world, &snapshot, ask);
            prop_assert_eq!(decision.is_permit(), permit, "{:?} {:?}", ask, decision);
            let failed: Vec<String> = decision.errors.iter().map(|error| error.policy.id.to_string()).collect();
            prop_assert_eq!(failed, errors);
            match &decision.outcome {
                Outcome::Permitted(policies) | Outcome::Forbidden(policies) => prop_assert_eq!(ids(policies), reasons),
                Outcome::NotPermitted(_) => prop_assert!(reasons.is_empty()),
                Outcome::ForbidFailed(_) | Outcome::UnknownPrincipal | Outcome::UnknownResource => {}
            }
        }
    }

    /// Clause by clause, conditions come to what they come to as a whole.
    #[test]
    fn clauses_make_up_the_decision(world in world::world(), asks in prop::collection::vec(world::ask(), 1..12)) {
        let snapshot = snapshot_of(&world);
        for ask in &asks {
            let (context, decision) = (ask.context(), decide(&snapshot, ask));
            let request = snapshot.request_from_question(&ask.question(&context)).unwrap();
            let traces = snapshot.trace_policies(&request, &snapshot.gather(&request)).unwrap();
            let that = |met: TruthValues, forbids: bool| {
                let found = traces.iter().filter(|trace| trace.satisfied == met && (trace.policy.effect == Effect::Forbid) == forbids);
                let mut ids: Vec<String> = found.map(|trace| trace.policy.id.to_string()).collect();
                ids.sort();
                ids
            };
            let mut failed = [that(TruthValues::NONE, true), that(TruthValues::NONE, false)].concat();
            failed.sort();
            prop_assert_eq!(failed, decision.errors.iter().map(|error| error.policy.id.to_string()).collect::<Vec<_>>());
            match &decision.outcome {
                Outcome::Permitted(policies) => prop_assert_eq!(ids(policies), that(TruthValues::only(true), false)),
                Outcome::Forbidden(policies) => prop_assert_eq!(ids(policies), that(TruthValues::only(true), true)),
                _ => prop_assert!(that(TruthValues::only(true), true).is_empty() && that(TruthValues::only(true), false).is_empty() || !decision.errors.is_empty()),
            }
        }
    }

    /// What is remembered is what would be decided afresh, whatever changed in between: after every
    /// change, everything that was ever asked is asked again.
    #[test]
    fn cached_is_uncached(world in world::world(), steps in prop::collection::vec(world::step(), 1..50)) {
        // A permit by groups alone, so that what happens far up in the hierarchy shows.
        let world = world.and_policy("permit (principal in Team::\"team3\", action, resource);");
        let (cached, mut publisher) = Pdp::new(snapshot_of(&world), PdpConfig::cached(10_000));
        let mut asked: Vec<&Ask> = Vec::new();
        for step in &steps {
            let snapshot = cached.view().snapshot().clone();
            match step {
                Step::Ask(ask) => asked.push(ask),
                Step::Entities(change) => {
                    // A change that breaks a rule is refused, and nothing changes.
                    if let Ok(next) = snapshot.apply(&change.change(&snapshot)) {
                        publisher.publish(next);
                    }
                }
                Step::Policies(texts) => {
                    let policies = policies_of(texts, snapshot.policies().schema());
                    publisher.publish(snapshot.with_policies(Arc::new(policies)).unwrap());
                }
            }
            let view = cached.view();
            for ask in &asked {
                let context = ask.context();
                let remembered = view.decide(&ask.question(&context), &DecisionContext::new(Transport::InProcess)).unwrap();
                prop_assert_eq!(&*remembered, &decide(view.snapshot(), ask), "{:?}", ask);
            }
        }
    }

    /// Entities that came by changes are as if they had been loaded at once.
    #[test]
    fn changes_add_up(world in world::world(), changes in prop::collection::vec(world::change(), 1..20)) {
        let mut snapshot = snapshot_of(&world);
        for change in &changes {
            snapshot = snapshot.apply(&change.change(&snapshot)).unwrap_or(snapshot);
        }
        let all = snapshot.entities().iter().map(|entity| EntityUpsert { entity: entity.clone(), span: None }).collect();
        let change = EntityChanges { upserts: all, removals: Vec::new() };
        let at_once = Entities::default().apply(&change, snapshot.schema()).map_err(|diagnostics| TestCaseError::fail(diagnostics.to_string()))?;
        prop_assert_eq!(at_once.digest(), snapshot.entities().digest());
        prop_assert_eq!(at_once.len(), snapshot.entities().len());
    }

    /// A search finds whoever would be permitted, and nobody else, whatever its pages hold, before a
    /// change and after.
    #[test]
    fn searches_find_who_is_permitted(world in world::world(), change in world::change(), asks in prop::collection::vec(world::ask(), 1..8), size in 1..4_usize, steps in 1..9_usize) {
        let before = snapshot_of(&world);
        let after = before.apply(&change.change(&before)).unwrap_or_else(|_| before.clone());
        for (snapshot, ask) in [&before, &after].into_iter().flat_map(|snapshot| asks.iter().map(move |ask| (snapshot, ask))) {
            let context = ask.context();
            let request = snapshot.request_from_question(&ask.question(&context)).unwrap();
            for target in [Target::Principal, Target::Resource] {
                let every = found(snapshot, &request, target, PageLimits { max_results: 1_000, max_visited: 1_000_000, may_continue: &|| true });
                let paged = found(snapshot, &request, target, PageLimits { max_results: size, max_visited: steps, may_continue: &|| true });
                prop_assert_eq!(&paged, &every);
                let mut sorted = every;
                sorted.sort();
                prop_assert_eq!(sorted, permitted(snapshot, &request, target), "{:?} {:?}", target, ask);
            }
        }
    }

    /// Who is in what is what each entity says that it is in.
    #[test]
    fn members_are_parents_turned_round(world in world::world(), changes in prop::collection::vec(world::change(), 1..12)) {
        let mut snapshot = snapshot_of(&world);
        for change in &changes {
            snapshot = snapshot.apply(&change.change(&snapshot)).unwrap_or(snapshot);
        }
        let (entities, schema) = (snapshot.entities(), snapshot.schema());
        for parent in entities.iter().map(|entity| Some(entity.uid())).chain([None]) {
            for (entity_type, _) in schema.entity_types() {
                let mut members: Vec<EntityUid> = entities.members(parent, entity_type, None, schema).map(|it| it.uid().to_owned()).collect();
                let is_in = |entity: &&Entity| parent.is_none_or(|parent| entity.parents().any(|it| it == parent));
                let all = entities.iter().filter(|entity| entity.uid().entity_type == entity_type).filter(is_in);
                let mut expected: Vec<EntityUid> = all.map(|it| it.uid().to_owned()).collect();
                members.sort();
                expected.sort();
                prop_assert_eq!(members, expected);
            }
        }
    }

    /// Files come in any order, entities in any file.
    #[test]
    fn order_does_not_matter(world in world::world(), seed in any::<u64>(), asks in prop::collection::vec(world::ask(), 1..6)) {
        let (one, other) = (snapshot_of(&world), snapshot_of(&world.shuffled(seed)));
        prop_assert_eq!(one.policies().digest(), other.policies().digest());
        prop_assert_eq!(one.entities().digest(), other.entities().digest());
        for ask in &asks {
            prop_assert_eq!(decide(&one, ask), decide(&other, ask));
        }
    }

    /// An entity that a change does not alter keeps its version, so what is remembered of it stays.
    #[test]
    fn a_change_stamps_only_what_it_alters(world in world::world(), change in world::change()) {
        let before = snapshot_of(&world);
        let Ok(after) = before.apply(&change.change(&before)) else { return Ok(()) };
        for entity in before.entities().iter() {
            let version = |snapshot: &Snapshot| snapshot.entities().get(entity.uid()).map(|stored| (stored.entity.clone(), stored.version));
            if let (Some((old, old_stamp)), Some((new, new_stamp))) = (version(&before), version(&after)) {
                prop_assert_eq!(old.same_content(&new), old_stamp == new_stamp);
            }
        }
    }
}

/// What is remembered of a customer depends on the partnership two steps up.
#[test]
fn a_change_far_up_is_seen() {
    let content = Content::of_pack();
    let content_paths = ContentPaths {
        policies: content.policies(),
        entities: content.entities(),
        terms: RequestConfig::default(),
    };
    let snapshot = Loader::new(&content_paths).load().unwrap().snapshot;
    let (pdp, mut publisher) = Pdp::new(snapshot, PdpConfig::cached(100));
    let context = Json::parse(br#"{"channel": "partner-center-api"}"#).unwrap();
    let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
    let permits = |provider| {
        let question = Question {
            principal: named("IndirectProvider", provider),
            action: "registerDevice",
            action_properties: None,
            resource: named("Customer", "northwind"),
            context: context.as_object(),
        };
        pdp.view().decide(&question, &DecisionContext::new(Transport::InProcess)).unwrap().is_permit()
    };
    assert!(permits("wingtip") && permits("proseware"));
    // The partnership with Tailspin goes from Wingtip to Proseware, and Proseware's with Litware to Wingtip.
    let view = pdp.view();
    let schema = view.snapshot().schema();
    let name = |entity_type: &str, id: &str| EntityUid {
        entity_type: schema.resolve_entity_type(entity_type).unwrap(),
        id: id.into(),
    };
    let moved = |partnership: &str, provider: &str, reseller: &str| {
        let stored = view.snapshot().entities().get(name("Partnership", partnership).as_uid_ref()).unwrap();
        let mut parents = vec![name("IndirectProvider", provider), name("IndirectReseller", reseller)];
        parents.sort();
        let entity = EntityData { parents, ..stored.entity.unpack(schema) };
        EntityUpsert { entity: Entity::pack(&entity, stored.entity.origin(), schema), span: None }
    };
    let mut swap = |upsert| {
        publisher.publish(
            view.snapshot().apply(&EntityChanges { upserts: upsert, removals: Vec::new() }).unwrap(),
        );
    };
    swap(vec![moved("wingtip--tailspin", "proseware", "tailspin")]);
    assert!(!permits("wingtip") && permits("proseware"));
    swap(vec![moved("proseware--litware", "wingtip", "litware")]);
    assert!(permits("wingtip") && !permits("proseware"));
}

#[test]
fn random_policies_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    let (mut drawn, mut valid) = (0, 0);
    for _ in 0..150 {
        let world = world::world().new_tree(&mut runner).unwrap().current();
        let snapshot = snapshot_of(&world);
        drawn += world.policies();
        valid += snapshot.policies().len();
        for _ in 0..10 {
            let ask = world::ask().new_tree(&mut runner).unwrap().current();
            seen.insert(decide(&snapshot, &ask).outcome.as_str());
        }
    }
    let all =
        ["forbid_failed", "forbidden", "not_permitted", "permitted", "unknown_principal", "unknown_resource"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
    assert!(valid * 3 > drawn, "only {valid} of {drawn} random policies validate");
}

/// Questions to the pack: answerable ones and broken ones.
fn pack_question() -> impl Strategy<Value = Value> {
    let partners = prop::sample::select(vec![
        ("DirectBillPartner", "fabrikam"),
        ("IndirectProvider", "proseware"),
        ("IndirectReseller", "tailspin"),
        ("Oem", "trey"),
        ("Oem", "nobody"),
        ("TenantUser", "intune@contoso"),
        ("Customer", "contoso"),
        ("Nothing", "x"),
    ]);
    let customers = prop::sample::select(vec!["contoso", "northwind", "relecloud", "nobody"]);
    let channels =
        prop::sample::select(vec!["partner-center-api", "partner-center-ui", "oem-api", "intune", "fax"]);
    (partners, customers, channels)
        .prop_map(|(partner, customer, channel)| register(partner, customer, channel))
}

proptest! {
    #![proptest_config(config(25))]

    /// A batch answers each of its questions as it would be answered alone.
    #[test]
    fn batch_is_singles(rounds in prop::collection::vec(prop::collection::vec(pack_question(), 1..8), 1..6)) {
        let sidecar = Sidecar::of_pack(&[]);
        for questions in rounds {
            let batch = sidecar.post("/access/v1/evaluations", json!({ "evaluations": questions }).to_string()).json();
            for (question, answer) in questions.iter().zip(batch["evaluations"].as_array().unwrap()) {
                let single = sidecar.post("/access/v1/evaluation", question.to_string());
                if single.status == 200 {
                    prop_assert_eq!(answer, &json!({ "decision": single.json()["decision"] }));
                } else {
                    let (error, id) = (json!({ "status": single.status, "message": single.body }), &answer["context"]["decision_id"]);
                    prop_assert!(id.is_string());
                    prop_assert_eq!(answer, &json!({ "decision": false, "context": { "decision_id": id, "error": error } }));
                }
            }
        }
    }
}

/// A body with some of its bytes changed, dropped, or repeated elsewhere.
fn mangled(body: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let body = body.as_bytes().to_vec();
    let bytes = prop::sample::select(b"{}[]\",:x0-e\\\n \xff".to_vec());
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), bytes, 0..4_u8);
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut body = body.clone();
        for (at, other, byte, entity_type) in edits {
            let (at, other) = (at.index(body.len()), other.index(body.len()));
            match entity_type {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => drop(body.remove(at)),
                _ => {
                    let piece = body[at.min(other)..at.max(other)].to_vec();
                    body.splice(at..at, piece);
                }
            }
        }
        body
    })
}

/// The parts of a question that decide it.
fn essence(question: &Value) -> [Option<&Value>; 6] {
    let paths = [
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
        "/context/channel",
    ];
    paths.map(|path| question.pointer(path))
}

/// Whatever arrives, there is an answer or a sentence, and a permit only for the very question that
/// has one.
#[test]
fn mangled_bodies_are_never_permitted_by_mistake() {
    let question = register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api");
    let content = Content::of_pack();
    let sidecar = content.serve();
    let mut runner = proptest::test_runner::TestRunner::new(config(2_000));
    let result = runner.run(&mangled(&question.to_string()), |body| {
        let reply = sidecar.post("/access/v1/evaluation", &body);
        prop_assert!([200, 400].contains(&reply.status), "{:?}", reply);
        if reply.status == 200 && reply.json()["decision"] == json!(true) {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            // The partner may use the UI as well, but that channel takes more than three edits.
            prop_assert_eq!(essence(&asked), essence(&question));
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
    assert!(sidecar.permits(&question), "and it goes on");
}
