//! What a partner has asked for, and its customers. It only reads.

use std::time::{Duration, Instant};

use mandate_changes::RequestRule;
use mandate_core::display;
use mandate_core::schema::{EntityUid, Type};
use mandate_pdp::access_request::{AccessRequest, RequestStatus};
use mandate_pdp::request_book::RequestBookError;
use mandate_pdp::{Asked, View, wall_clock};
use mandate_query::search::{Cursor, PageLimits, Target, WalkPhase};
use mandate_store::EntityName;

use crate::people;
use crate::session::Session;
use crate::text::encode;
use crate::visit::Visit;

/// The most requests and customers on a page.
const MAX_REQUESTS: usize = 50;
const MAX_CUSTOMERS: usize = 50;

/// The most requests that are read, to find the newest.
const MAX_READ: usize = 2_000;

/// What a search for customers may take.
const MAX_VISITED: usize = 100_000;
const SEARCH_TIME: Duration = Duration::from_millis(500);

/// The purpose of sealed cursors.
const CURSOR: &str = "cursor";

/// What the page of a partner shows.
pub struct Partner<'v> {
    pub principal: EntityName,
    /// Others that the user may act for.
    pub others: Vec<EntityName>,
    pub rules: Vec<&'v RequestRule>,
    /// The newest first.
    pub requests: Vec<AccessRequest>,
    pub standing: Option<AccessRequest>,
    pub customers: Customers,
}

/// One page of customers.
#[derive(Default)]
pub struct Customers {
    pub names: Vec<EntityName>,
    /// The parameter that leads to the next page.
    pub next: Option<String>,
    pub is_first: bool,
}

/// The path of the page of a partner.
pub fn path_of(principal: &EntityName) -> String {
    format!("/partner?as={}", encode(&as_text(principal)))
}

/// A principal as the parameter and the forms name it.
pub fn as_text(principal: &EntityName) -> String {
    format!("{}::{}", principal.entity_type, principal.id)
}

/// The partner that the user acts for: the one that is named, or else the first.
pub fn acting(view: &View<'_>, session: &Session, named: Option<&str>) -> Option<EntityName> {
    let mut partners = session.principals.iter().filter(|it| people::is_requester(view, it));
    let found = match named {
        Some(named) => partners.find(|it| as_text(it) == named),
        None => partners.next(),
    };
    found.cloned()
}

/// What a partner sees.
///
/// # Errors
/// The store cannot be read.
pub fn partner<'v>(
    visit: &Visit,
    view: &'v View<'_>,
    session: &Session,
    principal: EntityName,
    after: Option<&str>,
) -> Result<Partner<'v>, RequestBookError> {
    let rules = people::rules_of(view, &principal);
    let mut requests = visit.pages.commits.requests().of_requester(&principal, MAX_READ)?;
    let is_open = |request: &AccessRequest| request.status_at(wall_clock::now()) == RequestStatus::Pending;
    let standing = requests.iter().find(|request| request.standing && is_open(request)).cloned();
    requests.retain(|request| !request.standing);
    requests.truncate(MAX_REQUESTS);
    let is_other = |it: &&EntityName| **it != principal && people::is_requester(view, it);
    let others = session.principals.iter().filter(is_other).cloned().collect();
    let customers = rules.iter().find_map(|rule| customers(visit, view, rule, (&principal, after)));
    let customers = customers.unwrap_or_default();
    Ok(Partner { principal, others, rules, requests, standing, customers })
}

/// What a request shows, for the token of the form that takes it back.
pub fn shown(request: &AccessRequest) -> Vec<u8> {
    format!("withdraw {} {}", request.link, request.status_at(wall_clock::now())).into_bytes()
}

/// One page of the customers that the policies permit a partner to see; `None` if the rule does not say how.
fn customers(
    visit: &Visit,
    view: &View<'_>,
    rule: &RequestRule,
    (principal, after): (&EntityName, Option<&str>),
) -> Option<Customers> {
    let schema = view.snapshot().schema();
    let any = EntityName { entity_type: schema.entity_type(rule.resource).name.to_string(), id: "-".into() };
    let asked = Asked::new(principal.clone(), display::action(rule.granted?, schema), any);
    let request = asked.with_question(|question| view.request(question)).ok()?;
    let (seal, purpose) = (&visit.pages.seal, format!("{CURSOR} {}", as_text(principal)));
    let cursor = after.and_then(|after| read_cursor(&seal.open(&purpose, after)?, rule));
    let end = Instant::now() + SEARCH_TIME;
    let may_continue = || Instant::now() < end;
    let limits =
        PageLimits { max_results: MAX_CUSTOMERS, max_visited: MAX_VISITED, may_continue: &may_continue };
    let is_first = cursor.is_none();
    // An old cursor may lead nowhere: the list begins again then.
    let page = view.search(&request, Target::Resource, cursor.as_ref(), limits);
    let page = page.or_else(|_| view.search(&request, Target::Resource, None, limits)).ok()?;
    let names = page.results.iter().map(|uid| EntityName::new(uid.as_uid_ref(), schema)).collect();
    // It may name an entity that the partner must not see.
    let next = page.next.and_then(|at| seal.seal(&purpose, &cursor_text(&at)));
    Some(Customers { names, next, is_first })
}

fn cursor_text(cursor: &Cursor) -> String {
    let phase = if cursor.phase == WalkPhase::Named { 'n' } else { 'd' };
    format!("{phase}{}", cursor.last_entity.id)
}

fn read_cursor(text: &str, rule: &RequestRule) -> Option<Cursor> {
    let (phase, id) = match text.split_at_checked(1)? {
        ("n", id) => (WalkPhase::Named, id),
        ("d", id) => (WalkPhase::Descendants, id),
        _ => return None,
    };
    let last_entity = EntityUid { entity_type: rule.resource, id: id.into() };
    Some(Cursor { phase, last_entity })
}

/// The entities that a requester may choose for a member of the context: those of its type that are in the requester.
pub fn choices_of(view: &View<'_>, principal: &EntityName, member: &Type) -> Vec<EntityName> {
    let Type::Entity(entity_type) = member else { return Vec::new() };
    let schema = view.snapshot().schema();
    let Some(uid) = people::uid(view, principal) else { return Vec::new() };
    let members = view.snapshot().entities().members(Some(uid.as_uid_ref()), *entity_type, None, schema);
    members.take(MAX_CHOICES).map(|entity| EntityName::new(entity.uid(), schema)).collect()
}

/// The most entities to choose from.
const MAX_CHOICES: usize = 200;
