//! The paths of access requests, and what is done there.

/// Where access requests are submitted, and the prefix of the paths of tasks.
pub const REQUESTS_PATH: &str = "/access/v1/requests";
pub const TASK_PREFIX: &str = "/access/v1/requests/";

/// What follows the path of a task to cancel it.
pub const CANCEL_SUFFIX: &str = "/cancel";

/// The public keys.
pub const JWKS_PATH: &str = "/access/v1/jwks";

/// What a submission has to say besides the denial; the id of a rule of requests follows.
pub const SCHEMA_PREFIX: &str = "/access/v1/request-schemas/";

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessRequestOperation {
    Submit,
    /// Shows a task.
    Task,
    Cancel,
    Schema,
}
