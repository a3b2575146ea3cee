//! Proposals that are committed together. Each is decided on the entities as those before it leave them, so the
//! outcome is the same as if they were committed one after the other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use mandate_core::Snapshot;
use mandate_core::entities::EntityChanges;
use mandate_core::request::Request;
use mandate_core::schema::EntityUid;
use mandate_store::{
    Author, EntityName, LogPosition, NamedEdit, NewTransaction, PreparedChange, Record, TransactionLog,
    prepare,
};

use crate::access_request::AccessRequest;
use crate::asked::Asked;
use crate::change::{ChangeDecision, author_of};
use crate::generation::Generation;
use crate::proposal::{
    CommitResult, Committed, DecidedAction, EntityEdit, EntityEditKind, Precondition, Proposal,
    ProposedEdits, Refusal,
};
use crate::record::DecisionId;
use crate::request_changes::{GroupRequests, Review};
use crate::task::AccessTask;

/// The transactions of some proposals, and the entities that they lead to.
pub(crate) struct CommitGroup<'a> {
    log: &'a dyn TransactionLog,
    /// With the entities as the proposals so far leave them.
    generation: Generation,
    /// Where the proposals so far would be committed.
    position: LogPosition,
    transactions: Vec<NewTransaction>,
    /// Callers and keys of the proposals so far.
    keys: HashSet<(String, String)>,
    /// The entities that the proposals so far edit.
    edited: HashSet<EntityUid>,
    /// The requests as the proposals so far leave them.
    pub(crate) requests: GroupRequests,
    /// The tasks that the proposals so far made or changed, the newest last.
    pub(crate) tasks: Vec<AccessTask>,
}

/// What one proposal comes to, as long as it is not known whether all of it can be done.
pub(crate) struct Work {
    pub generation: Generation,
    pub transactions: Vec<NewTransaction>,
    pub edited: Vec<EntityUid>,
    pub decisions: Vec<DecidedAction>,
    pub created: Vec<Vec<EntityName>>,
    pub requests: Vec<AccessRequest>,
    pub tasks: Vec<AccessTask>,
}

/// The group cannot decide on a proposal before it is committed itself.
pub(crate) struct MustWait;

impl<'a> CommitGroup<'a> {
    /// A group on a generation whose entities are at this position.
    pub fn new(log: &'a dyn TransactionLog, generation: Generation, position: LogPosition) -> Self {
        let (transactions, keys, edited) = (Vec::new(), HashSet::new(), HashSet::new());
        let requests = GroupRequests::default();
        Self { log, generation, position, transactions, keys, edited, requests, tasks: Vec::new() }
    }

    /// The transactions to append, and the entities afterwards.
    pub fn into_parts(self) -> (Vec<NewTransaction>, Snapshot) {
        (self.transactions, self.generation.snapshot().clone())
    }

    /// Decides on a proposal. `current` is the generation in use, which tells whether everything is denied. What is
    /// decided counts once the group is committed.
    pub fn propose(&mut self, proposal: &Proposal, current: &Generation) -> Result<CommitResult, MustWait> {
        // The time that a request was asked at must not be long ago, either.
        if Instant::now() > proposal.until {
            return Ok(Err(Refusal::TooLate));
        }
        if proposal.schema != *self.generation.snapshot().schema().digest() {
            return Ok(Err(Refusal::SchemaChanged));
        }
        let key = proposal.key.as_ref().map(|request| (proposal.caller.clone(), request.key.clone()));
        if key.as_ref().is_some_and(|key| self.keys.contains(key)) {
            return Err(MustWait);
        }
        if let Some(known) = self.known(proposal).transpose() {
            return Ok(known);
        }
        let result = match &proposal.edits {
            ProposedEdits::Actions(requests) => self.perform(proposal, requests, current),
            ProposedEdits::Review(operation) => self.review(proposal, operation, current),
            ProposedEdits::Entities { action, edits } => {
                let uids = || edits.iter().map(EntityEdit::uid);
                let expects = edits.iter().any(|edit| edit.precondition != Precondition::Anything);
                if expects && uids().any(|uid| self.edited.contains(&uid.to_owned())) {
                    return Err(MustWait);
                }
                self.write(proposal, action, edits)
            }
        };
        self.keys.extend(key.filter(|_| result.is_ok()));
        Ok(result)
    }

