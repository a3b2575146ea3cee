//! What operations on requests need to know of rules, requesters and reviewers.

use mandate_changes::{RequestRule, Seconds};
use mandate_core::display;
use mandate_core::request::{Request, RequestError, RequestPart};
use mandate_core::schema::{EntityUid, Schema};
use mandate_store::EntityName;
use serde_json::{Map, Value};

use crate::access_request::{
    AccessRequest, Ended, NewRequest, RequestStatus, name_key, ordered_token, random_token,
};
use crate::asked::Asked;
use crate::commit_group::{Work, unreadable};
use crate::generation::Generation;
use crate::proposal::{DecidedAction, Refusal};
use crate::wall_clock;

/// A request that follows a rule, without what is asked for.
pub(crate) fn new_request(
    rule: &RequestRule,
    requester: &EntityName,
    caller: &str,
    schema: &Schema,
) -> AccessRequest {
    let asked_at = wall_clock::now().unix_seconds();
    AccessRequest {
        id: ordered_token(),
        link: random_token(),
        rule: rule.id.clone(),
        requester: requester.clone(),
        action: display::action(rule.ask, schema),
        resource: None,
        context: Map::new(),
        standing: false,
        created: None,
        asked_at,
        expires_at: Some(asked_at.saturating_add_unsigned(rule.valid_for)),
        status: RequestStatus::Pending,
        ended: None,
        caller: caller.to_owned(),
        language: None,
    }
}

pub(crate) fn ended(request: AccessRequest, status: RequestStatus, by: EntityName) -> AccessRequest {
    let approval = (status == RequestStatus::Approved).then(random_token);
    let ended = Some(Ended { at: wall_clock::now().unix_seconds(), by, approval });
    AccessRequest { status, ended, ..request }
}

/// A time in days, or in hours or minutes if it is shorter than a day.
pub(crate) fn time_text(seconds: Seconds) -> String {
    match seconds {
        0..3_600 => format!("{} minutes", seconds / 60),
        3_600..86_400 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The rule that a new request follows.
pub(crate) fn rule_for<'g>(generation: &'g Generation, new: &NewRequest) -> Result<&'g RequestRule, Refusal> {
    let (changes, schema) = (generation.changes(), generation.snapshot().schema());
    let requester = schema.resolve_entity_type(&new.requester.entity_type).ok();
    let fits = |rule: &&RequestRule| {
        requester.is_some_and(|requester| rule.requesters.contains(&requester))
            && new.rule.as_ref().is_none_or(|id| *id == rule.id)
    };
    let mut rules = changes.requests().iter().filter(fits);
    match (rules.next(), rules.next()) {
        (Some(rule), None) => Ok(rule),
        (Some(_), Some(_)) => {
            Err(Refusal::NotReviewable("several rules fit: name one with `rule`".to_owned()))
        }
        (None, _) => {
            let requester = name_key(&new.requester);
            let which = match &new.rule {
                Some(id) => format!("no rule with the id {}", mandate_core::json::quoted(id)),
                None => "no rule of requests".to_owned(),
            };
            Err(Refusal::NotReviewable(format!("{which} is for {requester}")))
        }
    }
}

/// The rule that a request follows. It may be gone since.
pub(crate) fn rule_of<'g>(
    generation: &'g Generation,
    request: &AccessRequest,
) -> Result<&'g RequestRule, Refusal> {
    generation.changes().request(&request.rule).ok_or_else(|| {
        let rule = mandate_core::json::quoted(&request.rule);
        Refusal::NotReviewable(format!("the rule {rule} of this request is not in use any more"))
    })
}

pub(crate) fn read(asked: &Asked, work: &Work) -> Result<Request, Refusal> {
    let snapshot = work.generation.snapshot();
    let request = asked.request(snapshot, wall_clock::clock_for(snapshot.schema()));
    request.map_err(|error| Refusal::NotReviewable(message_of(&error)))
}

pub(crate) fn decide(work: &Work, request: &Request) -> Result<DecidedAction, Refusal> {
    let (began, snapshot) = (std::time::Instant::now(), work.generation.snapshot());
    let decision = snapshot.decide(request, &snapshot.gather(request)).map_err(unreadable)?;
    let asked = Some(Box::new(Asked::of(request, snapshot.schema())));
    Ok(DecidedAction { decision: decision.into(), took: began.elapsed(), asked })
}

