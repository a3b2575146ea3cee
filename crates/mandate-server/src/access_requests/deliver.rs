//! Calls callers back once their tasks have ended: it looks which tasks have, calls, and remembers that it has. A call that
//! fails is repeated, less and less often, for a day; also after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mandate_core::moment::Moment;
use mandate_pdp::proposal::{Proposal, ProposedEdits};
use mandate_pdp::request_book::RequestBookError;
use mandate_pdp::review_operation::ReviewOperation;
use mandate_pdp::task::{AccessTask, TaskStatus};
use mandate_pdp::task_book::{TaskBook, TaskNow};
use mandate_pdp::{CommitQueue, Pdp, wall_clock};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::callbacks::{CallbackFault, Callbacks};
use super::operation::TASK_PREFIX;

/// How often it is looked whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a call is repeated.
const GIVE_UP_AFTER: i64 = 24 * 60 * 60;

/// The longest time between two attempts.
const MAX_DELAY: Duration = Duration::from_hours(1);

/// The most calls at once.
const MAX_CALLS: usize = 16;

/// How many tasks are read at once.
const PAGE: usize = 500;

/// How long it may take to remember that a call was made.
const COMMIT_WITHIN: Duration = Duration::from_secs(30);

/// The name of the program in the log of the store.
const CALLER: &str = "mandate";

/// Calls callers back.
pub struct Deliverer {
    pub pdp: Pdp,
    pub commits: CommitQueue,
    pub callbacks: Arc<Callbacks>,
}

/// Calls that failed: how often, and when they are repeated.
type Failures = HashMap<String, (u32, Instant)>;

/// What a look found.
#[derive(Default)]
struct Found {
    ended: Vec<Ended>,
    /// When the next task ends because its time has passed.
    next_end: Option<i64>,
}

/// A task that has ended, and whose caller has not been told.
struct Ended {
    task: AccessTask,
    status: TaskStatus,
    at: i64,
}

impl Deliverer {
    /// Calls back, without end.
    pub async fn run(self) {
        let (mut failures, mut looked_at) = (Failures::new(), None);
        let mut found = Found::default();
        loop {
            let position = self.pdp.view().position();
            let now = wall_clock::now().unix_seconds();
            let began = Instant::now();
            if looked_at != Some(position) || found.next_end.is_some_and(|end| end <= now) {
                match self.look().await {
                    Ok(new) => (found, looked_at) = (new, Some(position)),
                    Err(error) => tracing::warn!(%error, "tasks to call back cannot be read"),
                }
                failures.retain(|id, _| found.ended.iter().any(|ended| ended.task.id == *id));
            }
            self.deliver(&mut found.ended, &mut failures).await;
            // Looking must not take all the time of a disk.
            tokio::time::sleep(LOOK_INTERVAL.max(began.elapsed() * 5)).await;
        }
    }

    async fn look(&self) -> Result<Found, RequestBookError> {
        let tasks = self.commits.tasks();
        let looked = tokio::task::spawn_blocking(move || look(&tasks)).await;
        looked.unwrap_or_else(|_| Ok(Found::default()))
    }

    /// Makes the calls that are due, and forgets those that are done.
    async fn deliver(&self, ended: &mut Vec<Ended>, failures: &mut Failures) {
        let is_due =
            |ended: &&Ended| failures.get(&ended.task.id).is_none_or(|(_, next)| *next <= Instant::now());
        let due: Vec<(String, String, String)> =
            ended.iter().filter(is_due).filter_map(Ended::call).collect();
        let unwanted = ended.iter().filter(|ended| ended.call().is_none()).map(|ended| ended.task.id.clone());
        let mut done: Vec<(String, bool)> = unwanted.map(|id| (id, false)).collect();
        let (mut calls, mut due) = (JoinSet::new(), due.into_iter());
        loop {
            while calls.len() < MAX_CALLS
                && let Some((id, url, body)) = due.next()
            {
                let callbacks = Arc::clone(&self.callbacks);
                calls.spawn(async move {
                    let time = wall_clock::now().unix_seconds();
                    (id, callbacks.call(&url, body, time).await)
                });
            }
            let Some(called) = calls.join_next().await else { break };
            let Ok((id, result)) = called else { continue };
            let at = ended.iter().find(|ended| ended.task.id == id).map_or(0, |ended| ended.at);
            if let Some(delivered) = outcome(&id, result, at, failures) {
                done.push((id, delivered));
            }
        }
        for (id, delivered) in done {
            if self.remember(&id, delivered).await {
                ended.retain(|ended| ended.task.id != id);
                failures.remove(&id);
            }
        }
    }

