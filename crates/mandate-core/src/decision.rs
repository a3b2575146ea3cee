//! Decisions: permit or deny, and why. They are made in `decide.rs`; how an answer shows them is the
//! transport's part.

use std::borrow::Cow;
use std::sync::Arc;

use super::policies::PolicyInfo;
use super::reason::{Language, Reason};

/// The answer to a request, and the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    /// Policies that could not be evaluated. They do not permit; a forbid among them denies.
    pub errors: Vec<PolicyError>,
}

/// What was decided, and by which policies. Policies are sorted by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These policies permit, and none forbids.
    Permitted(Vec<Arc<PolicyInfo>>),
    /// These policies forbid.
    Forbidden(Vec<Arc<PolicyInfo>>),
    /// These forbid policies failed to evaluate, so the request is denied.
    ForbidFailed(Vec<Arc<PolicyInfo>>),
    /// No policy permits.
    NotPermitted(UnmetPermits),
    UnknownPrincipal,
    UnknownResource,
    /// Everything is denied, whatever the policies say.
    Suspended(Suspension),
}

/// The policies that would permit if their conditions held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnmetPermits {
    pub policies: Vec<Arc<PolicyInfo>>,
    /// Why they do not, at most [`UnmetPermits::MAX_REASONS`] sentences, each once: what the schema says of the
    /// clause that failed, or else the reason of the policy.
    pub reasons: Vec<Reason>,
}

impl UnmetPermits {
    pub const MAX_REASONS: usize = 16;
}

/// Why everything is denied, whatever the policies say. The decision point finds it; the policies are not
/// asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspension {
    /// An operator denies everything, for this reason. It may be empty.
    DenyAll(Arc<str>),
    /// The content in use is older than the operator allows.
    Stale,
}

/// A policy that failed on a request, and Cedar's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    pub policy: Arc<PolicyInfo>,
    pub message: String,
}

impl Decision {
    /// The decision if there are no policies.
    pub fn default_deny() -> Self {
        Self { outcome: Outcome::NotPermitted(UnmetPermits::default()), errors: Vec::new() }
    }

    /// The decision while everything is denied.
    pub fn suspended(suspension: Suspension) -> Self {
        Self { outcome: Outcome::Suspended(suspension), errors: Vec::new() }
    }

    /// About how many bytes of memory the decision takes; policies are shared, so they do not count.
    pub fn estimated_bytes(&self) -> usize {
        let mut lists = size_of_val(self.reported_policies()) + size_of_val(&*self.errors);
        if let Outcome::NotPermitted(unmet) = &self.outcome {
            lists += size_of_val(&*unmet.reasons);
        }
        size_of::<Self>() + lists
    }

    pub fn is_permit(&self) -> bool {
        matches!(self.outcome, Outcome::Permitted(_))
    }

    /// Whether the policies were asked, so that what they read could change the decision.
    pub fn is_by_policies(&self) -> bool {
        match &self.outcome {
            Outcome::Permitted(_)
            | Outcome::Forbidden(_)
            | Outcome::ForbidFailed(_)
            | Outcome::NotPermitted(_) => true,
            Outcome::UnknownPrincipal | Outcome::UnknownResource | Outcome::Suspended(_) => false,
        }
    }

    /// The policies that determined the decision: those that permitted, forbade, or failed to forbid.
    pub fn determining_policies(&self) -> &[Arc<PolicyInfo>] {
        match &self.outcome {
            Outcome::Permitted(policies) | Outcome::Forbidden(policies) | Outcome::ForbidFailed(policies) => {
                policies
            }
            Outcome::NotPermitted(_)
            | Outcome::UnknownPrincipal
            | Outcome::UnknownResource
            | Outcome::Suspended(_) => &[],
        }
    }

    /// The policies to report: the determining ones, or, if nothing permits, the permits whose conditions do
    /// not hold.
    pub fn reported_policies(&self) -> &[Arc<PolicyInfo>] {
        match &self.outcome {
            Outcome::NotPermitted(unmet) => &unmet.policies,
            Outcome::Permitted(_)
            | Outcome::Forbidden(_)
            | Outcome::ForbidFailed(_)
            | Outcome::UnknownPrincipal
            | Outcome::UnknownResource
            | Outcome::Suspended(_) => self.determining_policies(),
        }
    }

    /// The reason for a denial: a sentence for each clause that failed or policy that forbade, or why everything
    /// is denied.
    pub fn reason(&self) -> Cow<'_, str> {
        // Every reason has an English sentence.
        self.reason_in(Language::English).unwrap_or_default()
    }

    /// The reason in a language; `None` if one of its sentences is not there in it.
    pub fn reason_in(&self, language: Language) -> Option<Cow<'_, str>> {
        let german = language == Language::German;
        let own = |english, in_german| Some(Cow::Borrowed(if german { in_german } else { english }));
        let reasons: Vec<&Reason> = match &self.outcome {
            Outcome::UnknownPrincipal => {
                return own("The subject is not known.", "Wer anfragt, ist nicht bekannt.");
            }
            Outcome::UnknownResource => {
                return own("The resource is not known.", "Das Objekt der Anfrage ist nicht bekannt.");
            }
            Outcome::Suspended(suspension) => return Some(suspension.reason(language)),
            Outcome::NotPermitted(unmet) => unmet.reasons.iter().collect(),
            Outcome::Permitted(policies) | Outcome::Forbidden(policies) | Outcome::ForbidFailed(policies) => {
                policies.iter().filter_map(|policy| policy.reason.as_ref()).collect()
            }
        };
        match &*reasons {
            [] => own("No policy permits this.", "Keine Richtlinie erlaubt dies."),
            [only] => only.in_language(language).map(Cow::Borrowed),
            several => {
                let sentences = several.iter().map(|reason| reason.in_language(language));
                Some(sentences.collect::<Option<Vec<_>>>()?.join(" ").into())
            }
        }
    }
}

impl Outcome {
    /// The name of the outcome in logs, metrics and answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Permitted(_) => "permitted",
            Self::Forbidden(_) => "forbidden",
            Self::ForbidFailed(_) => "forbid_failed",
            Self::NotPermitted(_) => "not_permitted",
            Self::UnknownPrincipal => "unknown_principal",
            Self::UnknownResource => "unknown_resource",
            Self::Suspended(Suspension::DenyAll(_)) => "deny_all",
            Self::Suspended(Suspension::Stale) => "stale",
        }
    }
}

impl Suspension {
    fn reason(&self, language: Language) -> Cow<'_, str> {
        let (denies, stale) = match language {
            Language::English => (
                "An operator denies all requests",
                "The policies or entities may be out of date, so all requests are denied.",
            ),
            Language::German => (
                "Der Betreiber lehnt alle Anfragen ab",
                "Richtlinien oder Daten sind möglicherweise veraltet, daher werden alle Anfragen abgelehnt.",
            ),
        };
        match self {
            Self::DenyAll(reason) if reason.is_empty() => format!("{denies}.").into(),
            Self::DenyAll(reason) => format!("{denies}: {reason}").into(),
            Self::Stale => stale.into(),
        }
    }
}
