//! Requests that are reviewed by link: made, listed, shown, accepted, declined and withdrawn over HTTP. What happens is
//! decided in `mandate_pdp`.

use mandate_changes::fill;
use mandate_core::json::quoted;
use mandate_core::moment::Moment;
use mandate_pdp::access_request::AccessRequest;
use mandate_pdp::proposal::{Committed, DecidedAction, ProposedEdits, Refusal};
use mandate_pdp::request_book::RequestBookError;
use mandate_pdp::review_operation::{NewRequest, ReviewOperation};
use mandate_pdp::{Asked, Revision, View, wall_clock};
use mandate_store::EntityName;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::operation::LINK_PREFIX;
use super::problem::{BODY, Problem, name_json};
use super::request::{Answer, ChangeRequest};
use crate::authzen::json_body::parse_json;
use hyper::{Method, StatusCode};

/// The most requests that a list has.
const MAX_LISTED: usize = 1_000;

/// The end of the path of actions on what was accepted; no link is so short.
const MANAGE: &str = "manage";

/// A request to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    subject: EntityName,
    resource: Option<EntityName>,
    #[serde(default)]
    context: Map<String, Value>,
    rule: Option<String>,
    valid_for: Option<String>,
    language: Option<String>,
}

/// Who reviews a request, or takes it back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reviewed {
    subject: EntityName,
}

/// An action on what was accepted, by the name that people call it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manage {
    subject: EntityName,
    resource: EntityName,
    #[serde(rename = "do")]
    name: String,
}

/// Makes a request, or lists those of a requester.
///
/// # Errors
/// Nothing was made, or nothing can be listed.
pub async fn collection(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    if request.method == Method::GET {
        return list(request);
    }
    let Ask { subject, resource, context, rule, valid_for, language } = read(request, body)?;
    let valid_for = valid_for.map(|text| {
        mandate_changes::parse_duration(&text).ok_or_else(|| {
            Problem::bad_request("valid_for: has to be a time such as `7d` or `12h`, of at most 10 years")
        })
    });
    let is_language = |text: &String| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    if language.as_ref().is_some_and(|language| !is_language(language)) {
        return Err(Problem::bad_request("language: has to be two letters, such as `de`"));
    }
    let new = NewRequest {
        rule,
        requester: full_name(request, subject)?,
        resource: resource.map(|resource| full_name(request, resource)).transpose()?,
        context,
        valid_for: valid_for.transpose()?,
        language,
    };
    let committed = commit(request, ReviewOperation::Ask(new), body).await?;
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
    let link = link.to_owned();
    let Reviewed { subject } = read(request, body)?;
    let subject = full_name(request, subject)?;
    let operation = match verb {
        "accept" => ReviewOperation::Accept { link, reviewer: subject },
        "decline" => ReviewOperation::Decline { link, reviewer: subject },
        "withdraw" => ReviewOperation::Withdraw { link, by: subject },
        _ => return Err(no_such_path()),
    };
    let committed = commit(request, operation, body).await?;
    answer(request, &committed)
}