    /// Has the log remember that a call was made, or never will be.
    async fn remember(&self, id: &str, delivered: bool) -> bool {
        let operation = ReviewOperation::CallbackDone { id: id.to_owned(), delivered };
        let proposal = Proposal {
            caller: CALLER.to_owned(),
            request_id: None,
            key: None,
            until: Instant::now() + COMMIT_WITHIN,
            schema: *self.pdp.view().snapshot().schema().digest(),
            edits: ProposedEdits::Review(operation),
        };
        let (reply, result) = oneshot::channel();
        self.commits.submit(proposal, |result| drop(reply.send(result)));
        matches!(tokio::time::timeout(COMMIT_WITHIN, result).await, Ok(Ok(Ok(_))))
    }
}

/// Whether a call is done: it was taken, or it is given up.
fn outcome(
    id: &str,
    result: Result<(), CallbackFault>,
    ended_at: i64,
    failures: &mut Failures,
) -> Option<bool> {
    let Err(fault) = result else {
        tracing::info!(task = id, "called back");
        return Some(true);
    };
    let is_late = wall_clock::now().unix_seconds() > ended_at.saturating_add(GIVE_UP_AFTER);
    if is_late || fault.is_final() {
        tracing::warn!(task = id, error = %fault, "a callback is given up");
        return Some(false);
    }
    let (count, next) = failures.entry(id.to_owned()).or_insert((0, Instant::now()));
    let delay = Duration::from_secs(1_u64 << (*count).min(12)).min(MAX_DELAY);
    (*count, *next) = (count.saturating_add(1), Instant::now() + delay);
    tracing::info!(task = id, error = %fault, "a callback failed, and is repeated in {} s", delay.as_secs());
    None
}

/// Finds the tasks that have ended.
fn look(tasks: &TaskBook) -> Result<Found, RequestBookError> {
    let (mut found, mut after, now) = (Found::default(), String::new(), wall_clock::now());
    loop {
        let ids = tasks.that_call_back(&after, PAGE)?;
        let Some(last) = ids.last() else { return Ok(found) };
        after.clone_from(last);
        for id in &ids {
            let Some(task) = tasks.get(id)? else { continue };
            found.add(task, now);
        }
    }
}

impl Found {
    fn add(&mut self, found: TaskNow, now: Moment) {
        let status = found.status_at(now);
        let ends = found.requests.iter().flatten().filter_map(|request| request.expires_at);
        if status == TaskStatus::Pending {
            let end = ends.filter(|end| *end > now.unix_seconds()).min();
            self.next_end = self.next_end.into_iter().chain(end).min();
            return;
        }
        let ended = found.items().filter_map(|(item, request)| {
            let request = request?;
            item.cancelled_at.or(request.ended.as_ref().map(|ended| ended.at)).or(request.expires_at)
        });
        let at = ended.max().unwrap_or(found.task.asked_at);
        self.ended.push(Ended { task: found.task, status, at });
    }
}

impl Ended {
    /// The id of the task, the URL and the body of a call; `None` if the caller does not want one.
    fn call(&self) -> Option<(String, String, String)> {
        let callback = self.task.callback.as_ref()?;
        let wanted =
            callback.events.is_empty() || callback.events.iter().any(|it| it == self.status.as_str());
        if !wanted {
            return None;
        }
        let AccessTask { id, base_url, .. } = &self.task;
        let mut body = json!({
            "task": {
                "id": id,
                "status": self.status.as_str(),
                "status_endpoint": format!("{base_url}{TASK_PREFIX}{id}"),
            },
        });
        if let (Some(members), Some(state)) = (body.as_object_mut(), callback.state.clone()) {
            members.insert("state".to_owned(), state);
        }
        Some((id.clone(), callback.endpoint.clone(), Value::to_string(&body)))
    }
}
