//! Submits an access request: each item is bound to its denial, decided again, and asked for. All of it is committed
//! together, or nothing is.

use mandate_core::json::{Json, Object};
use mandate_core::moment::Moment;
use mandate_pdp::proposal::{Committed, ProposedEdits, Refusal};
use mandate_pdp::requestable::{Found, Requestable, choices};
use mandate_pdp::review_operation::{NewRequest, ReviewOperation};
use mandate_pdp::task::{AccessTask, Callback, NewTask, NewTaskItem, TaskStatus};
use mandate_pdp::task_book::Submitted;
use mandate_pdp::{View, canonical_json, wall_clock};
use serde_json::{Map, Value, json};

use super::binding::{DenialClaims, Echoed};
use super::issuer::Asker;
use super::problem::{ProblemKind, of_refusal, unreadable};
use super::submission::{Submission, SubmittedItem};
use crate::authzen::wire::{RequestFields, request_error_message};
use crate::changes::links::record;
use crate::changes::problem::Problem;
use crate::changes::request::ChangeRequest;
use crate::language::preferred;
use mandate_pdp::PdpError;

/// The member of `requested_access` that says until when.
const REQUESTED_UNTIL: &str = "requested_until";

/// How many entities are listed to choose from.
const MAX_LISTED: usize = 10;

/// What a submission came to.
pub struct Submittal {
    pub task: AccessTask,
    /// Set if it was committed now.
    pub committed: Option<Committed>,
}

/// Submits an access request.
///
/// # Errors
/// Nothing was asked for.
pub async fn submit(
    request: &ChangeRequest<'_>,
    asker: &Asker<'_>,
    body: &[u8],
) -> Result<Submittal, Problem> {
    let submission = Submission::read(body, request.limits.max_json_depth, &request.caller)?;
    let canonical = canonical_json(&serde_json::from_slice(body).unwrap_or_default());
    // A repetition may come after the denial has expired.
    if let Some(task) = submitted_before(request, asker, canonical.as_bytes())? {
        return Ok(Submittal { task, committed: None });
    }
    check_callback(&submission, asker).await?;
    let (new, schema) = {
        let view = request.pdp.view();
        (new_task(&submission, asker, &view)?, *view.snapshot().schema().digest())
    };
    let operation = ProposedEdits::Review(ReviewOperation::AskAll(Box::new(new)));
    let result = request.commit(operation, schema, canonical.as_bytes()).await;
    let view = request.pdp.view();
    match result {
        Ok(committed) => {
            record(request, &view, &committed.decisions, &committed.revision);
            let task = committed.tasks.last().cloned();
            let task = task.ok_or_else(|| Problem::unknown(request.key.is_some()))?;
            Ok(Submittal { task, committed: Some(committed) })
        }
        Err(refusal) => {
            if let Refusal::Denied { denied, .. } | Refusal::RequesterDenied { denied } = &refusal {
                record(request, &view, std::slice::from_ref(denied), view.revision());
            }
            let problem = of_refusal(&refusal, request.key.is_some());
            let index = refusal.index().filter(|_| submission.bundled);
            Err(match index {
                Some(index) => problem.with("index", index),
                None => problem,
            })
        }
    }
}

/// Checks that the caller may be called back where it wants to be.
async fn check_callback(submission: &Submission, asker: &Asker<'_>) -> Result<(), Problem> {
    let Some(callback) = &submission.callback else { return Ok(()) };
    let known = |event: &String| TaskStatus::ENDS.iter().any(|status| status.as_str() == event);
    if let Some(unknown) = callback.events.iter().find(|event| !known(event)) {
        let known = mandate_core::json::quoted_list(TaskStatus::ENDS.map(TaskStatus::as_str));
        let unknown = mandate_core::json::quoted(unknown);
        return Err(Problem::bad_request(format!("callback.events: {unknown} is not one of {known}")));
    }
    let Some(callbacks) = &asker.issuer.callbacks else {
        let detail =
            "callback: nobody is called back here: the operator has to allow hosts with `--callback-hosts`";
        return Err(Problem::bad_request(detail));
    };
    let checked = callbacks.check(&callback.endpoint).await;
    checked.map_err(|fault| Problem::bad_request(format!("callback.endpoint: {fault}")))
}

fn submitted_before(
    request: &ChangeRequest<'_>,
    asker: &Asker<'_>,
    canonical: &[u8],
) -> Result<Option<AccessTask>, Problem> {
    let Some(key) = request.keyed(canonical) else { return Ok(None) };
    let submitted = tokio::task::block_in_place(|| asker.issuer.tasks.submitted(&request.caller, &key));
    match submitted.map_err(|error| unreadable(&error))? {
        Submitted::Never => Ok(None),
        Submitted::Before(task) => Ok(Some(*task)),
        Submitted::Different => {
            let detail = "the Idempotency-Key was used for another submission: use a new key for each";
            Err(ProblemKind::DuplicateRequest.because(detail))
        }
    }
}

