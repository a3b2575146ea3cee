//! The life of a policy edit: found in its folder, proven where guardrails are enforced, then in use or
//! refused. Until then the last good policies serve, and entities change as always.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::digest::Digest;
use mandate_sources::loader::{
    Accepted, EntityLoader, PendingPolicies, PolicyLoader, PolicyPoll, ReloadResult,
};
use mandate_sources::source::Reread;

use crate::entity_track::SharedEntityLoader;
use crate::generation::Generation;
use crate::poll_loop::{Polled, SourceState, Track};
use crate::proof_worker::{CompletedProof, GuardrailMode, ProofJob, ProofWorker};
use crate::publisher::Publisher;
use crate::report::Reporter;
use crate::track::TrackName;

/// How long a new schema waits for a poll of the entities to end. It is tried again later.
const MAX_ENTITY_WAIT: Duration = Duration::from_secs(1);

/// How long policies wait for changes that are being committed. They are tried again later.
const MAX_COMMIT_WAIT: Duration = Duration::from_secs(1);

/// What became of the newest policies.
enum PolicyState {
    /// They are in use, or cannot be read at all.
    Settled,
    /// They wait for their proof. What was proven of other policies before stays known meanwhile.
    Proving { pending: Box<PendingPolicies>, before: Option<KnownProof> },
    /// They are proven or refused, and not in use: a guardrail is broken, or the entities do not fit their
    /// schema. The proof stays known, so that the same policies are not proven again.
    NotInUse(KnownProof),
}

/// A proof that another one of the same policies and guardrails would repeat.
struct KnownProof {
    digest: Digest,
    proof: CompletedProof,
}

/// Follows the policy folder.
pub(crate) struct PolicyTrack {
    loader: PolicyLoader,
    entities: SharedEntityLoader,
    publisher: Arc<Publisher>,
    worker: ProofWorker,
    state: PolicyState,
}

impl Track for PolicyTrack {
    const NAME: TrackName = TrackName::Policies;

    fn poll(&mut self, reread: Reread) -> Polled {
        let started = Instant::now();
        let proving_before = self.proving_digest();
        // The folder is read whole at every poll. An operator also asks for another proof.
        let result = self.poll_folder(reread == Reread::Everything);
        let proving = self.proving_digest();
        if proving.is_some() {
            return Polled { found_change: proving != proving_before, state: SourceState::Waiting };
        }
        let refused = self.reporter().reload(Self::NAME, result.as_ref(), started.elapsed(), None);
        Polled::of(result.as_ref(), refused)
    }
}

impl PolicyTrack {
    /// Begins with policies that are in use, and with their proof, if there is one.
    pub fn new(
        loader: PolicyLoader,
        entities: SharedEntityLoader,
        publisher: Arc<Publisher>,
        worker: ProofWorker,
        proof: Option<&CompletedProof>,
    ) -> Self {
        let track = Self { loader, entities, publisher, worker, state: PolicyState::Settled };
        track.reporter().guardrail_mode(track.worker.mode, track.worker.not_enforced.as_deref());
        if let Some(proof) = proof {
            track.reporter().proof_in_use(proof);
        } else {
            let current = track.publisher.current();
            let (policies, routes) = (current.snapshot().policies().clone(), current.routes().clone());
            let guardrails = track.loader.guardrails().to_vec();
            let guardrails_in_use = guardrails.clone();
            track.prove_in_use(ProofJob { policies, routes, guardrails, guardrails_in_use });
        }
        track
    }

    fn reporter(&self) -> &Reporter {
        self.publisher.reporter()
    }

