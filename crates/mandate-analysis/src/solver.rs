//! The SMT solver: cvc5, a process of its own, asked one question at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::{Decision, LocalSolver, Solver as _};
use cedar_policy_symcc::{CedarSymCompiler, Env, SmtLibScript as _, WellFormedAsserts};
use tokio::process::Command;
use tokio::runtime::Runtime;

/// Beyond its own limit, how long a solver may take before it is given up.
const GRACE: Duration = Duration::from_secs(2);

/// Where the solver is, and how long it may think about one question.
#[derive(Debug, Clone)]
pub struct SolverOptions {
    pub program: PathBuf,
    pub query_timeout: Duration,
}

/// Why there is no solver to ask.
#[derive(Debug, thiserror::Error)]
pub enum SolverError {
    #[error(
        "the solver `{program}` cannot be started: {error} (install cvc5, on Debian `apt-get install cvc5`, or name it with `--solver` or CVC5)"
    )]
    CannotStart { program: PathBuf, error: String },
    #[error("the solver cannot be run: {0}")]
    Unusable(String),
}

/// What a solver makes of a statement about all requests and entities.
#[derive(Debug)]
pub enum SolverAnswer {
    /// It holds for all.
    Holds,
    /// It does not, as this request and these entities show.
    Counterexample(Box<Env>),
    /// The solver does not know, in the time that it has or at all.
    Unknown(String),
}

/// A running solver.
pub struct Solver {
    options: SolverOptions,
    runtime: Runtime,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl SolverOptions {
    /// Unless told otherwise, how long the solver may think about one question.
    pub const DEFAULT_QUERY_TIMEOUT: Duration = Duration::from_secs(10);

    /// The first program of this name in the folders, or the path itself if it is one; `None` if there
    /// is no such file.
    pub fn find(program: &Path, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
        if program.components().count() > 1 {
            return program.is_file().then(|| program.to_owned());
        }
        folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
    }
}

impl Solver {
    /// Starts a solver, and asks it something simple to see that it is one.
    ///
    /// # Errors
    /// There is no such program, or it is no solver.
    pub fn start(options: &SolverOptions) -> Result<Self, SolverError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SolverError::Unusable(error.to_string()))?;
        let mut process = runtime.block_on(async { spawn(options) })?;
        let works = runtime.block_on(async {
            tokio::time::timeout(options.query_timeout + GRACE, is_working_solver(&mut process)).await
        });
        match works {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(SolverError::Unusable("it gives wrong answers".to_owned())),
            Ok(Err(error)) => return Err(SolverError::Unusable(error.to_string())),
            Err(_) => return Err(SolverError::Unusable("it does not answer".to_owned())),
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
            Ok(Err(Error::SolverUnknown)) => SolverAnswer::Unknown(format!(
                "the solver found no answer within {:?}",
                self.options.query_timeout
            )),
            Ok(Err(error)) => self.restart(&format!("the solver failed: {error}")),
            Err(_) => self.restart("the solver did not answer"),
        }
    }

    /// A process that failed may have more to say, which the next question must not get as its answer.
    fn restart(&mut self, why: &str) -> SolverAnswer {
        let restarted = self.runtime.block_on(async {
            // One that has ended already cannot be ended.
            let _ = self.compiler.solver_mut().clean_up().await;
            spawn(&self.options)
        });
        match restarted.and_then(compiler) {
            Ok(compiler) => self.compiler = compiler,
            Err(error) => return SolverAnswer::Unknown(format!("{why}; {error}")),
        }
        SolverAnswer::Unknown(why.to_owned())
    }
}

/// Whether it finds that nothing can hold, and that a contradiction cannot.
async fn is_working_solver(
    process: &mut LocalSolver,
) -> Result<bool, cedar_policy_symcc::solver::SolverError> {
    let nothing = process.check_sat().await?;
    process.smtlib_input().assert("false").await?;
    Ok(nothing == Decision::Sat && process.check_sat().await? == Decision::Unsat)
}

fn compiler(process: LocalSolver) -> Result<CedarSymCompiler<LocalSolver>, SolverError> {
    CedarSymCompiler::new(process).map_err(|error| SolverError::Unusable(error.to_string()))
}

/// Starts the process; it ends with this program, or when nobody asks it any more.
fn spawn(options: &SolverOptions) -> Result<LocalSolver, SolverError> {
    let mut command = Command::new(&options.program);
    // Some patterns of `like` take functions on strings that the solver keeps behind a flag.
    command.args(["--lang", "smt", "--incremental", "--strings-exp"]);
    command.arg(format!("--tlimit-per={}", options.query_timeout.as_millis()));
    command.kill_on_drop(true);
    LocalSolver::from_command(&mut command).map_err(|error| SolverError::CannotStart {
        program: options.program.clone(),
        error: error.to_string(),
    })
}
