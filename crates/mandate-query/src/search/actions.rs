//! The search for actions: which ones a principal may perform on a resource. All actions of the schema are
//! decided, so there are no pages of work here; the search for entities is in `pages`.

use super::permitted::{OnPolicyError, is_permitted};
use mandate_core::clock::Clock;
use mandate_core::decide::DecideError;
use mandate_core::request::{Question, RequestError, RequestPart};
use mandate_core::schema::{ActionId, ClockAttribute};
use mandate_core::snapshot::Snapshot;

/// Why a search for actions has no result.
#[derive(Debug, thiserror::Error)]
pub enum ActionSearchError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Decide(#[from] DecideError),
}

/// The actions that are permitted for the principal, resource and context of a question; its own action is
/// ignored. An action that needs another context is not among them.
///
/// # Errors
/// The principal or the resource is invalid, the question tells the time, or an internal error.
pub fn permitted_actions(
    snapshot: &Snapshot,
    question: &Question<'_>,
    clock: Clock,
    on_policy_error: OnPolicyError<'_>,
) -> Result<Vec<ActionId>, ActionSearchError> {
    let schema = snapshot.schema();
    let entity_type = |name: &str| schema.resolve_entity_type(name).ok();
    let (Some(principal), Some(resource)) =
        (entity_type(question.principal.entity_type), entity_type(question.resource.entity_type))
    else {
        return Ok(Vec::new());
    };
    let mut permitted = Vec::new();
    for (action, info) in schema.actions() {
        if !info.principal_types.contains(&principal) || !info.resource_types.contains(&resource) {
            continue;
        }
        let full_name = info.uid.to_string();
        let question = Question { action: &full_name, action_properties: None, ..*question };
        match snapshot.request_from_question(&question, clock) {
            Ok(request) => {
                if is_permitted(snapshot, &request, on_policy_error)? {
                    permitted.push(action);
                }
            }
            // The action needs another context.
            Err(error) if concerns_action(error.part) && !tells_time(&question, &info.clocks) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(permitted)
}

/// Whether the question has a clock attribute, which no caller may send.
fn tells_time(question: &Question<'_>, clocks: &[ClockAttribute]) -> bool {
    let sends = |name: &str| question.context.is_some_and(|context| context.get(name).is_some());
    clocks.iter().any(|clock| sends(&clock.name))
}

/// Whether an error in this part can be different for another action.
fn concerns_action(part: RequestPart) -> bool {
    match part {
        RequestPart::Context | RequestPart::ActionProperties => true,
        RequestPart::PrincipalType
        | RequestPart::PrincipalId
        | RequestPart::PrincipalProperties
        | RequestPart::Action
        | RequestPart::ResourceType
        | RequestPart::ResourceId
        | RequestPart::ResourceProperties => false,
    }
}
