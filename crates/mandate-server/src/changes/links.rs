//! Requests that are reviewed by link: made, listed, shown, accepted, declined and withdrawn over HTTP. What happens is
//! decided in `mandate_pdp`.

use hyper::{Method, StatusCode};
use mandate_pdp::proposal::{Committed, DecidedAction, ProposedEdits, Refusal};
use mandate_pdp::request_book::RequestBookError;
use mandate_pdp::review_operation::ReviewOperation;
use mandate_pdp::{Revision, View, wall_clock};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::link_body::{self, AskBody, ManageBody, ReviewBody};
use super::link_json::{request_json, shown};
use super::operation::LINK_PREFIX;
use super::problem::{BODY, Problem};
use super::request::{Answer, ChangeRequest};
use crate::authzen::json_body::parse_json;

/// The most requests that a list has.
const MAX_LISTED: usize = 1_000;

/// The end of the path of actions on what was accepted; no link is so short.
const MANAGE: &str = "manage";

/// Makes a request, or lists those of a requester.
///
/// # Errors
/// Nothing was made, or nothing can be listed.
pub async fn collection(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    if request.method == Method::GET {
        return list(request);
    }
    let ask: AskBody = read(request, body)?;
    let operation = ask.operation(&request.pdp.view()).map_err(Problem::bad_request)?;
    let committed = commit(request, operation, body).await?;
    answer(request, &committed)
}

/// Shows a request, or reviews it.
///
/// # Errors
/// Nothing was changed, or there is no such request.
pub async fn one(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let no_such_path = || {
        let detail = "no such path: write `/links/v1/LINK`, or with POST `/links/v1/LINK/accept`, `…/decline` or `…/withdraw`";
        Problem::new(StatusCode::NOT_FOUND, detail)
    };
    let rest = request.path.strip_prefix(LINK_PREFIX).ok_or_else(no_such_path)?;
    if request.method == Method::GET {
        let found = tokio::task::block_in_place(|| request.commits.requests().by_link(rest));
        let found = found.map_err(|error| unreadable(&error))?;
        let found = found.ok_or_else(|| Problem::of_refusal(&Refusal::UnknownRequest, false))?;
        let view = request.pdp.view();
        return Ok(Answer::document(&shown((&view, request.pages_url), &found, None), view.position()));
    }
    if rest == MANAGE {
        return manage(request, body).await;
    }
    let (link, verb) = rest.split_once('/').ok_or_else(no_such_path)?;
    let review: ReviewBody = read(request, body)?;
    let operation = review.operation(&request.pdp.view(), link, verb).map_err(Problem::bad_request)?;
    let operation = operation.ok_or_else(no_such_path)?;
    let committed = commit(request, operation, body).await?;
    answer(request, &committed)
}

/// Performs an action on what was accepted.
async fn manage(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let body_of_action: ManageBody = read(request, body)?;
    let (asked, action, schema) = {
        let view = request.pdp.view();
        let asked = body_of_action.asked(&view).map_err(Problem::bad_request)?;
        let action = view.asked_request(&asked).map_err(|error| Problem::bad_request(error.to_string()))?;
        (asked, action, *view.snapshot().schema().digest())
    };
    let result = request.commit(ProposedEdits::Actions(vec![action]), schema, body).await;
    let view = request.pdp.view();
    let record = |decided: &DecidedAction, revision: &Revision| {
        asked.with_question(|question| view.record_change((question, decided), revision, &request.context));
    };
    match result {
        Ok(committed) => {
            committed.decisions.iter().for_each(|decided| record(decided, &committed.revision));
            let body = json!({ "decision": true, "context": { "position": committed.position.to_string() } });
            Ok(Answer::committed(&committed, &body))
        }
        Err(Refusal::Denied { denied, revision, .. }) => {
            record(&denied, &revision);
            Err(Problem::denied(request.context.id, &denied))
        }
        Err(refusal) => Err(request.refused(&refusal)),
    }
}

fn list(request: &ChangeRequest<'_>) -> Result<Answer, Problem> {
    let missing = || Problem::bad_request("requester: missing: write `?requester=TYPE::ID`");
    let query = request.query.unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, named) = pairs.find(|(name, _)| *name == "requester").ok_or_else(missing)?;
    let named = percent_decode_str(named).decode_utf8().map_err(|_| missing())?;
    let requester = link_body::named(&request.pdp.view(), &named)
        .map_err(|error| Problem::bad_request(format!("requester: {error}")))?;
    let found =
        tokio::task::block_in_place(|| request.commits.requests().of_requester(&requester, MAX_LISTED));
    let found = found.map_err(|error| unreadable(&error))?;
    let view = request.pdp.view();
    let requests: Vec<Value> = found.iter().map(|it| request_json(it, wall_clock::now())).collect();
    Ok(Answer::document(&json!({ "requests": requests }), view.position()))
}

async fn commit(
    request: &ChangeRequest<'_>,
    operation: ReviewOperation,
    body: &[u8],
) -> Result<Committed, Problem> {
    let schema = *request.pdp.view().snapshot().schema().digest();
    let result = request.commit(ProposedEdits::Review(operation), schema, body).await;
    let view = request.pdp.view();
    match &result {
        Ok(committed) => record(request, &view, &committed.decisions, &committed.revision),
        Err(Refusal::Denied { denied, .. } | Refusal::RequesterDenied { denied }) => {
            record(request, &view, std::slice::from_ref(denied), view.revision());
        }
        Err(_) => {}
    }
    result.map_err(|refusal| match &refusal {
        Refusal::Denied { denied, .. } => Problem::denied(request.context.id, denied),
        _ => request.refused(&refusal),
    })
}

/// Records the decisions of an operation; the first has the id of the request.
pub(crate) fn record(
    request: &ChangeRequest<'_>,
    view: &View<'_>,
    decisions: &[DecidedAction],
    revision: &Revision,
) {
    let mut context = request.context;
    for decided in decisions {
        if let Some(asked) = &decided.asked {
            asked.with_question(|question| view.record_change((question, decided), revision, &context));
        }
        context = context.next();
    }
}

fn answer(request: &ChangeRequest<'_>, committed: &Committed) -> Result<Answer, Problem> {
    let view = request.pdp.view();
    let asked = committed.requests.last().ok_or_else(|| Problem::unknown(request.key.is_some()))?;
    let body = shown((&view, request.pages_url), asked, Some(committed));
    Ok(Answer::committed(committed, &body))
}

/// Reads a body. Keys are unique, and unknown ones are refused.
fn read<T: serde::de::DeserializeOwned>(request: &ChangeRequest<'_>, body: &[u8]) -> Result<T, Problem> {
    parse_json(body, request.limits.max_json_depth)?;
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("{BODY}: {error}")))
}

fn unreadable(error: &RequestBookError) -> Problem {
    tracing::warn!(%error, "a request cannot be read");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read now; try again later")
}
