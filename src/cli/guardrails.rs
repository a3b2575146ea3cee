//! Makes the prover of the guardrails for `mandate serve`: mandate-pdp decides when new policies are proven,
//! and mandate-analysis proves them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::config::{GuardrailsOption, RequiredClaims, ServeConfig};
use crate::error::CliError;
use mandate_analysis::claims::Guardrails;
use mandate_analysis::guardrail_suite;
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
        (Some(GuardrailsOption::Off), _) if config.required_claims.is_some() => {
            return Err(CliError::message(
                "`require-claims` has no effect with `--guardrails off`: leave one out",
            ));
        }
        (Some(GuardrailsOption::Off), _) => return Ok(ProofConfig::disabled()),
        (Some(GuardrailsOption::Enforce), Err(missing)) => {
            return Err(CliError::message(format!("guardrails cannot be enforced: {missing}")));
        }
        (None, Err(missing)) if config.solver_is_configured || config.required_claims.is_some() => {
            return Err(CliError::message(missing));
        }
        (Some(GuardrailsOption::Enforce) | None, Ok(_)) => GuardrailMode::Enforce,
        (Some(GuardrailsOption::Warn), _) | (None, Err(_)) => GuardrailMode::Warn,
    };
    let expected = ExpectedClaims {
        required: config.required_claims.clone(),
        enforced: mode == GuardrailMode::Enforce,
        in_use: BTreeSet::new(),
    };
    let prover = config.solver.as_ref().map(|options| prover(options.clone(), expected));
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

fn prover(options: SolverOptions, mut expected: ExpectedClaims) -> Prover {
    Box::new(move |job, go_on| outcome(job, go_on, &options, &mut expected))
}

/// The claims that must not be missing: those that the operator's file lists, or else those that were in use
/// before.
struct ExpectedClaims {
    required: Option<RequiredClaims>,
    enforced: bool,
    in_use: BTreeSet<String>,
}

impl ExpectedClaims {
    /// The ids of the expected claims that are missing, and an error for each.
    ///
    /// # Errors
    /// The operator's file cannot be read.
    fn missing(&self, guardrails: &Guardrails) -> Result<(Vec<String>, Diagnostics), CliError> {
        let listed = self.required.as_ref().map(RequiredClaims::read).transpose()?;
        let missing = guardrails.missing(listed.as_ref().unwrap_or(&self.in_use));
        let mut diagnostics = Diagnostics::default();
        for id in &missing {
            diagnostics.push(match &self.required {
                Some(file) => missing_claim(id, file),
                None => Diagnostic::error(format!("the claim `{id}` was in use before, and is gone"))
                    .help("bring it back; to remove claims, list those that stay in a file, and serve with `--require-claims FILE`"),
            });
        }
        Ok((missing, diagnostics))
    }

    /// Remembers the claims of policies that are in use.
    fn remember(&mut self, guardrails: &Guardrails) {
        self.in_use.extend(guardrails.claims().iter().map(|claim| claim.id.to_string()));
    }
}

/// The error about a claim that the operator's file lists.
pub fn missing_claim(id: &str, file: &RequiredClaims) -> Diagnostic {
    let message = format!("the claim `{id}` is missing: `{}` requires it", file.path().display());
    Diagnostic::error(message).help("bring it back, or take it out of that file")
}

fn outcome(
    job: &ProofJob,
    go_on: &dyn Fn() -> ControlFlow<()>,
    options: &SolverOptions,
    expected: &mut ExpectedClaims,
) -> ProofOutcome {
    let nothing = |diagnostics: Diagnostics, is_conclusive, missing_claims| ProofOutcome {
        result: Err(diagnostics),
        is_conclusive,
        claims: serde_json::Value::Null,
        missing_claims,
    };
    let schema = job.policies.schema();
    let guardrails = match Guardrails::parse(&job.guardrails, schema) {
        Ok(guardrails) => guardrails,
        Err(diagnostics) => return nothing(diagnostics, true, Vec::new()),
    };
    let (missing, mut diagnostics) = match expected.missing(&guardrails) {
        Ok(missing) => missing,
        Err(error) => return nothing(Diagnostic::error(error.to_string()).into(), false, Vec::new()),
    };
    if expected.enforced && !missing.is_empty() {
        // The operator's file may change; what was in use before cannot.
        return nothing(diagnostics, expected.required.is_none(), missing);
    }
    if !expected.enforced {
        expected.remember(&guardrails);
    }
    // A case takes no time beside a proof, so it is tried first.
    if let Err(found) = guardrail_suite::run(&job.guardrails, &job.policies, &job.routes) {
        return nothing(found, true, missing);
    }
    let mut solver = match Solver::start(options) {
        Ok(solver) => solver,
        Err(error) => {
            diagnostics.push(Diagnostic::error(error.to_string()));
            return nothing(diagnostics, false, missing);
        }
    };
    let proofs = prove(&job.policies, &guardrails, &mut solver, &mut |_, _| go_on());
    diagnostics.extend(prove::unproven(&proofs, schema));
    if proofs.len() < guardrails.claims().len() && !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::error("not every guardrail was proven"));
    }
    if !diagnostics.has_errors() {
        expected.remember(&guardrails);
    }
    let claims: Vec<ClaimReport> =
        proofs.iter().map(|proof: &CheckedClaim| ClaimReport::of(proof, schema)).collect();
    ProofOutcome {
        result: diagnostics.into_result().map(|_| ()),
        is_conclusive: proofs.iter().all(CheckedClaim::holds) || proofs.iter().any(CheckedClaim::is_broken),
        claims: serde_json::to_value(claims).unwrap_or_default(),
        missing_claims: missing,
    }
}
