//! The errors of this crate. What is wrong in a file of the user (policies, guardrails, suites) is reported
//! as `Diagnostics` with a span instead; the errors here have no span of their own.

use std::path::PathBuf;
use std::time::Duration;

use cedar_policy::{ParseErrors, PolicyId, PolicySetError};
use cedar_policy_core::ast::UnexpectedSlotError;
use cedar_policy_symcc::err;
use cedar_policy_symcc::solver;
use mandate_changes::ChangeError;
use mandate_core::decide::DecideError;
use mandate_core::diagnostics::Diagnostics;

/// Why the solver cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SolverError {
    #[error(
        "the solver `{program}` cannot be started: {error} (install cvc5, on Debian `apt-get install cvc5`, or name it with `--solver` or CVC5)"
    )]
    CannotStart { program: PathBuf, error: solver::SolverError },
    #[error("the solver cannot be run: {0}")]
    Runtime(std::io::Error),
    #[error("the solver cannot be run: {0}")]
    Failed(solver::SolverError),
    #[error("the solver cannot be run: {0}")]
    Compiler(Box<err::Error>),
    #[error("the solver cannot be run: it gives wrong answers")]
    WrongAnswers,
    #[error("the solver cannot be run: it does not answer")]
    NoAnswer,
}

/// Why policies could not be analysed, so that a claim or a difference is neither proven nor refuted.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    #[error("`{policy}` cannot be analysed: {error}")]
    Policy { policy: PolicyId, error: Box<err::Error> },
    #[error("{}", join(.0))]
    Policies(Vec<AnalysisError>),
    /// The policies cannot be analysed together, though each can alone.
    #[error("{0}")]
    Together(Box<err::Error>),
    #[error("the solver found no answer within {0:?}")]
    Timeout(Duration),
    #[error("the solver failed: {0}")]
    SolverFailed(Box<err::Error>),
    #[error("the solver did not answer")]
    NoAnswer,
    #[error("{why}; {restart}")]
    CannotRestart { why: Box<AnalysisError>, restart: SolverError },
    #[error("no request can break the claim, so it claims nothing: correct its scope or its conditions")]
    Vacuous,
    #[error("`{policy}` may error, see `{never_errors}`")]
    MayError { policy: PolicyId, never_errors: &'static str },
    #[error("`{0}` may error, and a forbid that errors denies")]
    ForbidMayError(PolicyId),
    #[error("`{0}` reads the context as a whole")]
    ReadsWholeContext(PolicyId),
    #[error("the newer schema changes the groups of the action")]
    ActionGroupsChanged,
    #[error("it is broken, but the solver's counterexample does not fit the schema")]
    UnreadableCounterexample,
    #[error("there is a difference, but the solver's example of it does not fit the schema")]
    UnreadableExample,
    /// A defect of this program: a policy that was made here does not parse.
    #[error(transparent)]
    Parse(#[from] Box<ParseErrors>),
    /// A defect of this program: a policy that was made here is a template.
    #[error(transparent)]
    Template(#[from] Box<UnexpectedSlotError>),
    /// A defect of this program: two policies have the same id.
    #[error(transparent)]
    PolicySet(#[from] Box<PolicySetError>),
    /// A defect of this program: policies that were loaded before do not load again.
    #[error(transparent)]
    Load(#[from] Diagnostics),
}

/// Why a test case cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A text that names no entity.
    #[error("{0}")]
    Entity(String),
    #[error("there is no `{0}`")]
    UnknownEntity(String),
    #[error("a `{child_type}` cannot be directly in `{parent}`")]
    ParentType { child_type: String, parent: String },
    #[error("`without`: `{child}` is not in `{parent}`")]
    NotInParent { child: String, parent: String },
    #[error("`with`: `{child}` is already in `{parent}`")]
    AlreadyInParent { child: String, parent: String },
    /// The question that a route is expected to ask does not fit the schema.
    #[error("what is expected does not fit the schema: {0}")]
    Expected(String),
    #[error("`after`: `{0}` was not there before either")]
    NeverThere(String),
    /// The case expects something of a change, and the action makes none.
    #[error("it changes nothing, because no rule of changes.toml is for the action and these types")]
    NoRule,
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("`attrs` must be an object")]
    AttributesNotAnObject,
    /// Values that do not fit the schema, each with its path.
    #[error("{}", .0.join("; "))]
    Mismatches(Vec<String>),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The changes are not valid together.
    #[error(transparent)]
    Changes(#[from] Diagnostics),
    #[error(transparent)]
    Decide(#[from] DecideError),
}

impl CaseError {
    pub(crate) fn entity(error: &dyn std::fmt::Display) -> Self {
        Self::Entity(error.to_string())
    }
}

fn join(errors: &[AnalysisError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