    /// Looks for new policies, and for the end of a proof. The folder is read first: a proof of policies
    /// that are no longer there counts for nothing.
    fn poll_folder(&mut self, force: bool) -> Option<ReloadResult> {
        let current = self.publisher.current();
        let in_use = current.snapshot().policies();
        let pending = match &self.state {
            PolicyState::Proving { pending, .. } => Some(&**pending),
            PolicyState::Settled | PolicyState::NotInUse(_) => None,
        };
        let polled = self.loader.poll(in_use, pending, force);
        if !matches!(polled, PolicyPoll::StillPending) {
            self.cancel_proof();
            if let Some(proof) = self.worker.take_completed() {
                self.reporter().proof_in_use(&proof);
            }
        }
        match polled {
            PolicyPoll::StillPending => {
                let proof = self.worker.take_completed()?;
                self.proof_completed(proof)
            }
            PolicyPoll::Unchanged => {
                self.reporter().clear_refused_proof();
                None
            }
            PolicyPoll::Invalid(diagnostics) => {
                self.reporter().clear_refused_proof();
                Some(Err(diagnostics))
            }
            PolicyPoll::Pending(pending) if self.loader.is_in_use(&pending, in_use, current.routes()) => {
                self.reporter().clear_refused_proof();
                let job = self.job(&pending);
                let result = self.accept(*pending);
                if force && result.is_ok() {
                    self.prove_in_use(job);
                }
                Some(result)
            }
            PolicyPoll::Pending(pending) => self.prove_or_accept(pending, force),
        }
    }

    /// The digest of the policies whose proof is awaited, so that nothing can be said of them yet.
    fn proving_digest(&self) -> Option<Digest> {
        match &self.state {
            PolicyState::Proving { pending, .. } => Some(pending.digest()),
            PolicyState::Settled | PolicyState::NotInUse(_) => None,
        }
    }

    /// Policies that differ from those in use.
    fn prove_or_accept(&mut self, pending: Box<PendingPolicies>, force: bool) -> Option<ReloadResult> {
        let known = self.take_known_proof();
        let known = match known {
            Some(known) if known.digest == pending.digest() => match known.proof.outcome.result.clone() {
                Ok(()) => return Some(self.accept_proven(*pending, known.proof)),
                Err(diagnostics) if !force => {
                    self.reporter().still_refused(&known.proof);
                    self.state = PolicyState::NotInUse(known);
                    return Some(Err(diagnostics));
                }
                Err(_) => None,
            },
            other => other,
        };
        if !self.worker.enforces() {
            return Some(self.accept_unproven(*pending));
        }
        self.reporter().clear_refused_proof();
        tracing::info!("proving the guardrails of new policies");
        self.reporter().proving(true);
        self.worker.submit(self.job(&pending));
        self.state = PolicyState::Proving { pending, before: known };
        None
    }

    fn accept_unproven(&mut self, pending: PendingPolicies) -> ReloadResult {
        let lost = pending.guardrails().is_empty() && !self.loader.guardrails().is_empty();
        if lost && self.worker.mode == GuardrailMode::Warn {
            tracing::warn!("there were guardrails, and there are none now");
        }
        let job = self.job(&pending);
        let result = self.accept(pending);
        if result.is_ok() {
            self.prove_in_use(job);
        }
        result
    }

    /// Proves what is in use already, where operators are to be told.
    fn prove_in_use(&self, job: ProofJob) {
        if self.worker.mode == GuardrailMode::Warn {
            self.reporter().unproven();
            if self.worker.submit(job) {
                self.reporter().proving(true);
            }
        }
    }

    fn job(&self, pending: &PendingPolicies) -> ProofJob {
        ProofJob {
            policies: pending.policies.clone(),
            routes: pending.routes.clone(),
            guardrails: pending.guardrails().to_vec(),
            guardrails_in_use: self.loader.guardrails().to_vec(),
        }
    }

    fn take_known_proof(&mut self) -> Option<KnownProof> {
        match std::mem::replace(&mut self.state, PolicyState::Settled) {
            PolicyState::Settled => None,
            PolicyState::Proving { before, .. } => before,
            PolicyState::NotInUse(known) => Some(known),
        }
    }

    fn cancel_proof(&mut self) {
        if matches!(self.state, PolicyState::Proving { .. }) {
            self.state = self.take_known_proof().map_or(PolicyState::Settled, PolicyState::NotInUse);
            self.worker.cancel();
            self.reporter().proving(false);
        }
    }

