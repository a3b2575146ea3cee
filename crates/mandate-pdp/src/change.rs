//! Decides a change: whether the policies permit its action, and which edits it makes. Both are found on one
//! generation, and nothing is changed here; whoever commits the edits has to do so on the entities of that generation.

use mandate_changes::{ChangeError, Edits};
use mandate_core::decide::DecideError;
use mandate_core::decision::Decision;
use mandate_core::display;
use mandate_core::request::Request;
use mandate_core::schema::Schema;
use mandate_store::Author;

use crate::generation::Generation;

/// What becomes of a request for a change.
#[derive(Debug)]
pub enum ChangeDecision {
    /// The policies do not permit its action, so nothing is changed.
    Denied(Decision),
    /// The policies permit it, and these are its edits.
    Permitted(Decision, Edits),
}

/// Why a permitted action cannot be performed.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// `changes.toml` has no rule for it.
    #[error("the action changes nothing: no rule of changes.toml is for it and these types")]
    NoRule,
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A bug in Mandate.
    #[error(transparent)]
    Decide(#[from] DecideError),
}

impl Generation {
    /// Decides a request for a change. `make_id` makes the ids of new entities.
    ///
    /// # Errors
    /// The action is permitted, and cannot be performed on these entities.
    pub fn decide_change(
        &self,
        request: &Request,
        make_id: &mut dyn FnMut() -> String,
    ) -> Result<ChangeDecision, PerformError> {
        if let Some(suspended) = self.suspended() {
            return Ok(ChangeDecision::Denied(Decision::clone(suspended)));
        }
        let snapshot = self.snapshot();
        let decision = snapshot.decide(request, &snapshot.gather(request))?;
        if !decision.is_permit() {
            return Ok(ChangeDecision::Denied(decision));
        }
        let rule = self.changes().changes_for(
            request.action,
            request.principal.entity_type,
            request.resource.entity_type,
        );
        let edits = rule.ok_or(PerformError::NoRule)?.edits(request, snapshot, make_id)?;
        Ok(ChangeDecision::Permitted(decision, edits))
    }
}

/// Whose action it is, and by which policies it is permitted. Who sent it is not known here.
pub fn author_of(request: &Request, decision: &Decision, schema: &Schema) -> Author {
    Author {
        subject: Some(display::uid(request.principal.as_uid_ref(), schema)),
        action: Some(display::action(request.action, schema)),
        resource: Some(display::uid(request.resource.as_uid_ref(), schema)),
        policies: decision.reported_policies().iter().map(|policy| policy.id.to_string()).collect(),
        ..Author::default()
    }
}
