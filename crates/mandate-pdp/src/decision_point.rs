//! The decision point: answers questions by the generation in use, with a cache before it. It knows no
//! wire format.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::Guard;
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::decide::DecideError;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::moment::Moment;
use mandate_core::policies::Effect;
use mandate_core::request::{Question, Request, RequestError};
use mandate_core::schema::ActionId;
use mandate_core::slice::Slice;
use mandate_query::explain::{Budget, Explanation, explain};
use mandate_query::search::{self, ActionSearchError, Cursor, Page, PageLimits, SearchError, Target};
use mandate_routes::{HttpRequest, RouteError, RouteMatch};
use mandate_store::LogPosition;
use prometheus_client::registry::Registry;

use crate::all_entities::AllEntities;
use crate::asked::Asked;
use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::generation::{Generation, Revision};
use crate::metrics::Metrics;
use crate::proposal::DecidedAction;
use crate::publisher::{Published, Publisher};
use crate::record::{Answer, DecisionContext, DecisionRecord, DecisionSink};
use crate::report::Reporter;
use crate::status::{Status, WhenStale};
use crate::status_board::StatusBoard;
use crate::track::TrackName;
use crate::wall_clock;

/// A decision point. Clones share everything.
#[derive(Clone)]
pub struct Pdp(Arc<Shared>);

struct Shared {
    published: Arc<Published>,
    cache: Option<Cache>,
    metrics: Arc<Metrics>,
    status: Arc<StatusBoard>,
    sinks: Vec<Arc<dyn DecisionSink>>,
}

/// How a decision point is set up.
#[derive(Default)]
pub struct PdpConfig {
    /// The most decisions in the cache; 0 for no cache.
    pub cache_entries: u64,
    /// Who gets a record of each decision, besides the metrics.
    pub sinks: Vec<Arc<dyn DecisionSink>>,
}

impl PdpConfig {
    /// A cache of at most so many decisions, and no sinks.
    pub fn cached(cache_entries: u64) -> Self {
        Self { cache_entries, ..Self::default() }
    }
}

/// One generation, held for one request or one batch: all its answers are of one revision and one moment.
pub struct View<'a> {
    pdp: &'a Shared,
    pub(crate) generation: Guard<Arc<Generation>>,
    pub(crate) clock: Clock,
}

/// A decision, and how long it holds.
#[derive(Debug, Clone)]
pub struct TimedDecision {
    pub decision: Arc<Decision>,
    /// When the time may change it; `None` if it does not depend on the time.
    pub valid_until: Option<Moment>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum PdpError {
    /// The question is wrong; the caller has to correct it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A defect of this program.
    #[error(transparent)]
    Decide(#[from] DecideError),
}

impl Pdp {
    /// A decision point on a first generation, and the one publisher that replaces it.
    pub fn new(generation: impl Into<Generation>, config: PdpConfig) -> (Self, Publisher) {
        let (metrics, status) = (Arc::new(Metrics::new()), Arc::new(StatusBoard::new()));
        let published = Arc::new(Published::new(generation.into()));
        let reporter = Reporter::new(Arc::clone(&metrics), Arc::clone(&status));
        let publisher = Publisher::new(Arc::clone(&published), reporter);
        let cache = (config.cache_entries > 0).then(|| Cache::new(config.cache_entries));
        let pdp = Self(Arc::new(Shared { published, cache, metrics, status, sinks: config.sinks }));
        (pdp, publisher)
    }

    /// The generation in use, held for as long as the view lives.
    pub fn view(&self) -> View<'_> {
        let generation = self.0.published.load();
        let clock = wall_clock::clock_for(generation.snapshot().schema());
        View { pdp: &self.0, generation, clock }
    }

    /// Waits until the entities in use are at this position of their log, or a later one of the same log.
    pub async fn reach(&self, asked: LogPosition) {
        let is_reached = || {
            let at = self.view().position();
            at.is_some_and(|at| at.epoch == asked.epoch && at.sequence >= asked.sequence)
        };
        loop {
            // Listening begins before looking, so that no change is missed.
            let replaced = self.0.published.listen();
            if is_reached() {
                return;
            }
            replaced.await;
        }
    }

    /// The entities in use.
    pub fn all_entities(&self) -> AllEntities {
        AllEntities::of(Arc::clone(&self.0.published.load()))
    }

    /// What operators see on `/status`.
    pub fn status(&self) -> Status {
        self.0.status.read(&self.0.published.load())
    }

    /// The tracks whose content is so old that the decision point is not ready, as the operator chose.
    pub fn not_ready_because_stale(&self) -> Vec<&'static str> {
        let staleness = self.0.status.staleness();
        let not_ready = staleness.filter(|it| it.when_stale == WhenStale::NotReady);
        not_ready.map_or_else(Vec::new, |staleness| staleness.stale.clone())
    }

