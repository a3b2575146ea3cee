//! Makes the prover of the guardrails for `mandate serve`: mandate-pdp decides when new policies are proven,
//! and mandate-analysis proves them.

use std::ops::ControlFlow;

use crate::config::{GuardrailsOption, ServeConfig};
use crate::error::CliError;
use mandate_analysis::claims::Guardrails;
use mandate_analysis::proof_report::ClaimReport;
use mandate_analysis::prove::{self, CheckedClaim, prove};
use mandate_analysis::solver::{Solver, SolverOptions};
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_pdp::proof_worker::{GuardrailMode, ProofConfig, ProofJob, ProofOutcome, Prover};

/// The configured proof of guardrails. By default, guardrails are enforced if there is a solver.
///
/// # Errors
/// Guardrails have to be enforced and there is no solver, or the configured solver is missing.
pub fn proof_config(config: &ServeConfig) -> Result<ProofConfig, CliError> {
    let mode = match (config.guardrails, &config.solver) {
        (Some(GuardrailsOption::Off), _) => return Ok(ProofConfig::disabled()),
        (Some(GuardrailsOption::Enforce), Err(missing)) => {
            return Err(CliError::message(format!("guardrails cannot be enforced: {missing}")));
        }
        (None, Err(missing)) if config.solver_is_configured => {
            return Err(CliError::message(missing));
        }
        (Some(GuardrailsOption::Enforce) | None, Ok(_)) => GuardrailMode::Enforce,
        (Some(GuardrailsOption::Warn), _) | (None, Err(_)) => GuardrailMode::Warn,
    };
    let prover = config.solver.as_ref().map(|options| prover(options.clone()));
    let prover = prover.map_err(|missing| {
        if config.solver_is_configured {
            missing.to_string()
        } else {
            "no solver: apt-get install cvc5".to_owned()
        }
    });
    Ok(ProofConfig { mode, prover })
}

/// What is printed at the start: whether policies that break a guardrail are refused.
pub fn announcement(proof_config: &ProofConfig) -> String {
    match proof_config.not_enforced() {
        None => "guardrails: enforced\n".to_owned(),
        Some(why) => format!("guardrails: NOT enforced ({why})\n"),
    }
}

fn prover(options: SolverOptions) -> Prover {
    Box::new(move |job, go_on| outcome(job, go_on, &options))
}

fn outcome(job: &ProofJob, go_on: &dyn Fn() -> ControlFlow<()>, options: &SolverOptions) -> ProofOutcome {
    let nothing = |diagnostics: Diagnostics, is_conclusive| ProofOutcome {
        result: Err(diagnostics),
        is_conclusive,
        claims: serde_json::Value::Null,
    };
    let schema = job.policies.schema();
    let guardrails = match Guardrails::parse(&job.guardrails, schema) {
        Ok(guardrails) => guardrails,
        Err(diagnostics) => return nothing(diagnostics, true),
    };
    let mut solver = match Solver::start(options) {
        Ok(solver) => solver,
        Err(error) => return nothing(Diagnostic::error(error.to_string()).into(), false),
    };
    let proofs = prove(&job.policies, &guardrails, &mut solver, &mut |_, _| go_on());
    let mut diagnostics = prove::unproven(&proofs, schema);
    if proofs.len() < guardrails.claims().len() && !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::error("not every guardrail was proven"));
    }
    let claims: Vec<ClaimReport> =
        proofs.iter().map(|proof: &CheckedClaim| ClaimReport::of(proof, schema)).collect();
    ProofOutcome {
        result: diagnostics.into_result().map(|_| ()),
        is_conclusive: proofs.iter().all(CheckedClaim::holds) || proofs.iter().any(CheckedClaim::is_broken),
        claims: serde_json::to_value(claims).unwrap_or_default(),
    }
}
