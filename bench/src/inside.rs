//! The engine without any HTTP: the same worlds and questions, in this process. Whatever these benchmarks
//! use of the library `mandate` comes from here.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use mandate::authz::Snapshot;
pub use mandate::authz::entities::Change;
use mandate::authz::entities::{Description, Entity, Incoming};
pub use mandate::authz::json::Json;
use mandate::authz::request::Named;
pub use mandate::authz::request::{Question as Words, Request};
pub use mandate::authz::routes::HttpRequest;
use mandate::authz::schema::EntityRef;
use mandate::authz::snapshot::Terms;
use mandate::authz::value::{Record, Value};
pub use mandate::pdp::Pdp;
use mandate::source::loader::{Loader, Locations};
pub use mandate::transport::http::wire::Parts;

use crate::gateway::GatewayRequest;
use crate::world::{self, Question, mix};

/// Loads a snapshot as the sidecar does, on a thread whose stack suffices.
///
/// # Errors
/// Something is wrong with the content.
pub fn load(policies: &Path, entities: &Path) -> io::Result<Snapshot> {
    let locations =
        Locations { policies: policies.to_owned(), entities: entities.to_owned(), terms: Terms::default() };
    let load = move || Loader::new(&locations).load().map_err(|faults| io::Error::other(faults.to_string()));
    let thread =
        std::thread::Builder::new().stack_size(mandate::source::loader::LOADING_STACK).spawn(load)?;
    let loaded = thread.join().map_err(|_| io::Error::other("loading panicked"))?;
    loaded.map(|(snapshot, _)| snapshot)
}

/// The context of a question, as JSON.
pub fn context(question: &Question) -> String {
    format!(r#"{{"channel":"{}"}}"#, question.channel)
}

/// A question in the words that a transport passes on.
pub fn words<'a>(question: &'a Question, context: &'a Json<'a>) -> Words<'a> {
    let named = |kind, id| Named { kind, id, properties: None };
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
            let request = snapshot.read(words).map_err(io::Error::other)?;
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
pub fn one_change(snapshot: &Snapshot, customer: u64, delegated: bool) -> io::Result<Change> {
    let schema = snapshot.schema();
    let missing = || io::Error::other("no such consent");
    let kind = schema.kind_named("CspConsent").map_err(|_| missing())?;
    let name = EntityRef { kind, id: format!("c-{}", world::customer(customer)).into() };
    let stored = snapshot.entities().get(name.name()).ok_or_else(missing)?;
    let before = stored.entity.describe(schema);
    let attributes = before
        .attributes
        .overlaid(&Record::new([("delegatedAdministration".into(), Value::Bool(delegated))]));
    let entity = Entity::pack(&Description { attributes, ..before }, stored.entity.origin(), schema);
    Ok(Change { upsert: vec![Incoming { entity, place: None }], remove: Vec::new() })
}

/// Changes that grant and take away the same consents in turn, of so many customers drawn among all.
///
/// # Errors
/// A customer has no such consent.
pub fn changes(snapshot: &Snapshot, customers: u64, count: u64) -> io::Result<Vec<Change>> {
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