    /// The tracks whose copies are in use, so that the decision point is not ready, as the operator chose.
    pub fn not_ready_because_restored(&self) -> Vec<&'static str> {
        self.0.status.not_ready_because_restored()
    }

    /// Counts a request that its caller has to correct, wherever the mistake was found.
    pub fn count_bad_request(&self) {
        self.0.metrics.bad_requests.inc();
    }

    /// Registers the metrics in a registry. The size of the cache is that of now, so make a registry for each
    /// scrape.
    pub fn register_metrics(&self, registry: &mut Registry) {
        for name in TrackName::ALL {
            let track = self.0.status.track(name);
            let (look, confirmed) = (track.look_age(), track.confirmed_age());
            self.0.metrics.set_freshness(name, look, confirmed, track.is_watched());
            self.0.metrics.set_restored(name, track.restored().is_some());
        }
        self.0.metrics.register(registry, self.0.cache.as_ref().map_or(0, Cache::len));
    }
}

impl View<'_> {
    pub fn revision(&self) -> &Revision {
        self.generation.revision()
    }

    /// Where the entities stand in the log of their store, if they come from one.
    pub fn position(&self) -> Option<LogPosition> {
        self.generation.position()
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.generation.snapshot()
    }

    /// The changes and the rules of requests.
    pub fn changes(&self) -> &Changes {
        self.generation.changes()
    }

    /// Reads a question by the schema, at the moment of the view.
    ///
    /// # Errors
    /// The first part of the question that does not fit the schema.
    pub fn request(&self, question: &Question<'_>) -> Result<Request, RequestError> {
        self.snapshot().request_from_question(question, self.clock)
    }

    /// As [`Self::request`], for a question in words of its own.
    ///
    /// # Errors
    /// As there.
    pub fn asked_request(&self, asked: &Asked) -> Result<Request, RequestError> {
        asked.request(self.snapshot(), self.clock)
    }

    /// Finds the question that an HTTP request asks, by the routes.
    ///
    /// # Errors
    /// No route makes a question of the request, so it has to be denied.
    pub fn route<'v>(
        &'v self,
        request: &'v HttpRequest<'v>,
        context: &DecisionContext<'_>,
    ) -> Result<RouteMatch<'v>, RouteError<'v>> {
        let matched = self.generation.routes().route(request);
        matched.inspect_err(|error| {
            self.record(context, None, Answer::NotRouted(error));
            // Most likely the gateway does not send what its routes read.
            if let RouteError::MissingValue { route, part, missing } = error
                && self.pdp.status.may_log_warning()
            {
                tracing::warn!(route = route.id, part, "a request is denied: {missing}");
            }
        })
    }

    /// Answers a question, and records the answer.
    ///
    /// # Errors
    /// The question does not fit the schema, or a defect of this program.
    pub fn decide(
        &self,
        question: &Question<'_>,
        context: &DecisionContext<'_>,
    ) -> Result<TimedDecision, PdpError> {
        let asked = Instant::now();
        let decided = self.decide_now(question);
        let answer = match &decided {
            Ok((TimedDecision { decision, .. }, cached)) => {
                Answer::Decided { decision, cached: *cached, took: asked.elapsed() }
            }
            Err(PdpError::Request(error)) => Answer::Invalid(error),
            Err(PdpError::Decide(error)) => Answer::Failed(error),
        };
        self.record(context, Some(question), answer);
        decided.map(|(decision, _)| decision).inspect_err(|error| self.log_error(error))
    }

    /// Records a decision on a change, which was made when it was committed.
    pub fn record_change(
        &self,
        (question, decided): (&Question<'_>, &DecidedAction),
        revision: &Revision,
        context: &DecisionContext<'_>,
    ) {
        self.policies_failed(&decided.decision);
        let answer = Answer::Decided { decision: &decided.decision, cached: None, took: decided.took };
        self.record_answer(&DecisionRecord { context, revision, question: Some(question), answer });
    }

    fn record(&self, context: &DecisionContext<'_>, question: Option<&Question<'_>>, answer: Answer<'_>) {
        self.record_answer(&DecisionRecord { context, revision: self.revision(), question, answer });
    }

    fn record_answer(&self, record: &DecisionRecord<'_>) {
        self.pdp.metrics.record(record);
        for sink in &self.pdp.sinks {
            sink.record(record);
        }
    }

    /// Explains a decision of this view, within what is left of the budget.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn explain(
        &self,
        question: &Question<'_>,
        decision: &Decision,
        budget: &mut Budget,
    ) -> Result<Explanation, PdpError> {
        let request = self.request(question)?;
        let explanation = explain(self.snapshot(), &request, decision, budget).map_err(PdpError::from);
        explanation.inspect_err(|error| self.failed(error))
    }

    /// Finds one page of a search. Its decisions are not cached: they would replace those that are asked
    /// for.
    ///
    /// # Errors
    /// The cursor is not one at which a page ended, or a defect of this program.
    pub fn search(
        &self,
        request: &Request,
        target: Target,
        after: Option<&Cursor>,
        page_limits: PageLimits<'_>,
    ) -> Result<Page, SearchError> {
        if self.generation.suspended().is_some() {
            return Ok(Page::default());
        }
        let on_policy_error = |decision: &Decision| self.policies_failed(decision);
        let page = search::search(self.snapshot(), request, target, after, page_limits, &on_policy_error);
        let page = page.inspect_err(|error| {
            if let SearchError::Decide(error) = error {
                self.defect(error);
            }
        })?;
        self.pdp.metrics.count_search(target, &page);
        Ok(page)
    }

    /// Finds the actions that a question is permitted for, whatever its own action.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn search_actions(&self, question: &Question<'_>) -> Result<Vec<ActionId>, PdpError> {
        if self.generation.suspended().is_some() {
            return Ok(Vec::new());
        }
        let on_policy_error = |decision: &Decision| self.policies_failed(decision);
        let found = search::permitted_actions(self.snapshot(), question, self.clock, &on_policy_error)
            .map_err(|error| match error {
                ActionSearchError::Request(error) => PdpError::from(error),
                ActionSearchError::Decide(error) => PdpError::from(error),
            });
        let actions = found.inspect_err(|error| self.failed(error))?;
        self.pdp.metrics.count_action_search();
        Ok(actions)
    }

    /// The decision at the moment of this view, and whether it was in the cache, if there is one.
    fn decide_now(&self, question: &Question<'_>) -> Result<(TimedDecision, Option<bool>), PdpError> {
        let request = self.request(question)?;
        if let Some(decision) = self.generation.suspended() {
            return Ok((TimedDecision { decision: Arc::clone(decision), valid_until: None }, None));
        }
        let valid_until = self.snapshot().valid_until(&request, self.clock);
        let (timed, cached) = self.decide_cached(request)?;
        let first = [valid_until, timed.valid_until].into_iter().flatten().min();
        let valid_until = first.filter(|_| timed.decision.is_by_policies());
        Ok((TimedDecision { valid_until, ..timed }, cached))
    }

    /// The decision with the time at which an entity of it ends, and whether it was in the cache, if there is one.
    fn decide_cached(&self, request: Request) -> Result<(TimedDecision, Option<bool>), PdpError> {
        let snapshot = self.snapshot();
        let timed = |decision, valid_until| TimedDecision { decision, valid_until };
        let Some(cache) = &self.pdp.cache else {
            let slice = snapshot.gather(&request);
            return Ok((timed(self.decide_uncached(&request, &slice)?, slice.next_end()), None));
        };
        let key = CacheKey(request);
        let (request, entry) = (&key.0, cache.get(&key));
        if let Some(entry) = &entry
            && let Some(decision) = entry.if_valid_in(snapshot, request.asked_at)
        {
            return Ok((timed(Arc::clone(decision), entry.next_end()), Some(true)));
        }
        let slice = snapshot.gather(request);
        let next_end = slice.next_end();
        let known = entry.and_then(|it| it.revalidate(snapshot, &slice, request.asked_at));
        if let Some(decision) = known {
            return Ok((timed(decision, next_end), Some(true)));
        }
        let decision = self.decide_uncached(request, &slice)?;
        let unknown = matches!(decision.outcome, Outcome::UnknownPrincipal | Outcome::UnknownResource);
        // Unknown entities are found out quickly, and callers can make up any number of them.
        if decision.errors.is_empty() && !unknown {
            let entry = CacheEntry::new(Arc::clone(&decision), request, snapshot, &slice);
            drop(slice);
            cache.insert(key, entry);
        }
        Ok((timed(decision, next_end), Some(false)))
    }

    fn decide_uncached(&self, request: &Request, slice: &Slice<'_>) -> Result<Arc<Decision>, DecideError> {
        let decision = self.snapshot().decide(request, slice)?;
        self.policies_failed(&decision);
        Ok(Arc::new(decision))
    }

    /// Counts and logs the policies that could not be evaluated for a decision.
    fn policies_failed(&self, decision: &Decision) {
        for error in &decision.errors {
            self.pdp.metrics.count_policy_error(error.policy.effect == Effect::Forbid);
        }
        let Some(error) = decision.errors.first() else { return };
        // A caller can repeat a failing request at will, and must not fill the log with it.
        if self.pdp.status.may_log_warning() {
            let denied = matches!(decision.outcome, Outcome::ForbidFailed(_));
            tracing::warn!(policy = %error.policy.id, forbids = (error.policy.effect == Effect::Forbid), denied, error = error.message, "a policy could not be evaluated");
        }
    }

    /// Counts and logs a question of a search or an explanation that could not be answered.
    fn failed(&self, error: &PdpError) {
        if let PdpError::Decide(_) = error {
            self.pdp.metrics.internal_errors.inc();
        }
        self.log_error(error);
    }

    fn defect(&self, error: &DecideError) {
        self.pdp.metrics.internal_errors.inc();
        self.log_defect(error);
    }

    fn log_error(&self, error: &PdpError) {
        match error {
            PdpError::Request(error) => {
                tracing::debug!(part = ?error.part, path = error.path, message = error.message, "question refused");
            }
            PdpError::Decide(error) => self.log_defect(error),
        }
    }

    fn log_defect(&self, error: &DecideError) {
        if self.pdp.status.may_log_warning() {
            tracing::error!(%error, "a request that fits the schema could not be decided");
        }
    }
}
