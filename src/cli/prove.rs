//! `mandate prove`: proves the guardrails for all requests and all entities. `proof_text.rs` prints
//! counterexamples; the proof is in mandate-analysis.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::format::FormatArgument;
use super::guardrails::missing_claim;
use super::proof_text;
use super::report::{self, counted};
use super::written_memberships;
use crate::config::{ClaimOptions, PolicyArguments, SolverArguments};
use crate::error::{CliError, CommandResult};
use mandate_analysis::claims::{Claim, Guardrails};
use mandate_analysis::guardrail_suite;
use mandate_analysis::proof_report::{ClaimReport, milliseconds};
use mandate_analysis::prove::{CheckedClaim, ClaimResult, prove, unproven};
use mandate_core::diagnostics::Diagnostics;
use mandate_core::policies::PolicyInfo;
use mandate_sources::loader::PolicyFolder;

/// The progress line appears after this time.
const PROGRESS_DELAY: Duration = Duration::from_secs(2);

#[derive(Args)]
#[command(
    after_help = "Exit 0 if every claim is proven and every case of the suites beside them passes; 1 if a claim is broken, unknown or missing, or a case fails. Claims and suites are in the folder `guardrails` of the policy folder."
)]
pub struct Arguments {
    #[command(flatten)]
    policies: PolicyArguments,
    #[command(flatten)]
    solver: SolverArguments,
    #[command(flatten)]
    claims: ClaimOptions,
    #[command(flatten)]
    format: FormatArgument,
    /// Print a test suite instead of the table: a case for `mandate test` for each broken claim
    #[arg(long)]
    emit_test: bool,
}

impl Arguments {
    /// `None` if a suite is printed.
    pub fn format(&self) -> Option<FormatArgument> {
        (!self.emit_test).then_some(self.format)
    }
}

pub fn run(arguments: Arguments) -> CommandResult {
    let format = arguments.format();
    let solver = arguments.policies.solver(arguments.solver)?;
    let required = arguments.policies.required_claims(arguments.claims)?;
    let folder = arguments.policies.load()?;
    let guardrails =
        Guardrails::parse(&folder.guardrails, folder.policies.schema()).map_err(CliError::Diagnostics)?;
    let mut diagnostics = Diagnostics::default();
    let mut missing = Vec::new();
    if let Some(file) = &required {
        missing = guardrails.missing(&file.read()?);
        for id in &missing {
            diagnostics.push(missing_claim(id, file));
        }
    }
    let mut solver = solver.start()?;
    let started = Instant::now();
    let mut progress = Progress { started, total: guardrails.claims().len(), shown: false };
    let proofs = prove(&folder.policies, &guardrails, &mut solver, &mut |claim, done| {
        progress.next(claim, done.len() + 1)
    });
    progress.done();
    let (schema, policies) = (folder.policies.schema(), &folder.policies);
    diagnostics.extend(unproven(&proofs, schema));
    let suites = guardrail_suite::run(&folder.guardrails, policies, &folder.routes).err();
    diagnostics.extend(suites.clone().unwrap_or_default());
    if let Some(format) = format {
        format.print_text(&as_text(&proofs, &missing, &folder, started.elapsed()))?;
        format.print_data(&as_json(&proofs, &missing, &folder, started.elapsed()), &diagnostics)?;
    } else {
        report::print(&proof_text::as_suite(&proofs, schema))?;
    }
    // The suites are reported where the output is not read by a program.
    if let Some(failures) = suites {
        report::print_error(&CliError::Diagnostics(failures));
    }
    Ok(ExitCode::from(u8::from(diagnostics.has_errors())))
}

/// A progress line on a terminal.
struct Progress {
    started: Instant,
    total: usize,
    shown: bool,
}

impl Progress {
    fn next(&mut self, claim: &Claim, nth: usize) -> ControlFlow<()> {
        if self.started.elapsed() > PROGRESS_DELAY && std::io::stderr().is_terminal() {
            // A progress line that cannot be written is no reason to fail.
            let _ = write!(std::io::stderr(), "\r\x1b[Kproving {nth} of {}: {}", self.total, claim.id);
            self.shown = true;
        }
        ControlFlow::Continue(())
    }

    fn done(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn as_text(proofs: &[CheckedClaim], missing: &[String], folder: &PolicyFolder, took: Duration) -> String {
    let policies = &folder.policies;
    let widest = proofs.iter().map(|proof| proof.claim.id.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for proof in proofs {
        let claim = &proof.claim;
        let result = match &proof.result {
            ClaimResult::Proven => "proven",
            ClaimResult::Broken(_) => "BROKEN",
            ClaimResult::Unknown(_) => "UNKNOWN",
        };
        let took = proof.took.as_secs_f64() * 1e3;
        let _ = writeln!(text, "{result:7}  {:widest$}  {:12}  {took:6.0} ms", claim.id, claim.kind.name());
    }
    for id in missing {
        let _ = writeln!(text, "MISSING  {id}: required by --require-claims");
    }
    for emergency in policies.emergencies() {
        let why = emergency.emergency.as_deref().unwrap_or_default();
        let _ = writeln!(text, "emergency {}: floors are proven without it: {why}", emergency.id);
    }
    for proof in proofs.iter().filter(|proof| !proof.holds()) {
        text += &proof_text::describe(proof, policies.schema());
    }
    text += &written_memberships::as_text(&folder.changes, policies.schema());
    let count =
        |wanted: fn(&ClaimResult) -> bool| proofs.iter().filter(|proof| wanted(&proof.result)).count();
    let _ = writeln!(
        text,
        "\n{}: {} proven, {} broken, {} unknown{}; {:.1} s",
        counted(proofs.len(), "claim"),
        count(|result| matches!(result, ClaimResult::Proven)),
        count(|result| matches!(result, ClaimResult::Broken(_))),
        count(|result| matches!(result, ClaimResult::Unknown(_))),
        if missing.is_empty() { String::new() } else { format!(", {} missing", missing.len()) },
        took.as_secs_f64()
    );
    text
}

fn as_json(
    proofs: &[CheckedClaim],
    missing: &[String],
    folder: &PolicyFolder,
    took: Duration,
) -> serde_json::Value {
    let (policies, schema) = (&folder.policies, folder.policies.schema());
    let emergency = |info: &PolicyInfo| json!({ "policy": info.id, "reason": info.emergency });
    json!({
        "proven": missing.is_empty() && proofs.iter().all(CheckedClaim::holds),
        "took_ms": milliseconds(took),
        "missing_claims": missing,
        "emergencies": policies.emergencies().into_iter().map(|info| emergency(info)).collect::<Vec<_>>(),
        "writes": written_memberships::as_json(&folder.changes, schema),
        "claims": proofs.iter().map(|proof| ClaimReport::of(proof, schema)).collect::<Vec<_>>(),
    })
}
