//! The data of `/status`: the content in use, and the result of the last change of each track. Where the
//! newest content is refused, both it and the content in use are named.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::proof_worker::CompletedProof;
use mandate_core::content_change::ContentChange;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, Severity};
use mandate_core::policies::{Policies, PolicyInfo};

/// The state of a decision point, as `/status` shows it.
#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub revision: String,
    /// Since when the revision is in use.
    pub since: String,
    pub started: String,
    /// Whether file events tell of every change in both folders. Others are found by polling.
    pub watched: bool,
    /// Why everything is denied, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<SuspensionStatus>,
    /// How old content may get, if the operator set a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<StalenessStatus>,
    pub schema: SchemaStatus,
    pub policies: ContentStatus,
    pub routes: RoutesStatus,
    pub changes: ChangesStatus,
    pub entities: ContentStatus,
    /// Where the entities stand in the log of their store, if they come from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStatus>,
    pub guardrails: GuardrailStatus,
}

/// The rules of `changes.toml` in use.
#[derive(Debug, Serialize)]
pub struct ChangesStatus {
    pub digest: String,
    pub count: usize,
}

/// The store that the entities come from.
#[derive(Debug, Serialize)]
pub struct StoreStatus {
    pub position: String,
}

/// The schema in use. It is reloaded with the policies, because it is in their folder.
#[derive(Debug, Serialize)]
pub struct SchemaStatus {
    pub digest: String,
    pub entity_types: usize,
    pub actions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The routes in use. They are reloaded with the policies, because they are in their folder.
#[derive(Debug, Serialize)]
pub struct RoutesStatus {
    pub digest: String,
    pub count: usize,
    /// What the last change of routes changed; nothing since the start if this is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_change: Option<RouteChangeStatus>,
}

/// A change of routes that came into use.
#[derive(Debug, Clone, Serialize)]
pub struct RouteChangeStatus {
    pub at: String,
    /// Each route that was added, removed or changed, with the parts that differ.
    pub changes: Vec<serde_json::Value>,
}

impl RouteChangeStatus {
    pub(crate) fn new(changes: &[ContentChange]) -> Self {
        let changes = changes.iter().map(ContentChange::to_json).collect();
        Self { at: timestamp(SystemTime::now()), changes }
    }
}

/// The content of a track that is in use, and the result of its last change.
#[derive(Debug, Serialize)]
pub struct ContentStatus {
    pub digest: String,
    pub count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether file events tell of every change in the folder.
    pub watched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not_watched: Option<String>,
    /// How long ago the last completed look at the source began. It grows while a disk hangs.
    pub look_age_ms: u64,
    /// How long ago the content in use was last found in the source. It also grows while newer content is
    /// refused.
    pub confirmed_age_ms: u64,
    /// The copy that is in use, because the source could not be used at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoredStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<ReloadStatus>,
}

/// A copy on disk that is in use instead of its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoredStatus {
    /// The folder of the copy.
    pub from: String,
    /// When its content was last found in the source.
    pub confirmed: String,
}

/// Why everything is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuspensionStatus {
    /// The outcome of every decision: `deny_all` or `stale`.
    pub outcome: &'static str,
    /// The sentence that callers get.
    pub reason: String,
    pub since: String,
}

/// What happens while content is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenStale {
    /// `/status`, a metric and the log say so.
    Warn,
    /// `/readyz` answers 503 as well.
    NotReady,
    /// Every request is denied as well.
    Deny,
}

/// The limit on the age of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StalenessStatus {
    pub max_ms: u64,
    pub when_stale: WhenStale,
    /// The tracks whose content is older.
    pub stale: Vec<&'static str>,
}

/// The last change of a track.
#[derive(Debug, Clone, Serialize)]
pub struct ReloadStatus {
    /// When the change was first tried.
    pub at: String,
    /// `accepted`, or `refused`, in which case the previous content stays in use.
    pub outcome: &'static str,
    pub took_ms: u64,
    /// The number of errors. The lists may hold fewer.
    pub error_count: usize,
    pub errors: Vec<Report>,
    pub warnings: Vec<Report>,
}

