//! The search for principals or resources, one page at a time. Where it looks comes from `start_points`, in
//! which order from `walk`; the search for actions is in `actions`.

use super::cursor::Cursor;
use super::permitted::{OnPolicyError, exists, is_permitted};
use super::start_points::{StartPoints, start_points};
use super::target::Target;
use super::walk::Walk;
use mandate_core::decide::DecideError;
use mandate_core::request::Request;
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::Snapshot;

/// The limits of one page.
#[derive(Clone, Copy)]
pub struct PageLimits<'b> {
    pub max_results: usize,
    /// The most entities to visit.
    pub max_visited: usize,
    /// Whether there is time left.
    pub may_continue: &'b dyn Fn() -> bool,
}

/// One page of results.
#[derive(Debug, Default)]
pub struct Page {
    pub results: Vec<EntityUid>,
    /// `None` if this is the last page.
    pub next: Option<Cursor>,
    /// Whether the policies said where to look. Otherwise all entities of the type are visited.
    pub narrowed_by_policies: bool,
    pub candidates_decided: usize,
}

/// Why a search has no page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// The cursor was changed, or comes from other content or another search.
    #[error("the cursor does not belong to this search")]
    InvalidCursor,
}

/// The entities for which the request is permitted when they take the place of the target. The target's own
/// id in the request is ignored.
///
/// # Errors
/// The cursor belongs to no page of this search, or an internal error.
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
    let all = snapshot.schema().enumerated_entities(entity_type).map(StartPoints::named);
    let start_points = start_points.or(all);
    let walk =
        Walk::new(snapshot, entity_type, start_points.as_ref(), after).ok_or(SearchError::InvalidCursor)?;
    let mut candidate = request.clone();
    let is_permitted = |entity: &EntityUid| {
        target.searched_entity_mut(&mut candidate).clone_from(entity);
        is_permitted(snapshot, &candidate, on_policy_error)
    };
    fill_page(&mut page, walk, page_limits, snapshot, is_permitted)?;
    Ok(page)
}

/// Visits entities until the page is full or has reached a limit.
fn fill_page(
    page: &mut Page,
    walk: Walk<'_>,
    page_limits: PageLimits<'_>,
    snapshot: &Snapshot,
    mut is_permitted: impl FnMut(&EntityUid) -> Result<bool, DecideError>,
) -> Result<(), DecideError> {
    let (mut last_visited, mut last_result) = (None, None);
    for (visited, step) in walk.enumerate() {
        let candidate =
            step.cursor.as_ref().filter(|at| step.is_candidate && exists(snapshot, &at.last_entity));
        if let Some(at) = candidate {
            page.candidates_decided += 1;
            if is_permitted(&at.last_entity)? {
                if page.results.len() == page_limits.max_results {
                    // There is one more result, so this page is not the last one. The next page starts after
                    // the last result shown: the cursor must not reveal other entities.
                    page.next = last_result;
                    break;
                }
                page.results.push(at.last_entity.clone());
                last_result = Some(at.clone());
            }
        }
        last_visited = step.cursor.or(last_visited);
        // A page has to advance by at least one step, or the client would ask for the same page for ever.
        if last_visited.is_some() && (visited + 1 >= page_limits.max_visited || !(page_limits.may_continue)())
        {
            page.next = last_visited;
            break;
        }
    }
    Ok(())
}
