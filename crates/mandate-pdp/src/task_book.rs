//! Reads tasks and their requests from the log. It reads from the disk.

use std::sync::Arc;

use mandate_core::moment::Moment;
use mandate_store::{KeyedRequest, LogPosition, RecordKey, TransactionLog};

use crate::access_request::AccessRequest;
use crate::request_book::{RequestBook, RequestBookError};
use crate::task::{
    AccessTask, BY_APPROVAL, BY_CALLBACK, BY_KEY, CALLBACK_WAITS, TASK_KIND, TaskItem, TaskStatus,
};

/// The tasks of a log.
#[derive(Clone)]
pub struct TaskBook {
    log: Arc<dyn TransactionLog>,
    requests: RequestBook,
}

/// A task, and its requests in the order of its items.
#[derive(Debug, Clone)]
pub struct TaskNow {
    pub task: AccessTask,
    pub requests: Vec<Option<AccessRequest>>,
}

/// What is known of a submission that has a key.
#[derive(Debug)]
pub enum Submitted {
    /// There was none with this key.
    Never,
    /// The same was submitted.
    Before(Box<AccessTask>),
    /// Something else was submitted with this key.
    Different,
}

impl TaskBook {
    pub fn new(log: Arc<dyn TransactionLog>) -> Self {
        Self { requests: RequestBook::new(Arc::clone(&log)), log }
    }

    /// The task of that id.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<TaskNow>, RequestBookError> {
        self.task(id)?.map(|task| self.now(task)).transpose()
    }

    /// The task that has this approval.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn by_approval(&self, approval: &str) -> Result<Option<TaskNow>, RequestBookError> {
        self.one(BY_APPROVAL, approval)?.map(|task| self.now(task)).transpose()
    }

    /// A task, with its requests as they are now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn now(&self, task: AccessTask) -> Result<TaskNow, RequestBookError> {
        let requests = task.items.iter().map(|item| self.requests.get(&item.request));
        let requests = requests.collect::<Result<_, _>>()?;
        Ok(TaskNow { task, requests })
    }

    /// What a caller submitted with a key before.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn submitted(&self, caller: &str, request: &KeyedRequest) -> Result<Submitted, RequestBookError> {
        let found = self.log.request(caller, &request.key)?;
        let Some(last) = found.last() else { return Ok(Submitted::Never) };
        if last.request.as_ref().is_none_or(|known| known.digest != request.digest) {
            return Ok(Submitted::Different);
        }
        let task = self.one(BY_KEY, &AccessTask::key_of(caller, &request.key))?;
        Ok(task.map_or(Submitted::Different, |task| Submitted::Before(Box::new(task))))
    }

    /// The ids of at most so many tasks that wait to call back, after an id.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn that_call_back(&self, after: &str, limit: usize) -> Result<Vec<String>, RequestBookError> {
        let key = RecordKey { kind: TASK_KIND, index: BY_CALLBACK, key: CALLBACK_WAITS };
        Ok(self.log.records_with_key(key, after, limit)?)
    }

    /// The end of the log, which the entities in use follow.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn head(&self) -> Result<LogPosition, RequestBookError> {
        Ok(self.log.head()?.position())
    }

    fn task(&self, id: &str) -> Result<Option<AccessTask>, RequestBookError> {
        let record = self.log.record(TASK_KIND, id)?;
        Ok(record.map(|record| AccessTask::from_record(&record)).transpose()?)
    }

    fn one(&self, index: &str, key: &str) -> Result<Option<AccessTask>, RequestBookError> {
        let key = RecordKey { kind: TASK_KIND, index, key };
        match self.log.records_with_key(key, "", 1)?.first() {
            Some(id) => self.task(id),
            None => Ok(None),
        }
    }
}

impl TaskNow {
    /// Its items, each with its request.
    pub fn items(&self) -> impl Iterator<Item = (&TaskItem, Option<&AccessRequest>)> {
        self.task.items.iter().zip(self.requests.iter().map(Option::as_ref))
    }

    pub fn status_at(&self, now: Moment) -> TaskStatus {
        TaskStatus::of_items(self.items().map(|(item, request)| item.status_at(request, now)))
    }
}
