//! Approvals: what a caller brings when it asks again after its access request was approved. An approval permits
//! nothing by itself; it tells a denial that follows what to do next.

use mandate_core::moment::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::issuer::Asker;
use super::keys::{Keys, TokenFault, TokenUse};
use super::structure::{same, same_of, same_subject};
use mandate_pdp::access_request::AccessRequest;
use mandate_pdp::request_book::RequestBookError;
use mandate_pdp::task::{AccessTask, TaskItem};

/// What the state of an approval states.
#[derive(Debug, Serialize, Deserialize)]
struct ApprovalClaims {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    approval_id: String,
    task: String,
    evaluation_id: String,
    subject: Value,
    resource: Value,
    action: Value,
    context: Map<String, Value>,
    binding_context_members: Vec<String>,
}

/// A question that an approval is brought with, as its caller wrote it.
#[derive(Debug)]
pub struct AskedAgain<'q> {
    pub subject: &'q Value,
    pub resource: &'q Value,
    pub action: &'q Value,
    pub context: &'q Map<String, Value>,
}

/// An approval that is about the question.
#[derive(Debug)]
pub struct Applicable {
    pub id: String,
    pub approved_until: Moment,
}

/// Why an approval is not.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalFault {
    #[error("it is not an approval of this caller")]
    Unverifiable,
    #[error("it has expired")]
    Expired,
    #[error("it is about something else")]
    OutOfScope,
    #[error(transparent)]
    Unreadable(#[from] RequestBookError),
}

/// The result of an item that was approved: `None` if it was not.
///
/// # Errors
/// A defect of this program.
pub fn result_json(
    (task, item): (&AccessTask, &TaskItem),
    request: &AccessRequest,
    keys: &Keys,
    base_url: &str,
) -> Result<Option<Value>, TokenFault> {
    let Some((at, until)) = item.approved(request) else { return Ok(None) };
    let denial = item.denial.clone();
    let claims = ApprovalClaims {
        iss: base_url.to_owned(),
        aud: base_url.to_owned(),
        iat: at.unix_seconds(),
        exp: until.unix_seconds(),
        approval_id: item.approval.clone(),
        task: task.id.clone(),
        evaluation_id: denial.evaluation_id,
        subject: denial.subject,
        resource: denial.resource,
        action: denial.action,
        context: denial.context,
        binding_context_members: denial.context_members,
    };
    let state = keys.sign(TokenUse::Approval, &claims)?;
    let approval = json!({ "id": item.approval, "approved_at": at, "approved_until": until, "state": state });
    Ok(Some(json!({ "mode": "reevaluate", "approval": approval })))
}

impl Asker<'_> {
    /// Checks an approval that is brought with a question. It reads from the disk.
    ///
    /// # Errors
    /// It is not about the question, or not any more.
    pub fn check_approval(
        &self,
        approval: &Value,
        asked: &AskedAgain<'_>,
        now: Moment,
    ) -> Result<Applicable, ApprovalFault> {
        let id = approval.get("id").and_then(Value::as_str).ok_or(ApprovalFault::Unverifiable)?;
        let claims = approval.get("state").map(|state| self.claims(state, id)).transpose()?;
        let found = self.issuer.tasks.by_approval(id)?.ok_or(ApprovalFault::Unverifiable)?;
        let is_of_task = claims.as_ref().is_none_or(|claims| claims.task == found.task.id);
        if found.task.caller != self.caller || !is_of_task {
            return Err(ApprovalFault::Unverifiable);
        }
        let (item, request) =
            found.items().find(|(item, _)| item.approval == id).ok_or(ApprovalFault::Unverifiable)?;
        // Nobody was told the name of an approval that was never given.
        let approved = request.and_then(|request| item.approved(request));
        let (_, approved_until) = approved.ok_or(ApprovalFault::Unverifiable)?;
        let has_ended = |claims: &ApprovalClaims| claims.exp <= now.unix_seconds();
        if approved_until <= now || claims.as_ref().is_some_and(has_ended) {
            return Err(ApprovalFault::Expired);
        }
        if !asked.is_that_of(item) {
            return Err(ApprovalFault::OutOfScope);
        }
        Ok(Applicable { id: id.to_owned(), approved_until })
    }

    /// What the state of an approval states, if it is of this decision point and of that approval.
    fn claims(&self, state: &Value, id: &str) -> Result<ApprovalClaims, ApprovalFault> {
        let state = state.as_str().ok_or(ApprovalFault::Unverifiable)?;
        let claims: Result<ApprovalClaims, _> = self.issuer.keys.verify(TokenUse::Approval, state);
        let (claims, base_url) = (claims.map_err(|_| ApprovalFault::Unverifiable)?, self.base_url());
        let fits = claims.iss == base_url && claims.aud == base_url && claims.approval_id == id;
        if fits { Ok(claims) } else { Err(ApprovalFault::Unverifiable) }
    }
}

impl AskedAgain<'_> {
    fn is_that_of(&self, TaskItem { denial, .. }: &TaskItem) -> bool {
        same_subject(&denial.subject, self.subject)
            && same(&denial.resource, self.resource)
            && same(&denial.action, self.action)
            && same_of(&denial.context_members, (&denial.context, self.context))
    }
}
