//! The life of a policy edit: found in its folder, proven where guardrails are enforced, then in use or
//! refused. Until then the last good policies serve, and entities change as always.

use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::digest::Digest;
use mandate_sources::loader::{Loader, PendingPolicies, PolicyPoll, ReloadResult};

use crate::generation::Generation;
use crate::proof_worker::{CompletedProof, GuardrailMode, ProofJob, ProofWorker};
use crate::publisher::Publisher;

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
pub(crate) struct PolicyLifecycle {
    worker: ProofWorker,
    state: PolicyState,
}

impl PolicyLifecycle {
    /// Begins with policies that are in use, and with their proof, if there is one.
    pub fn start(
        worker: ProofWorker,
        publisher: &Publisher,
        proof: Option<&CompletedProof>,
        loader: &Loader,
    ) -> Self {
        publisher.reporter().guardrail_mode(worker.mode, worker.unavailable_reason.as_deref());
        let lifecycle = Self { worker, state: PolicyState::Settled };
        if let Some(proof) = proof {
            publisher.reporter().proof_in_use(proof);
        } else {
            let policies = publisher.current().snapshot().policies().clone();
            lifecycle
                .prove_in_use(ProofJob { policies, guardrails: loader.guardrails().to_vec() }, publisher);
        }
        lifecycle
    }

    /// Looks for new policies, and for the end of a proof. The folder is read first: a proof of policies
    /// that are no longer there counts for nothing.
    pub fn poll(
        &mut self,
        loader: &mut Loader,
        publisher: &mut Publisher,
        force: bool,
    ) -> Option<ReloadResult> {
        let current = publisher.current();
        let pending = match &self.state {
            PolicyState::Proving { pending, .. } => Some(&**pending),
            PolicyState::Settled | PolicyState::NotInUse(_) => None,
        };
        let polled = loader.poll_policies(current.snapshot(), pending, force);
        if !matches!(polled, PolicyPoll::StillPending) {
            self.cancel_proof(publisher);
            if let Some(proof) = self.worker.take_completed() {
                publisher.reporter().proof_in_use(&proof);
            }
        }
        match polled {
            PolicyPoll::StillPending => {
                let proof = self.worker.take_completed()?;
                self.proof_completed(proof, loader, publisher)
            }
            PolicyPoll::Unchanged => {
                publisher.reporter().clear_refused_proof();
                None
            }
            PolicyPoll::Invalid(diagnostics) => {
                publisher.reporter().clear_refused_proof();
                Some(Err(diagnostics))
            }
            PolicyPoll::Pending(pending) if loader.is_in_use(&pending, current.snapshot()) => {
                publisher.reporter().clear_refused_proof();
                Some(accept(*pending, loader, publisher))
            }
            PolicyPoll::Pending(pending) => self.prove_or_accept(pending, loader, publisher, force),
        }
    }

    /// Whether a proof is awaited, so that nothing can be said of the newest policies yet.
    pub fn is_proving(&self) -> bool {
        matches!(self.state, PolicyState::Proving { .. })
    }

    /// Policies that differ from those in use.
    fn prove_or_accept(
        &mut self,
        pending: Box<PendingPolicies>,
        loader: &mut Loader,
        publisher: &mut Publisher,
        force: bool,
    ) -> Option<ReloadResult> {
        let known = self.take_known_proof();
        let known = match known {
            Some(known) if known.digest == pending.digest() => match known.proof.outcome.result.clone() {
                Ok(()) => return Some(self.accept_proven(*pending, known.proof, loader, publisher)),
                Err(diagnostics) if !force => {
                    publisher.reporter().still_refused(&known.proof);
                    self.state = PolicyState::NotInUse(known);
                    return Some(Err(diagnostics));
                }
                Err(_) => None,
            },
            other => other,
        };
        let lost = pending.guardrails().is_empty() && !loader.guardrails().is_empty();
        if !self.worker.enforces() {
            return Some(self.accept_unproven(*pending, lost, loader, publisher));
        }
        publisher.reporter().clear_refused_proof();
        if lost {
            self.state = known.map_or(PolicyState::Settled, PolicyState::NotInUse);
            return Some(Err(guardrails_lost()));
        }
        tracing::info!("proving the guardrails of new policies");
        publisher.reporter().proving(true);
        self.worker.submit(job(&pending));
        self.state = PolicyState::Proving { pending, before: known };
        None
    }

