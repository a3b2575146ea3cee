//! What callers want to be committed, and what becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mandate_core::decision::Decision;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::digest::Digest;
use mandate_core::entities::EntityUpsert;
use mandate_core::request::Request;
use mandate_core::schema::{EntityUid, EntityUidRef};
use mandate_store::{EntityName, Hex, KeyedRequest, LogPosition};

use crate::access_request::{AccessRequest, RequestStatus};
use crate::asked::Asked;
use crate::change::PerformError;
use crate::generation::Revision;
use crate::review_operation::ReviewOperation;
use crate::task::{AccessTask, TaskStatus};

/// What a caller wants to be committed: all of it, or nothing.
#[derive(Debug)]
pub struct Proposal {
    /// Who sends it: the name that authentication gave.
    pub caller: String,
    pub request_id: Option<String>,
    /// Set if the caller may send it again without doing it twice.
    pub key: Option<KeyedRequest>,
    /// When nobody waits for it any more. It is not committed later.
    pub until: Instant,
    /// The digest of the schema that it was read by.
    pub schema: Digest,
    pub edits: ProposedEdits,
}

#[derive(Debug)]
pub enum ProposedEdits {
    /// Actions, if the policies permit them. Each is decided on the entities as those before it leave them, and
    /// becomes a transaction of its own.
    Actions(Vec<Request>),
    /// Entities as an outside source has them, in one transaction. The policies are not asked. `action` is what the
    /// log calls it, such as `write`.
    Entities { action: String, edits: Vec<EntityEdit> },
    /// What somebody does with a request that waits for a review.
    Review(ReviewOperation),
}

/// An edit of one entity.
#[derive(Debug)]
pub struct EntityEdit {
    pub kind: EntityEditKind,
    pub precondition: Precondition,
}

#[derive(Debug)]
pub enum EntityEditKind {
    Put(Box<EntityUpsert>),
    Delete(EntityUid),
}

impl EntityEdit {
    /// The entity that it is about.
    pub fn uid(&self) -> EntityUidRef<'_> {
        match &self.kind {
            EntityEditKind::Put(upsert) => upsert.entity.uid(),
            EntityEditKind::Delete(uid) => uid.as_uid_ref(),
        }
    }
}

/// What has to be so before an edit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    Anything,
    /// The entity exists.
    Exists,
    /// The entity does not exist.
    Absent,
    /// The entity was changed last by this transaction.
    Version(u64),
}

/// What was committed.
#[derive(Debug)]
pub struct Committed {
    /// Where the changes count. Also where nothing had to be changed.
    pub position: LogPosition,
    pub revision: Revision,
    /// The entities that each action created.
    pub created: Vec<Vec<EntityName>>,
    /// The decision on each action. Empty for edits of entities, and for a request that is repeated.
    pub decisions: Vec<DecidedAction>,
    /// The requests that were made, reviewed or taken back, as they are now.
    pub requests: Vec<AccessRequest>,
    /// The tasks that were made or changed.
    pub tasks: Vec<AccessTask>,
    /// Whether the log already had the request.
    pub repeated: bool,
}

