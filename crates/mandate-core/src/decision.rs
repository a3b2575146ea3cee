//! Decisions: permit or deny, and why.

use std::borrow::Cow;
use std::sync::Arc;

use super::policies::PolicyInfo;

/// The answer to a request, with what made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    /// Policies that could not be evaluated. They make no permit; a forbid among them denies.
    pub errors: Vec<PolicyError>,
}

/// What was decided, and by what. Policies are sorted by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These policies permit, and none forbids.
    Permitted(Vec<Arc<PolicyInfo>>),
    /// These policies forbid.
    Forbidden(Vec<Arc<PolicyInfo>>),
    /// These policies would forbid or not, but could not be evaluated; in doubt, it is a denial.
    ForbidFailed(Vec<Arc<PolicyInfo>>),
    /// No policy permits. These would, if their conditions held.
    NotPermitted(Vec<Arc<PolicyInfo>>),
    UnknownPrincipal,
    UnknownResource,
}

/// A policy that failed on a request, and Cedar's word on why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    pub policy: Arc<PolicyInfo>,
    pub message: String,
}

impl Decision {
    /// The decision of no policies.
    pub fn default_deny() -> Self {
        Self { outcome: Outcome::NotPermitted(Vec::new()), errors: Vec::new() }
    }

    /// About how many bytes the decision takes; policies are shared.
    pub fn estimated_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.reported_policies()) + size_of_val(&*self.errors)
    }

    pub fn is_permit(&self) -> bool {
        matches!(self.outcome, Outcome::Permitted(_))
    }

    /// The policies that determined the decision: those that permitted, forbade or failed to.
    pub fn determining_policies(&self) -> &[Arc<PolicyInfo>] {
        match &self.outcome {
            Outcome::Permitted(policies) | Outcome::Forbidden(policies) | Outcome::ForbidFailed(policies) => {
                policies
            }
            Outcome::NotPermitted(_) | Outcome::UnknownPrincipal | Outcome::UnknownResource => &[],
        }
    }

    /// The policies to name to whoever was denied: those that forbade, or whose conditions do not hold.
    pub fn reported_policies(&self) -> &[Arc<PolicyInfo>] {
        match &self.outcome {
            Outcome::NotPermitted(unsatisfied) => unsatisfied,
            _ => self.determining_policies(),
        }
    }

    /// For whoever was denied: the policies' own words, as far as they have any.
    pub fn reason(&self) -> Cow<'_, str> {
        let mut reasons = self.reported_policies().iter().filter_map(|policy| policy.reason.as_deref());
        match (&self.outcome, reasons.next()) {
            (Outcome::UnknownPrincipal, _) => "The subject is not known.".into(),
            (Outcome::UnknownResource, _) => "The resource is not known.".into(),
            (_, None) => "No policy permits this.".into(),
            (_, Some(first)) => reasons.fold(first.into(), |all: Cow<'_, str>, reason| all + " " + reason),
        }
    }
}

impl Outcome {
    /// One word for logs, metrics and answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Permitted(_) => "permitted",
            Self::Forbidden(_) => "forbidden",
            Self::ForbidFailed(_) => "forbid_failed",
            Self::NotPermitted(_) => "not_permitted",
            Self::UnknownPrincipal => "unknown_principal",
            Self::UnknownResource => "unknown_resource",
        }
    }
}