    fn accept_unproven(
        &mut self,
        pending: PendingPolicies,
        lost: bool,
        loader: &mut Loader,
        publisher: &mut Publisher,
    ) -> ReloadResult {
        if lost && self.worker.mode == GuardrailMode::Warn {
            tracing::warn!("there were guardrails, and there are none now");
        }
        let job = job(&pending);
        let result = accept(pending, loader, publisher);
        if result.is_ok() {
            self.prove_in_use(job, publisher);
        }
        result
    }

    /// Proves what is in use already, where operators are to be told.
    fn prove_in_use(&self, job: ProofJob, publisher: &Publisher) {
        if self.worker.mode == GuardrailMode::Warn {
            publisher.reporter().unproven();
            if self.worker.submit(job) {
                publisher.reporter().proving(true);
            }
        }
    }

    fn take_known_proof(&mut self) -> Option<KnownProof> {
        match std::mem::replace(&mut self.state, PolicyState::Settled) {
            PolicyState::Settled => None,
            PolicyState::Proving { before, .. } => before,
            PolicyState::NotInUse(known) => Some(known),
        }
    }

    fn cancel_proof(&mut self, publisher: &Publisher) {
        if self.is_proving() {
            self.state = self.take_known_proof().map_or(PolicyState::Settled, PolicyState::NotInUse);
            self.worker.cancel();
            publisher.reporter().proving(false);
        }
    }

    fn proof_completed(
        &mut self,
        proof: CompletedProof,
        loader: &mut Loader,
        publisher: &mut Publisher,
    ) -> Option<ReloadResult> {
        let PolicyState::Proving { pending, before } =
            std::mem::replace(&mut self.state, PolicyState::Settled)
        else {
            return None;
        };
        let Some(diagnostics) = proof.outcome.result.clone().err() else {
            return Some(self.accept_proven(*pending, proof, loader, publisher));
        };
        publisher.reporter().proof_refused(&proof);
        // What the solver did not know this time, it may know the next time.
        let known = KnownProof { digest: pending.digest(), proof };
        let known = if known.proof.outcome.is_conclusive { Some(known) } else { before };
        self.state = known.map_or(PolicyState::Settled, PolicyState::NotInUse);
        Some(Err(diagnostics))
    }

    fn accept_proven(
        &mut self,
        pending: PendingPolicies,
        proof: CompletedProof,
        loader: &mut Loader,
        publisher: &mut Publisher,
    ) -> ReloadResult {
        let digest = pending.digest();
        let result = accept(pending, loader, publisher);
        if result.is_ok() {
            publisher.reporter().proof_in_use(&proof);
        } else {
            publisher.reporter().proving(false);
            self.state = PolicyState::NotInUse(KnownProof { digest, proof });
        }
        result
    }
}

fn job(pending: &PendingPolicies) -> ProofJob {
    ProofJob { policies: pending.policies.clone(), guardrails: pending.guardrails().to_vec() }
}

fn accept(pending: PendingPolicies, loader: &mut Loader, publisher: &mut Publisher) -> ReloadResult {
    let current = publisher.current();
    let (next, accepted) = loader.accept(pending, current.snapshot(), current.routes())?;
    if let Some((snapshot, routes)) = next {
        publisher.publish(Generation::new(snapshot, routes));
    }
    Ok(accepted)
}

fn guardrails_lost() -> Diagnostics {
    let diagnostic = Diagnostic::error("there were guardrails, and there are none now");
    let help = "bring them back; if nothing is to be proven any more, leave a file without claims in `guardrails/`, or serve with `--guardrails off`";
    diagnostic.help(help).into()
}
