//! `mandate decide`: decides one request on the content of the folders, with reasons. `explain.rs` prints
//! explanations.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::decision_text::decision_text;
use super::question::{suspension, with_question};
use super::{explain, report, would_change};
use crate::config::ContentArguments;
use crate::error::{CliError, CommandResult};
use mandate_core::clock::Clock;
use mandate_core::decide::DecideError;
use mandate_core::decision::{Decision, Outcome as Decided, Suspension};
use mandate_core::json::Json;
use mandate_core::moment::Moment;
use mandate_core::request::Question;
use mandate_pdp::{DecisionId, Generation, wall_clock};
use mandate_query::explain::{Budget, Explanation, explain as explained};
use mandate_server::authzen::wire::{EvaluationResponse, RequestFields, request_error_message};
use mandate_sources::loader::Loader;

/// Maximum length of a request on standard input, in bytes; the rest is not read.
const LONGEST_REQUEST: u64 = 16 * 1024 * 1024;

#[derive(Args)]
#[command(
    after_help = "Without --principal, --action and --resource, an AuthZEN request (JSON) is read from standard input.\n\nExample: mandate decide --principal DirectBillPartner::fabrikam --action registerDevice --resource Customer::contoso --context channel=partner-center-api"
)]
pub struct Arguments {
    #[command(flatten)]
    content: ContentArguments,
    /// Principal of the request, such as DirectBillPartner::fabrikam
    #[arg(long, value_name = "TYPE::ID", requires = "action", requires = "resource")]
    principal: Option<String>,
    /// Action of the request, such as registerDevice
    #[arg(long, value_name = "NAME", requires = "principal")]
    action: Option<String>,
    /// Resource of the request, such as Customer::contoso
    #[arg(long, value_name = "TYPE::ID", requires = "principal")]
    resource: Option<String>,
    /// Set one context attribute, such as channel=partner-center-api; the value is parsed as JSON, otherwise
    /// it is a string; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "principal")]
    context: Vec<String>,
    /// Decide as if it were this time, in RFC 3339, such as 2026-11-28T10:00:00Z; the schema's clock attributes
    /// have it [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Show what is missing for a permit, or the memberships behind a permit; as text, also what performing the
    /// permitted action would change
    #[arg(long)]
    explain: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The response that AuthZEN clients get
    Json,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let (principal, action, resource) = (arguments.principal, arguments.action, arguments.resource);
    let content_paths = arguments.content.content_paths()?;
    let generation = Generation::from(Loader::new(&content_paths).load().map_err(CliError::Diagnostics)?);
    let content = Content {
        generation: &generation,
        suspension: suspension(&content_paths.policies),
        clock: Clock::At(arguments.at.unwrap_or_else(wall_clock::now)),
        explain: arguments.explain,
    };
    let explained = match (&principal, &action, &resource) {
        (Some(principal), Some(action), Some(resource)) => {
            let named = (principal.as_str(), action.as_str(), resource.as_str());
            with_question(named, &arguments.context, |question| content.answer(question))?
        }
        _ => content.answer_stdin()?,
    };
    report::print(&match arguments.format {
        Format::Text => as_text(&explained, &generation),
        Format::Json => as_json(&explained, &generation)?,
    })?;
    Ok(ExitCode::from(if explained.decision.is_permit() { 0 } else { 2 }))
}

/// A decision, with an explanation if `--explain` is given.
struct ExplainedDecision {
    decision: Decision,
    valid_until: Option<Moment>,
    explanation: Option<Explanation>,
    /// What performing a permitted action would change, as text.
    would_change: String,
}

/// What the request is decided by.
struct Content<'a> {
    generation: &'a Generation,
    /// Why everything is denied, if so.
    suspension: Option<Suspension>,
    clock: Clock,
    explain: bool,
}

impl Content<'_> {
    fn answer_stdin(&self) -> Result<ExplainedDecision, CliError> {
        if std::io::stdin().is_terminal() {
            let message =
                "give --principal, --action and --resource, or an AuthZEN request on standard input";
            return Err(CliError::message(message));
        }
        let mut body = Vec::new();
        std::io::stdin()
            .take(LONGEST_REQUEST)
            .read_to_end(&mut body)
            .map_err(CliError::system("cannot read the request"))?;
        let json = Json::parse(&body).map_err(|error| {
            CliError::message(format!("the request on standard input is not valid JSON: {error}"))
        })?;
        let object =
            json.as_object().ok_or_else(|| CliError::message("the request has to be a JSON object"))?;
        self.answer(&RequestFields::from_object(object).question().map_err(CliError::message)?)
    }

    fn answer(&self, question: &Question<'_>) -> Result<ExplainedDecision, CliError> {
        let snapshot = self.generation.snapshot();
        let request = snapshot
            .request_from_question(question, self.clock)
            .map_err(|error| CliError::message(request_error_message(&error)))?;
        if let Some(suspension) = &self.suspension {
            return Ok(ExplainedDecision {
                decision: Decision::suspended(suspension.clone()),
                valid_until: None,
                explanation: None,
                would_change: String::new(),
            });
        }
        let defect = |error: DecideError| CliError::message(error);
        let slice = snapshot.gather(&request);
        let decision = snapshot.decide(&request, &slice).map_err(defect)?;
        let ends = [snapshot.valid_until(&request, self.clock), slice.next_end()];
        let valid_until = ends.into_iter().flatten().min().filter(|_| decision.is_by_policies());
        let budget = self.explain.then(Budget::interactive);
        let explanation = budget.map(|mut budget| explained(snapshot, &request, &decision, &mut budget));
        let explanation = explanation.transpose().map_err(defect)?;
        let explains_change = self.explain && decision.is_permit();
        let would_change =
            if explains_change { would_change::as_text(&request, self.generation) } else { String::new() };
        Ok(ExplainedDecision { decision, valid_until, explanation, would_change })
    }
}

fn as_json(explained: &ExplainedDecision, generation: &Generation) -> Result<String, CliError> {
    let (decision, revision) = (&explained.decision, generation.revision().as_str());
    let (id, schema) = (DecisionId::generate(), generation.snapshot().schema());
    let answer = match &explained.explanation {
        Some(explanation) => {
            EvaluationResponse::with_explanation(id, decision, revision, explanation, schema)
        }
        None => EvaluationResponse::with_context(id, decision, revision, true),
    };
    Ok(serde_json::to_string_pretty(&answer.with_valid_until(explained.valid_until))? + "\n")
}

fn as_text(explained: &ExplainedDecision, generation: &Generation) -> String {
    let decision = &explained.decision;
    let mut text = decision_text(decision);
    let known = !matches!(decision.outcome, Decided::UnknownPrincipal | Decided::UnknownResource);
    if let Some(explanation) = explained.explanation.as_ref().filter(|_| known) {
        explain::show(&mut text, explanation, generation.snapshot().schema());
    }
    if let Some(valid_until) = explained.valid_until {
        let _ = writeln!(text, "  valid until {valid_until}");
    }
    text += &explained.would_change;
    let _ = writeln!(text, "  revision {}", generation.revision());
    text
}
