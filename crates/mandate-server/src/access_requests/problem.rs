//! The problems that the profile defines, by their names.

use hyper::StatusCode;

use crate::changes::problem::Problem;
use mandate_pdp::proposal::Refusal;
use mandate_pdp::request_book::RequestBookError;

use super::binding::BindingFault;

/// A problem of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    NotRequestable,
    ExpiredDenial,
    InvalidDenialBinding,
    DuplicateRequest,
    UnknownTask,
    TaskExpired,
    InvalidTaskState,
}

impl ProblemKind {
    fn name(self) -> &'static str {
        match self {
            Self::NotRequestable => "not_requestable",
            Self::ExpiredDenial => "expired_denial",
            Self::InvalidDenialBinding => "invalid_denial_binding",
            Self::DuplicateRequest => "duplicate_request",
            Self::UnknownTask => "unknown_task",
            Self::TaskExpired => "task_expired",
            Self::InvalidTaskState => "invalid_task_state",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::NotRequestable => "Access is not requestable",
            Self::ExpiredDenial => "The denial has expired",
            Self::InvalidDenialBinding => "The request cannot be bound to a denial",
            Self::DuplicateRequest => "The key was used for another request",
            Self::UnknownTask => "Unknown task",
            Self::TaskExpired => "The task has expired",
            Self::InvalidTaskState => "The task does not wait any more",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NotRequestable | Self::InvalidDenialBinding => StatusCode::BAD_REQUEST,
            Self::ExpiredDenial | Self::TaskExpired => StatusCode::GONE,
            Self::DuplicateRequest | Self::InvalidTaskState => StatusCode::CONFLICT,
            Self::UnknownTask => StatusCode::NOT_FOUND,
        }
    }

    /// The problem, with what is wrong in this case.
    pub fn because(self, detail: impl Into<String>) -> Problem {
        let name = format!("urn:openid:authzen:access-request:error:{}", self.name());
        Problem::new(self.status(), detail).with("type", name).with("title", self.title())
    }
}

impl From<BindingFault> for Problem {
    fn from(fault: BindingFault) -> Self {
        let kind = match fault {
            BindingFault::Expired => ProblemKind::ExpiredDenial,
            BindingFault::Token(_) | BindingFault::OtherParty | BindingFault::Different(_) => {
                ProblemKind::InvalidDenialBinding
            }
        };
        kind.because(fault.to_string())
    }
}

/// Why a proposal of a task was refused.
pub fn of_refusal(refusal: &Refusal, has_key: bool) -> Problem {
    let kind = match refusal {
        Refusal::Denied { denied, .. } | Refusal::RequesterDenied { denied } => {
            let reason = denied.decision.reason();
            return ProblemKind::NotRequestable
                .because(format!("its subject may not ask for this now: {reason}"));
        }
        Refusal::KeyReused { .. } => ProblemKind::DuplicateRequest,
        Refusal::DenialUsed { .. } => ProblemKind::InvalidDenialBinding,
        Refusal::UnknownTask => ProblemKind::UnknownTask,
        Refusal::TaskEnded(_) | Refusal::RequestEnded(_) => ProblemKind::InvalidTaskState,
        _ => return Problem::of_refusal(refusal, has_key),
    };
    kind.because(refusal.to_string())
}

/// The log cannot be read.
pub fn unreadable(error: &RequestBookError) -> Problem {
    tracing::warn!(%error, "a task cannot be read");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read now; try again later")
}