    /// What became of the request of this key, if the log has it.
    fn known(&self, proposal: &Proposal) -> Result<Option<Committed>, Refusal> {
        let Some(request) = &proposal.key else { return Ok(None) };
        // It may have been committed before, which nobody can tell now.
        let found = self.log.request(&proposal.caller, &request.key).map_err(|_| Refusal::Unknown)?;
        let Some(last) = found.last() else { return Ok(None) };
        if last.request.as_ref().is_none_or(|known| known.digest != request.digest) {
            return Err(Refusal::KeyReused { position: last.position() });
        }
        Ok(Some(Committed {
            position: last.position(),
            revision: self.generation.revision().clone(),
            decisions: Vec::new(),
            repeated: true,
            requests: self.requests_of(&found)?,
            tasks: self.task_of(proposal)?.into_iter().collect(),
            created: found.into_iter().map(|transaction| transaction.created).collect(),
        }))
    }

    fn perform(
        &mut self,
        proposal: &Proposal,
        requests: &[Request],
        current: &Generation,
    ) -> Result<Committed, Refusal> {
        let mut work = self.begin();
        for (index, request) in requests.iter().enumerate() {
            let review = self.review_of(&work, request)?;
            self.act(&mut work, proposal, (index, request), current, review)?;
        }
        Ok(self.end(work))
    }

