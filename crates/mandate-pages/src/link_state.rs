//! What a link is for somebody who is signed in: a request that waits for them, or one of the reasons why not. It only
//! reads. What a link asks for is shown to nobody but the organization that it asks.

use axum::http::StatusCode;
use mandate_changes::RequestRule;
use mandate_core::display;
use mandate_pdp::access_request::{AccessRequest, RequestStatus};
use mandate_pdp::request_book::RequestBookError;
use mandate_pdp::{Asked, View, wall_clock};
use mandate_store::EntityName;
use serde_json::json;

use crate::language::Language;
use crate::people;
use crate::session::Session;
use crate::texts::Message;
use crate::visit::Visit;

/// What a link is for a visitor.
pub enum LinkState {
    Waiting(Box<Waiting>),
    /// It was accepted.
    Accepted(Box<AccessRequest>),
    /// One message says it all.
    Other(StatusCode, Message),
    /// The requester may not ask any more, for this reason.
    RequesterDenied(String),
}

/// A request that waits for somebody.
pub struct Waiting {
    pub request: AccessRequest,
    /// Who would accept it, and for which organization.
    pub reviewer: EntityName,
    pub organization: EntityName,
    /// Why the reviewer may not accept it.
    pub denied: Option<String>,
    pub can_decline: bool,
    /// What the page shows, for the token of its form.
    pub shown: Vec<u8>,
}

/// Finds out what a link is for a visitor.
///
/// # Errors
/// The store cannot be read.
pub fn find(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    link: &str,
) -> Result<LinkState, RequestBookError> {
    let words = visit.words();
    let other = |status, message| Ok(LinkState::Other(status, message));
    let is_link = link.len() <= 100 && link.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let found = if is_link { visit.pages.commits.requests().by_link(link)? } else { None };
    let Some(request) = found else { return other(StatusCode::NOT_FOUND, words.unknown_link) };
    let Some(rule) = view.changes().request(&request.rule) else {
        return other(StatusCode::CONFLICT, words.not_usable);
    };
    if session.principals.contains(&request.requester) {
        return other(StatusCode::FORBIDDEN, words.own_link);
    }
    let reviewers = session.principals.iter().filter(|it| people::reviews(view, rule, it));
    let mut acting = reviewers.filter_map(|it| Some((it, people::organization(view, rule, it)?)));
    let is_for = |organization: &EntityName| request.resource.as_ref().is_none_or(|it| it == organization);
    let first = acting.next();
    let found = first.clone().into_iter().chain(acting).find(|(_, organization)| is_for(organization));
    let Some((reviewer, organization)) = found else {
        let message = if first.is_some() { words.other_organization } else { words.no_organization };
        return other(StatusCode::FORBIDDEN, message);
    };
    match request.status_at(wall_clock::now()) {
        RequestStatus::Pending => {}
        RequestStatus::Approved => return Ok(LinkState::Accepted(Box::new(request))),
        status => {
            let (status, message) = crate::message::ended(visit, status);
            return other(status, message);
        }
    }
    if request.standing && has_accepted(view, rule, (&request.requester, &organization)) {
        return other(StatusCode::CONFLICT, words.accepted_before);
    }
    let language = visit.language;
    if let Err(reason) = people::permitted(view, &request.asked(organization.clone()), language) {
        return Ok(LinkState::RequesterDenied(reason));
    }
    let reviewer = reviewer.clone();
    Ok(LinkState::Waiting(Box::new(waiting(view, rule, request, (reviewer, organization), language))))
}

fn waiting(
    view: &View<'_>,
    rule: &RequestRule,
    request: AccessRequest,
    (reviewer, organization): (EntityName, EntityName),
    language: Language,
) -> Waiting {
    let schema = view.snapshot().schema();
    let permitted = |action| {
        let created = request.created.clone()?;
        let asked = Asked::new(reviewer.clone(), display::action(action, schema), created);
        Some(people::permitted(view, &asked, language))
    };
    let denied = if let Some(permitted) = permitted(rule.accept) {
        permitted.err()
    } else {
        // What is reviewed is not there yet.
        let (asked, accept) = (request.asked(organization.clone()), display::action(rule.accept, schema));
        let decision = view.decide_on_new(&asked, (&accept, &reviewer));
        decision.filter(|decision| !decision.is_permit()).map(|it| people::reason(&it, language))
    };
    let can_decline = rule.decline.and_then(permitted).is_some_and(|permitted| permitted.is_ok());
    let shown = json!({
        "status": request.status.as_str(),
        "requester": request.requester,
        "name": people::display_name(view, &request.requester),
        "resource": request.resource,
        "organization": organization,
        "created": request.created,
        "context": request.context,
        // The texts are content, too.
        "texts": view.changes().digest().short(),
    });
    let shown = shown.to_string().into_bytes();
    Waiting { request, reviewer, organization, denied, can_decline, shown }
}

/// Whether an organization is in something that a rule creates, and that is the requester's.
fn has_accepted(
    view: &View<'_>,
    rule: &RequestRule,
    (requester, organization): (&EntityName, &EntityName),
) -> bool {
    let uids = people::uid(view, requester).zip(people::uid(view, organization));
    let Some((requester, organization)) = uids else { return false };
    let entities = view.snapshot().entities();
    entities.parents(organization.as_uid_ref()).any(|parent| {
        rule.created.contains(&parent.entity_type)
            && entities.ancestors(parent).contains(&requester.as_uid_ref())
    })
}
