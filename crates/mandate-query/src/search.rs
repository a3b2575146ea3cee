//! Search: which principals may do this, which resources somebody may do it to, and which actions.
//! The policies say where to look, and each entity found there is decided like any other request, so
//! that what is looked at too much costs time and nothing else.

mod anchors;
mod walk;

use anchors::{Anchors, anchors};
use mandate_core::decide::DecideError;
use mandate_core::decision::Decision;
use mandate_core::request::{Part, Question, Request, RequestError};
use mandate_core::schema::{ActionId, EntityRef};
use mandate_core::snapshot::Snapshot;
use walk::Walk;

/// The side of a request that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Principal,
    Resource,
}

/// How much one page may hold, and cost.
#[derive(Clone, Copy)]
pub struct Bounds<'b> {
    pub results: usize,
    /// Entities that are looked at.
    pub steps: usize,
    /// Whether there is time for more.
    pub go_on: &'b dyn Fn() -> bool,
}

/// Hears of decisions in which policies failed.
pub type Failed<'f> = &'f dyn Fn(&Decision);

/// Where a page ended, and the next one goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub part: WalkPart,
    /// What was looked at last.
    pub last: EntityRef,
}

/// Which part of the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkPart {
    /// Those that are named one by one.
    Named,
    /// What is in others, or everything.
    Members,
}

/// One page of results.
#[derive(Debug)]
pub struct Page {
    pub found: Vec<EntityRef>,
    /// `None` if this is the last page.
    pub next: Option<Position>,
    /// Whether the policies said where to look; else all entities of the type are looked at.
    pub indexed: bool,
    /// How many candidates were decided.
    pub decided: usize,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// No page of this search ends there.
    #[error("there is no such position")]
    Position,
}

impl Side {
    fn searched(self, request: &Request) -> &EntityRef {
        match self {
            Self::Principal => &request.principal,
            Self::Resource => &request.resource,
        }
    }

    fn searched_mut(self, request: &mut Request) -> &mut EntityRef {
        match self {
            Self::Principal => &mut request.principal,
            Self::Resource => &mut request.resource,
        }
    }

    /// Whether there is anybody on the other side; else nothing is permitted.
    fn fixed_exists(self, snapshot: &Snapshot, request: &Request) -> bool {
        let described = match self {
            Self::Principal => &request.resource_described,
            Self::Resource => &request.principal_described,
        };
        described.is_some() || exists(snapshot, self.fixed(request))
    }

    fn fixed(self, request: &Request) -> &EntityRef {
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
    side: Side,
    after: Option<&Position>,
    bounds: Bounds<'_>,
    failed: Failed<'_>,
) -> Result<Page, SearchError> {
    let mut page = Page { found: Vec::new(), next: None, indexed: true, decided: 0 };
    if !side.fixed_exists(snapshot, request) {
        return Ok(page);
    }
    let anchors = anchors(snapshot, request, side)?;
    page.indexed = anchors.is_some();
    let kind = side.searched(request).kind;
    let enumerated = snapshot.schema().kind(kind).enumerated.as_ref();
    let all = enumerated.map(|ids| Anchors::named(ids.iter().map(|id| EntityRef { kind, id: id.clone() })));
    let anchors = anchors.or(all);
    let mut asked = request.clone();
    let walk = Walk::new(snapshot, kind, anchors.as_ref(), after).ok_or(SearchError::Position)?;
    let (mut last, mut last_found, mut steps) = (None, None, 0);
    for visit in walk {
        if let Some(at) = visit.position.as_ref().filter(|at| visit.candidate && exists(snapshot, &at.last)) {
            side.searched_mut(&mut asked).clone_from(&at.last);
            page.decided += 1;
            if permits(snapshot, &asked, failed)? {
                if page.found.len() == bounds.results {
                    // There is one more, so this page is not the last. It goes on after what was shown,
                    // so that nobody learns what else was looked at.
                    page.next = last_found;
                    break;
                }
                page.found.push(at.last.clone());
                last_found = Some(at.clone());
            }
        }
        last = visit.position.or(last);
        steps += 1;
        // A page that got nowhere would never end.
        if last.is_some() && (steps >= bounds.steps || !(bounds.go_on)()) {
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
pub fn actions(
    snapshot: &Snapshot,
    question: &Question<'_>,
    failed: Failed<'_>,
) -> Result<Vec<ActionId>, ActionsError> {
    let schema = snapshot.schema();
    let kind = |name: &str| schema.kind_named(name).ok();
    let (Some(principal), Some(resource)) = (kind(question.principal.kind), kind(question.resource.kind))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (action, info) in schema.actions() {
        if !info.principals.contains(&principal) || !info.resources.contains(&resource) {
            continue;
        }
        let full_name = info.uid.to_string();
        let question = Question { action: &full_name, action_properties: None, ..*question };
        match snapshot.read(&question) {
            Ok(request) if permits(snapshot, &request, failed)? => found.push(action),
            Err(error) if !matches!(error.part, Part::Context | Part::ActionProperties) => {
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
pub enum ActionsError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Decide(#[from] DecideError),
}

fn permits(snapshot: &Snapshot, request: &Request, failed: Failed<'_>) -> Result<bool, DecideError> {
    let decision = snapshot.decide(request, &snapshot.gather(request))?;
    if !decision.errors.is_empty() {
        failed(&decision);
    }
    Ok(decision.is_permit())
}

/// Whether an entity is stored, or a value that the schema enumerates.
fn exists(snapshot: &Snapshot, entity: &EntityRef) -> bool {
    let name = entity.name();
    snapshot.entities().get(name).is_some() || snapshot.schema().enumerates(name)
}
