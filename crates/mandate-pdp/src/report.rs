//! Writes down what becomes of content, for `/status`, metrics and the log alike.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mandate_core::content_change::ContentChange;
use mandate_core::decision::{Decision, Outcome, Suspension};
use mandate_core::diagnostics::Diagnostics;
use mandate_sources::loader::ReloadResult;
use mandate_store::LogPosition;

use crate::change_result::ChangeResult;
use crate::entity_log::EntityChangeSummary;
use crate::generation::Generation;
use crate::metrics::Metrics;
use crate::proof_worker::{CompletedProof, GuardrailMode};
use crate::status::{
    GuardrailState, ReloadStatus, RouteChangeStatus, StalenessStatus, SuspensionStatus, timestamp,
};
use crate::status_board::{RestoredContent, StatusBoard, Track};
use crate::track::TrackName;

/// The most errors or warnings of a change that are logged; `/status` has more.
const MAX_LOGGED_DIAGNOSTICS: usize = 10;

/// The most changed routes that are logged, and the most changed rules of changes.
const MAX_LOGGED_CHANGES: usize = 20;

/// What became of the content that a decision point starts with.
#[derive(Debug, Default)]
pub struct InitialLoadReport {
    pub warnings: Diagnostics,
    pub took: Duration,
    /// The proof of the guardrails, if they were proven before the start.
    pub proof: Option<CompletedProof>,
    pub restored: Restored,
}

/// The content of the start that was loaded from copies, because the sources could not be used.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    pub policies: Option<RestoredContent>,
    pub entities: Option<RestoredContent>,
}

/// Writes to the status board, the metrics and the log. Clones write to the same.
#[derive(Clone)]
pub(crate) struct Reporter {
    metrics: Arc<Metrics>,
    status: Arc<StatusBoard>,
}

impl Reporter {
    pub fn new(metrics: Arc<Metrics>, status: Arc<StatusBoard>) -> Self {
        Self { metrics, status }
    }

    /// A generation is about to come into use.
    pub fn serving(&self, generation: &Generation) {
        self.metrics.record_generation(generation);
    }

    /// A generation came into use in place of another.
    pub fn published(&self, before: &Generation, generation: &Generation) {
        let (revision, snapshot) = (generation.revision().as_str(), generation.snapshot());
        let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
        self.status.generation_replaced();
        let changes = generation.routes().changes_since(before.routes());
        if before.routes().digest() != generation.routes().digest() {
            self.status.set_route_change(RouteChangeStatus::new(&changes));
        }
        let routes = generation.routes().digest().short();
        tracing::info!(revision, policies, entities, routes, "new content in use");
        log_route_changes(&changes);
        let schemas = (snapshot.schema(), before.snapshot().schema());
        log_rule_changes(&generation.changes().changes_since(schemas.0, before.changes(), schemas.1));
    }

    /// Entities came into use that were committed at a position.
    pub fn committed(&self, generation: &Generation, position: LogPosition) {
        self.metrics.record_committed(generation, position);
        self.status.generation_replaced();
        let (revision, entities) = (generation.revision().as_str(), generation.snapshot().entities().len());
        tracing::info!(revision, entities, %position, "committed");
    }

    /// Changes could not be committed. Callers can repeat them at will, and must not fill the log.
    pub fn not_committed(&self, reason: &str) {
        if self.status.may_log_warning() {
            tracing::error!(reason, "changes were not committed");
        }
    }

    /// A request to change entities was answered.
    pub fn change(&self, result: ChangeResult) {
        self.metrics.count_change(result);
    }

    /// The content of the start is in use.
    pub fn initial_load(&self, [policies, entities]: &[PathBuf; 2], first: &InitialLoadReport) {
        let began = Instant::now().checked_sub(first.took).unwrap_or_else(Instant::now);
        let write = |name, path: &PathBuf, warnings: &Diagnostics, restored: Option<&RestoredContent>| {
            let source = Some(path.display().to_string());
            let board = self.status.track(name);
            if let Some(restored) = restored {
                // The first poll says what is wrong with the source.
                board.write(Track { source, ..Track::default() });
                board.set_restored(restored.clone());
            } else {
                let status = Some(ReloadStatus::new(Ok(warnings), first.took));
                board.write(Track { source, accepted: status.clone(), last: status });
                board.looked(began, true);
            }
        };
        let Restored { policies: policy_copy, entities: entity_copy } = &first.restored;
        write(TrackName::Policies, policies, &first.warnings, policy_copy.as_ref());
        write(TrackName::Entities, entities, &Diagnostics::default(), entity_copy.as_ref());
    }