/// The decision on an action of a proposal.
#[derive(Debug, Clone)]
pub struct DecidedAction {
    pub decision: Arc<Decision>,
    /// How long it took.
    pub took: Duration,
    /// What was asked, if the proposal does not say it: an operation on a request asks for actions.
    pub asked: Option<Box<Asked>>,
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The policies do not permit the action with this index.
    #[error("the policies do not permit it")]
    Denied { index: usize, denied: DecidedAction, revision: Revision },
    /// The action is permitted, and cannot be performed on the entities as they are.
    #[error("{error}")]
    NotPerformable { index: usize, error: PerformError },
    /// The rules of loading refuse the edits. Those of entities are refused together, so there is no index.
    #[error("{diagnostics}")]
    Invalid { index: Option<usize>, diagnostics: Diagnostics },
    /// An entity is not as the caller expects it. `version` is the transaction that changed it last.
    #[error("{}", precondition_error(name, *version))]
    Precondition { index: usize, name: EntityName, version: Option<u64> },
    /// An entity to delete is not there.
    #[error("`{}::\"{}\"` does not exist", name.entity_type, name.id)]
    NotFound { index: usize, name: EntityName },
    /// The key was used for another request.
    #[error("the key was used for another request, which was committed at {position}")]
    KeyReused { position: LogPosition },
    /// No request has this link.
    #[error("no request has this link")]
    UnknownRequest,
    /// The request does not wait any more.
    #[error("the request is {0} already")]
    RequestEnded(RequestStatus),
    /// The requester may not ask for this any more, so nobody can accept it.
    #[error("whoever asked may not ask for this any more")]
    RequesterDenied { denied: DecidedAction },
    /// The reviewer has accepted the same already.
    #[error("this was accepted already")]
    AcceptedAlready,
    /// The caller has no task of this id.
    #[error("no task has this id")]
    UnknownTask,
    /// The task does not wait any more.
    #[error("the task is {} already", .0.as_str())]
    TaskEnded(TaskStatus),
    /// The token of a denial was used for another task.
    #[error("the token of this denial was used already: ask for a decision again")]
    DenialUsed { index: usize },
    /// The requester has too many requests that wait.
    #[error("{0} requests are waiting, and no more are allowed: withdraw some, or wait until they end")]
    TooManyRequests(usize),
    /// The operation does not fit the rules of requests.
    #[error("{0}")]
    NotReviewable(String),
    /// The schema is not the one that the request was read by.
    #[error("the schema has changed meanwhile: send the request again")]
    SchemaChanged,
    /// Too many requests are waiting, or the program is ending.
    #[error("too many changes are waiting to be committed: try again")]
    Overload,
    /// It waited for so long that nobody waits for it any more.
    #[error("nothing was changed: it waited for too long: try again")]
    TooLate,
    /// The log did not take it.
    #[error("nothing was committed: {0}")]
    NotCommitted(String),
    /// Others commit all the time.
    #[error("nothing was committed: others committed something else every time: try again")]
    TooManyConflicts,
    /// The log was closed by an error before it told.
    #[error("it is not known whether this was committed")]
    Unknown,
}

impl Refusal {
    /// The item of the proposal that it is about, if it is about one.
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::Denied { index, .. }
            | Self::NotPerformable { index, .. }
            | Self::Precondition { index, .. }
            | Self::NotFound { index, .. }
            | Self::DenialUsed { index } => Some(*index),
            Self::Invalid { index, .. } => *index,
            Self::KeyReused { .. }
            | Self::UnknownRequest
            | Self::RequestEnded(_)
            | Self::RequesterDenied { .. }
            | Self::AcceptedAlready
            | Self::UnknownTask
            | Self::TaskEnded(_)
            | Self::TooManyRequests(_)
            | Self::NotReviewable(_)
            | Self::SchemaChanged
            | Self::Overload
            | Self::TooLate
            | Self::NotCommitted(_)
            | Self::TooManyConflicts
            | Self::Unknown => None,
        }
    }
}

impl Refusal {
    /// This refusal, about another item.
    #[must_use]
    pub(crate) fn about_item(self, index: usize) -> Self {
        match self {
            Self::Denied { denied, revision, .. } => Self::Denied { index, denied, revision },
            Self::NotPerformable { error, .. } => Self::NotPerformable { index, error },
            Self::Invalid { diagnostics, .. } => Self::Invalid { index: Some(index), diagnostics },
            other => other,
        }
    }
}

fn precondition_error(name: &EntityName, version: Option<u64>) -> String {
    let EntityName { entity_type, id } = name;
    match version {
        Some(version) => format!("`{entity_type}::\"{id}\"` has version {version}"),
        None => format!("`{entity_type}::\"{id}\"` does not exist"),
    }
}

/// What became of a proposal.
pub type CommitResult = Result<Committed, Refusal>;

impl Proposal {
    /// How many actions or edits it has.
    pub fn size(&self) -> usize {
        match &self.edits {
            ProposedEdits::Actions(requests) => requests.len(),
            ProposedEdits::Entities { edits, .. } => edits.len(),
            ProposedEdits::Review(_) => 2,
        }
    }

    /// The key of a request, with the digest of what it asks for.
    pub fn key(key: &str, asked: &[&[u8]]) -> KeyedRequest {
        KeyedRequest { key: key.to_owned(), digest: Hex::of_request(asked) }
    }
}
