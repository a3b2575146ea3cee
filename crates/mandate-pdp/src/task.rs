//! A task: what a caller is given when it starts requests because of denials, so that it can find out what became of
//! them. It is a record of the store. What becomes of it is computed from its requests, so nobody writes it down when
//! they end. How tasks are made and cancelled is in `group_tasks`.

use mandate_core::moment::Moment;
use mandate_store::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access_request::{AccessRequest, NewRequest, RequestStatus};

/// The kind of the records of tasks.
pub const TASK_KIND: &str = "task";

/// The indexes of tasks: by a request, by an approval, by the token of a denial, by the key that its caller gave it, and
/// those that wait to call back.
pub const BY_REQUEST: &str = "request";
pub const BY_APPROVAL: &str = "approval";
pub const BY_DENIAL: &str = "denial";
pub const BY_KEY: &str = "key";
pub const BY_CALLBACK: &str = "callback";

/// The key of tasks that wait to call back.
pub const CALLBACK_WAITS: &str = "waits";

/// How long a task can be read after the last of its requests would have expired, in seconds.
const KEPT_FOR: i64 = 30 * 24 * 60 * 60;

/// How long an approval holds unless its requester said otherwise, in seconds.
const APPROVED_FOR: i64 = 30 * 24 * 60 * 60;

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessTask {
    pub id: String,
    /// Who submitted it: the name that authentication gave.
    pub caller: String,
    /// The key by which its caller may repeat the submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The base URL of the decision point, as the caller knows it.
    pub base_url: String,
    /// When it was submitted, and until when it can be read, in seconds since 1970.
    pub asked_at: i64,
    pub expires_at: i64,
    /// Whether it was submitted as a list of items.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundled: bool,
    pub items: Vec<TaskItem>,
    /// The context of the submission.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// What the caller says of itself: for audits only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
}

/// A task to make, with its requests.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub base_url: String,
    /// Whether it was submitted as a list of items.
    pub bundled: bool,
    pub items: Vec<NewTaskItem>,
    pub context: Map<String, Value>,
    pub client: Option<Value>,
    pub callback: Option<Callback>,
}

/// One thing that a task asks for.
#[derive(Debug, Clone)]
pub struct NewTaskItem {
    pub ask: NewRequest,
    pub denial: BoundDenial,
    /// Until when access is asked for.
    pub until: Option<Moment>,
}

/// One thing that a task asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskItem {
    /// The id of its request.
    pub request: String,
    /// Whether the task made the request. Another may have asked for the same before.
    pub made: bool,
    pub denial: BoundDenial,
    /// The name of the approval, which nobody is told before there is one.
    pub approval: String,
    /// Until when access is asked for, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<i64>,
}

/// A denial, in the words of the caller: what an approval is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BoundDenial {
    /// The id of the token that proves it.
    pub token: String,
    pub evaluation_id: String,
    pub subject: Value,
    pub resource: Value,
    pub action: Value,
    /// Those of these members of the context that it had.
    pub context: Map<String, Value>,
    /// The members of the context that count.
    pub context_members: Vec<String>,
}

/// Where a caller wants to be told what became of its task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Callback {
    pub endpoint: String,
    /// Sent back as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// The statuses that it wants to be told of; all if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<CallbackDone>,
}

/// How a callback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallbackDone {
    /// In seconds since 1970.
    pub at: i64,
    /// Whether the endpoint took it; otherwise it was given up, or not wanted.
    pub delivered: bool,
}

/// Why a task was cancelled, in the words of its caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cancellation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What became of a task or of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    Pending,
    Approved,
    Denied,
    Expired,
    Cancelled,
    /// Its request is gone.
    Failed,
    /// Its items ended differently.
    Partial,
}

