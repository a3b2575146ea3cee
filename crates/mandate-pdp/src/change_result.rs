//! What became of requests to change entities, as metrics count them.

use crate::proposal::{CommitResult, Refusal};

/// What became of a request to change entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeResult {
    Committed,
    /// The log had it already.
    Repeated,
    /// The policies denied it.
    Denied,
    /// It could not be made on the entities as they are.
    Refused,
    /// The log did not take it.
    Failed,
    /// The log did not tell.
    Unknown,
}

impl ChangeResult {
    pub const ALL: [Self; 6] =
        [Self::Committed, Self::Repeated, Self::Denied, Self::Refused, Self::Failed, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Repeated => "repeated",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl From<&CommitResult> for ChangeResult {
    fn from(result: &CommitResult) -> Self {
        match result {
            Ok(committed) if committed.repeated => Self::Repeated,
            Ok(_) => Self::Committed,
            Err(Refusal::Denied { .. } | Refusal::RequesterDenied { .. }) => Self::Denied,
            Err(
                Refusal::NotPerformable { .. }
                | Refusal::Invalid { .. }
                | Refusal::Precondition { .. }
                | Refusal::NotFound { .. }
                | Refusal::KeyReused { .. }
                | Refusal::UnknownRequest
                | Refusal::RequestEnded(_)
                | Refusal::AcceptedAlready
                | Refusal::UnknownTask
                | Refusal::TaskEnded(_)
                | Refusal::DenialUsed { .. }
                | Refusal::TooManyRequests(_)
                | Refusal::NotReviewable(_),
            ) => Self::Refused,
            Err(
                Refusal::SchemaChanged
                | Refusal::Overload
                | Refusal::TooLate
                | Refusal::NotCommitted(_)
                | Refusal::TooManyConflicts,
            ) => Self::Failed,
            Err(Refusal::Unknown) => Self::Unknown,
        }
    }
}
