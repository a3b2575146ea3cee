//! The engine in this process, without HTTP: loading, questions, decisions and changes. The benchmarks use
//! the crates of Mandate only through this module.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use mandate_core::Snapshot;
use mandate_core::clock::Clock;
pub use mandate_core::entities::EntityChanges;
use mandate_core::entities::{Entity, EntityData, EntityUpsert};
pub use mandate_core::json::Json;
use mandate_core::request::QuestionEntity;
pub use mandate_core::request::{Question, Request};
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::{Record, Value};
use mandate_pdp::PdpConfig;
pub use mandate_pdp::{DecisionContext, Generation, Pdp, Transport};
pub use mandate_routes::HttpRequest;
pub use mandate_server::authzen::wire::RequestFields;
use mandate_sources::loader::{ContentPaths, LOADING_STACK_BYTES, Loader};
use mandate_sources::policy_limits::PolicyLimits;

use crate::dataset::{self, TestQuestion, mix};
use crate::gateway::GatewayRequest;

/// Loads a snapshot.
///
/// # Errors
/// The content is not valid.
pub fn load_snapshot(policies: &Path, entities: &Path) -> io::Result<Snapshot> {
    Ok(load_generation(policies, entities)?.snapshot().clone())
}

/// Loads a snapshot with its routes, on a thread with as large a stack as that of the sidecar.
///
/// # Errors
/// The content is not valid.
pub fn load_generation(policies: &Path, entities: &Path) -> io::Result<Generation> {
    let (policies, entities) = (policies.to_owned(), entities.to_owned());
    let paths = ContentPaths {
        policies,
        entities,
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    };
    let load =
        move || Loader::new(&paths).load().map_err(|diagnostics| io::Error::other(diagnostics.to_string()));
    let thread = std::thread::Builder::new().stack_size(LOADING_STACK_BYTES).spawn(load)?;
    let loaded = thread.join().map_err(|_| io::Error::other("loading panicked"))?;
    loaded.map(Generation::from)
}

/// The context of a question, as JSON.
pub fn context_json(question: &TestQuestion) -> String {
    format!(r#"{{"channel":"{}"}}"#, question.channel)
}

/// A question as a transport hands it to the decision point.
pub fn as_question<'a>(question: &'a TestQuestion, context: &'a Json<'a>) -> Question<'a> {
    let entity = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
    Question {
        principal: entity(question.principal.0, question.principal.1.as_str()),
        action: question.action,
        action_properties: None,
        resource: entity("Customer", &question.customer),
        context: context.as_object(),
    }
}

/// Hands a question to `decide`, and checks the decision. `decide` may also return another result.
///
/// # Errors
/// The decision is wrong, or there is none.
pub fn ask_and_check<T>(
    question: &TestQuestion,
    decide: impl FnOnce(&Question<'_>) -> io::Result<(bool, T)>,
) -> io::Result<T> {
    let context = context_json(question);
    let context = Json::parse(context.as_bytes()).map_err(io::Error::other)?;
    let (permitted, result) = decide(&as_question(question, &context))?;
    if permitted == question.permitted {
        Ok(result)
    } else {
        Err(io::Error::other(format!("wrong answer: {question:?}")))
    }
}

/// A decision point with room for all questions in its cache.
pub fn pdp(generation: impl Into<Generation>) -> Pdp {
    Pdp::new(generation, PdpConfig::cached(100_000)).0
}

/// Asks the decision point as a transport does.
///
/// # Errors
/// There is no decision.
pub fn permits(pdp: &Pdp, question: &Question<'_>) -> io::Result<bool> {
    let context = DecisionContext::new(Transport::InProcess);
    pdp.view().decide(question, &context).map(|timed| timed.decision.is_permit()).map_err(io::Error::other)
}

/// The request in the form that the routes read.
pub fn http_request(request: &GatewayRequest) -> HttpRequest<'_> {
    let headers = request.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    HttpRequest { method: request.method, target: &request.path, headers, ..HttpRequest::default() }
}

/// Turns the questions into requests, and checks the decision on each.
///
/// # Errors
/// A question does not fit the schema, or the decision is wrong.
pub fn requests(snapshot: &Snapshot, questions: &[TestQuestion]) -> io::Result<Vec<Request>> {
    let request = |question: &TestQuestion| {
        ask_and_check(question, |question| {
            let request =
                snapshot.request_from_question(question, Clock::InQuestion).map_err(io::Error::other)?;
            Ok((decide(snapshot, &request), request))
        })
    };
    questions.iter().map(request).collect()
}

/// Gathers and decides.
pub fn decide(snapshot: &Snapshot, request: &Request) -> bool {
    let slice = snapshot.gather(request);
    snapshot.decide(request, &slice).is_ok_and(|decision| decision.is_permit())
}

/// A change of one consent: `delegatedAdministration` becomes `delegated`.
///
/// # Errors
/// The customer has no such consent.
pub fn consent_change(snapshot: &Snapshot, customer: u64, delegated: bool) -> io::Result<EntityChanges> {
    let schema = snapshot.schema();
    let missing = || io::Error::other("no such consent");
    let entity_type = schema.resolve_entity_type("CspConsent").map_err(|_| missing())?;
    let uid = EntityUid { entity_type, id: format!("c-{}", dataset::customer_id(customer)).into() };
    let stored = snapshot.entities().get(uid.as_uid_ref()).ok_or_else(missing)?;
    let before = stored.entity.unpack(schema);
    let attributes = before
        .attributes
        .with_overrides(&Record::new([("delegatedAdministration".into(), Value::Bool(delegated))]));
    let entity = Entity::pack(&EntityData { attributes, ..before }, stored.entity.origin(), schema);
    Ok(EntityChanges { upserts: vec![EntityUpsert { entity, span: None }], removals: Vec::new() })
}

/// Two changes for each of `count` random customers: the first sets `delegatedAdministration`, the second
/// resets it.
///
/// # Errors
/// A customer has no such consent.
pub fn consent_changes(snapshot: &Snapshot, customers: u64, count: u64) -> io::Result<Vec<EntityChanges>> {
    let pair = |n| [true, false].map(|delegated| consent_change(snapshot, mix(n) % customers, delegated));
    (0..count).flat_map(pair).collect()
}

/// The median time of `runs` calls of `work`, in nanoseconds.
pub fn median_nanos(runs: u32, mut work: impl FnMut(u32)) -> f64 {
    let times: Vec<f64> = (0..runs)
        .map(|n| {
            let start = Instant::now();
            work(n);
            nanos(start.elapsed())
        })
        .collect();
    crate::numbers::median(&times)
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
