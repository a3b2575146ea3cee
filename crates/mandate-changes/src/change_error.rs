//! Why a request cannot make its change on the entities as they are.

use mandate_core::schema::EntityUid;

/// Why the edits of a change cannot be computed. Texts name entities as people write them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// `path` is the expression, as written in the file; several are joined by `or`.
    #[error("{path} is missing: this change needs it")]
    MissingValue { path: String },
    /// The entity that a path leads to, or that is to be edited.
    #[error("`{name}` does not exist: this change needs it as {path}")]
    NoSuchEntity { entity: EntityUid, name: String, path: String },
    /// The entity to be created.
    #[error("`{name}` exists already")]
    ExistsAlready { entity: EntityUid, name: String },
    #[error("{path} cannot be the id of an entity: it is {problem}")]
    UnusableId { path: String, problem: String },
    /// The request or the snapshot is of another schema than the change.
    #[error("the value of {path} is not of the type that the schema declares")]
    OtherSchema { path: String },
}
