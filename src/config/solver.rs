//! Options of the solver cvc5, and its start. What is asked of it is in mandate-analysis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::program_folders;
use super::options::options;
use crate::error::CliError;
use mandate_analysis::solver::{Solver, SolverOptions};

options! {
    /// How to run the solver; every command that proves takes these.
    pub struct SolverArguments {
        /// Run this solver: a program on PATH, or the path of cvc5 [default: cvc5]
        #[arg(long, env = "CVC5", value_name = "PROGRAM")]
        pub solver: Option<PathBuf>,
        /// Maximum time of one solver query, such as 30s [default: 10s]
        #[arg(long, env = "MANDATE_SOLVER_LIMIT", value_name = "TIME", value_parser = humantime::parse_duration)]
        #[serde(with = "humantime_serde")]
        pub solver_limit: Option<Duration>,
    }
}

impl SolverArguments {
    /// Whether anything was configured: then a missing solver is an error, not a reason to go without.
    pub fn is_configured(&self) -> bool {
        self.solver.is_some() || self.solver_limit.is_some()
    }

    /// Finds the solver's program.
    ///
    /// # Errors
    /// There is none, or its time limit is 0.
    pub fn find(&self) -> Result<SolverOptions, CliError> {
        let limit = self.solver_limit.unwrap_or(SolverOptions::DEFAULT_QUERY_TIMEOUT);
        if limit.is_zero() {
            return Err(CliError::message("`solver-limit` has to be more than 0s"));
        }
        let program = self.solver.as_deref().unwrap_or(Path::new("cvc5"));
        SolverOptions::find(program, program_folders())
            .map(|program| SolverOptions { program, query_timeout: limit })
            .ok_or_else(|| CliError::SolverNotFound(program.to_owned()))
    }

    /// Finds and starts the solver.
    ///
    /// # Errors
    /// There is none, or it does not run.
    pub fn start(&self) -> Result<Solver, CliError> {
        Ok(Solver::start(&self.find()?)?)
    }
}
