//! What the entities say: what somebody is called, for which organization they act, and what the policies permit now.

use std::sync::Arc;

use mandate_changes::{RequestRule, Texts};
use mandate_core::decision::Decision;
use mandate_core::schema::EntityUid;
use mandate_pdp::access_request::AccessRequest;
use mandate_pdp::{Asked, DecisionContext, Transport, View};
use mandate_store::EntityName;
use serde_json::Value;

use crate::language::Language;
use crate::secret::unguessable;

/// What an entity is called.
pub fn display_name(view: &View<'_>, name: &EntityName) -> String {
    mandate_pdp::display_name(view.snapshot(), name)
}

/// A type without its namespace.
pub fn short_type(name: &EntityName) -> &str {
    name.entity_type.rsplit_once("::").map_or(name.entity_type.as_str(), |(_, short)| short)
}

/// What the texts call the type of a requester.
pub fn type_text<'t>(texts: &'t Texts, name: &'t EntityName) -> &'t str {
    let of_type = texts.types.get(&name.entity_type).or_else(|| texts.types.get(short_type(name)));
    of_type.map_or(short_type(name), String::as_str)
}

pub fn uid(view: &View<'_>, name: &EntityName) -> Option<EntityUid> {
    let entity_type = view.snapshot().schema().resolve_entity_type(&name.entity_type).ok()?;
    Some(EntityUid { entity_type, id: name.id.as_str().into() })
}

pub fn exists(view: &View<'_>, name: &EntityName) -> bool {
    uid(view, name).is_some_and(|uid| view.snapshot().entities().get(uid.as_uid_ref()).is_some())
}

/// Whether somebody can accept requests of a rule.
pub fn reviews(view: &View<'_>, rule: &RequestRule, principal: &EntityName) -> bool {
    uid(view, principal).is_some_and(|uid| rule.reviewers.contains(&uid.entity_type))
}

pub fn is_reviewer(view: &View<'_>, principal: &EntityName) -> bool {
    view.changes().requests().iter().any(|rule| reviews(view, rule, principal))
}

/// The rules by which somebody can ask.
pub fn rules_of<'v>(view: &'v View<'_>, requester: &EntityName) -> Vec<&'v RequestRule> {
    let Some(uid) = uid(view, requester) else { return Vec::new() };
    view.changes().requests().iter().filter(|rule| rule.requesters.contains(&uid.entity_type)).collect()
}

pub fn is_requester(view: &View<'_>, principal: &EntityName) -> bool {
    !rules_of(view, principal).is_empty()
}

/// The organization that a reviewer acts for.
pub fn organization(view: &View<'_>, rule: &RequestRule, reviewer: &EntityName) -> Option<EntityName> {
    let (uid, schema) = (uid(view, reviewer)?, view.snapshot().schema());
    let stored = view.snapshot().entities().get(uid.as_uid_ref())?;
    let organization = stored.entity.entity_attribute(&rule.reviewer_resource, schema)?;
    Some(EntityName::new(organization, schema))
}

/// What the policies decide now; `None` if the question does not fit the schema any more.
pub fn decide(view: &View<'_>, asked: &Asked) -> Option<Arc<Decision>> {
    let context = DecisionContext::new(Transport::Changes);
    let decided = asked.with_question(|question| view.decide(question, &context));
    decided.ok().map(|timed| timed.decision)
}

/// Whether the policies permit it now, or else the reason.
pub fn permitted(view: &View<'_>, asked: &Asked, language: Language) -> Result<(), String> {
    match decide(view, asked) {
        Some(decision) if decision.is_permit() => Ok(()),
        Some(decision) => Err(reason(&decision, language)),
        None => Err(String::new()),
    }
}

/// Whether an action would change anything now.
pub fn would_change(view: &View<'_>, asked: &Asked) -> bool {
    let Ok(request) = asked.with_question(|question| view.request(question)) else { return false };
    let (principal, resource) = (request.principal.entity_type, request.resource.entity_type);
    let Some(change) = view.changes().changes_for(request.action, principal, resource) else { return false };
    let edits = change.edits(&request, view.snapshot(), &mut unguessable);
    edits.is_ok_and(|edits| !edits.changes.upserts.is_empty() || !edits.changes.removals.is_empty())
}

/// The reason of a denial, in the language of the reader if there is one in it.
pub fn reason(decision: &Decision, language: Language) -> String {
    let reason = decision.reason_in(language.of_reasons());
    reason.unwrap_or_else(|| decision.reason()).into_owned()
}

/// The members of a context that are only on or off, with what the texts call them.
pub fn choices<'t>(request: &'t AccessRequest, texts: &'t Texts) -> impl Iterator<Item = (&'t str, bool)> {
    request.context.iter().filter_map(|(name, value)| match value {
        Value::Bool(on) => Some((texts.context.get(name)?.as_str(), *on)),
        _ => None,
    })
}