fn new_task(submission: &Submission, asker: &Asker<'_>, view: &View<'_>) -> Result<NewTask, Problem> {
    let (now, base_url) = (wall_clock::now(), asker.base_url());
    let mut items = Vec::with_capacity(submission.items.len());
    for (index, item) in submission.items.iter().enumerate() {
        let about =
            |problem: Problem| if submission.bundled { problem.with("index", index) } else { problem };
        let claims = bound(submission, item, asker, &base_url, now).map_err(about)?;
        items.push(new_item(claims, item, asker, view, now).map_err(about)?);
    }
    let callback = submission.callback.clone().map(|callback| Callback {
        endpoint: callback.endpoint,
        state: callback.state,
        events: callback.events,
        done: None,
    });
    let (context, client) = (submission.context.clone(), submission.client.clone());
    Ok(NewTask { base_url, bundled: submission.bundled, items, context, client, callback })
}

/// The denial that an item is about, once it is proven.
fn bound(
    submission: &Submission,
    item: &SubmittedItem,
    asker: &Asker<'_>,
    base_url: &str,
    now: Moment,
) -> Result<DenialClaims, Problem> {
    let denial = &item.denial;
    let Some(token) = denial.binding_token.as_deref() else {
        let detail =
            "denial.binding_token: missing: a denial is only known by its token, and each item needs its own";
        return Err(ProblemKind::InvalidDenialBinding.because(detail));
    };
    let Some(expires_at) = denial.expires_at.as_deref() else {
        return Err(ProblemKind::InvalidDenialBinding.because("denial.expires_at: missing"));
    };
    let echoed = Echoed {
        token,
        evaluation_id: denial.evaluation_id.as_deref(),
        expires_at,
        subject: &submission.subject,
        resource: &item.resource,
        action: &item.action,
        context: &submission.context,
    };
    Ok(DenialClaims::verify(&echoed, &asker.issuer.keys, base_url, now)?)
}

/// What is asked for because of a denial: as things are now, and with what the requester chose.
fn new_item(
    claims: DenialClaims,
    item: &SubmittedItem,
    asker: &Asker<'_>,
    view: &View<'_>,
    now: Moment,
) -> Result<NewTaskItem, Problem> {
    let found = find(&claims, &item.requested_access, view)?;
    if let Some(choice) = &found.choice {
        let known = choices(view.snapshot(), &found.requester, choice, MAX_LISTED);
        let known: Vec<String> = known.iter().map(|name| mandate_core::json::quoted(&name.id)).collect();
        let detail =
            format!("requested_access.{}: missing: choose one, such as {}", choice.member, known.join(", "));
        return Err(Problem::bad_request(detail));
    }
    let until = requested_until(&item.requested_access, &found, now)?;
    let left =
        until.map_or(u64::MAX, |until| u64::try_from(until.unix_seconds() - now.unix_seconds()).unwrap_or(0));
    let ask = NewRequest {
        rule: Some(found.rule.id.clone()),
        requester: found.requester,
        resource: Some(found.resource),
        context: found.context,
        valid_for: Some(found.rule.valid_for.min(left)),
        language: Some(preferred(&asker.head().headers).to_owned()),
    };
    Ok(NewTaskItem { ask, denial: claims.into_denial(), until })
}

fn find<'v>(
    claims: &DenialClaims,
    chosen: &Map<String, Value>,
    view: &'v View<'_>,
) -> Result<Requestable<'v>, Problem> {
    let DenialClaims { subject, resource, action, context, .. } = claims;
    let asked = json!({ "subject": subject, "resource": resource, "action": action, "context": context });
    let text = asked.to_string();
    let json = Json::parse(text.as_bytes()).unwrap_or(Json::Null);
    let empty = Object::default();
    let fields = RequestFields::from_object(json.as_object().unwrap_or(&empty));
    let question = fields.question().map_err(|error| Problem::bad_request(error.to_string()))?;
    let not_now = |why: String| ProblemKind::NotRequestable.because(why);
    match view.can_be_requested(&question, chosen) {
        Ok(Found::Requestable(found)) => Ok(found),
        Ok(Found::Permitted) => Err(not_now("it is permitted by now: ask for a decision again".to_owned())),
        Ok(Found::Denied(decision)) => {
            Err(not_now(format!("no request would change the denial now: {}", decision.reason())))
        }
        Err(PdpError::Request(error)) => Err(Problem::bad_request(request_error_message(&error))),
        Err(error @ PdpError::Decide(_)) => {
            tracing::error!(%error, "a request that fits the schema could not be decided");
            Err(Problem::new(hyper::StatusCode::INTERNAL_SERVER_ERROR, "the request could not be decided"))
        }
    }
}

/// Until when access is asked for.
fn requested_until(
    requested_access: &Map<String, Value>,
    found: &Requestable<'_>,
    now: Moment,
) -> Result<Option<Moment>, Problem> {
    let Some(until) = requested_access.get(REQUESTED_UNTIL) else { return Ok(None) };
    let wrong = |why: &str| Problem::bad_request(format!("requested_access.{REQUESTED_UNTIL}: {why}"));
    let until = until.as_str().ok_or_else(|| wrong("has to be a time in RFC 3339"))?;
    let until: Moment =
        until.parse().map_err(|error: mandate_core::moment::MomentError| wrong(&error.to_string()))?;
    let latest = now.unix_seconds().saturating_add_unsigned(found.rule.valid_for_at_most);
    if until <= now {
        return Err(wrong("has passed"));
    }
    if until.unix_seconds() > latest {
        let latest = Moment::from_unix_seconds(latest);
        return Err(wrong(&format!("has to be {latest} at the latest")));
    }
    Ok(Some(until))
}
