//! Proves the guardrails of new policies on a thread of its own, so that neither a request nor an entity
//! change waits for a proof. How a proof is made is up to the [`Prover`], which the binary supplies.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::trigger::ReloadTrigger;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::policies::Policies;
use mandate_routes::Routes;
use mandate_sources::loader::LOADING_STACK_BYTES;

/// The niceness of the proof thread, the lowest priority there is: on a core that requests use up it gets
/// about 1/60 of the time. At a higher priority the slowest 1 % of requests would wait for it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// What happens to new policies when a guardrail is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardrailMode {
    /// They are refused.
    Enforce,
    /// They come into use, with a warning.
    Warn,
    /// They come into use. Nothing is proven.
    Off,
}

impl GuardrailMode {
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Warn, Self::Off];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// The guardrail mode, and the prover, or the reason why there is none.
pub struct ProofConfig {
    pub mode: GuardrailMode,
    pub prover: Result<Prover, String>,
}

/// Proves the guardrails of a job. It calls the second argument regularly and stops when that breaks.
pub type Prover = Box<dyn FnMut(&ProofJob, &dyn Fn() -> ControlFlow<()>) -> ProofOutcome + Send>;

/// Policies to prove, the routes beside them, and the texts of their guardrails.
#[derive(Debug, Clone)]
pub struct ProofJob {
    pub policies: Arc<Policies>,
    pub routes: Arc<Routes>,
    pub guardrails: Vec<Arc<SourceText>>,
    /// The texts of the guardrails that are in use before.
    pub guardrails_in_use: Vec<Arc<SourceText>>,
}

/// The result of a proof: an error for each claim that is not proven, and all claims for `/status`.
#[derive(Debug, Clone)]
pub struct ProofOutcome {
    pub result: Result<(), Diagnostics>,
    /// Whether the same proof would end the same way again. False where the solver gave up or failed.
    pub is_conclusive: bool,
    pub claims: serde_json::Value,
    /// The ids of claims that have to be there and are not.
    pub missing_claims: Vec<String>,
}

/// A proof that has ended.
#[derive(Debug, Clone)]
pub struct CompletedProof {
    pub outcome: ProofOutcome,
    /// The digest of the policies that were proven.
    pub policies: String,
    pub took: Duration,
}

impl ProofConfig {
    /// Guardrails are off.
    pub fn disabled() -> Self {
        Self { mode: GuardrailMode::Off, prover: Err("guardrails are off".to_owned()) }
    }

    /// Why policies that break a guardrail come into use; `None` if they are refused.
    pub fn not_enforced(&self) -> Option<&str> {
        match (self.mode, &self.prover) {
            (GuardrailMode::Enforce, Ok(_)) => None,
            (GuardrailMode::Warn, Ok(_)) => Some("mode warn"),
            (GuardrailMode::Enforce | GuardrailMode::Warn, Err(why)) => Some(why),
            (GuardrailMode::Off, _) => Some("mode off"),
        }
    }

    /// Proves on the calling thread; `None` if guardrails are off or there is no prover.
    pub fn prove_now(&mut self, job: &ProofJob) -> Option<CompletedProof> {
        let prover = self.prover.as_mut().ok().filter(|_| self.mode != GuardrailMode::Off)?;
        Some(run_proof(prover, job, &|| ControlFlow::Continue(())))
    }
}

fn run_proof(prover: &mut Prover, job: &ProofJob, go_on: &dyn Fn() -> ControlFlow<()>) -> CompletedProof {
    let started = Instant::now();
    // A panic in a proof means "not proven", and must not end the thread.
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| prover(job, go_on)));
    let outcome = outcome.unwrap_or_else(|_| ProofOutcome {
        result: Err(
            Diagnostic::error("a defect of this program kept the guardrails from being proven").into()
        ),
        is_conclusive: false,
        claims: serde_json::Value::Null,
        missing_claims: Vec::new(),
    });
    CompletedProof { outcome, policies: job.policies.digest().to_string(), took: started.elapsed() }
}

/// The proof thread. Only the newest job is ever answered.
pub(crate) struct ProofWorker {
    pub mode: GuardrailMode,
    /// Why policies that break a guardrail come into use; `None` if they are refused.
    pub not_enforced: Option<String>,
    jobs: Option<Sender<(u64, ProofJob)>>,
    completed: Receiver<(u64, CompletedProof)>,
    newest: Arc<AtomicU64>,
}

impl ProofWorker {
    pub fn start(proof_config: ProofConfig, trigger: ReloadTrigger) -> std::io::Result<Self> {
        let (answer, completed) = channel();
        let newest = Arc::new(AtomicU64::new(0));
        let not_enforced = proof_config.not_enforced().map(ToOwned::to_owned);
        let mut worker = Self { mode: proof_config.mode, not_enforced, jobs: None, completed, newest };
        match proof_config.prover {
            Err(_) => {}
            Ok(_) if proof_config.mode == GuardrailMode::Off => {}
            Ok(prover) => {
                let (jobs, asked) = channel();
                let newest = Arc::clone(&worker.newest);
                std::thread::Builder::new()
                    .name("prove".into())
                    .stack_size(LOADING_STACK_BYTES)
                    .spawn(move || run_jobs(prover, &asked, &newest, &answer, &trigger))?;
                worker.jobs = Some(jobs);
            }
        }
        Ok(worker)
    }

    /// Submits a job in place of any before. When it is done, the reload thread is triggered. Returns false
    /// if there is no prover.
    pub fn submit(&self, job: ProofJob) -> bool {
        let number = self.cancel();
        self.jobs.as_ref().is_some_and(|jobs| jobs.send((number, job)).is_ok())
    }

    /// Cancels the job that was submitted last, and returns the number of the next.
    pub fn cancel(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The proof of the job that was submitted last, if it has ended; only once.
    pub fn take_completed(&self) -> Option<CompletedProof> {
        let newest = self.newest.load(Ordering::Acquire);
        self.completed.try_iter().filter(|(number, _)| *number == newest).map(|(_, proof)| proof).last()
    }

    /// Whether new policies have to wait for their proof.
    pub fn enforces(&self) -> bool {
        self.not_enforced.is_none()
    }
}

fn run_jobs(
    mut prover: Prover,
    asked: &Receiver<(u64, ProofJob)>,
    newest: &AtomicU64,
    answer: &Sender<(u64, CompletedProof)>,
    trigger: &ReloadTrigger,
) {
    yield_to_requests();
    while let Ok((number, job)) = asked.recv() {
        let wanted = || newest.load(Ordering::Acquire) == number;
        let go_on = || if wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        if !wanted() {
            continue;
        }
        let proof = run_proof(&mut prover, &job, &go_on);
        if wanted() && answer.send((number, proof)).is_ok() {
            trigger.request_poll();
        }
    }
}

/// Lowers the priority of this thread, and of the solver that it starts, below that of any request.
fn yield_to_requests() {
    // On other systems the priority belongs to the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "proofs run at the priority of requests");
    }
}