    fn proof_completed(&mut self, proof: CompletedProof) -> Option<ReloadResult> {
        let PolicyState::Proving { pending, before } =
            std::mem::replace(&mut self.state, PolicyState::Settled)
        else {
            return None;
        };
        let Some(diagnostics) = proof.outcome.result.clone().err() else {
            return Some(self.accept_proven(*pending, proof));
        };
        self.reporter().proof_refused(&proof);
        // What the solver did not know this time, it may know the next time.
        let known = KnownProof { digest: pending.digest(), proof };
        let known = if known.proof.outcome.is_conclusive { Some(known) } else { before };
        self.state = known.map_or(PolicyState::Settled, PolicyState::NotInUse);
        Some(Err(diagnostics))
    }

    fn accept_proven(&mut self, pending: PendingPolicies, proof: CompletedProof) -> ReloadResult {
        let digest = pending.digest();
        let result = self.accept(pending);
        if result.is_ok() {
            self.reporter().proof_in_use(&proof);
        } else {
            self.reporter().proving(false);
            self.state = PolicyState::NotInUse(KnownProof { digest, proof });
        }
        result
    }

    /// Puts policies in use, where they differ from those in use. No change is decided by the policies before and
    /// committed after these are in use.
    fn accept(&mut self, pending: PendingPolicies) -> ReloadResult {
        let publisher = Arc::clone(&self.publisher);
        let Some(_no_commit) = publisher.no_commit_within(MAX_COMMIT_WAIT) else {
            return Err(commit_does_not_end());
        };
        let current = self.publisher.current();
        let in_use = current.snapshot().policies();
        if pending.policies.schema().digest() != in_use.schema().digest() {
            return self.accept_new_schema(pending);
        }
        let beside_differ = pending.routes.digest() != current.routes().digest()
            || pending.changes.digest() != current.changes().digest();
        let changed = beside_differ || !self.loader.is_in_use(&pending, in_use, current.routes());
        if beside_differ || pending.policies.digest() != in_use.digest() {
            let (policies, routes) = (Arc::clone(&pending.policies), Arc::clone(&pending.routes));
            self.publisher.publish_policies(policies, routes, Arc::clone(&pending.changes))?;
        }
        Ok(self.loader.confirm(pending, changed))
    }

    /// Reads all entities by a new schema, and puts both in use.
    fn accept_new_schema(&mut self, pending: PendingPolicies) -> ReloadResult {
        let started = Instant::now();
        let Some(mut entities) = lock_entities(&self.entities) else { return Err(entities_are_busy()) };
        let snapshot = entities.load(&self.loader.without_entities(&pending)?)?;
        let (routes, changes) = (Arc::clone(&pending.routes), Arc::clone(&pending.changes));
        let position = self.publisher.current().position();
        self.publisher.publish(Generation::new(snapshot, routes, changes).with_position(position));
        // The entities were read again and accepted, too.
        let accepted = Accepted { changed: true, ..Accepted::default() };
        self.reporter().reload(TrackName::Entities, Some(&Ok(accepted)), started.elapsed(), None);
        self.reporter().looked(TrackName::Entities, started, true);
        Ok(self.loader.confirm(pending, true))
    }
}

/// The loader of the entities, unless a poll of it takes too long: its disk may hang.
fn lock_entities(entities: &Mutex<EntityLoader>) -> Option<MutexGuard<'_, EntityLoader>> {
    let started = Instant::now();
    loop {
        match entities.try_lock() {
            Ok(loader) => return Some(loader),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if started.elapsed() > MAX_ENTITY_WAIT => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn commit_does_not_end() -> Diagnostics {
    let diagnostic = Diagnostic::error("a change is being committed, and its disk does not answer");
    diagnostic.help("the policies come into use when it has ended; `deny-all` does not wait for it").into()
}

fn entities_are_busy() -> Diagnostics {
    let diagnostic = Diagnostic::error("the schema is new, and the entities cannot be read by it now");
    diagnostic.help("their source is being read and does not answer; this is tried again").into()
}