    /// Writes down what became of a change, and returns whether it was refused. `entities` tells how the
    /// entities differ, if they were compared.
    pub fn reload(
        &self,
        name: TrackName,
        result: Option<&ReloadResult>,
        took: Duration,
        entities: Option<&EntityChangeSummary>,
    ) -> bool {
        let board = self.status.track(name);
        let mut track = Track::clone(&board.state());
        let refused_before = track.last.as_ref().is_some_and(ReloadStatus::is_refused);
        let (status, changed) = match result {
            Some(Ok(accepted)) => (ReloadStatus::new(Ok(&accepted.warnings), took), accepted.changed),
            Some(Err(diagnostics)) => (ReloadStatus::new(Err(diagnostics), took), false),
            // A refused change was taken back: the source holds again what is in use.
            None if refused_before => {
                let warnings = track.accepted.as_ref().map(|accepted| accepted.warnings.clone());
                let status = ReloadStatus::new(Ok(&Diagnostics::default()), took);
                (ReloadStatus { warnings: warnings.unwrap_or_default(), ..status }, false)
            }
            None => return false,
        };
        let refused = status.is_refused();
        if !changed && track.last.as_ref().is_some_and(|last| last.same_as(&status)) {
            return refused;
        }
        self.metrics.count_reload(name, !refused);
        if let Some(Err(diagnostics)) = result {
            log_refusal(name, diagnostics);
        } else {
            log_acceptance(name, status.took_ms, entities);
            if let Some(Ok(accepted)) = result {
                log_warnings(name, &accepted.warnings);
            }
            if name == TrackName::Policies {
                self.warn_if_not_enforced();
            }
        }
        if !refused {
            track.accepted = Some(status.clone());
        }
        track.last = Some(status);
        board.write(track);
        refused
    }

    /// A look at a source that began then has ended. `confirmed` is whether the source holds what is in use.
    pub fn looked(&self, name: TrackName, began: Instant, confirmed: bool) {
        if self.status.track(name).looked(began, confirmed).is_some() {
            let track = name.as_str();
            tracing::warn!(track, "the folder can be used again: its copy is not in use any more");
        }
    }

    /// Whether requests may be sent here while a copy is in use.
    pub fn ready_when_restored(&self, ready: bool) {
        self.status.set_ready_when_restored(ready);
    }

    /// Whether a copy is in use instead of the source.
    pub fn is_restored(&self, name: TrackName) -> bool {
        self.status.track(name).restored().is_some()
    }

    /// A change was found by a poll, and no file event announced it.
    pub fn unannounced_change(&self, name: TrackName) {
        self.metrics.count_unannounced_change(name);
        tracing::warn!(
            track = name.as_str(),
            "a change was found by polling: the file system sent no event for it"
        );
    }

    /// Why file events do not tell of every change of a track; `None` if they do. Logs a new reason.
    pub fn watched(&self, name: TrackName, why_not: Option<&str>, poll_interval: Option<Duration>) {
        let is_new = self.status.track(name).set_why_not_watched(why_not);
        let Some(why_not) = why_not.filter(|_| is_new) else { return };
        let track = name.as_str();
        if let Some(interval) = poll_interval.map(humantime::format_duration) {
            tracing::warn!(track, "{why_not}; changes are found by polling every {interval}");
        } else {
            tracing::warn!(track, "{why_not}; changes may not be found, because polling is switched off");
        }
    }

    /// How old the content in use may be: the time since it was last found in its source.
    pub fn confirmed_age(&self, name: TrackName) -> Duration {
        self.status.track(name).confirmed_age()
    }

    /// Which content is older than the operator allows. Logs when that changes.
    pub fn staleness(&self, staleness: StalenessStatus) {
        let before = self.status.staleness();
        let stale_before = before.as_ref().is_some_and(|before| !before.stale.is_empty());
        if before.is_none_or(|before| *before != staleness) {
            let tracks = staleness.stale.join(", ");
            if !tracks.is_empty() {
                tracing::error!(tracks, "content may be out of date for longer than allowed");
            } else if stale_before {
                tracing::info!("all content is up to date again");
            }
            self.metrics.set_stale(!staleness.stale.is_empty());
            self.status.set_staleness(staleness);
        }
    }

    /// Everything is denied from now on, or is not any more.
    pub fn suspended(&self, suspended: Option<&Decision>) {
        let deny_all =
            suspended.is_some_and(|it| matches!(it.outcome, Outcome::Suspended(Suspension::DenyAll(_))));
        self.metrics.set_deny_all(deny_all);
        let status = suspended.map(|decision| SuspensionStatus {
            outcome: decision.outcome.as_str(),
            reason: decision.reason().into_owned(),
            since: timestamp(SystemTime::now()),
        });
        if let Some(SuspensionStatus { outcome, reason, .. }) = &status {
            tracing::error!(outcome, "every request is denied: {reason}");
        } else {
            tracing::warn!("the policies decide again");
        }
        self.status.set_suspension(status);
    }

    /// What guardrails do, and why they are not enforced, if so.
    pub fn guardrail_mode(&self, mode: GuardrailMode, not_enforced: Option<&str>) {
        let enforced = not_enforced.is_none();
        self.metrics.set_guardrail_mode(mode.as_str(), enforced);
        let why = not_enforced.map(ToOwned::to_owned);
        self.status.guardrails(|guardrails| {
            (guardrails.mode, guardrails.enforced, guardrails.why) = (mode.as_str(), enforced, why);
        });
        self.warn_if_not_enforced();
    }

