//! The SMT solver: cvc5, a process of its own, asked one question at a time. It knows nothing of policies:
//! `symbolic` turns them into statements, and `decompose` splits large ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::{self, Decision, LocalSolver, Solver as _};
use cedar_policy_symcc::{CedarSymCompiler, Env, SmtLibScript as _, WellFormedAsserts};
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::error::{AnalysisError, SolverError};

/// How long the solver may take beyond its own limit before its process is stopped.
const GRACE: Duration = Duration::from_secs(2);

/// Where the solver is, and how long it may take for one question.
#[derive(Debug, Clone)]
pub struct SolverOptions {
    pub program: PathBuf,
    pub query_timeout: Duration,
}

/// The solver's answer to a statement about all requests and entities.
#[derive(Debug)]
pub enum SolverAnswer {
    /// The statement holds for all.
    Holds,
    /// It does not hold for this request and these entities.
    Counterexample(Box<Env>),
    /// The solver does not know.
    Unknown(AnalysisError),
}

/// A running solver.
pub struct Solver {
    options: SolverOptions,
    runtime: Runtime,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl SolverOptions {
    /// How long the solver may take for one question, by default.
    pub const DEFAULT_QUERY_TIMEOUT: Duration = Duration::from_secs(10);

    /// The path, if `program` is a path with a folder; else the first program of this name in the folders.
    /// `None` if there is no such file.
    pub fn find(program: &Path, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
        if program.components().count() > 1 {
            return program.is_file().then(|| program.to_owned());
        }
        folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
    }
}

impl Solver {
    /// Starts a solver and checks with two simple questions that it answers correctly.
    ///
    /// # Errors
    /// There is no such program, or it is not a solver.
    pub fn start(options: &SolverOptions) -> Result<Self, SolverError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(SolverError::Runtime)?;
        let mut process = runtime.block_on(async { spawn(options) })?;
        let works = runtime.block_on(async {
            tokio::time::timeout(options.query_timeout + GRACE, is_working_solver(&mut process)).await
        });
        match works {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(SolverError::WrongAnswers),
            Ok(Err(error)) => return Err(SolverError::Failed(error)),
            Err(_) => return Err(SolverError::NoAnswer),
        }
        let compiler = compiler(process)?;
        Ok(Self { options: options.clone(), runtime, compiler })
    }

    /// Asks whether a statement holds.
    pub fn check_valid(&mut self, statement: &WellFormedAsserts<'_>) -> SolverAnswer {
        let timeout = self.options.query_timeout + GRACE;
        let asked = self
            .runtime
            .block_on(async { tokio::time::timeout(timeout, self.compiler.check_sat(statement)).await });
        match asked {
            Ok(Ok(None)) => SolverAnswer::Holds,
            Ok(Ok(Some(found))) => SolverAnswer::Counterexample(Box::new(found)),
            Ok(Err(Error::SolverUnknown)) => {
                SolverAnswer::Unknown(AnalysisError::Timeout(self.options.query_timeout))
            }
            Ok(Err(error)) => self.restart(AnalysisError::SolverFailed(Box::new(error))),
            Err(_) => self.restart(AnalysisError::NoAnswer),
        }
    }

    /// Starts a new process. The old one may still write an answer, which the next question must not get.
    fn restart(&mut self, why: AnalysisError) -> SolverAnswer {
        let restarted = self.runtime.block_on(async {
            // An error here only means that the process has already ended.
            let _ = self.compiler.solver_mut().clean_up().await;
            spawn(&self.options)
        });
        match restarted.and_then(compiler) {
            Ok(compiler) => self.compiler = compiler,
            Err(restart) => {
                return SolverAnswer::Unknown(AnalysisError::CannotRestart { why: Box::new(why), restart });
            }
        }
        SolverAnswer::Unknown(why)
    }
}

/// Whether the solver finds that no assertions are satisfiable, and that `false` is not.
async fn is_working_solver(process: &mut LocalSolver) -> Result<bool, solver::SolverError> {
    let nothing = process.check_sat().await?;
    process.smtlib_input().assert("false").await?;
    Ok(nothing == Decision::Sat && process.check_sat().await? == Decision::Unsat)
}

fn compiler(process: LocalSolver) -> Result<CedarSymCompiler<LocalSolver>, SolverError> {
    CedarSymCompiler::new(process).map_err(|error| SolverError::Compiler(Box::new(error)))
}

/// Starts the process. It is killed when its `LocalSolver` is dropped.
fn spawn(options: &SolverOptions) -> Result<LocalSolver, SolverError> {
    let mut command = Command::new(&options.program);
    // Some patterns of `like` need string functions that the solver has only with this flag.
    command.args(["--lang", "smt", "--incremental", "--strings-exp"]);
    command.arg(format!("--tlimit-per={}", options.query_timeout.as_millis()));
    command.kill_on_drop(true);
    LocalSolver::from_command(&mut command)
        .map_err(|error| SolverError::CannotStart { program: options.program.clone(), error })
}