/// The guardrails of the policies in use.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GuardrailStatus {
    /// `enforce`, `warn` or `off`.
    pub mode: &'static str,
    /// Whether policies that break a guardrail are refused.
    pub enforced: bool,
    /// Whether the policies in use are proven.
    pub state: GuardrailState,
    /// Why they are not enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The emergency forbids in use: floors are proven without them.
    pub emergencies: Vec<EmergencyStatus>,
    /// Whether a proof is running.
    pub proving: bool,
    /// The proof of the policies in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofStatus>,
    /// The proof because of which the newest policies are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<ProofStatus>,
}

/// A forbid with an `@emergency`.
#[derive(Debug, Clone, Serialize)]
pub struct EmergencyStatus {
    pub policy: String,
    /// What its `@emergency` says.
    pub reason: String,
}

impl EmergencyStatus {
    pub(crate) fn all(policies: &Policies) -> Vec<Self> {
        let of = |info: &Arc<PolicyInfo>| Self {
            policy: info.id.to_string(),
            reason: info.emergency.as_deref().unwrap_or_default().to_owned(),
        };
        policies.emergencies().into_iter().map(of).collect()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardrailState {
    #[default]
    Unproven,
    Proven,
    Broken,
    /// Claims that have to be there are missing.
    Incomplete,
    /// The solver gave up or failed.
    Unknown,
}

/// The result of proving all claims.
#[derive(Debug, Clone, Serialize)]
pub struct ProofStatus {
    pub at: String,
    pub took_ms: u64,
    /// The digest of the policies that were proven.
    pub policies: String,
    /// Each claim, with its counterexample where it is broken.
    pub claims: serde_json::Value,
    /// The ids of claims that have to be there and are not.
    pub missing_claims: Vec<String>,
}

impl GuardrailStatus {
    /// The policies in use were proven, or their proof failed.
    pub(crate) fn record_in_use(&mut self, state: GuardrailState, proof: &CompletedProof) {
        let proof = Some(ProofStatus::of(proof));
        (self.state, self.proof, self.refused, self.proving) = (state, proof, None, false);
    }

    /// New policies were refused because of their proof.
    pub(crate) fn record_refused(&mut self, proof: &CompletedProof) {
        self.proving = false;
        self.refused.get_or_insert_with(|| ProofStatus::of(proof));
    }
}

impl ProofStatus {
    fn of(proof: &CompletedProof) -> Self {
        Self {
            at: timestamp(SystemTime::now()),
            took_ms: u64::try_from(proof.took.as_millis()).unwrap_or(u64::MAX),
            policies: proof.policies.clone(),
            claims: proof.outcome.claims.clone(),
            missing_claims: proof.outcome.missing_claims.clone(),
        }
    }
}

/// A diagnostic as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl From<&Diagnostic> for Report {
    fn from(diagnostic: &Diagnostic) -> Self {
        let at = diagnostic.span.as_ref().map(|span| (span.source.path.clone(), span.line_column()));
        let (file, at) = at.unzip();
        let (line, column) = at.unzip();
        Self { message: diagnostic.message.clone(), help: diagnostic.help.clone(), file, line, column }
    }
}

impl ReloadStatus {
    pub fn new(result: Result<&Diagnostics, &Diagnostics>, took: Duration) -> Self {
        let (outcome, diagnostics) = match result {
            Ok(warnings) => ("accepted", warnings),
            Err(diagnostics) => ("refused", diagnostics),
        };
        let reports =
            |severity| diagnostics.iter().filter(|f| f.severity == severity).map(Report::from).collect();
        Self {
            at: timestamp(SystemTime::now()),
            outcome,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            error_count: diagnostics.error_count(),
            errors: reports(Severity::Error),
            warnings: reports(Severity::Warning),
        }
    }

    pub fn is_refused(&self) -> bool {
        self.outcome == "refused"
    }

    /// Whether another attempt had the same result.
    pub fn same_as(&self, other: &Self) -> bool {
        self.outcome == other.outcome
            && self.errors == other.errors
            && self.error_count == other.error_count
            && self.warnings == other.warnings
    }
}

/// A time as `/status` shows it: RFC 3339, UTC, in milliseconds.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
