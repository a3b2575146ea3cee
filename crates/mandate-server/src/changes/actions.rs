//! Actions that change entities: one, or several of which all are performed or none.

use serde_json::{Map, Value, json};

use super::link_json::links_json;
use super::problem::{Problem, name_json};
use super::request::{Answer, ChangeRequest};
use crate::authzen::json_body::{expect_object, parse_json};
use crate::authzen::wire::{RequestFields, ShapeError, request_error_message};
use mandate_core::json::{Json, Object};
use mandate_core::request::Question;
use mandate_pdp::DecisionContext;
use mandate_pdp::proposal::{Committed, ProposedEdits, Refusal};

/// Performs the action of a request.
///
/// # Errors
/// Nothing was changed.
pub async fn single(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let json = parse_json(body, request.limits.max_json_depth)?;
    let object = expect_object(&json)?;
    let question = RequestFields::from_object(object).question().map_err(shape_problem)?;
    let committed = perform(request, &[question], None, body).await?;
    let created: Vec<Value> = committed.created.iter().flatten().map(name_json).collect();
    let mut context = Map::from_iter([
        ("position".to_owned(), committed.position.to_string().into()),
        ("created".to_owned(), created.into()),
        ("revision".to_owned(), committed.revision.as_str().into()),
    ]);
    if let Some(links) = committed.requests.first().and_then(|asked| links_json(asked, request.pages_url)) {
        context.insert("links".to_owned(), links);
    }
    // A request that is repeated is not decided again.
    if !committed.repeated {
        context.insert("decision_id".to_owned(), request.context.id.to_string().into());
    }
    Ok(Answer::committed(&committed, &json!({ "decision": true, "context": context })))
}

/// Performs all actions of a request, or none.
///
/// # Errors
/// Nothing was changed.
pub async fn batch(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let json = parse_json(body, request.limits.max_json_depth)?;
    let object = expect_object(&json)?;
    let questions = batch_questions(request, object)?;
    let committed = perform(request, &questions, Some("changes"), body).await?;
    let changes: Vec<Value> = committed
        .created
        .iter()
        .map(|created| {
            let created: Vec<Value> = created.iter().map(name_json).collect();
            json!({ "decision": true, "context": { "created": created } })
        })
        .collect();
    Ok(Answer::committed(
        &committed,
        &json!({
            "decision": true,
            "context": {
                "position": committed.position.to_string(),
                "revision": committed.revision.as_str(),
            },
            "changes": changes,
        }),
    ))
}

fn batch_questions<'j>(
    request: &ChangeRequest<'_>,
    object: &'j Object<'j>,
) -> Result<Vec<Question<'j>>, Problem> {
    let missing = || Problem::bad_request("changes: missing: it has to be an array of at least one change");
    let items = match object.get("changes") {
        Some(Json::Array(items)) if !items.is_empty() => items,
        Some(Json::Array(_)) | None => return Err(missing()),
        Some(other) => return Err(shape_problem(ShapeError::wrong_type("changes", "an array", other))),
    };
    let most = request.limits.max_batch_items;
    if items.len() > most {
        let count = items.len();
        return Err(Problem::bad_request(format!("changes: has {count} items, at most {most} are allowed")));
    }
    let defaults = RequestFields::from_object(object);
    defaults.check_objects().map_err(shape_problem)?;
    let questions = items.iter().enumerate().map(|(index, item)| {
        let at = |error: ShapeError| Problem::bad_request(format!("changes[{index}].{error}"));
        match item {
            Json::Object(item) => {
                RequestFields::from_object(item).or_defaults(defaults).question().map_err(at)
            }
            other => Err(Problem::bad_request(format!(
                "changes[{index}]: has to be an object, found {}",
                other.describe()
            ))),
        }
    });
    questions.collect()
}

fn shape_problem(error: ShapeError) -> Problem {
    Problem::bad_request(error)
}

/// Has actions performed, and records the decisions. `path` is where the questions stand in the body.
async fn perform(
    request: &ChangeRequest<'_>,
    questions: &[Question<'_>],
    path: Option<&str>,
    body: &[u8],
) -> Result<Committed, Problem> {
    let (requests, schema) = {
        let view = request.pdp.view();
        let read = questions.iter().enumerate().map(|(index, question)| {
            view.request(question).map_err(|error| {
                let path = path.map(|path| format!("{path}[{index}].")).unwrap_or_default();
                Problem::bad_request(format!("{path}{}", request_error_message(&error)))
            })
        });
        (read.collect::<Result<Vec<_>, _>>()?, *view.snapshot().schema().digest())
    };
    // The first decision has the id of the request, and each has one of its own.
    let contexts: Vec<DecisionContext<'_>> =
        std::iter::successors(Some(request.context), |context| Some(context.next()))
            .take(questions.len())
            .collect();
    let result = request.commit(ProposedEdits::Actions(requests), schema, body).await;
    let view = request.pdp.view();
    match result {
        Ok(committed) => {
            for ((question, decided), context) in questions.iter().zip(&committed.decisions).zip(&contexts) {
                view.record_change((question, decided), &committed.revision, context);
            }
            Ok(committed)
        }
        Err(Refusal::Denied { index, denied, revision }) => {
            let (Some(question), Some(context)) = (questions.get(index), contexts.get(index)) else {
                return Err(Problem::unknown(request.key.is_some()));
            };
            view.record_change((question, &denied), &revision, context);
            let problem = Problem::denied(context.id, &denied);
            Err(if request.is_plural { problem.with("index", index) } else { problem })
        }
        Err(refusal) => Err(request.refused(&refusal)),
    }
}
