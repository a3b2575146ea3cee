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
    Author, EntityName, LogPosition, NewTransaction, PreparedChange, TransactionLog, prepare,
};

use crate::change::{ChangeDecision, author_of};
use crate::generation::Generation;
use crate::proposal::{
    CommitResult, Committed, DecidedAction, EntityEdit, EntityEditKind, Precondition, Proposal,
    ProposedEdits, Refusal,
};
use crate::record::DecisionId;

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
}

/// The group cannot decide on a proposal before it is committed itself.
pub(crate) struct MustWait;

impl<'a> CommitGroup<'a> {
    /// A group on a generation whose entities are at this position.
    pub fn new(log: &'a dyn TransactionLog, generation: Generation, position: LogPosition) -> Self {
        let (transactions, keys, edited) = (Vec::new(), HashSet::new(), HashSet::new());
        Self { log, generation, position, transactions, keys, edited }
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
            created: found.into_iter().map(|transaction| transaction.created).collect(),
        }))
    }

    fn perform(
        &mut self,
        proposal: &Proposal,
        requests: &[Request],
        current: &Generation,
    ) -> Result<Committed, Refusal> {
        let mut working = self.generation.clone();
        let (mut transactions, mut edited) = (Vec::new(), Vec::new());
        let (mut decisions, mut created) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let asked = Instant::now();
            let denied = |decision| {
                let (denied, revision) =
                    (DecidedAction { decision, took: asked.elapsed() }, current.revision().clone());
                Refusal::Denied { index, denied, revision }
            };
            if let Some(suspended) = current.suspended() {
                return Err(denied(Arc::clone(suspended)));
            }
            let decided = working.decide_change(request, &mut || DecisionId::generate().to_string());
            let (decision, edits) = match decided {
                Ok(ChangeDecision::Denied(decision)) => return Err(denied(Arc::new(decision))),
                Ok(ChangeDecision::Permitted(decision, edits)) => {
                    (DecidedAction { decision: Arc::new(decision), took: asked.elapsed() }, edits)
                }
                Err(error) => return Err(Refusal::NotPerformable { index, error }),
            };
            edited.extend(edited_by(&edits.changes));
            let prepared = prepare(working.snapshot(), edits.changes)
                .map_err(|diagnostics| Refusal::Invalid { index: Some(index), diagnostics })?;
            let schema = working.snapshot().schema();
            let names: Vec<EntityName> =
                edits.created.iter().map(|uid| EntityName::new(uid.as_uid_ref(), schema)).collect();
            let author = author_of(request, &decision.decision, schema);
            transactions.extend(transaction(proposal, author, names.clone(), prepared.as_ref()));
            if let Some(prepared) = prepared {
                working = working.with_entities(prepared.next);
            }
            decisions.push(decision);
            created.push(names);
        }
        let committed = self.add(transactions, working);
        self.edited.extend(edited);
        Ok(Committed { created, decisions, ..committed })
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
        let transactions = transaction(proposal, author, Vec::new(), prepared.as_ref());
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

    fn add(&mut self, transactions: Vec<NewTransaction>, next: Generation) -> Committed {
        self.position.sequence += transactions.len() as u64;
        self.transactions.extend(transactions);
        self.generation = next;
        Committed {
            position: self.position,
            revision: self.generation.revision().clone(),
            created: Vec::new(),
            decisions: Vec::new(),
            repeated: false,
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::NotCommitted(error.to_string())
}

fn edited_by(changes: &EntityChanges) -> impl Iterator<Item = EntityUid> + use<> {
    let upserts = changes.upserts.iter().map(|upsert| upsert.entity.uid().to_owned());
    upserts.chain(changes.removals.iter().cloned()).collect::<Vec<_>>().into_iter()
}

/// The transaction of a change, if it changes anything. A request with a key is remembered by its transactions, so it
/// has one in any case.
fn transaction(
    proposal: &Proposal,
    author: Author,
    created: Vec<EntityName>,
    prepared: Option<&PreparedChange>,
) -> Option<NewTransaction> {
    if prepared.is_none() && proposal.key.is_none() {
        return None;
    }
    let edits = prepared.into_iter().flat_map(PreparedChange::edits).collect();
    let (caller, request_id) = (proposal.caller.clone(), proposal.request_id.clone());
    let author = Author { caller, request_id, ..author };
    Some(NewTransaction { author, request: proposal.key.clone(), created, edits })
}
