//! How new policies come into use: where guardrails are enforced, not before they are proven. Meanwhile
//! the last good serve on, and entities change as ever.

use super::Generation;
use super::Pdp;
use super::gate::{Gatekeeper, Mode, Subject, Verdict};
use super::status::GuardrailState;
use mandate_core::digest::Digest;
use mandate_core::fault::{Fault, Faults};
use mandate_sources::loader::{Accepted, Candidate, Loader, Seen, TrackResult};

/// The policies' part of a look.
pub(super) struct PolicyTrack {
    pdp: Pdp,
    keeper: Gatekeeper,
    /// What waits for its verdict.
    waiting: Option<Box<Candidate>>,
    /// What did not pass, so that it is not proven again at each look.
    refused: Option<(Digest, Verdict)>,
    /// What passed, and still could not be used: the entities may come to fit it.
    passed: Option<(Digest, Verdict)>,
}

impl PolicyTrack {
    /// Begins with policies that are in use, and what was proven of them, if anything was.
    pub fn start(pdp: Pdp, keeper: Gatekeeper, verdict: Option<&Verdict>, loader: &Loader) -> Self {
        let track = Self { pdp, keeper, waiting: None, refused: None, passed: None };
        track.pdp.guarded(track.keeper.mode, track.keeper.why_not.as_deref());
        if let Some(verdict) = verdict {
            track.pdp.proven(verdict);
        } else {
            let policies = track.pdp.0.generation.load().snapshot().policies().clone();
            track.prove(Subject { policies, guardrails: loader.guardrails().to_vec() });
        }
        track
    }

    /// Looks for new policies, and for a verdict on what waits. The folder is read first: a verdict on
    /// what is no longer there counts for nothing.
    pub fn look(&mut self, loader: &mut Loader, force: bool) -> Option<TrackResult> {
        let current = self.pdp.0.generation.load_full();
        let seen = loader.look_at_policies(current.snapshot(), self.waiting.as_deref(), force);
        if !matches!(seen, Seen::Waiting) {
            self.drop_waiting();
            if let Some(verdict) = self.keeper.verdict() {
                self.pdp.proven(&verdict);
            }
        }
        match seen {
            Seen::Waiting => self.keeper.verdict().and_then(|verdict| self.judged(&verdict, loader)),
            Seen::InUse => {
                self.pdp.not_refused();
                None
            }
            Seen::Refused(faults) => {
                self.pdp.not_refused();
                Some(Err(faults))
            }
            Seen::Candidate(candidate) if loader.uses(&candidate, current.snapshot()) => {
                self.pdp.not_refused();
                Some(self.accept(*candidate, loader))
            }
            Seen::Candidate(candidate) => self.consider(candidate, loader, force),
        }
    }

    /// Whether something waits for its verdict, so that nothing can be said of it yet.
    pub fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// A candidate that may have to be proven before it is used.
    fn consider(
        &mut self,
        candidate: Box<Candidate>,
        loader: &mut Loader,
        force: bool,
    ) -> Option<TrackResult> {
        let subject =
            Subject { policies: candidate.policies.clone(), guardrails: candidate.guardrails().to_vec() };
        // Of another candidate it says nothing.
        let passed = self.passed.take().filter(|(digest, _)| *digest == candidate.digest());
        if let Some((_, verdict)) = passed {
            return Some(self.accept_proven(*candidate, &verdict, loader));
        }
        let lost = candidate.guardrails().is_empty() && !loader.guardrails().is_empty();
        if !self.keeper.enforces() {
            if lost && self.keeper.mode == Mode::Warn {
                tracing::warn!("there were guardrails, and there are none now");
            }
            let result = self.accept(*candidate, loader);
            if result.is_ok() {
                self.prove(subject);
            }
            return Some(result);
        }
        if lost {
            self.pdp.not_refused();
            let fault = Fault::error("there were guardrails, and there are none now");
            let help = "bring them back; if nothing is to be proven any more, leave a file without claims in `guardrails/`, or serve with `--guardrails off`";
            return Some(Err(fault.help(help).into()));
        }
        let before = self.refused.as_ref().filter(|(digest, _)| !force && *digest == candidate.digest());
        if let Some((_, verdict)) = before {
            self.pdp.refused(verdict);
            return verdict.findings.proven.clone().err().map(Err);
        }
        self.pdp.not_refused();
        tracing::info!("proving the guardrails of new policies");
        self.pdp.proving();
        self.keeper.ask(subject);
        self.waiting = Some(candidate);
        None
    }

