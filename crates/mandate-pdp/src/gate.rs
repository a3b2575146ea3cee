//! The gate before new policies: what is claimed of them is proven first, on a thread of its own, so
//! that neither a request nor a revoked consent waits for a proof. How it is proven is not known here.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::reload::Wake;
use mandate_core::fault::{Fault, Faults, SourceText};
use mandate_core::policies::Policies;
use mandate_sources::loader::LOADING_STACK;

/// How much a proof gives way to requests, the most there is: on a core that they use up it gets about a
/// sixtieth. With more, one request in a hundred would wait for it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// What a claim that is not proven does to new policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are refused.
    Enforce,
    /// They come into use; operators are told.
    Warn,
    /// Nothing, and nothing is proven.
    Off,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// The gate: its mode, and what proves, or why nothing can be proven.
pub struct Gate {
    pub mode: Mode,
    pub prover: Result<Prover, String>,
}

/// Proves what is claimed of policies. It asks now and then whether to go on.
pub type Prover = Box<dyn FnMut(&Subject, &dyn Fn() -> ControlFlow<()>) -> Findings + Send>;

/// Policies, and the texts of the claims about them.
#[derive(Debug, Clone)]
pub struct Subject {
    pub policies: Arc<Policies>,
    pub guardrails: Vec<Arc<SourceText>>,
}

/// What came of proving: everything that is not proven as an error, and each claim for `/status`.
#[derive(Debug, Clone)]
pub struct Findings {
    pub proven: Result<(), Faults>,
    /// Whether proving again would come to the same.
    pub certain: bool,
    pub claims: serde_json::Value,
}

/// Findings about certain policies.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub findings: Findings,
    /// The digest of the policies that it is about.
    pub policies: String,
    pub took: Duration,
}

impl Gate {
    /// A gate that lets everything pass.
    pub fn open() -> Self {
        Self { mode: Mode::Off, prover: Err("guardrails are off".to_owned()) }
    }

    /// Proves at once; `None` if nothing can be proven here, or nothing is to be.
    pub fn judge(&mut self, subject: &Subject) -> Option<Verdict> {
        let prover = self.prover.as_mut().ok().filter(|_| self.mode != Mode::Off)?;
        Some(judge(prover, subject, &|| ControlFlow::Continue(())))
    }
}

fn judge(prover: &mut Prover, subject: &Subject, go_on: &dyn Fn() -> ControlFlow<()>) -> Verdict {
    let started = Instant::now();
    // A defect in a proof is no proof, and must not end the proving.
    let findings = std::panic::catch_unwind(AssertUnwindSafe(|| prover(subject, go_on)));
    let findings = findings.unwrap_or_else(|_| Findings {
        proven: Err(Fault::error("a defect of this program kept the guardrails from being proven").into()),
        certain: false,
        claims: serde_json::Value::Null,
    });
    Verdict { findings, policies: subject.policies.digest().to_string(), took: started.elapsed() }
}

/// Proves on a thread of its own; only the newest question is ever answered.
pub(super) struct Gatekeeper {
    pub mode: Mode,
    /// Why nothing is proven.
    pub why_not: Option<String>,
    questions: Option<Sender<(u64, Subject)>>,
    verdicts: Receiver<(u64, Verdict)>,
    newest: Arc<AtomicU64>,
}

impl Gatekeeper {
    pub fn start(gate: Gate, wake: Wake) -> std::io::Result<Self> {
        let (answer, verdicts) = channel();
        let newest = Arc::new(AtomicU64::new(0));
        let mut keeper = Self { mode: gate.mode, why_not: None, questions: None, verdicts, newest };
        match gate.prover {
            Err(why) => keeper.why_not = Some(why),
            Ok(_) if gate.mode == Mode::Off => {}
            Ok(prover) => {
                let (questions, asked) = channel();
                let newest = Arc::clone(&keeper.newest);
                std::thread::Builder::new()
                    .name("prove".into())
                    .stack_size(LOADING_STACK)
                    .spawn(move || prove_each(prover, &asked, &newest, &answer, &wake))?;
                keeper.questions = Some(questions);
            }
        }
        Ok(keeper)
    }

    /// Asks for a verdict, which comes with a wake; false if there will be none. Whatever was asked
    /// before is forgotten.
    pub fn ask(&self, subject: Subject) -> bool {
        let number = self.forget();
        self.questions.as_ref().is_some_and(|questions| questions.send((number, subject)).is_ok())
    }

    /// Wants no verdict on what was asked before.
    pub fn forget(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The verdict on what was asked last, once.
    pub fn verdict(&self) -> Option<Verdict> {
        let newest = self.newest.load(Ordering::Acquire);
        self.verdicts.try_iter().filter(|(number, _)| *number == newest).map(|(_, verdict)| verdict).last()
    }

    /// Whether new policies have to wait for a verdict.
    pub fn enforces(&self) -> bool {
        self.mode == Mode::Enforce && self.questions.is_some()
    }
}

fn prove_each(
    mut prover: Prover,
    asked: &Receiver<(u64, Subject)>,
    newest: &AtomicU64,
    answer: &Sender<(u64, Verdict)>,
    wake: &Wake,
) {
    yield_to_requests();
    while let Ok((number, subject)) = asked.recv() {
        let wanted = || newest.load(Ordering::Acquire) == number;
        let go_on = || if wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        if !wanted() {
            continue;
        }
        let verdict = judge(&mut prover, &subject, &go_on);
        if wanted() && answer.send((number, verdict)).is_ok() {
            wake.look();
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
