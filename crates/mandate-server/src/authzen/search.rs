//! AuthZEN search: which subjects, resources or actions are permitted, in pages. The search itself is in
//! `mandate_query::search`; tokens of pages are in `page`.

use std::collections::BTreeMap;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;
use smol_str::SmolStr;

use super::api::{Api, ApiError, RequestScope, to_json_bytes};
use super::page::{PageEnd, PageRequest, PageToken};
use super::wire::{RequestFields, SearchKind};
use mandate_core::digest::Digest;
use mandate_core::json::{Json, Object};
use mandate_core::request::{Question, QuestionEntity, Request, RequestError, RequestPart};
use mandate_core::schema::{EntityUid, Schema, Unresolved};
use mandate_pdp::{PdpError, View};
use mandate_query::search::{Cursor, Page, PageLimits, SearchError, Target, WalkPhase};

/// The subjects of a type that may perform an action on a resource.
pub fn subject(
    api: &Api,
    object: &Object<'_>,
    scope: &RequestScope<'_>,
    view: &View<'_>,
) -> Result<Vec<u8>, ApiError> {
    entities(api, object, Target::Principal, scope.deadline, view)
}

/// The resources of a type on which a subject may perform an action.
pub fn resource(
    api: &Api,
    object: &Object<'_>,
    scope: &RequestScope<'_>,
    view: &View<'_>,
) -> Result<Vec<u8>, ApiError> {
    entities(api, object, Target::Resource, scope.deadline, view)
}

/// The actions that a subject may perform on a resource.
pub fn action(
    api: &Api,
    object: &Object<'_>,
    _: &RequestScope<'_>,
    view: &View<'_>,
) -> Result<Vec<u8>, ApiError> {
    let page_request = PageRequest::read(object, &api.limits)?;
    let question = RequestFields::from_object(object).search_question(SearchKind::Action)?;
    let schema = view.snapshot().schema();
    let digest = action_search_digest(&question, schema);
    let token = page_request.token(&digest, view.revision())?;
    let actions = match view.search_actions(&question) {
        Ok(actions) => actions,
        Err(PdpError::Request(error)) if names_what_schema_lacks(&error, &question, schema) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let limit = page_request.page_size(token.as_ref());
    let names = actions.into_iter().map(|action| {
        let info = schema.action(action);
        let unique = schema.resolve_action(&info.name).is_ok();
        if unique { info.name.clone() } else { SmolStr::new(info.uid.to_string()) }
    });
    // Actions are in the order of the schema, and the last page ended at the action in the token: skip to it.
    let after = token.map(|token| token.end.id);
    let mut names = names.peekable();
    if let Some(after) = after {
        names.by_ref().find(|name| *name == after).ok_or_else(PageToken::invalid)?;
    }
    let found: Vec<SmolStr> = names.by_ref().take(limit).collect();
    let last = found.last().filter(|_| names.peek().is_some());
    let next = last.map(|last| PageEnd { named: true, entity_type: String::new(), id: last.to_string() });
    let next_token = next.map(|end| PageToken::new(&digest, view.revision(), limit, end).encode());
    let results = found.into_iter().map(|name| SearchResult::Action { name }).collect();
    to_json_bytes(&SearchResponse { page: NextPage { next_token: next_token.unwrap_or_default() }, results })
}

fn entities(
    api: &Api,
    object: &Object<'_>,
    target: Target,
    deadline: Instant,
    view: &View<'_>,
) -> Result<Vec<u8>, ApiError> {
    let page_request = PageRequest::read(object, &api.limits)?;
    let search_kind = match target {
        Target::Principal => SearchKind::Subject,
        Target::Resource => SearchKind::Resource,
    };
    let question = RequestFields::from_object(object).search_question(search_kind)?;
    let entity_type = match target {
        Target::Principal => question.principal.entity_type,
        Target::Resource => question.resource.entity_type,
    };
    let schema = view.snapshot().schema();
    let request = match view.request(&question) {
        Ok(request) => request,
        Err(error) if names_what_schema_lacks(&error, &question, schema) => {
            // Such a search has only one page, so no token belongs to it.
            return if page_request.has_token() {
                Err(PageToken::invalid())
            } else {
                to_json_bytes(&SearchResponse::default())
            };
        }
        Err(error) => return Err(PdpError::from(error).into()),
    };
    // The time is not part of the search: it goes on between two pages.
    let context = request.context_of_caller(schema);
    let searched = Request { context, asked_at: None, ..request.clone() };
    let digest = Digest::of([format!("{target:?} {searched:?}").as_bytes()]);
    let token = page_request.token(&digest, view.revision())?;
    let limit = page_request.page_size(token.as_ref());
    let after =
        token.map(|token| to_cursor(&token.end, schema).ok_or_else(PageToken::invalid)).transpose()?;
    let page = find_in_time(deadline, |may_continue| {
        let max_visited = api.limits.max_search_steps;
        let page_limits = PageLimits { max_results: limit, max_visited, may_continue };
        view.search(&request, target, after.as_ref(), page_limits)
    })?;
    let next = page
        .next
        .map(|at| PageToken::new(&digest, view.revision(), limit, to_page_end(&at, schema)).encode());
    let results =
        page.results.into_iter().map(|EntityUid { id, .. }| SearchResult::Entity { r#type: entity_type, id });
    to_json_bytes(&SearchResponse {
        page: NextPage { next_token: next.unwrap_or_default() },
        results: results.collect(),
    })
}

/// Finds a page before the deadline. It is given half of the remaining time, so that what was found until
/// then is still an answer in time: a page may be short.
fn find_in_time(
    deadline: Instant,
    find: impl FnOnce(&dyn Fn() -> bool) -> Result<Page, SearchError>,
) -> Result<Page, ApiError> {
    let page_deadline = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
    let may_continue = || Instant::now() < page_deadline;
    let page = find(&may_continue)?;
    if Instant::now() > deadline {
        return Err(ApiError::timed_out("the answer took too long: ask for a smaller page"));
    }
    Ok(page)
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::InvalidCursor => PageToken::invalid(),
            SearchError::Decide(error) => PdpError::from(error).into(),
        }
    }
}

/// The digest of a search for actions. It does not depend on the order or the spacing of the JSON.
fn action_search_digest(question: &Question<'_>, schema: &Schema) -> Digest {
    let entity = |named: &QuestionEntity<'_>| {
        let entity_type = schema
            .resolve_entity_type(named.entity_type)
            .map_or(named.entity_type, |entity_type| schema.entity_type(entity_type).name.as_str());
        format!("{entity_type:?} {:?} {:?}", named.id, named.properties.map(canonical_text))
    };
    let (principal, resource) = (entity(&question.principal), entity(&question.resource));
    let context = format!("{:?}", question.context.map(canonical_text));
    Digest::of(["action", &principal, &resource, &context].map(str::as_bytes))
}

