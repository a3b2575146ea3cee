//! The running decision point: the snapshot in use, the cache before it, and the one writer that
//! replaces it. It knows no wire format.

mod cache;
pub mod gate;
mod generation;
mod metrics;
mod policy_track;
pub mod reload;
mod status;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use cache::{Cache, Memo};
pub use generation::{Generation, Revision};
use mandate_core::Snapshot;
use mandate_core::decide::DecideError;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::request::{Question, Request, RequestError};
use mandate_core::schema::ActionId;
use mandate_core::slice::Slice;
use mandate_query::explain::{Budget, Explanation, explain};
use mandate_query::search::{self, ActionsError, Bounds, Page, Position, SearchError, Side};
use mandate_routes::{HttpRequest, Routed, Unrouted};
use metrics::Metrics;
pub use status::{Report, Status, TrackStatus};

/// A decision point. Clones share everything.
#[derive(Clone)]
pub struct Pdp(Arc<Shared>);

struct Shared {
    generation: ArcSwap<Generation>,
    cache: Option<Cache>,
    metrics: Metrics,
    status: status::Board,
}

/// One snapshot in use, for one request or one batch: all its answers are of one revision.
pub struct View<'a> {
    pdp: &'a Shared,
    generation: Guard<Arc<Generation>>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The caller's to fix.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A defect of this program.
    #[error(transparent)]
    Decide(#[from] DecideError),
}

impl Pdp {
    /// A decision point on a first snapshot, with a cache of at most so many decisions; 0 is none.
    pub fn new(generation: impl Into<Generation>, cache_entries: u64) -> Self {
        let generation = generation.into();
        let metrics = Metrics::new();
        metrics.serving(&generation);
        let status = status::Board::new();
        let cache = (cache_entries > 0).then(|| Cache::new(cache_entries));
        Self(Arc::new(Shared { generation: ArcSwap::from_pointee(generation), cache, metrics, status }))
    }

    /// The snapshot in use, held for as long as the view lives.
    pub fn view(&self) -> View<'_> {
        View { pdp: &self.0, generation: self.0.generation.load() }
    }

    /// What operators see on `/status`.
    pub fn status(&self) -> Status {
        self.0.status.read(&self.0.generation.load())
    }

    /// Counts a question that a caller has to mend, whoever found what is wrong with it.
    pub fn count_bad_request(&self) {
        self.0.metrics.bad_requests.inc();
    }

    /// The metrics in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.0.metrics.encode(self.0.cache.as_ref().map_or(0, Cache::len))
    }
}

