//! The engine without any HTTP: the same worlds and questions, in this process. Whatever these benchmarks
//! use of the crates comes from here.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use mandate_core::Snapshot;
pub use mandate_core::entities::EntityChanges;
use mandate_core::entities::{Entity, EntityData, EntityUpsert};
pub use mandate_core::json::Json;
use mandate_core::request::QuestionEntity;
pub use mandate_core::request::{Question as Words, Request};
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::{Record, Value};
use mandate_pdp::PdpConfig;
pub use mandate_pdp::{DecisionContext, Generation, Pdp, Transport};
pub use mandate_routes::HttpRequest;
pub use mandate_server::authzen::wire::RequestFields;
use mandate_sources::loader::{ContentPaths, LOADING_STACK_BYTES, Loader};

use crate::gateway::GatewayRequest;
use crate::world::{self, Question, mix};

/// Loads a snapshot as the sidecar does, on a thread whose stack suffices.
///
/// # Errors
/// Something is wrong with the content.
pub fn load(policies: &Path, entities: &Path) -> io::Result<Snapshot> {
    Ok(load_generation(policies, entities)?.snapshot().clone())
}

/// Loads a snapshot with its routes, as [`load`] does.
///
/// # Errors
/// Something is wrong with the content.
pub fn load_generation(policies: &Path, entities: &Path) -> io::Result<Generation> {
    let (policies, entities) = (policies.to_owned(), entities.to_owned());
    let paths = ContentPaths { policies, entities, terms: RequestConfig::default() };
    let load = move || Loader::new(&paths).load().map_err(|faults| io::Error::other(faults.to_string()));
    let thread = std::thread::Builder::new().stack_size(LOADING_STACK_BYTES).spawn(load)?;
    let loaded = thread.join().map_err(|_| io::Error::other("loading panicked"))?;
    loaded.map(Generation::from)
}

/// The context of a question, as JSON.
pub fn context(question: &Question) -> String {
    format!(r#"{{"channel":"{}"}}"#, question.channel)
}

/// A question in the words that a transport passes on.
pub fn words<'a>(question: &'a Question, context: &'a Json<'a>) -> Words<'a> {
    let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
    Words {
        principal: named(question.principal.0, question.principal.1.as_str()),
        action: question.action,
        action_properties: None,
        resource: named("Customer", &question.customer),
        context: context.as_object(),
    }
}

/// Asks as a transport would, from the words of the question; the answer has to be right.
///
/// # Errors
/// The answer is wrong, or there is none.
pub fn ask<T>(
    question: &Question,
    decide: impl FnOnce(&Words<'_>) -> io::Result<(bool, T)>,
) -> io::Result<T> {
    let context = context(question);
    let context = Json::parse(context.as_bytes()).map_err(io::Error::other)?;
    let (permitted, result) = decide(&words(question, &context))?;
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

/// Asks as a transport would, with a context of its own.
///
/// # Errors
/// There is no answer.
pub fn permits(pdp: &Pdp, words: &Words<'_>) -> io::Result<bool> {
    let context = DecisionContext::new(Transport::InProcess);
    pdp.view().decide(words, &context).map(|decision| decision.is_permit()).map_err(io::Error::other)
}

/// The question as an HTTP request that a gateway asks about.
pub fn http_request(request: &GatewayRequest) -> HttpRequest<'_> {
    let headers = request.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    HttpRequest { method: request.method, target: &request.path, headers, ..HttpRequest::default() }
}

/// The questions as requests of a snapshot.
///
/// # Errors
/// A question is none by the snapshot's schema, or its answer is wrong.
pub fn requests(snapshot: &Snapshot, questions: &[Question]) -> io::Result<Vec<Request>> {
    let request = |question: &Question| {
        ask(question, |words| {
            let request = snapshot.request_from_question(words).map_err(io::Error::other)?;
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

/// A change of one consent: delegated administration is granted or taken away.
///
/// # Errors
/// The customer has no such consent.
pub fn one_change(snapshot: &Snapshot, customer: u64, delegated: bool) -> io::Result<EntityChanges> {
    let schema = snapshot.schema();
    let missing = || io::Error::other("no such consent");
    let entity_type = schema.resolve_entity_type("CspConsent").map_err(|_| missing())?;
    let uid = EntityUid { entity_type, id: format!("c-{}", world::customer(customer)).into() };
    let stored = snapshot.entities().get(uid.as_uid_ref()).ok_or_else(missing)?;
    let before = stored.entity.unpack(schema);
    let attributes = before
        .attributes
        .with_overrides(&Record::new([("delegatedAdministration".into(), Value::Bool(delegated))]));
    let entity = Entity::pack(&EntityData { attributes, ..before }, stored.entity.origin(), schema);
    Ok(EntityChanges { upserts: vec![EntityUpsert { entity, span: None }], removals: Vec::new() })
}

/// Changes that grant and take away the same consents in turn, of so many customers drawn among all.
///
/// # Errors
/// A customer has no such consent.
pub fn changes(snapshot: &Snapshot, customers: u64, count: u64) -> io::Result<Vec<EntityChanges>> {
    let pair = |n| [true, false].map(|delegated| one_change(snapshot, mix(n) % customers, delegated));
    (0..count).flat_map(pair).collect()
}

/// The median time of one run of `work`, of so many runs, in nanoseconds.
pub fn median_nanos(runs: u32, mut work: impl FnMut(u32)) -> f64 {
    let times: Vec<f64> = (0..runs)
        .map(|n| {
            let begun = Instant::now();
            work(n);
            nanos(begun.elapsed())
        })
        .collect();
    crate::numbers::median(&times)
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
