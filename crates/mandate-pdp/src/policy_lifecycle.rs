//! How new policies come into use: where guardrails are enforced, not before they are proven. Meanwhile
//! the last good serve on, and entities change as ever.

use super::Generation;
use super::Pdp;
use super::proof_worker::{CompletedProof, GuardrailMode, ProofJob, ProofWorker};
use super::status::GuardrailState;
use mandate_core::digest::Digest;
use mandate_core::fault::{Fault, Faults};
use mandate_sources::loader::{Accepted, Loader, PendingPolicies, PolicyPoll, ReloadResult};

/// The policies' part of a look.
pub(super) struct PolicyLifecycle {
    pdp: Pdp,
    worker: ProofWorker,
    /// What waits for its verdict.
    pending: Option<Box<PendingPolicies>>,
    /// What did not pass, so that it is not proven again at each look.
    refused: Option<(Digest, CompletedProof)>,
    /// What passed, and still could not be used: the entities may come to fit it.
    proven_but_unusable: Option<(Digest, CompletedProof)>,
}

impl PolicyLifecycle {
    /// Begins with policies that are in use, and what was proven of them, if anything was.
    pub fn start(pdp: Pdp, worker: ProofWorker, proof: Option<&CompletedProof>, loader: &Loader) -> Self {
        let lifecycle = Self { pdp, worker, pending: None, refused: None, proven_but_unusable: None };
        lifecycle
            .pdp
            .set_guardrail_mode(lifecycle.worker.mode, lifecycle.worker.unavailable_reason.as_deref());
        if let Some(proof) = proof {
            lifecycle.pdp.record_proof(proof);
        } else {
            let policies = lifecycle.pdp.0.generation.load().snapshot().policies().clone();
            lifecycle.prove_in_use(ProofJob { policies, guardrails: loader.guardrails().to_vec() });
        }
        lifecycle
    }

    /// Looks for new policies, and for a verdict on what waits. The folder is read first: a verdict on
    /// what is no longer there counts for nothing.
    pub fn poll(&mut self, loader: &mut Loader, force: bool) -> Option<ReloadResult> {
        let current = self.pdp.0.generation.load_full();
        let polled = loader.poll_policies(current.snapshot(), self.pending.as_deref(), force);
        if !matches!(polled, PolicyPoll::StillPending) {
            self.cancel_pending();
            if let Some(proof) = self.worker.take_completed() {
                self.pdp.record_proof(&proof);
            }
        }
        match polled {
            PolicyPoll::StillPending => {
                self.worker.take_completed().and_then(|proof| self.on_proof_completed(&proof, loader))
            }
            PolicyPoll::Unchanged => {
                self.pdp.clear_refused_proof();
                None
            }
            PolicyPoll::Invalid(faults) => {
                self.pdp.clear_refused_proof();
                Some(Err(faults))
            }
            PolicyPoll::Pending(pending) if loader.is_in_use(&pending, current.snapshot()) => {
                self.pdp.clear_refused_proof();
                Some(self.accept(*pending, loader))
            }
            PolicyPoll::Pending(pending) => self.prove_or_accept(pending, loader, force),
        }
    }

    /// Whether something waits for its verdict, so that nothing can be said of it yet.
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// A candidate that may have to be proven before it is used.
    fn prove_or_accept(
        &mut self,
        pending: Box<PendingPolicies>,
        loader: &mut Loader,
        force: bool,
    ) -> Option<ReloadResult> {
        let job = ProofJob { policies: pending.policies.clone(), guardrails: pending.guardrails().to_vec() };
        // Of another candidate it says nothing.
        let proven_but_unusable =
            self.proven_but_unusable.take().filter(|(digest, _)| *digest == pending.digest());
        if let Some((_, proof)) = proven_but_unusable {
            return Some(self.accept_proven(*pending, &proof, loader));
        }
        let lost = pending.guardrails().is_empty() && !loader.guardrails().is_empty();
        if !self.worker.enforces() {
            if lost && self.worker.mode == GuardrailMode::Warn {
                tracing::warn!("there were guardrails, and there are none now");
            }
            let result = self.accept(*pending, loader);
            if result.is_ok() {
                self.prove_in_use(job);
            }
            return Some(result);
        }
        if lost {
            self.pdp.clear_refused_proof();
            let fault = Fault::error("there were guardrails, and there are none now");
            let help = "bring them back; if nothing is to be proven any more, leave a file without claims in `guardrails/`, or serve with `--guardrails off`";
            return Some(Err(fault.help(help).into()));
        }
        let before = self.refused.as_ref().filter(|(digest, _)| !force && *digest == pending.digest());
        if let Some((_, proof)) = before {
            self.pdp.record_refused_proof(proof);
            return proof.outcome.result.clone().err().map(Err);
        }
        self.pdp.clear_refused_proof();
        tracing::info!("proving the guardrails of new policies");
        self.pdp.mark_proving();
        self.worker.submit(job);
        self.pending = Some(pending);
        None
    }