impl View<'_> {
    pub fn revision(&self) -> &Revision {
        self.generation.revision()
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.generation.snapshot()
    }

    /// The question that an HTTP request comes to.
    ///
    /// # Errors
    /// It comes to none, so it has to be denied.
    pub fn route<'v>(&'v self, request: &'v HttpRequest<'v>) -> Result<Routed<'v>, Unrouted<'v>> {
        let routed = self.generation.routes().route(request);
        routed.inspect_err(|unrouted| {
            self.pdp.metrics.unrouted.inc();
            // Most likely the gateway does not pass on what its routes read.
            if let Unrouted::Missing { route, part, missing } = unrouted
                && self.pdp.status.may_warn()
            {
                tracing::warn!(route = route.id, part, "a request is denied: {missing}");
            }
        })
    }

    /// Answers a question.
    ///
    /// # Errors
    /// The question is no request by the schema, or a defect of this program kept it from an answer.
    pub fn decide(&self, question: &Question<'_>) -> Result<Arc<Decision>, Refusal> {
        let answer = self.answer(question);
        match &answer {
            Ok(decision) => self.pdp.metrics.decided(&decision.outcome),
            Err(refusal) => self.refused(refusal),
        }
        answer
    }

    /// Explains what was decided on a question in this view, within what the budget still has.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn explain(
        &self,
        question: &Question<'_>,
        decision: &Decision,
        budget: &mut Budget,
    ) -> Result<Explanation, Refusal> {
        let request = self.snapshot().read(question)?;
        let explanation = explain(self.snapshot(), &request, decision, budget).map_err(Refusal::from);
        explanation.inspect_err(|refusal| self.refused(refusal))
    }

    /// One page of a search in this view. Decisions made for it are not remembered: they would take the
    /// place of those that are asked for.
    ///
    /// # Errors
    /// A position that no page ended at, or a defect of this program.
    pub fn search(
        &self,
        request: &Request,
        side: Side,
        after: Option<&Position>,
        bounds: Bounds<'_>,
    ) -> Result<Page, SearchError> {
        let failed = |decision: &Decision| self.note_errors(decision);
        let page = search::search(self.snapshot(), request, side, after, bounds, &failed);
        let page = page.inspect_err(|error| {
            if let SearchError::Decide(error) = error {
                self.defect(error);
            }
        })?;
        self.pdp.metrics.searched(side, &page);
        Ok(page)
    }

    /// The actions that a question is permitted for; its own does not matter.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn search_actions(&self, question: &Question<'_>) -> Result<Vec<ActionId>, Refusal> {
        let failed = |decision: &Decision| self.note_errors(decision);
        let actions = search::actions(self.snapshot(), question, &failed).map_err(|error| match error {
            ActionsError::Request(error) => Refusal::from(error),
            ActionsError::Decide(error) => Refusal::from(error),
        });
        let actions = actions.inspect_err(|refusal| self.refused(refusal))?;
        self.pdp.metrics.searched_actions();
        Ok(actions)
    }

    fn answer(&self, question: &Question<'_>) -> Result<Arc<Decision>, Refusal> {
        let request = self.snapshot().read(question)?;
        let Some(cache) = &self.pdp.cache else {
            let slice = self.snapshot().gather(&request);
            return self.decide_anew(&request, &slice);
        };
        let (snapshot, policies) = (self.snapshot().stamp(), self.snapshot().policies().stamp());
        let memo = cache.get(&request);
        if let Some(decision) = memo.as_ref().and_then(|memo| memo.in_snapshot(snapshot)) {
            self.pdp.metrics.cache_hits.inc();
            return Ok(Arc::clone(decision));
        }
        let slice = self.snapshot().gather(&request);
        if let Some(decision) = memo.and_then(|memo| memo.made_from(snapshot, policies, slice.stamps())) {
            self.pdp.metrics.cache_hits.inc();
            return Ok(decision);
        }
        self.pdp.metrics.cache_misses.inc();
        let decision = self.decide_anew(&request, &slice)?;
        let unknown = matches!(decision.outcome, Outcome::UnknownPrincipal | Outcome::UnknownResource);
        // Who is unknown is found out quickly, and anybody can make up names.
        if decision.errors.is_empty() && !unknown {
            let memo = Memo::new(Arc::clone(&decision), snapshot, policies, slice.stamps());
            cache.insert(request, memo);
        }
        Ok(decision)
    }

    fn decide_anew(&self, request: &Request, slice: &Slice<'_>) -> Result<Arc<Decision>, Refusal> {
        let decision = self.snapshot().decide(request, slice)?;
        self.note_errors(&decision);
        Ok(Arc::new(decision))
    }

    fn note_errors(&self, decision: &Decision) {
        for error in &decision.errors {
            self.pdp.metrics.policy_failed(error.policy.forbids);
        }
        let Some(error) = decision.errors.first() else { return };
        // A caller can repeat a failing request at will, and must not fill the log with it.
        if self.pdp.status.may_warn() {
            let denied = matches!(decision.outcome, Outcome::ForbidFailed(_));
            tracing::warn!(policy = %error.policy.id, forbids = error.policy.forbids, denied, error = error.message, "a policy could not be evaluated");
        }
    }

    fn refused(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Request(error) => {
                tracing::debug!(part = ?error.part, path = error.path, message = error.message, "question refused");
            }
            Refusal::Decide(error) => self.defect(error),
        }
    }

    fn defect(&self, error: &DecideError) {
        self.pdp.metrics.internal_errors.inc();
        if self.pdp.status.may_warn() {
            tracing::error!(%error, "a request that fits the schema could not be decided");
        }
    }
}
