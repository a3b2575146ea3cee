//! The running decision point: the snapshot in use, the cache before it, and the one writer that
//! replaces it. It knows no wire format.

mod cache;
mod generation;
mod metrics;
mod policy_lifecycle;
pub mod proof_worker;
pub mod reload;
mod status;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use cache::{Cache, CacheEntry};
pub use generation::{Generation, Revision};
use mandate_core::Snapshot;
use mandate_core::decide::DecideError;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::request::{Question, Request, RequestError};
use mandate_core::schema::ActionId;
use mandate_core::slice::Slice;
use mandate_query::explain::{Budget, Explanation, explain};
use mandate_query::search::{self, ActionSearchError, Cursor, Page, PageLimits, SearchError, Target};
use mandate_routes::{HttpRequest, RouteError, RouteMatch};
use metrics::Metrics;
pub use status::{ReloadStatus, Report, Status};

/// A decision point. Clones share everything.
#[derive(Clone)]
pub struct Pdp(Arc<Shared>);

struct Shared {
    generation: ArcSwap<Generation>,
    cache: Option<Cache>,
    metrics: Metrics,
    status: status::StatusBoard,
}

/// One snapshot in use, for one request or one batch: all its answers are of one revision.
pub struct View<'a> {
    pdp: &'a Shared,
    generation: Guard<Arc<Generation>>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum PdpError {
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
        metrics.record_generation(&generation);
        let status = status::StatusBoard::new();
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
    pub fn route<'v>(&'v self, request: &'v HttpRequest<'v>) -> Result<RouteMatch<'v>, RouteError<'v>> {
        let routed = self.generation.routes().route(request);
        routed.inspect_err(|unrouted| {
            self.pdp.metrics.unrouted.inc();
            // Most likely the gateway does not pass on what its routes read.
            if let RouteError::MissingValue { route, part, missing } = unrouted
                && self.pdp.status.may_log_warning()
            {
                tracing::warn!(route = route.id, part, "a request is denied: {missing}");
            }
        })
    }

    /// Answers a question.
    ///
    /// # Errors
    /// The question is no request by the schema, or a defect of this program kept it from an answer.
    pub fn decide(&self, question: &Question<'_>) -> Result<Arc<Decision>, PdpError> {
        let answer = self.decide_cached(question);
        match &answer {
            Ok(decision) => self.pdp.metrics.count_decision(&decision.outcome),
            Err(refusal) => self.record_error(refusal),
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
    ) -> Result<Explanation, PdpError> {
        let request = self.snapshot().read(question)?;
        let explanation = explain(self.snapshot(), &request, decision, budget).map_err(PdpError::from);
        explanation.inspect_err(|refusal| self.record_error(refusal))
    }

    /// One page of a search in this view. Decisions made for it are not remembered: they would take the
    /// place of those that are asked for.
    ///
    /// # Errors
    /// A position that no page ended at, or a defect of this program.
    pub fn search(
        &self,
        request: &Request,
        target: Target,
        after: Option<&Cursor>,
        page_limits: PageLimits<'_>,
    ) -> Result<Page, SearchError> {
        let on_policy_error = |decision: &Decision| self.record_policy_errors(decision);
        let page = search::search(self.snapshot(), request, target, after, page_limits, &on_policy_error);
        let page = page.inspect_err(|error| {
            if let SearchError::Decide(error) = error {
                self.record_defect(error);
            }
        })?;
        self.pdp.metrics.count_search_page(target, &page);
        Ok(page)
    }

    /// The actions that a question is permitted for; its own does not matter.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn search_actions(&self, question: &Question<'_>) -> Result<Vec<ActionId>, PdpError> {
        let on_policy_error = |decision: &Decision| self.record_policy_errors(decision);
        let actions = search::permitted_actions(self.snapshot(), question, &on_policy_error).map_err(
            |error| match error {
                ActionSearchError::Request(error) => PdpError::from(error),
                ActionSearchError::Decide(error) => PdpError::from(error),
            },
        );
        let actions = actions.inspect_err(|refusal| self.record_error(refusal))?;
        self.pdp.metrics.count_action_search();
        Ok(actions)
    }

    fn decide_cached(&self, question: &Question<'_>) -> Result<Arc<Decision>, PdpError> {
        let request = self.snapshot().read(question)?;
        let Some(cache) = &self.pdp.cache else {
            let slice = self.snapshot().gather(&request);
            return self.decide_uncached(&request, &slice);
        };
        let (snapshot, policies) = (self.snapshot().stamp(), self.snapshot().policies().stamp());
        let entry = cache.get(&request);
        if let Some(decision) = entry.as_ref().and_then(|entry| entry.if_valid_in(snapshot)) {
            self.pdp.metrics.cache_hits.inc();
            return Ok(Arc::clone(decision));
        }
        let slice = self.snapshot().gather(&request);
        if let Some(decision) = entry.and_then(|entry| entry.revalidate(snapshot, policies, slice.stamps())) {
            self.pdp.metrics.cache_hits.inc();
            return Ok(decision);
        }
        self.pdp.metrics.cache_misses.inc();
        let decision = self.decide_uncached(&request, &slice)?;
        let unknown = matches!(decision.outcome, Outcome::UnknownPrincipal | Outcome::UnknownResource);
        // Who is unknown is found out quickly, and anybody can make up names.
        if decision.errors.is_empty() && !unknown {
            let entry = CacheEntry::new(Arc::clone(&decision), snapshot, policies, slice.stamps());
            cache.insert(request, entry);
        }
        Ok(decision)
    }

    fn decide_uncached(&self, request: &Request, slice: &Slice<'_>) -> Result<Arc<Decision>, PdpError> {
        let decision = self.snapshot().decide(request, slice)?;
        self.record_policy_errors(&decision);
        Ok(Arc::new(decision))
    }

    fn record_policy_errors(&self, decision: &Decision) {
        for error in &decision.errors {
            self.pdp.metrics.count_policy_error(error.policy.forbids);
        }
        let Some(error) = decision.errors.first() else { return };
        // A caller can repeat a failing request at will, and must not fill the log with it.
        if self.pdp.status.may_log_warning() {
            let denied = matches!(decision.outcome, Outcome::ForbidFailed(_));
            tracing::warn!(policy = %error.policy.id, forbids = error.policy.forbids, denied, error = error.message, "a policy could not be evaluated");
        }
    }

    fn record_error(&self, refusal: &PdpError) {
        match refusal {
            PdpError::Request(error) => {
                tracing::debug!(part = ?error.part, path = error.path, message = error.message, "question refused");
            }
            PdpError::Decide(error) => self.record_defect(error),
        }
    }

    fn record_defect(&self, error: &DecideError) {
        self.pdp.metrics.internal_errors.inc();
        if self.pdp.status.may_log_warning() {
            tracing::error!(%error, "a request that fits the schema could not be decided");
        }
    }
}
