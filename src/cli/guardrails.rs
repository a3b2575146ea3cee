//! Makes the prover of the guardrails for `mandate serve`: mandate-pdp decides when new policies are proven,
//! and mandate-analysis proves them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::config::{GuardrailsOption, RequiredClaims, ServeConfig};
use crate::error::CliError;
use mandate_analysis::claims::Guardrails;
use mandate_analysis::guardrail_suite;
use mandate_analysis::proof_report::ClaimReport;
use mandate_analysis::prove::{self, CheckedClaim, prove};
use mandate_analysis::solver::{Solver, SolverOptions};
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
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
        proven: None,
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
    /// The ids of all claims that were in use.
    in_use: BTreeSet<String>,
    /// The guardrails that were proven last, with the ids of their claims. They come into use later, or never.
    proven: Option<(Vec<Arc<SourceText>>, BTreeSet<String>)>,
}

impl ExpectedClaims {
    /// Learns whether the guardrails that were proven last came into use.
    fn begin(&mut self, job: &ProofJob) {
        if let Some((_, ids)) = self.proven.as_ref().filter(|(texts, _)| *texts == job.guardrails_in_use) {
            self.in_use.extend(ids.iter().cloned());
        }
    }

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
    expected.begin(job);
    let guardrails = match Guardrails::parse(&job.guardrails, job.policies.schema()) {
        Ok(guardrails) => guardrails,
        Err(diagnostics) => return not_proven(diagnostics, true, Vec::new()),
    };
    let (missing, mut diagnostics) = match expected.missing(&guardrails) {
        Ok(missing) => missing,
        Err(error) => return not_proven(Diagnostic::error(error.to_string()).into(), false, Vec::new()),
    };
    if expected.enforced && !missing.is_empty() {
        // The operator's file may change; what was in use before cannot.
        return not_proven(diagnostics, expected.required.is_none(), missing);
    }
    let ids = guardrails.claims().iter().map(|claim| claim.id.to_string());
    if !expected.enforced {
        expected.in_use.extend(ids.clone());
    }
    // A case takes no time beside a proof, so it is tried first.
    if let Err(found) = guardrail_suite::run(&job.guardrails, &job.policies, &job.routes) {
        return not_proven(found, true, missing);
    }
    let mut solver = match Solver::start(options) {
        Ok(solver) => solver,
        Err(error) => {
            diagnostics.push(Diagnostic::error(error.to_string()));
            return not_proven(diagnostics, false, missing);
        }
    };
    let outcome = prove_claims(job, &guardrails, &mut solver, go_on, diagnostics);
    if outcome.result.is_ok() {
        expected.proven = Some((job.guardrails.clone(), ids.collect()));
    }
    ProofOutcome { missing_claims: missing, ..outcome }
}

/// Nothing is proven, for these reasons.
fn not_proven(diagnostics: Diagnostics, is_conclusive: bool, missing_claims: Vec<String>) -> ProofOutcome {
    let claims = serde_json::Value::Null;
    ProofOutcome { result: Err(diagnostics), is_conclusive, claims, missing_claims }
}

/// Proves all claims, and adds what is not proven to the diagnostics.
fn prove_claims(
    job: &ProofJob,
    guardrails: &Guardrails,
    solver: &mut Solver,
    go_on: &dyn Fn() -> ControlFlow<()>,
    mut diagnostics: Diagnostics,
) -> ProofOutcome {
    let schema = job.policies.schema();
    let proofs = prove(&job.policies, guardrails, solver, &mut |_, _| go_on());
    diagnostics.extend(prove::unproven(&proofs, schema));
    if proofs.len() < guardrails.claims().len() && !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::error("not every guardrail was proven"));
    }
    let claims: Vec<ClaimReport> =
        proofs.iter().map(|proof: &CheckedClaim| ClaimReport::of(proof, schema)).collect();
    ProofOutcome {
        result: diagnostics.into_result().map(|_| ()),
        is_conclusive: proofs.iter().all(CheckedClaim::holds) || proofs.iter().any(CheckedClaim::is_broken),
        claims: serde_json::to_value(claims).unwrap_or_default(),
        missing_claims: Vec::new(),
    }
}
