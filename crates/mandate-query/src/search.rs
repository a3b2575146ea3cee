//! Search: which principals may do this, which resources somebody may do it to, and which actions.
//! The policies say where to look, and each entity found there is decided like any other request, so
//! that what is looked at too much costs time and nothing else.

mod start_points;
mod walk;

use mandate_core::decide::DecideError;
use mandate_core::decision::Decision;
use mandate_core::request::{Question, Request, RequestError, RequestPart};
use mandate_core::schema::{ActionId, EntityUid};
use mandate_core::snapshot::Snapshot;
use start_points::{StartPoints, start_points};
use walk::Walk;

/// The side of a request that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Principal,
    Resource,
}

/// How much one page may hold, and cost.
#[derive(Clone, Copy)]
pub struct PageLimits<'b> {
    pub max_results: usize,
    /// Entities that are looked at.
    pub max_visited: usize,
    /// Whether there is time for more.
    pub may_continue: &'b dyn Fn() -> bool,
}

/// Hears of decisions in which policies failed.
pub type OnPolicyError<'f> = &'f dyn Fn(&Decision);

/// Where a page ended, and the next one goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub phase: WalkPhase,
    /// What was looked at last.
    pub last_entity: EntityUid,
}

/// Which part of the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkPhase {
    /// Those that are named one by one.
    Named,
    /// What is in others, or everything.
    Descendants,
}

/// One page of results.
#[derive(Debug)]
pub struct Page {
    pub results: Vec<EntityUid>,
    /// `None` if this is the last page.
    pub next: Option<Cursor>,
    /// Whether the policies said where to look; else all entities of the type are looked at.
    pub narrowed_by_policies: bool,
    /// How many candidates were decided.
    pub candidates_decided: usize,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// No page of this search ends there.
    #[error("there is no such position")]
    InvalidCursor,
}

impl Target {
    fn searched_entity(self, request: &Request) -> &EntityUid {
        match self {
            Self::Principal => &request.principal,
            Self::Resource => &request.resource,
        }
    }

    fn searched_entity_mut(self, request: &mut Request) -> &mut EntityUid {
        match self {
            Self::Principal => &mut request.principal,
            Self::Resource => &mut request.resource,
        }
    }

    /// Whether there is anybody on the other side; else nothing is permitted.
    fn given_entity_exists(self, snapshot: &Snapshot, request: &Request) -> bool {
        let described = match self {
            Self::Principal => &request.resource_properties,
            Self::Resource => &request.principal_properties,
        };
        described.is_some() || exists(snapshot, self.given_entity(request))
    }

    fn given_entity(self, request: &Request) -> &EntityUid {
        match self {
            Self::Principal => &request.resource,
            Self::Resource => &request.principal,
        }
    }
}

/// The entities that can stand on the searched side of the request, whose own entity does not matter
/// there, such that it is permitted.
///
/// # Errors
/// A position that no page ended at, or a defect of this program.
pub fn search(
    snapshot: &Snapshot,
    request: &Request,
    target: Target,
    after: Option<&Cursor>,
    page_limits: PageLimits<'_>,
    on_policy_error: OnPolicyError<'_>,
) -> Result<Page, SearchError> {
    let mut page =
        Page { results: Vec::new(), next: None, narrowed_by_policies: true, candidates_decided: 0 };
    if !target.given_entity_exists(snapshot, request) {
        return Ok(page);
    }
    let start_points = start_points(snapshot, request, target)?;
    page.narrowed_by_policies = start_points.is_some();
    let entity_type = target.searched_entity(request).entity_type;
    let enumerated = snapshot.schema().entity_type(entity_type).enum_ids.as_ref();
    let all = enumerated
        .map(|ids| StartPoints::named(ids.iter().map(|id| EntityUid { entity_type, id: id.clone() })));
    let start_points = start_points.or(all);
    let mut asked = request.clone();
    let walk =
        Walk::new(snapshot, entity_type, start_points.as_ref(), after).ok_or(SearchError::InvalidCursor)?;
    let (mut last, mut last_found, mut steps) = (None, None, 0);
    for step in walk {
        if let Some(at) =
            step.cursor.as_ref().filter(|at| step.is_candidate && exists(snapshot, &at.last_entity))
        {
            target.searched_entity_mut(&mut asked).clone_from(&at.last_entity);
            page.candidates_decided += 1;
            if is_permitted(snapshot, &asked, on_policy_error)? {
                if page.results.len() == page_limits.max_results {
                    // There is one more, so this page is not the last. It goes on after what was shown,
                    // so that nobody learns what else was looked at.
                    page.next = last_found;
                    break;
                }
                page.results.push(at.last_entity.clone());
                last_found = Some(at.clone());
            }
        }
        last = step.cursor.or(last);
        steps += 1;
        // A page that got nowhere would never end.
        if last.is_some() && (steps >= page_limits.max_visited || !(page_limits.may_continue)()) {
            page.next = last;
            break;
        }
    }
    Ok(page)
}

/// The actions that a question is permitted for; its own does not matter. One that the question's context
/// does not fit is not among them.
///
/// # Errors
/// Principal or resource do not fit the schema, or a defect of this program.
pub fn permitted_actions(
    snapshot: &Snapshot,
    question: &Question<'_>,
    on_policy_error: OnPolicyError<'_>,
) -> Result<Vec<ActionId>, ActionSearchError> {
    let schema = snapshot.schema();
    let entity_type = |name: &str| schema.resolve_entity_type(name).ok();
    let (Some(principal), Some(resource)) =
        (entity_type(question.principal.entity_type), entity_type(question.resource.entity_type))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (action, info) in schema.actions() {
        if !info.principal_types.contains(&principal) || !info.resource_types.contains(&resource) {
            continue;
        }
        let full_name = info.uid.to_string();
        let question = Question { action: &full_name, action_properties: None, ..*question };
        match snapshot.request_from_question(&question) {
            Ok(request) if is_permitted(snapshot, &request, on_policy_error)? => found.push(action),
            Err(error) if !matches!(error.part, RequestPart::Context | RequestPart::ActionProperties) => {
                return Err(error.into());
            }
            // Denied, or it needs another context.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(found)
}

/// Why there are no actions to list.
#[derive(Debug, thiserror::Error)]
pub enum ActionSearchError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Decide(#[from] DecideError),
}

fn is_permitted(
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

/// Whether an entity is stored, or a value that the schema enumerates.
fn exists(snapshot: &Snapshot, entity: &EntityUid) -> bool {
    let name = entity.as_uid_ref();
    snapshot.entities().get(name).is_some() || snapshot.schema().is_enumerated(name)
}