    /// Reminds operators that policies come into use whatever they break.
    fn warn_if_not_enforced(&self) {
        if let Some(why) = self.status.guardrails_not_enforced() {
            tracing::warn!("guardrails: NOT enforced ({why})");
        }
    }

    /// The proof of the policies in use ended.
    pub fn proof_in_use(&self, proof: &CompletedProof) {
        let proven = proof.outcome.result.is_ok();
        self.metrics.set_guardrails_proven(proven);
        self.metrics.count_proof(proven);
        self.metrics.set_claim_count(proof.outcome.claims.as_array().map_or(0, Vec::len));
        let state = match (proven, proof.outcome.is_conclusive) {
            (true, _) => GuardrailState::Proven,
            (false, _) if !proof.outcome.missing_claims.is_empty() => GuardrailState::Incomplete,
            (false, true) => GuardrailState::Broken,
            (false, false) => GuardrailState::Unknown,
        };
        self.status.guardrails(|guardrails| guardrails.record_in_use(state, proof));
        for diagnostic in proof.outcome.result.as_ref().err().into_iter().flat_map(Diagnostics::iter) {
            tracing::warn!("a guardrail is not proven: {diagnostic}");
        }
    }

    /// The proof of new policies ended, and they are refused.
    pub fn proof_refused(&self, proof: &CompletedProof) {
        self.metrics.count_proof(false);
        self.still_refused(proof);
    }

    /// The newest policies are those that were refused before.
    pub fn still_refused(&self, proof: &CompletedProof) {
        self.status.guardrails(|guardrails| guardrails.record_refused(proof));
    }

    /// Clears the refused proof: newer policies have been seen.
    pub fn clear_refused_proof(&self) {
        self.status.guardrails(|guardrails| guardrails.refused = None);
    }

    /// Policies came into use of which nothing is proven yet.
    pub fn unproven(&self) {
        self.metrics.set_guardrails_proven(false);
        self.status.guardrails(|guardrails| {
            (guardrails.state, guardrails.proof) = (GuardrailState::Unproven, None);
        });
    }

    /// Whether a proof is running.
    pub fn proving(&self, proving: bool) {
        self.status.guardrails(|guardrails| guardrails.proving = proving);
    }
}

fn log_acceptance(track: TrackName, took_ms: u64, entities: Option<&EntityChangeSummary>) {
    let track = track.as_str();
    let Some(EntityChangeSummary { added, removed, changed, edges_added, edges_removed, names }) = entities
    else {
        tracing::info!(track, took_ms, "change accepted");
        return;
    };
    tracing::info!(
        track,
        took_ms,
        added,
        removed,
        changed,
        edges_added,
        edges_removed,
        changes = %names,
        "change accepted"
    );
}

fn log_warnings(track: TrackName, warnings: &Diagnostics) {
    for warning in warnings.iter().take(MAX_LOGGED_DIAGNOSTICS) {
        tracing::warn!(track = track.as_str(), "{warning}");
    }
    if let Some(more) = warnings.iter().count().checked_sub(MAX_LOGGED_DIAGNOSTICS).filter(|more| *more > 0) {
        tracing::warn!(track = track.as_str(), more, "there are more warnings; /status has all");
    }
}

fn log_route_changes(changes: &[ContentChange]) {
    for change in changes.iter().take(MAX_LOGGED_CHANGES) {
        let parts: Vec<String> = change.parts.iter().map(ToString::to_string).collect();
        tracing::info!(route = change.id, "route {}: {}", change.kind.as_str(), parts.join("; "));
    }
    if let Some(more) = changes.len().checked_sub(MAX_LOGGED_CHANGES).filter(|more| *more > 0) {
        tracing::info!(more, "more routes changed; /status has all");
    }
}

/// Rules of `changes.toml` that came, went or differ.
fn log_rule_changes(changes: &[ContentChange]) {
    for change in changes.iter().take(MAX_LOGGED_CHANGES) {
        let parts: Vec<String> = change.parts.iter().map(ToString::to_string).collect();
        tracing::info!(
            rule = change.id,
            "rule of changes.toml {}: {}",
            change.kind.as_str(),
            parts.join("; ")
        );
    }
    if let Some(more) = changes.len().checked_sub(MAX_LOGGED_CHANGES).filter(|more| *more > 0) {
        tracing::info!(more, "more rules of changes.toml changed; `mandate diff` shows all");
    }
}

fn log_refusal(track: TrackName, diagnostics: &Diagnostics) {
    let track = track.as_str();
    tracing::error!(
        track,
        errors = diagnostics.error_count(),
        "change refused, the last good content stays in use"
    );
    for diagnostic in diagnostics.iter().take(MAX_LOGGED_DIAGNOSTICS) {
        tracing::error!(track, "{diagnostic}");
    }
}