impl TaskStatus {
    /// All that a task ends with, by the names of their events.
    pub const ENDS: [Self; 6] =
        [Self::Approved, Self::Denied, Self::Expired, Self::Cancelled, Self::Failed, Self::Partial];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Partial => "partial",
        }
    }

    /// The status of a task whose items have these.
    pub fn of_items(items: impl IntoIterator<Item = Self>) -> Self {
        let mut all = None;
        let mut differ = false;
        for status in items {
            if status == Self::Pending {
                return status;
            }
            differ |= all.is_some_and(|first| first != status);
            all = all.or(Some(status));
        }
        if differ { Self::Partial } else { all.unwrap_or(Self::Failed) }
    }
}

impl From<RequestStatus> for TaskStatus {
    fn from(status: RequestStatus) -> Self {
        match status {
            RequestStatus::Pending => Self::Pending,
            RequestStatus::Approved => Self::Approved,
            RequestStatus::Denied => Self::Denied,
            RequestStatus::Expired => Self::Expired,
            RequestStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl TaskItem {
    /// The status at a moment. `request` is its request.
    pub fn status_at(&self, request: Option<&AccessRequest>, now: Moment) -> TaskStatus {
        if self.cancelled_at.is_some() {
            return TaskStatus::Cancelled;
        }
        request.map_or(TaskStatus::Failed, |request| request.status_at(now).into())
    }

    /// When its request was approved, and until when the approval holds; `None` if it was not.
    pub fn approved(&self, request: &AccessRequest) -> Option<(Moment, Moment)> {
        if request.status != RequestStatus::Approved || self.cancelled_at.is_some() {
            return None;
        }
        let at = request.ended.as_ref()?.at;
        let until = self.until.unwrap_or_else(|| at.saturating_add(APPROVED_FOR));
        Some((Moment::from_unix_seconds(at), Moment::from_unix_seconds(until)))
    }
}

impl AccessTask {
    /// Until when a task can be read whose requests end at this time.
    pub(crate) fn kept_until(last_end: i64) -> i64 {
        last_end.saturating_add(KEPT_FOR)
    }

    /// Whether it cannot be read any more.
    pub fn has_expired(&self, now: Moment) -> bool {
        Moment::from_unix_seconds(self.expires_at) <= now
    }

    /// The key of a submission in the index.
    pub(crate) fn key_of(caller: &str, key: &str) -> String {
        format!("{caller}\0{key}")
    }

    /// As a record of the store.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn to_record(&self) -> serde_json::Result<Record> {
        let mut keys: Vec<(String, String)> = Vec::new();
        let mut add = |index: &str, key: String| {
            let key = (index.to_owned(), key);
            if !keys.contains(&key) {
                keys.push(key);
            }
        };
        for item in &self.items {
            add(BY_REQUEST, item.request.clone());
            add(BY_APPROVAL, item.approval.clone());
            add(BY_DENIAL, item.denial.token.clone());
        }
        if let Some(key) = &self.key {
            add(BY_KEY, Self::key_of(&self.caller, key));
        }
        if self.callback.as_ref().is_some_and(|callback| callback.done.is_none()) {
            add(BY_CALLBACK, CALLBACK_WAITS.to_owned());
        }
        let value = serde_json::value::to_raw_value(self)?;
        Ok(Record { kind: TASK_KIND.to_owned(), id: self.id.clone(), keys, value })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// It is not a task.
    pub fn from_record(record: &Record) -> serde_json::Result<Self> {
        serde_json::from_str(record.value.get())
    }
}

#[cfg(test)]
mod tests {
    use super::TaskStatus::{self, Approved, Cancelled, Denied, Expired, Failed, Partial, Pending};

    #[track_caller]
    fn check(items: &[TaskStatus], expected: TaskStatus) {
        assert_eq!(TaskStatus::of_items(items.iter().copied()), expected, "{items:?}");
    }

    #[test]
    fn a_task_is_what_its_items_are() {
        check(&[Approved], Approved);
        check(&[Approved, Approved], Approved);
        check(&[Denied, Pending, Approved], Pending);
        check(&[Approved, Pending], Pending);
        check(&[Approved, Denied], Partial);
        check(&[Cancelled, Cancelled], Cancelled);
        check(&[Cancelled, Cancelled, Expired], Partial);
        check(&[Failed], Failed);
    }
}
