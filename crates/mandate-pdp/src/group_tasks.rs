//! Tasks as the proposals of a group make and change them. A task and the requests that it makes are in one transaction
//! each, and all of them are committed together.

use mandate_core::display;
use mandate_core::moment::Moment;
use mandate_core::schema::{EntityUid, EntityUidRef};
use mandate_store::{Author, EntityName, RecordKey};

use crate::access_request::{AccessRequest, BY_SAME, NewRequest, REQUEST_KIND, RequestStatus, random_token};
use crate::asked::Asked;
use crate::commit_group::{CommitGroup, Work, transaction, unreadable};
use crate::generation::Generation;
use crate::proposal::{Proposal, Refusal};
use crate::review_rules::{new_request, read, rule_for};
use crate::task::{
    AccessTask, BY_DENIAL, BY_KEY, BY_REQUEST, CallbackDone, Cancellation, NewTask, TASK_KIND, TaskItem,
    TaskStatus,
};
use crate::wall_clock;

/// The most requests for the same that are looked at: those whose time has passed keep their key.
const MAX_SAME: usize = 100;

/// What the log calls transactions that only make or change a task.
const ASK: &str = "ask";
const CANCEL: &str = "cancel";
const CALL_BACK: &str = "callBack";

impl CommitGroup<'_> {
    /// Makes a task, and those of its requests that nobody has made yet.
    pub(crate) fn ask_all(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        new: &NewTask,
        current: &Generation,
    ) -> Result<(), Refusal> {
        let mut items = Vec::with_capacity(new.items.len());
        let (now, mut last_end) = (wall_clock::now(), 0);
        for (index, item) in new.items.iter().enumerate() {
            let is_here = items.iter().any(|other: &TaskItem| other.denial.token == item.denial.token);
            if is_here || self.was_used(work, &item.denial.token)? {
                return Err(Refusal::DenialUsed { index });
            }
            let (request, made) = self
                .ask_or_join(work, proposal, &item.ask, current)
                .map_err(|refusal| refusal.about_item(index))?;
            last_end = last_end.max(request.expires_at.unwrap_or(request.asked_at));
            items.push(TaskItem {
                request: request.id,
                made,
                denial: item.denial.clone(),
                approval: random_token(),
                until: item.until.map(Moment::unix_seconds),
                cancelled_at: None,
            });
        }
        let task = AccessTask {
            id: random_token(),
            caller: proposal.caller.clone(),
            key: proposal.key.as_ref().map(|request| request.key.clone()),
            base_url: new.base_url.clone(),
            asked_at: now.unix_seconds(),
            expires_at: AccessTask::kept_until(last_end),
            bundled: new.bundled,
            items,
            context: new.context.clone(),
            client: new.client.clone(),
            callback: new.callback.clone(),
            cancellation: None,
        };
        let subject = new.items.first().map(|item| item.ask.requester.clone());
        put(work, proposal, (ASK, subject), task)
    }

    /// Makes a request, or finds the one that waits for the same already.
    fn ask_or_join(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        new: &NewRequest,
        current: &Generation,
    ) -> Result<(AccessRequest, bool), Refusal> {
        let mut new = new.clone();
        let generation = work.generation.clone();
        let (rule, schema) = (rule_for(&generation, &new)?, generation.snapshot().schema());
        let mut wanted = new_request(rule, &new.requester, &proposal.caller, schema);
        if let Some(resource) = &new.resource {
            wanted.context.clone_from(&new.context);
            // In the words of the schema, so that the same is always said in the same way.
            new.context = Asked::of(&read(&wanted.asked(resource.clone()), work)?, schema).context;
            (wanted.context, wanted.resource) = (new.context.clone(), Some(resource.clone()));
        }
        if let Some(same) = self.same(work, &wanted)? {
            return Ok((same, false));
        }
        self.ask(work, proposal, &new, current)?;
        let made = work.requests.last().cloned();
        made.map(|made| (made, true)).ok_or_else(|| Refusal::NotReviewable("no request was made".to_owned()))
    }

    /// The request that waits for the same.
    fn same(&self, work: &Work, wanted: &AccessRequest) -> Result<Option<AccessRequest>, Refusal> {
        let Some(key) = wanted.sameness() else { return Ok(None) };
        let now = wall_clock::now();
        let waits = |request: &AccessRequest| {
            request.status_at(now) == RequestStatus::Pending && request.sameness().as_ref() == Some(&key)
        };
        let known = work.requests.iter().chain(self.requests.all()).find(|request| waits(request));
        if let Some(known) = known {
            return Ok(Some(known.clone()));
        }
        let key = RecordKey { kind: REQUEST_KIND, index: BY_SAME, key: &key };
        for id in self.log().records_with_key(key, "", MAX_SAME).map_err(unreadable)? {
            if let Some(found) = self.request_of(work, &id)?.filter(waits) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Cancels the items of a task that wait, and takes their requests back where nobody else waits for them.
    pub(crate) fn cancel_task(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (id, cancellation): (&str, &Cancellation),
        current: &Generation,
    ) -> Result<(), Refusal> {
        let task = self.task(work, id)?.filter(|task| task.caller == proposal.caller);
        let mut task = task.ok_or(Refusal::UnknownTask)?;
        let now = wall_clock::now();
        let requests = task.items.iter().map(|item| self.request_of(work, &item.request));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let statuses: Vec<TaskStatus> = task
            .items
            .iter()
            .zip(&requests)
            .map(|(item, request)| item.status_at(request.as_ref(), now))
            .collect();
        if !statuses.contains(&TaskStatus::Pending) {
            return Err(Refusal::TaskEnded(TaskStatus::of_items(statuses)));
        }
        let mut to_withdraw: Vec<AccessRequest> = Vec::new();
        for ((item, request), status) in task.items.iter_mut().zip(requests).zip(statuses) {
            if status != TaskStatus::Pending {
                continue;
            }
            item.cancelled_at = Some(now.unix_seconds());
            to_withdraw.extend(request.filter(|it| !to_withdraw.iter().any(|other| other.id == it.id)));
        }
        for request in to_withdraw {
            if self.is_only_of(work, &task, &request)? {
                let by = request.requester.clone();
                self.withdraw(work, proposal, (&request.link, &by), current)?;
            }
        }
        task.cancellation = Some(cancellation.clone());
        put(work, proposal, (CANCEL, None), task)
    }

    /// Whether a task made a request, or another that was cancelled since, and nobody else waits for it.
    fn is_only_of(&self, work: &Work, task: &AccessTask, request: &AccessRequest) -> Result<bool, Refusal> {
        let key = RecordKey { kind: TASK_KIND, index: BY_REQUEST, key: &request.id };
        let mut ids = self.log().records_with_key(key, "", usize::MAX).map_err(unreadable)?;
        ids.extend(self.tasks.iter().map(|known| known.id.clone()));
        let mut made = task.items.iter().any(|item| item.request == request.id && item.made);
        for id in ids.iter().filter(|id| **id != task.id) {
            let other = self.task(work, id)?;
            for item in other.iter().flat_map(|other| &other.items).filter(|item| item.request == request.id)
            {
                if item.cancelled_at.is_none() {
                    return Ok(false);
                }
                made |= item.made;
            }
        }
        Ok(made)
    }

    /// Remembers that a task has called back, or never will.
    pub(crate) fn callback_done(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (id, delivered): (&str, bool),
    ) -> Result<(), Refusal> {
        let mut task = self.task(work, id)?.ok_or(Refusal::UnknownTask)?;
        let done = CallbackDone { at: wall_clock::now().unix_seconds(), delivered };
        match &mut task.callback {
            Some(callback) if callback.done.is_none() => callback.done = Some(done),
            Some(_) | None => return Ok(()),
        }
        put(work, proposal, (CALL_BACK, None), task)
    }

    /// The task that a proposal had made when it was committed before.
    pub(crate) fn task_of(&self, proposal: &Proposal) -> Result<Option<AccessTask>, Refusal> {
        let Some(request) = &proposal.key else { return Ok(None) };
        let key = AccessTask::key_of(&proposal.caller, &request.key);
        let ids = self.tasks_with_key(BY_KEY, &key)?;
        ids.first().map_or(Ok(None), |id| self.stored_task(id))
    }

    fn task(&self, work: &Work, id: &str) -> Result<Option<AccessTask>, Refusal> {
        let known = work.tasks.iter().chain(self.tasks.iter().rev()).find(|task| task.id == id);
        known.map_or_else(|| self.stored_task(id), |task| Ok(Some(task.clone())))
    }

    /// Whether the token of a denial was used for a task.
    fn was_used(&self, work: &Work, token: &str) -> Result<bool, Refusal> {
        let has_it = |task: &AccessTask| task.items.iter().any(|item| item.denial.token == token);
        let is_known = work.tasks.iter().chain(&self.tasks).any(has_it);
        Ok(is_known || !self.tasks_with_key(BY_DENIAL, token)?.is_empty())
    }

    fn tasks_with_key(&self, index: &str, key: &str) -> Result<Vec<String>, Refusal> {
        let key = RecordKey { kind: TASK_KIND, index, key };
        self.log().records_with_key(key, "", 1).map_err(unreadable)
    }

    fn stored_task(&self, id: &str) -> Result<Option<AccessTask>, Refusal> {
        let record = self.log().record(TASK_KIND, id).map_err(unreadable)?;
        record.map(|record| AccessTask::from_record(&record)).transpose().map_err(unreadable)
    }
}

/// Puts a task, in a transaction of its own.
fn put(
    work: &mut Work,
    proposal: &Proposal,
    (action, subject): (&str, Option<EntityName>),
    task: AccessTask,
) -> Result<(), Refusal> {
    let schema = work.generation.snapshot().schema();
    let subject = subject.and_then(|name| {
        let uid = EntityUid {
            entity_type: schema.resolve_entity_type(&name.entity_type).ok()?,
            id: name.id.into(),
        };
        let uid: EntityUidRef<'_> = uid.as_uid_ref();
        Some(display::uid(uid, schema))
    });
    let author = Author { subject, action: Some(action.to_owned()), ..Author::default() };
    let record = task.to_record().map_err(unreadable)?;
    work.transactions.extend(transaction(proposal, author, Vec::new(), (None, vec![record])));
    work.tasks.push(task);
    Ok(())
}