/// Performs an action on what was accepted.
async fn manage(request: &ChangeRequest<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let Manage { subject, resource, name } = read(request, body)?;
    let (subject, resource) = (full_name(request, subject)?, full_name(request, resource)?);
    let (asked, action, schema) = {
        let view = request.pdp.view();
        let asked = managing(&view, (&subject, &resource), &name).map_err(Problem::bad_request)?;
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

/// The question that an action on what was accepted asks.
///
/// # Errors
/// No rule of requests has an action of that name for the resource.
pub fn managing(
    view: &View<'_>,
    (subject, resource): (&EntityName, &EntityName),
    name: &str,
) -> Result<Asked, String> {
    let schema = view.snapshot().schema();
    let created = schema.entity_type_by_full_name(&resource.entity_type);
    let rules = view.changes().requests().iter();
    let mut rules = rules.filter(|rule| created.is_some_and(|created| rule.created.contains(&created)));
    let action = rules.find_map(|rule| rule.managing(name)).ok_or_else(|| {
        let (name, resource) = (quoted(name), quoted(&resource.entity_type));
        format!("no rule of requests has {name} under `manage` for a {resource}")
    })?;
    Ok(Asked::new(subject.clone(), mandate_core::display::action(action, schema), resource.clone()))
}

fn list(request: &ChangeRequest<'_>) -> Result<Answer, Problem> {
    let missing = || Problem::bad_request("requester: missing: write `?requester=TYPE::ID`");
    let query = request.query.unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, named) = pairs.find(|(name, _)| *name == "requester").ok_or_else(missing)?;
    let named = percent_decode_str(named).decode_utf8().map_err(|_| missing())?;
    let (entity_type, id) = mandate_core::display::parse_type_and_id(&named)
        .map_err(|error| Problem::bad_request(format!("requester: {error}")))?;
    let requester =
        full_name(request, EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() })?;
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

/// A request as it is shown, with its link and the e-mail that brings it.
pub fn shown(
    (view, pages_url): (&View<'_>, Option<&str>),
    asked: &AccessRequest,
    committed: Option<&Committed>,
) -> Value {
    let mut body = json!({ "request": request_json(asked, wall_clock::now()) });
    let Some(members) = body.as_object_mut() else { return body };
    if let Some(committed) = committed {
        members.insert("position".into(), committed.position.to_string().into());
    }
    if let Some(links) = links_json(asked, pages_url) {
        members.insert("links".into(), links);
    }
    if let Some(email) = email_json(asked, view, pages_url) {
        members.insert("email".into(), email);
    }
    body
}

/// Where a request is reviewed.
pub fn links_json(asked: &AccessRequest, pages_url: Option<&str>) -> Option<Value> {
    Some(json!({ "review": review_url(asked, pages_url?) }))
}

/// The link to the review of a request.
pub fn review_url(asked: &AccessRequest, pages_url: &str) -> String {
    format!("{pages_url}/links/{}", asked.link)
}

/// The e-mail that brings the link, in the language that the requester chose.
fn email_json(asked: &AccessRequest, view: &View<'_>, pages_url: Option<&str>) -> Option<Value> {
    let rule = view.changes().request(&asked.rule)?;
    let texts = rule.texts(asked.language.as_deref().unwrap_or("en"));
    let link = review_url(asked, pages_url?);
    let until = asked.expires_at.map(until_text).unwrap_or_default();
    let values = [
        ("requester", display_name(view, &asked.requester)),
        ("resource", asked.resource.as_ref().map(|it| display_name(view, it)).unwrap_or_default()),
        ("link", link),
        ("until", until),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Some(json!({
        "subject": fill(&texts.email_subject, &values),
        "body": fill(&texts.email_body, &values),
    }))
}

/// The end of a link in an e-mail: `2026-12-29 18:21 UTC`.
fn until_text(end: i64) -> String {
    let text = Moment::from_unix_seconds(end).to_string();
    let minutes = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{minutes} UTC")
}

/// What an entity is called: its attribute `displayName`, or else its id.
fn display_name(view: &View<'_>, name: &EntityName) -> String {
    mandate_pdp::display_name(view.snapshot(), name)
}

/// A request as callers see it.
pub fn request_json(asked: &AccessRequest, now: Moment) -> Value {
    let time = |seconds: i64| Moment::from_unix_seconds(seconds).to_string();
    let mut body = json!({
        "id": asked.id,
        "link": asked.link,
        "rule": asked.rule,
        "requester": name_json(&asked.requester),
        "action": asked.action,
        "context": asked.context,
        "standing": asked.standing,
        "status": asked.status_at(now).as_str(),
        "asked_at": time(asked.asked_at),
    });
    if let Some(members) = body.as_object_mut() {
        let optional = [
            ("resource", asked.resource.as_ref().map(name_json)),
            ("created", asked.created.as_ref().map(name_json)),
            ("expires_at", asked.expires_at.map(|end| time(end).into())),
            ("ended_at", asked.ended.as_ref().map(|ended| time(ended.at).into())),
            ("ended_by", asked.ended.as_ref().map(|ended| name_json(&ended.by))),
        ];
        members
            .extend(optional.into_iter().filter_map(|(name, value)| value.map(|it| (name.to_owned(), it))));
    }
    body
}

/// The name with the full type, by which requests are found.
fn full_name(request: &ChangeRequest<'_>, name: EntityName) -> Result<EntityName, Problem> {
    let view = request.pdp.view();
    let schema = view.snapshot().schema();
    let entity_type = super::entities::resolve_type(&name.entity_type, schema)?;
    Ok(EntityName { entity_type: schema.entity_type(entity_type).name.to_string(), id: name.id })
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