    /// Proves what is in use already, where that tells operators something.
    fn prove(&self, subject: Subject) {
        if self.keeper.mode == Mode::Warn {
            self.pdp.unproven();
            if self.keeper.ask(subject) {
                self.pdp.proving();
            }
        }
    }

    fn drop_waiting(&mut self) {
        if self.waiting.take().is_some() {
            self.keeper.forget();
            self.pdp.not_proving();
        }
    }

    /// What a verdict makes of what waited for it.
    fn judged(&mut self, verdict: &Verdict, loader: &mut Loader) -> Option<TrackResult> {
        let candidate = self.waiting.take()?;
        let digest = candidate.digest();
        match &verdict.findings.proven {
            Ok(()) => Some(self.accept_proven(*candidate, verdict, loader)),
            Err(faults) => {
                // What the solver did not know, it may know the next time.
                self.refused = verdict.findings.certain.then(|| (digest, verdict.clone()));
                self.pdp.0.metrics.proof(false);
                self.pdp.refused(verdict);
                Some(Err(faults.clone()))
            }
        }
    }

    fn accept_proven(&mut self, candidate: Candidate, verdict: &Verdict, loader: &mut Loader) -> TrackResult {
        let digest = candidate.digest();
        let result = self.accept(candidate, loader);
        if result.is_ok() {
            self.pdp.proven(verdict);
        } else {
            self.passed = Some((digest, verdict.clone()));
            self.pdp.not_proving();
        }
        result
    }

    fn accept(&mut self, candidate: Candidate, loader: &mut Loader) -> TrackResult {
        let current = self.pdp.0.generation.load_full();
        let (next, accepted): (_, Accepted) =
            loader.accept(candidate, current.snapshot(), current.routes())?;
        if let Some((snapshot, routes)) = next {
            self.pdp.swap(Generation::new(snapshot, routes));
        }
        Ok(accepted)
    }
}

impl Pdp {
    fn guarded(&self, mode: Mode, why_not: Option<&str>) {
        self.0.metrics.guarded(mode.as_str());
        if let Some(why) = why_not.filter(|_| mode != Mode::Off) {
            tracing::warn!(mode = mode.as_str(), "the guardrails are not proven: {why}");
        }
        let why = why_not.map(ToOwned::to_owned);
        self.0.status.guardrails(|guardrails| (guardrails.mode, guardrails.why) = (mode.as_str(), why));
    }

    /// What is in use was proven, or at least tried.
    fn proven(&self, verdict: &Verdict) {
        let proven = verdict.findings.proven.is_ok();
        self.0.metrics.proven(proven);
        self.0.metrics.proof(proven);
        self.0.metrics.claims(verdict.findings.claims.as_array().map_or(0, Vec::len));
        let state = match (proven, verdict.findings.certain) {
            (true, _) => GuardrailState::Proven,
            (false, true) => GuardrailState::Broken,
            (false, false) => GuardrailState::Unknown,
        };
        self.0.status.guardrails(|guardrails| guardrails.now(state, verdict));
        for fault in verdict.findings.proven.as_ref().err().into_iter().flat_map(Faults::iter) {
            warn(fault);
        }
    }

    /// The newest policies did not pass; what is in use is what it was.
    fn refused(&self, verdict: &Verdict) {
        self.0.status.guardrails(|guardrails| guardrails.refused(verdict));
    }

    /// What did not pass is not the newest any more.
    fn not_refused(&self) {
        self.0.status.guardrails(|guardrails| guardrails.refused = None);
    }

    /// Other policies came into use before anything was proven of them.
    fn unproven(&self) {
        self.0.metrics.proven(false);
        self.0.status.guardrails(|guardrails| {
            (guardrails.state, guardrails.proof) = (GuardrailState::Unproven, None);
        });
    }

    fn proving(&self) {
        self.0.status.guardrails(|guardrails| guardrails.proving = true);
    }

    fn not_proving(&self) {
        self.0.status.guardrails(|guardrails| guardrails.proving = false);
    }
}

fn warn(fault: &Fault) {
    tracing::warn!("a guardrail is not proven: {fault}");
}
