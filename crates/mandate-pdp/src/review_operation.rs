//! What somebody can do with requests. It is done in `review`.

use mandate_store::EntityName;

pub use crate::access_request::NewRequest;
use crate::task::{Cancellation, NewTask};

/// What somebody does with a request.
#[derive(Debug, Clone)]
pub enum ReviewOperation {
    /// Makes one.
    Ask(NewRequest),
    Accept {
        link: String,
        reviewer: EntityName,
    },
    Decline {
        link: String,
        reviewer: EntityName,
    },
    /// Takes it back.
    Withdraw {
        link: String,
        by: EntityName,
    },
    /// Makes a task, with its requests.
    AskAll(Box<NewTask>),
    /// Cancels what waits of a task.
    CancelTask {
        id: String,
        cancellation: Cancellation,
    },
    /// Remembers that a task has called back, or was given up.
    CallbackDone {
        id: String,
        delivered: bool,
    },
}
