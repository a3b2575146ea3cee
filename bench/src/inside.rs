//! The engine without any HTTP: the same worlds and questions, in this process.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use mandate_core::Snapshot;
use mandate_core::entities::{Entity, EntityChanges, EntityData, EntityUpsert};
use mandate_core::json::Json;
use mandate_core::request::{QuestionEntity, Request};
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::{Record, Value};
use mandate_sources::loader::{ContentPaths, Loader};

use crate::world::{self, Question};

/// Loads a snapshot as the sidecar does, on a thread whose stack suffices.
///
/// # Errors
/// Something is wrong with the content.
pub fn load(policies: &Path, entities: &Path) -> io::Result<Snapshot> {
    let content_paths = ContentPaths {
        policies: policies.to_owned(),
        entities: entities.to_owned(),
        terms: RequestConfig::default(),
    };
    let load = move || {
        Loader::new(&content_paths).load().map_err(|diagnostics| io::Error::other(diagnostics.to_string()))
    };
    let thread =
        std::thread::Builder::new().stack_size(mandate_sources::loader::LOADING_STACK_BYTES).spawn(load)?;
    let loaded = thread.join().map_err(|_| io::Error::other("loading panicked"))?;
    loaded.map(|loaded| loaded.snapshot)
}

/// Asks as a transport would, from the words of the question; the answer has to be right.
///
/// # Errors
/// The answer is wrong, or there is none.
pub fn ask<T>(
    question: &Question,
    decide: impl FnOnce(&mandate_core::request::Question<'_>) -> io::Result<(bool, T)>,
) -> io::Result<T> {
    let context = format!(r#"{{"channel":"{}"}}"#, question.channel);
    let context = Json::parse(context.as_bytes()).map_err(io::Error::other)?;
    let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
    let (entity_type, id) = (question.principal.0, question.principal.1.as_str());
    let (permitted, result) = decide(&mandate_core::request::Question {
        principal: named(entity_type, id),
        action: question.action,
        action_properties: None,
        resource: named("Customer", &question.customer),
        context: context.as_object(),
    })?;
    if permitted == question.permitted {
        Ok(result)
    } else {
        Err(io::Error::other(format!("wrong answer: {question:?}")))
    }
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
    let name = EntityUid { entity_type, id: format!("c-{}", world::customer(customer)).into() };
    let stored = snapshot.entities().get(name.as_uid_ref()).ok_or_else(missing)?;
    let before = stored.entity.unpack(schema);
    let attributes = before
        .attributes
        .with_overrides(&Record::new([("delegatedAdministration".into(), Value::Bool(delegated))]));
    let entity = Entity::pack(&EntityData { attributes, ..before }, stored.entity.origin(), schema);
    Ok(EntityChanges { upserts: vec![EntityUpsert { entity, span: None }], removals: Vec::new() })
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
    crate::bars::median(&times)
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
