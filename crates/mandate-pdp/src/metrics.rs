//! The metrics of the decision point, and their names in Prometheus. Counters on the request path are looked
//! up once, at construction, so counting takes no lock. `/metrics` is served by `mandate-server`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::change_result::ChangeResult;
use crate::duration_histogram::DurationHistogram;
use crate::generation::Generation;
use crate::proof_worker::GuardrailMode;
use crate::record::{Answer, DecisionRecord, DecisionSink};
use crate::status::EmergencyStatus;
use crate::track::TrackName;
use mandate_core::decision::{Outcome, Suspension};
use mandate_core::policies::Policies;
use mandate_query::search::{Page, Target};
use mandate_store::LogPosition;

type Label = [(&'static str, String); 1];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    track: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SearchLabel {
    sought: &'static str,
    candidates: &'static str,
}

/// What is searched for, and how candidates are found.
const SEARCHES: [(&str, &str); 5] =
    [("subject", "index"), ("subject", "all"), ("resource", "index"), ("resource", "all"), ("action", "all")];

/// Registers the metrics of a decision point that has no content yet, so that all are there from the start.
pub fn register_initial_metrics(registry: &mut Registry) {
    Metrics::new().register(registry, 0);
}

pub struct Metrics {
    decisions: Family<Label, Counter>,
    decision_duration: DurationHistogram,
    policy_errors: Family<Label, Counter>,
    permitted: Counter,
    forbidden: Counter,
    forbid_failed: Counter,
    not_permitted: Counter,
    unknown_principal: Counter,
    unknown_resource: Counter,
    deny_all_decisions: Counter,
    stale_decisions: Counter,
    cache_hits: Counter,
    cache_misses: Counter,
    pub bad_requests: Counter,
    unrouted: Counter,
    pub internal_errors: Counter,
    failed_forbids: Counter,
    failed_permits: Counter,
    reloads: Family<Reload, Counter>,
    refused: Family<Label, Gauge>,
    policies: Gauge,
    entities: Gauge,
    last_swap: Gauge<f64, AtomicU64>,
    revision: Family<Label, Gauge>,
    guardrails: Family<Label, Gauge>,
    guardrails_enforced: Gauge,
    guardrails_proven: Gauge,
    claims: Gauge,
    emergencies: Family<[(&'static str, String); 2], Gauge>,
    proofs: Family<Label, Counter>,
    searches: Family<SearchLabel, Counter>,
    search_candidates: Counter,
    changes: Family<Label, Counter>,
    store_sequence: Gauge,
    look_age: Family<Label, Gauge<f64, AtomicU64>>,
    confirmed_age: Family<Label, Gauge<f64, AtomicU64>>,
    watched: Family<Label, Gauge>,
    restored: Family<Label, Gauge>,
    unannounced_changes: Family<Label, Counter>,
    stale: Gauge,
    deny_all: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let (decisions, policy_errors) = (Family::<Label, Counter>::default(), Family::default());
        let decision = |outcome: &str| decisions.get_or_create(&[("outcome", outcome.to_owned())]).clone();
        let failed = |effect: &str| {
            let counters: &Family<Label, Counter> = &policy_errors;
            counters.get_or_create(&[("effect", effect.to_owned())]).clone()
        };
        let metrics = Self {
            permitted: decision("permitted"),
            forbidden: decision("forbidden"),
            forbid_failed: decision("forbid_failed"),
            not_permitted: decision("not_permitted"),
            unknown_principal: decision("unknown_principal"),
            unknown_resource: decision("unknown_resource"),
            deny_all_decisions: decision("deny_all"),
            stale_decisions: decision("stale"),
            failed_forbids: failed("forbid"),
            failed_permits: failed("permit"),
            decisions,
            decision_duration: DurationHistogram::default(),
            policy_errors,
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            bad_requests: Counter::default(),
            unrouted: Counter::default(),
            internal_errors: Counter::default(),
            reloads: Family::default(),
            refused: Family::default(),
            policies: Gauge::default(),
            entities: Gauge::default(),
            last_swap: Gauge::default(),
            revision: Family::default(),
            guardrails: Family::default(),
            guardrails_enforced: Gauge::default(),
            guardrails_proven: Gauge::default(),
            claims: Gauge::default(),
            emergencies: Family::default(),
            proofs: Family::default(),
            searches: Family::default(),
            search_candidates: Counter::default(),
            changes: Family::default(),
            store_sequence: Gauge::default(),
            look_age: Family::default(),
            confirmed_age: Family::default(),
            watched: Family::default(),
            restored: Family::default(),
            unannounced_changes: Family::default(),
            stale: Gauge::default(),
            deny_all: Gauge::default(),
        };
        for result in [true, false] {
            let _ = metrics.proofs.get_or_create(&proof_label(result));
        }
        for result in ChangeResult::ALL {
            let _ = metrics.changes.get_or_create(&[("result", result.as_str().to_owned())]);
        }
        for track in TrackName::ALL {
            metrics.set_freshness(track, Duration::ZERO, Duration::ZERO, false);
            metrics.set_restored(track, false);
            let track = track.as_str();
            for result in ["accepted", "refused"] {
                let _ = metrics.reloads.get_or_create(&Reload { track, result });
            }
            metrics.refused.get_or_create(&[("track", track.to_owned())]).set(0);
            let _ = metrics.unannounced_changes.get_or_create(&[("track", track.to_owned())]);
        }
        for (sought, candidates) in SEARCHES {
            let _ = metrics.searches.get_or_create(&SearchLabel { sought, candidates });
        }
        for mode in GuardrailMode::ALL {
            metrics.guardrails.get_or_create(&[("mode", mode.as_str().to_owned())]).set(0);
        }
        metrics.revision.get_or_create(&[("revision", "none".to_owned())]).set(0);
        metrics
    }

    /// Registers the metrics. The registry keeps their values up to date, except for `cache_entries`.
    pub fn register(&self, registry: &mut Registry, cache_entries: u64) {
        self.register_requests(registry);
        let cache_entries = ConstGauge::new(i64::try_from(cache_entries).unwrap_or(i64::MAX));
        registry.register("cache_entries", "Decisions in the cache", cache_entries);
        self.register_content(registry);
        self.register_freshness(registry);
    }

    fn register_requests(&self, registry: &mut Registry) {
        registry.register("decisions", "Decisions, by outcome", self.decisions.clone());
        let help = "Time from a question to its decision, in seconds";
        registry.register("decision_duration_seconds", help, self.decision_duration.clone());
        registry.register(
            "policy_errors",
            "Policies that could not be evaluated, by effect",
            self.policy_errors.clone(),
        );
        registry.register("cache_hits", "Decisions answered from the cache", self.cache_hits.clone());
        registry.register("cache_misses", "Decisions not found in the cache", self.cache_misses.clone());
        registry.register(
            "unrouted",
            "Gateway requests that no route matched, or that lack a value that the route reads",
            self.unrouted.clone(),
        );
        let help = "Requests that were invalid, for the caller to correct";
        registry.register("bad_requests", help, self.bad_requests.clone());
        let help = "Requests that were not decided because of a defect";
        registry.register("internal_errors", help, self.internal_errors.clone());
        registry.register(
            "searches",
            "Pages of searches, by what was searched for and how candidates were found",
            self.searches.clone(),
        );
        let help = "Requests to change entities, by what became of them";
        registry.register("changes", help, self.changes.clone());
        let help =
            "The sequence of the last transaction of the store that counts for decisions; 0 without a store";
        registry.register("store_sequence", help, self.store_sequence.clone());
        let help = "Entities that were decided for searches";
        registry.register("search_candidates", help, self.search_candidates.clone());
    }

    fn register_content(&self, registry: &mut Registry) {
        registry.register("reloads", "Changes of content, by track and result", self.reloads.clone());
        let help = "Whether the newest content of a track is refused";
        registry.register("refused", help, self.refused.clone());
        registry.register("policies", "Policies in use", self.policies.clone());
        registry.register("entities", "Entities in use", self.entities.clone());
        let help = "When the content in use was put into use, in seconds since the epoch";
        registry.register("last_swap_timestamp_seconds", help, self.last_swap.clone());
        registry.register("revision", "The revision in use", self.revision.clone());
        let help = "The mode of the guardrails: enforce, warn or off";
        registry.register("guardrails", help, self.guardrails.clone());
        let help = "Whether policies that break a guardrail are refused";
        registry.register("guardrails_enforced", help, self.guardrails_enforced.clone());
        let help = "Whether every guardrail is proven for the policies in use";
        registry.register("guardrails_proven", help, self.guardrails_proven.clone());
        registry.register("claims", "Claims about the policies in use", self.claims.clone());
        let help = "Emergency forbids in use; floors are proven without them";
        registry.register("emergency_policies", help, self.emergencies.clone());
        registry.register("proofs", "Proofs of all guardrails, by result", self.proofs.clone());
    }

    fn register_freshness(&self, registry: &mut Registry) {
        let help = "Age of the last completed look at the source of a track";
        registry.register("source_look_age_seconds", help, self.look_age.clone());
        let help = "Time since the content in use was last found in the source of a track";
        registry.register("source_confirmed_age_seconds", help, self.confirmed_age.clone());
        let help = "Whether file events tell of every change of a track";
        registry.register("source_watched", help, self.watched.clone());
        let help = "Whether the copy of --state is in use, because the source could not be used at the start";
        registry.register("source_restored", help, self.restored.clone());
        let help = "Changes that a poll found and no file event announced";
        registry.register("unannounced_changes", help, self.unannounced_changes.clone());
        let help = "Whether content is older than --max-staleness";
        registry.register("stale", help, self.stale.clone());
        let help = "Whether an operator denies everything";
        registry.register("deny_all", help, self.deny_all.clone());
    }

    /// Sets the ages of a track's content, and whether file events tell of every change of it.
    pub fn set_freshness(&self, track: TrackName, look: Duration, confirmed: Duration, watched: bool) {
        let label = [("track", track.as_str().to_owned())];
        self.look_age.get_or_create(&label).set(look.as_secs_f64());
        self.confirmed_age.get_or_create(&label).set(confirmed.as_secs_f64());
        self.watched.get_or_create(&label).set(i64::from(watched));
    }

    /// Sets whether the copy of a track is in use.
    pub fn set_restored(&self, track: TrackName, restored: bool) {
        self.restored.get_or_create(&[("track", track.as_str().to_owned())]).set(i64::from(restored));
    }

    /// Counts a change that no file event announced.
    pub fn count_unannounced_change(&self, track: TrackName) {
        self.unannounced_changes.get_or_create(&[("track", track.as_str().to_owned())]).inc();
    }

    /// Sets whether content is older than allowed.
    pub fn set_stale(&self, stale: bool) {
        self.stale.set(i64::from(stale));
    }

    /// Sets whether an operator denies everything.
    pub fn set_deny_all(&self, deny_all: bool) {
        self.deny_all.set(i64::from(deny_all));
    }

    /// Counts a page of a search.
    pub fn count_search(&self, target: Target, page: &Page) {
        let sought = match target {
            Target::Principal => "subject",
            Target::Resource => "resource",
        };
        let candidates = if page.narrowed_by_policies { "index" } else { "all" };
        self.searches.get_or_create(&SearchLabel { sought, candidates }).inc();
        self.search_candidates.inc_by(page.candidates_decided as u64);
    }

    /// Counts a search for actions, which always tries all actions.
    pub fn count_action_search(&self) {
        self.searches.get_or_create(&SearchLabel { sought: "action", candidates: "all" }).inc();
    }

    fn decision_counter(&self, outcome: &Outcome) -> &Counter {
        match outcome {
            Outcome::Permitted(_) => &self.permitted,
            Outcome::Forbidden(_) => &self.forbidden,
            Outcome::ForbidFailed(_) => &self.forbid_failed,
            Outcome::NotPermitted(_) => &self.not_permitted,
            Outcome::UnknownPrincipal => &self.unknown_principal,
            Outcome::UnknownResource => &self.unknown_resource,
            Outcome::Suspended(Suspension::DenyAll(_)) => &self.deny_all_decisions,
            Outcome::Suspended(Suspension::Stale) => &self.stale_decisions,
        }
    }

    pub fn count_policy_error(&self, forbids: bool) {
        let counter = if forbids { &self.failed_forbids } else { &self.failed_permits };
        counter.inc();
    }

    /// Records the generation that was put into use.
    pub fn record_generation(&self, generation: &Generation) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let snapshot = generation.snapshot();
        self.policies.set(count(snapshot.policies().len()));
        self.entities.set(count(snapshot.entities().len()));
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.last_swap.set(now.as_secs_f64());
        self.record_emergencies(snapshot.policies());
        if let Some(position) = generation.position() {
            self.store_sequence.set(i64::try_from(position.sequence).unwrap_or(i64::MAX));
        }
        self.revision.clear();
        self.revision.get_or_create(&[("revision", generation.revision().to_string())]).set(1);
    }

    /// Records entities that were committed at a position.
    pub fn record_committed(&self, generation: &Generation, position: LogPosition) {
        self.entities.set(i64::try_from(generation.snapshot().entities().len()).unwrap_or(i64::MAX));
        self.store_sequence.set(i64::try_from(position.sequence).unwrap_or(i64::MAX));
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.last_swap.set(now.as_secs_f64());
        self.revision.clear();
        self.revision.get_or_create(&[("revision", generation.revision().to_string())]).set(1);
    }

    /// Counts a request to change entities.
    pub fn count_change(&self, result: ChangeResult) {
        self.changes.get_or_create(&[("result", result.as_str().to_owned())]).inc();
    }

    /// Records the emergency forbids of policies that were put into use.
    fn record_emergencies(&self, policies: &Policies) {
        self.emergencies.clear();
        for EmergencyStatus { policy, reason } in EmergencyStatus::all(policies) {
            self.emergencies.get_or_create(&[("policy", policy), ("reason", reason)]).set(1);
        }
    }

    /// Counts a change of content that was accepted or refused.
    pub fn count_reload(&self, track: TrackName, accepted: bool) {
        let track = track.as_str();
        let result = if accepted { "accepted" } else { "refused" };
        self.reloads.get_or_create(&Reload { track, result }).inc();
        self.refused.get_or_create(&[("track", track.to_owned())]).set(i64::from(!accepted));
    }

    /// Sets the mode of the guardrails, and whether they are enforced.
    pub fn set_guardrail_mode(&self, mode: &str, enforced: bool) {
        self.guardrails_enforced.set(i64::from(enforced));
        self.guardrails.get_or_create(&[("mode", mode.to_owned())]).set(1);
    }

    /// Sets whether the guardrails are proven for the policies in use.
    pub fn set_guardrails_proven(&self, proven: bool) {
        self.guardrails_proven.set(i64::from(proven));
    }

    /// Sets the number of claims about the policies in use.
    pub fn set_claim_count(&self, claims: usize) {
        self.claims.set(i64::try_from(claims).unwrap_or(i64::MAX));
    }

    /// Counts a proof that ended.
    pub fn count_proof(&self, proven: bool) {
        self.proofs.get_or_create(&proof_label(proven)).inc();
    }
}

impl DecisionSink for Metrics {
    fn record(&self, record: &DecisionRecord<'_>) {
        match record.answer {
            Answer::Decided { decision, cached, took } => {
                self.decision_duration.observe(took);
                match cached {
                    Some(true) => _ = self.cache_hits.inc(),
                    Some(false) => _ = self.cache_misses.inc(),
                    None => {}
                }
                self.decision_counter(&decision.outcome).inc();
            }
            Answer::NotRouted(_) => _ = self.unrouted.inc(),
            // The transport counts it, together with requests that are malformed.
            Answer::Invalid(_) => {}
            Answer::Failed(_) => _ = self.internal_errors.inc(),
        }
    }
}

fn proof_label(proven: bool) -> Label {
    [("result", if proven { "proven" } else { "not_proven" }.to_owned())]
}
