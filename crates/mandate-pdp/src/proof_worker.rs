//! The gate before new policies: what is claimed of them is proven first, on a thread of its own, so
//! that neither a request nor a revoked consent waits for a proof. How it is proven is not known here.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::trigger::ReloadTrigger;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::policies::Policies;
use mandate_sources::loader::LOADING_STACK_BYTES;

/// How much a proof gives way to requests, the most there is: on a core that they use up it gets about a
/// sixtieth. With more, one request in a hundred would wait for it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// What a claim that is not proven does to new policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardrailMode {
    /// They are refused.
    Enforce,
    /// They come into use; operators are told.
    Warn,
    /// Nothing, and nothing is proven.
    Off,
}

impl GuardrailMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// The gate: its mode, and what proves, or why nothing can be proven.
pub struct ProofConfig {
    pub mode: GuardrailMode,
    pub prover: Result<Prover, String>,
}

/// Proves what is claimed of policies. It asks now and then whether to go on.
pub type Prover = Box<dyn FnMut(&ProofJob, &dyn Fn() -> ControlFlow<()>) -> ProofOutcome + Send>;

/// Policies, and the texts of the claims about them.
#[derive(Debug, Clone)]
pub struct ProofJob {
    pub policies: Arc<Policies>,
    pub guardrails: Vec<Arc<SourceText>>,
}

/// What came of proving: everything that is not proven as an error, and each claim for `/status`.
#[derive(Debug, Clone)]
pub struct ProofOutcome {
    pub result: Result<(), Diagnostics>,
    /// Whether proving again would come to the same.
    pub is_conclusive: bool,
    pub claims: serde_json::Value,
}

/// Findings about certain policies.
#[derive(Debug, Clone)]
pub struct CompletedProof {
    pub outcome: ProofOutcome,
    /// The digest of the policies that it is about.
    pub policies: String,
    pub took: Duration,
}

impl ProofConfig {
    /// A gate that lets everything pass.
    pub fn disabled() -> Self {
        Self { mode: GuardrailMode::Off, prover: Err("guardrails are off".to_owned()) }
    }

    /// Proves at once; `None` if nothing can be proven here, or nothing is to be.
    pub fn prove_now(&mut self, job: &ProofJob) -> Option<CompletedProof> {
        let prover = self.prover.as_mut().ok().filter(|_| self.mode != GuardrailMode::Off)?;
        Some(run_proof(prover, job, &|| ControlFlow::Continue(())))
    }
}

fn run_proof(prover: &mut Prover, job: &ProofJob, go_on: &dyn Fn() -> ControlFlow<()>) -> CompletedProof {
    let started = Instant::now();
    // A defect in a proof is no proof, and must not end the proving.
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| prover(job, go_on)));
    let outcome = outcome.unwrap_or_else(|_| ProofOutcome {
        result: Err(
            Diagnostic::error("a defect of this program kept the guardrails from being proven").into()
        ),
        is_conclusive: false,
        claims: serde_json::Value::Null,
    });
    CompletedProof { outcome, policies: job.policies.digest().to_string(), took: started.elapsed() }
}

/// Proves on a thread of its own; only the newest question is ever answered.
pub(crate) struct ProofWorker {
    pub mode: GuardrailMode,
    /// Why nothing is proven.
    pub unavailable_reason: Option<String>,
    jobs: Option<Sender<(u64, ProofJob)>>,
    completed: Receiver<(u64, CompletedProof)>,
    newest: Arc<AtomicU64>,
}

impl ProofWorker {
    pub fn start(proof_config: ProofConfig, trigger: ReloadTrigger) -> std::io::Result<Self> {
        let (answer, completed) = channel();
        let newest = Arc::new(AtomicU64::new(0));
        let mut worker =
            Self { mode: proof_config.mode, unavailable_reason: None, jobs: None, completed, newest };
        match proof_config.prover {
            Err(why) => worker.unavailable_reason = Some(why),
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

    /// Asks for a verdict, which comes with a wake; false if there will be none. Whatever was asked
    /// before is forgotten.
    pub fn submit(&self, job: ProofJob) -> bool {
        let number = self.cancel();
        self.jobs.as_ref().is_some_and(|jobs| jobs.send((number, job)).is_ok())
    }

    /// Wants no verdict on what was asked before.
    pub fn cancel(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The verdict on what was asked last, once.
    pub fn take_completed(&self) -> Option<CompletedProof> {
        let newest = self.newest.load(Ordering::Acquire);
        self.completed.try_iter().filter(|(number, _)| *number == newest).map(|(_, proof)| proof).last()
    }

    /// Whether new policies have to wait for a verdict.
    pub fn enforces(&self) -> bool {
        self.mode == GuardrailMode::Enforce && self.jobs.is_some()
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
    // Elsewhere the priority is the whole process's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "proofs run at the priority of requests");
    }
}
