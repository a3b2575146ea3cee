//! Why somebody could not be signed in. What it says is for the log; readers get a page that says less.

/// Why somebody could not be signed in.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What the identity provider sent cannot be accepted.
    #[error("{0}")]
    Invalid(String),
    /// The identity provider, or the store, cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    #[error("the sign-in took too long, or it began in another browser")]
    Stale,
    /// The organization is not among the entities.
    #[error("there is no `{0}`")]
    UnknownOrganization(String),
    #[error("there is no entity that they may act as")]
    Nobody,
}