/// What is wrong with a question, and where, as callers write it.
fn message_of(RequestError { part, path, message }: &RequestError) -> String {
    let part = match part {
        RequestPart::PrincipalType => "subject.type",
        RequestPart::PrincipalId => "subject.id",
        RequestPart::PrincipalProperties => "subject.properties",
        RequestPart::Action | RequestPart::ActionProperties => "action",
        RequestPart::ResourceType => "resource.type",
        RequestPart::ResourceId => "resource.id",
        RequestPart::ResourceProperties => "resource.properties",
        RequestPart::Context => "context",
    };
    format!("{part}{path}: {message}")
}

/// Decides a question that has to be permitted.
pub(crate) fn permitted(
    work: &Work,
    asked: &Asked,
    current: &Generation,
) -> Result<(Request, DecidedAction), Refusal> {
    let request = read(asked, work)?;
    let decided = decide(work, &request)?;
    let decided = match current.suspended() {
        Some(suspended) => DecidedAction { decision: suspended.clone(), ..decided },
        None => decided,
    };
    if decided.decision.is_permit() {
        return Ok((request, decided));
    }
    Err(Refusal::Denied { index: 0, denied: decided, revision: current.revision().clone() })
}

/// Checks that a requester chose what it has to choose.
pub(crate) fn check_required(
    rule: &RequestRule,
    (requester, context): (&EntityName, &Map<String, Value>),
    schema: &Schema,
) -> Result<(), Refusal> {
    let Ok(entity_type) = schema.resolve_entity_type(&requester.entity_type) else { return Ok(()) };
    let missing = rule.required_of(entity_type).find(|member| !context.contains_key(member.as_str()));
    missing.map_or(Ok(()), |member| {
        let requester = display::entity_type(entity_type, schema);
        let reason = format!("context.{member}: missing: a request by `{requester}` has to name it");
        Err(Refusal::NotReviewable(reason))
    })
}

/// Checks that the requester of a request could still ask for it.
pub(crate) fn check_requester(work: &Work, request: &AccessRequest) -> Result<(), Refusal> {
    let Some(resource) = &request.resource else { return Ok(()) };
    let denied = decide(work, &read(&request.asked(resource.clone()), work)?)?;
    if denied.decision.is_permit() { Ok(()) } else { Err(Refusal::RequesterDenied { denied }) }
}

pub(crate) fn requester_denied(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Denied { denied, .. } => Refusal::RequesterDenied { denied },
        other => other,
    }
}

/// The resource that a reviewer brings.
pub(crate) fn resource_of(
    generation: &Generation,
    rule: &RequestRule,
    reviewer: &EntityName,
) -> Result<EntityName, Refusal> {
    let (snapshot, schema) = (generation.snapshot(), generation.snapshot().schema());
    let find = || {
        let entity_type = schema.resolve_entity_type(&reviewer.entity_type).ok()?;
        let uid = EntityUid { entity_type, id: reviewer.id.as_str().into() };
        let stored = snapshot.entities().get(uid.as_uid_ref())?;
        let resource = stored.entity.entity_attribute(&rule.reviewer_resource, schema)?;
        Some(EntityName::new(resource, schema))
    };
    find().ok_or_else(|| {
        let name = name_key(reviewer);
        Refusal::NotReviewable(format!(
            "{name} has no `{}`, so it can accept nothing",
            rule.reviewer_resource
        ))
    })
}

/// Whether a resource is in something that a rule creates, and that is the requester's.
pub(crate) fn has_accepted(
    generation: &Generation,
    rule: &RequestRule,
    (requester, resource): (&EntityName, &EntityName),
) -> bool {
    let (entities, schema) = (generation.snapshot().entities(), generation.snapshot().schema());
    let uid = |name: &EntityName| {
        let entity_type = schema.resolve_entity_type(&name.entity_type).ok()?;
        Some(EntityUid { entity_type, id: name.id.as_str().into() })
    };
    let (Some(requester), Some(resource)) = (uid(requester), uid(resource)) else { return false };
    let Some(stored) = entities.get(resource.as_uid_ref()) else { return false };
    stored.entity.parents().any(|parent| {
        rule.created.contains(&parent.entity_type)
            && entities.ancestors(parent).contains(&requester.as_uid_ref())
    })
}