    pub(crate) fn begin(&self) -> Work {
        Work {
            generation: self.generation.clone(),
            transactions: Vec::new(),
            edited: Vec::new(),
            decisions: Vec::new(),
            created: Vec::new(),
            requests: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// Counts what a proposal comes to.
    pub(crate) fn end(&mut self, work: Work) -> Committed {
        let Work { generation, transactions, edited, decisions, created, requests, tasks } = work;
        let committed = self.add(transactions, generation);
        self.edited.extend(edited);
        self.requests.extend(&requests);
        self.tasks.extend(tasks.iter().cloned());
        Committed { created, decisions, requests, tasks, ..committed }
    }

    /// Decides on an action, and makes its edits if it is permitted. `review` is the request that it ends.
    pub(crate) fn act(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (index, request): (usize, &Request),
        current: &Generation,
        review: Option<Review>,
    ) -> Result<(), Refusal> {
        let began = Instant::now();
        let asked = match &proposal.edits {
            ProposedEdits::Review(_) => Some(Asked::of(request, work.generation.snapshot().schema())),
            ProposedEdits::Actions(_) | ProposedEdits::Entities { .. } => None,
        };
        let asked = asked.map(Box::new);
        let decided_action =
            |decision| DecidedAction { decision, took: began.elapsed(), asked: asked.clone() };
        let denied = |decision| {
            let (denied, revision) = (decided_action(decision), current.revision().clone());
            Refusal::Denied { index, denied, revision }
        };
        if let Some(suspended) = current.suspended() {
            return Err(denied(Arc::clone(suspended)));
        }
        let decided = work.generation.decide_change(request, &mut || DecisionId::generate().to_string());
        let (decision, edits) = match decided {
            Ok(ChangeDecision::Denied(decision)) => return Err(denied(Arc::new(decision))),
            Ok(ChangeDecision::Permitted(decision, edits)) => (decided_action(Arc::new(decision)), edits),
            Err(error) => return Err(Refusal::NotPerformable { index, error }),
        };
        work.edited.extend(edited_by(&edits.changes));
        let prepared = prepare(work.generation.snapshot(), edits.changes)
            .map_err(|diagnostics| Refusal::Invalid { index: Some(index), diagnostics })?;
        let schema = work.generation.snapshot().schema();
        let names: Vec<EntityName> =
            edits.created.iter().map(|uid| EntityName::new(uid.as_uid_ref(), schema)).collect();
        let author = author_of(request, &decision.decision, schema);
        let requests = self.requests_after(work, proposal, request, &names, review)?;
        let records = requests.iter().map(AccessRequest::to_record).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(unreadable)?;
        work.transactions.extend(transaction(proposal, author, names.clone(), (prepared.as_ref(), records)));
        if let Some(prepared) = prepared {
            work.generation = work.generation.with_entities(prepared.next);
        }
        work.decisions.push(decision);
        work.created.push(names);
        work.requests.extend(requests);
        Ok(())
    }

    fn write(
        &mut self,
        proposal: &Proposal,
        action: &str,
        edits: &[EntityEdit],
    ) -> Result<Committed, Refusal> {
        let mut changes = EntityChanges::default();
        for (index, edit) in edits.iter().enumerate() {
            self.check(index, edit)?;
            match &edit.kind {
                EntityEditKind::Put(upsert) => changes.upserts.push(upsert.as_ref().clone()),
                EntityEditKind::Delete(uid) => changes.removals.push(uid.clone()),
            }
        }
        let edited: Vec<EntityUid> = edited_by(&changes).collect();
        let prepared = prepare(self.generation.snapshot(), changes)
            .map_err(|diagnostics| Refusal::Invalid { index: None, diagnostics })?;
        let author = Author { action: Some(action.to_owned()), ..Author::default() };
        let transactions = transaction(proposal, author, Vec::new(), (prepared.as_ref(), Vec::new()));
        let next = prepared.map(|prepared| self.generation.with_entities(prepared.next));
        let committed =
            self.add(transactions.into_iter().collect(), next.unwrap_or_else(|| self.generation.clone()));
        self.edited.extend(edited);
        Ok(committed)
    }

    /// Checks what an edit expects of its entity.
    fn check(&self, index: usize, edit: &EntityEdit) -> Result<(), Refusal> {
        let snapshot = self.generation.snapshot();
        let name = || EntityName::new(edit.uid(), snapshot.schema());
        let exists = snapshot.entities().get(edit.uid()).is_some();
        if matches!(edit.kind, EntityEditKind::Delete(_)) && !exists {
            return Err(Refusal::NotFound { index, name: name() });
        }
        let version = || {
            let stored = self.log.entity(&name()).map_err(unreadable)?;
            Ok(stored.map(|entity| entity.version))
        };
        let is_met = match edit.precondition {
            Precondition::Anything => true,
            Precondition::Exists => exists,
            Precondition::Absent => !exists,
            Precondition::Version(expected) => version()? == Some(expected),
        };
        if is_met { Ok(()) } else { Err(Refusal::Precondition { index, name: name(), version: version()? }) }
    }

    pub(crate) fn log(&self) -> &dyn TransactionLog {
        self.log
    }

    fn add(&mut self, transactions: Vec<NewTransaction>, next: Generation) -> Committed {
        self.position.sequence += transactions.len() as u64;
        self.transactions.extend(transactions);
        self.generation = next;
        Committed {
            position: self.position,
            revision: self.generation.revision().clone(),
            created: Vec::new(),
            decisions: Vec::new(),
            requests: Vec::new(),
            tasks: Vec::new(),
            repeated: false,
        }
    }
}

pub(crate) fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::NotCommitted(error.to_string())
}

fn edited_by(changes: &EntityChanges) -> impl Iterator<Item = EntityUid> + use<> {
    let upserts = changes.upserts.iter().map(|upsert| upsert.entity.uid().to_owned());
    upserts.chain(changes.removals.iter().cloned()).collect::<Vec<_>>().into_iter()
}

/// The transaction of a change, if it changes anything. A request with a key is remembered by its transactions, so it
/// has one in any case.
pub(crate) fn transaction(
    proposal: &Proposal,
    author: Author,
    created: Vec<EntityName>,
    (prepared, records): (Option<&PreparedChange>, Vec<Record>),
) -> Option<NewTransaction> {
    if prepared.is_none() && records.is_empty() && proposal.key.is_none() {
        return None;
    }
    let records = records.into_iter().map(NamedEdit::record);
    let edits = prepared.into_iter().flat_map(PreparedChange::edits).chain(records).collect();
    let (caller, request_id) = (proposal.caller.clone(), proposal.request_id.clone());
    let author = Author { caller, request_id, ..author };
    Some(NewTransaction { author, request: proposal.key.clone(), created, edits })
}
