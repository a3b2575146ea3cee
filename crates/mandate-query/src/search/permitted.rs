//! One decision of a search. The decision itself is `Snapshot::decide`; this adds the report of policies that
//! could not be evaluated, which the caller logs and counts.

use mandate_core::decide::DecideError;
use mandate_core::decision::Decision;
use mandate_core::request::Request;
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::Snapshot;

/// Called with each decision in which a policy could not be evaluated.
pub type OnPolicyError<'f> = &'f dyn Fn(&Decision);

pub fn is_permitted(
    snapshot: &Snapshot,
    request: &Request,
    on_policy_error: OnPolicyError<'_>,
) -> Result<bool, DecideError> {
    let decision = snapshot.decide(request, &snapshot.gather(request))?;
    if !decision.errors.is_empty() {
        on_policy_error(&decision);
    }
    Ok(decision.is_permit())
}

/// Whether an entity is stored, or enumerated by the schema.
pub fn exists(snapshot: &Snapshot, entity: &EntityUid) -> bool {
    let uid = entity.as_uid_ref();
    snapshot.entities().get(uid).is_some() || snapshot.schema().is_enumerated(uid)
}