    /// Proves what is in use already, where that tells operators something.
    fn prove_in_use(&self, job: ProofJob) {
        if self.worker.mode == GuardrailMode::Warn {
            self.pdp.mark_unproven();
            if self.worker.submit(job) {
                self.pdp.mark_proving();
            }
        }
    }

    fn cancel_pending(&mut self) {
        if self.pending.take().is_some() {
            self.worker.cancel();
            self.pdp.mark_not_proving();
        }
    }

    /// What a verdict makes of what waited for it.
    fn on_proof_completed(&mut self, proof: &CompletedProof, loader: &mut Loader) -> Option<ReloadResult> {
        let pending = self.pending.take()?;
        let digest = pending.digest();
        match &proof.outcome.result {
            Ok(()) => Some(self.accept_proven(*pending, proof, loader)),
            Err(faults) => {
                // What the solver did not know, it may know the next time.
                self.refused = proof.outcome.is_conclusive.then(|| (digest, proof.clone()));
                self.pdp.0.metrics.count_proof(false);
                self.pdp.record_refused_proof(proof);
                Some(Err(faults.clone()))
            }
        }
    }

    fn accept_proven(
        &mut self,
        pending: PendingPolicies,
        proof: &CompletedProof,
        loader: &mut Loader,
    ) -> ReloadResult {
        let digest = pending.digest();
        let result = self.accept(pending, loader);
        if result.is_ok() {
            self.pdp.record_proof(proof);
        } else {
            self.proven_but_unusable = Some((digest, proof.clone()));
            self.pdp.mark_not_proving();
        }
        result
    }

    fn accept(&mut self, pending: PendingPolicies, loader: &mut Loader) -> ReloadResult {
        let current = self.pdp.0.generation.load_full();
        let (next, accepted): (_, Accepted) = loader.accept(pending, current.snapshot(), current.routes())?;
        if let Some((snapshot, routes)) = next {
            self.pdp.publish(Generation::new(snapshot, routes));
        }
        Ok(accepted)
    }
}

impl Pdp {
    fn set_guardrail_mode(&self, mode: GuardrailMode, unavailable_reason: Option<&str>) {
        self.0.metrics.set_guardrail_mode(mode.as_str());
        if let Some(why) = unavailable_reason.filter(|_| mode != GuardrailMode::Off) {
            tracing::warn!(mode = mode.as_str(), "the guardrails are not proven: {why}");
        }
        let why = unavailable_reason.map(ToOwned::to_owned);
        self.0.status.guardrails(|guardrails| (guardrails.mode, guardrails.why) = (mode.as_str(), why));
    }

    /// What is in use was proven, or at least tried.
    fn record_proof(&self, proof: &CompletedProof) {
        let proven = proof.outcome.result.is_ok();
        self.0.metrics.set_guardrails_proven(proven);
        self.0.metrics.count_proof(proven);
        self.0.metrics.set_claim_count(proof.outcome.claims.as_array().map_or(0, Vec::len));
        let state = match (proven, proof.outcome.is_conclusive) {
            (true, _) => GuardrailState::Proven,
            (false, true) => GuardrailState::Broken,
            (false, false) => GuardrailState::Unknown,
        };
        self.0.status.guardrails(|guardrails| guardrails.record_in_use(state, proof));
        for fault in proof.outcome.result.as_ref().err().into_iter().flat_map(Faults::iter) {
            log_unproven(fault);
        }
    }

    /// The newest policies did not pass; what is in use is what it was.
    fn record_refused_proof(&self, proof: &CompletedProof) {
        self.0.status.guardrails(|guardrails| guardrails.record_refused(proof));
    }

    /// What did not pass is not the newest any more.
    fn clear_refused_proof(&self) {
        self.0.status.guardrails(|guardrails| guardrails.refused = None);
    }

    /// Other policies came into use before anything was proven of them.
    fn mark_unproven(&self) {
        self.0.metrics.set_guardrails_proven(false);
        self.0.status.guardrails(|guardrails| {
            (guardrails.state, guardrails.proof) = (GuardrailState::Unproven, None);
        });
    }

    fn mark_proving(&self) {
        self.0.status.guardrails(|guardrails| guardrails.proving = true);
    }

    fn mark_not_proving(&self) {
        self.0.status.guardrails(|guardrails| guardrails.proving = false);
    }
}

fn log_unproven(fault: &Fault) {
    tracing::warn!("a guardrail is not proven: {fault}");
}
