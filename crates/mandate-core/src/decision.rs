//! Decisions: permit or deny, and why. They are made in `decide.rs`; how an answer shows them is the
//! transport's part.

use std::borrow::Cow;
use std::sync::Arc;

use super::policies::PolicyInfo;

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
    /// No policy permits. These would permit if their conditions held.
    NotPermitted(Vec<Arc<PolicyInfo>>),
    UnknownPrincipal,
    UnknownResource,
    /// Everything is denied, whatever the policies say.
    Suspended(Suspension),
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
        Self { outcome: Outcome::NotPermitted(Vec::new()), errors: Vec::new() }
    }

    /// The decision while everything is denied.
    pub fn suspended(suspension: Suspension) -> Self {
        Self { outcome: Outcome::Suspended(suspension), errors: Vec::new() }
    }

    /// About how many bytes of memory the decision takes; policies are shared, so they do not count.
    pub fn estimated_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.reported_policies()) + size_of_val(&*self.errors)
    }

    pub fn is_permit(&self) -> bool {
        matches!(self.outcome, Outcome::Permitted(_))
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
            Outcome::NotPermitted(unsatisfied) => unsatisfied,
            Outcome::Permitted(_)
            | Outcome::Forbidden(_)
            | Outcome::ForbidFailed(_)
            | Outcome::UnknownPrincipal
            | Outcome::UnknownResource
            | Outcome::Suspended(_) => self.determining_policies(),
        }
    }

    /// The reason for a denial: the `@reason` of each reported policy that has one, or why everything is denied.
    pub fn reason(&self) -> Cow<'_, str> {
        let mut reasons = self.reported_policies().iter().filter_map(|policy| policy.reason.as_deref());
        match (&self.outcome, reasons.next()) {
            (Outcome::UnknownPrincipal, _) => "The subject is not known.".into(),
            (Outcome::UnknownResource, _) => "The resource is not known.".into(),
            (Outcome::Suspended(suspension), _) => suspension.reason(),
            (_, None) => "No policy permits this.".into(),
            (_, Some(first)) => reasons.fold(first.into(), |all: Cow<'_, str>, reason| all + " " + reason),
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
    fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::DenyAll(reason) if reason.is_empty() => "An operator denies all requests.".into(),
            Self::DenyAll(reason) => format!("An operator denies all requests: {reason}").into(),
            Self::Stale => "The policies or entities may be out of date, so all requests are denied.".into(),
        }
    }
}