/// An object as text, with its keys sorted.
fn canonical_text(object: &Object<'_>) -> String {
    fn text(json: &Json<'_>) -> String {
        match json {
            Json::Object(object) => canonical_text(object),
            Json::Array(items) => format!("{:?}", items.iter().map(text).collect::<Vec<_>>()),
            other => format!("{other:?}"),
        }
    }
    let members: BTreeMap<&str, String> = object.iter().map(|(key, value)| (key, text(value))).collect();
    format!("{members:?}")
}

fn to_cursor(end: &PageEnd, schema: &Schema) -> Option<Cursor> {
    let phase = if end.named { WalkPhase::Named } else { WalkPhase::Descendants };
    let entity_type = schema.entity_type_by_full_name(&end.entity_type)?;
    Some(Cursor { phase, last_entity: EntityUid { entity_type, id: SmolStr::new(&end.id) } })
}

fn to_page_end(cursor: &Cursor, schema: &Schema) -> PageEnd {
    let entity_type = schema.entity_type(cursor.last_entity.entity_type).name.to_string();
    PageEnd { named: cursor.phase == WalkPhase::Named, entity_type, id: cursor.last_entity.id.to_string() }
}

/// Whether a request names a type or an action that the schema does not have. A search then finds nothing,
/// which is not an error.
fn names_what_schema_lacks(error: &RequestError, question: &Question<'_>, schema: &Schema) -> bool {
    let unresolved = match error.part {
        RequestPart::PrincipalType => schema.resolve_entity_type(question.principal.entity_type).err(),
        RequestPart::ResourceType => schema.resolve_entity_type(question.resource.entity_type).err(),
        RequestPart::Action => schema.resolve_action(question.action).err(),
        RequestPart::PrincipalId
        | RequestPart::PrincipalProperties
        | RequestPart::ActionProperties
        | RequestPart::ResourceId
        | RequestPart::ResourceProperties
        | RequestPart::Context => return false,
    };
    unresolved != Some(Unresolved::Ambiguous)
}

/// One page of results.
#[derive(Default, Serialize, JsonSchema)]
pub struct SearchResponse<'a> {
    page: NextPage,
    results: Vec<SearchResult<'a>>,
}

#[derive(Default, Serialize, JsonSchema)]
struct NextPage {
    /// The token of the next page; empty on the last page.
    next_token: String,
}

/// One result. Its type is written as in the request.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum SearchResult<'a> {
    Entity {
        r#type: &'a str,
        #[schemars(with = "String")]
        id: SmolStr,
    },
    Action {
        #[schemars(with = "String")]
        name: SmolStr,
    },
}
