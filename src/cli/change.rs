//! `mandate change`: performs an action on the entities of a store, if the policies permit it. Decision, edits and commit
//! are made on one snapshot, while no other process can open the store.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use jiff::tz::TimeZone;

use super::decision_text::decision_text;
use super::question::{suspension, with_question};
use super::report;
use super::store_argument::StoreArgument;
use super::store_editor::StoreEditor;
use crate::config::{NamedTimeZone, PolicyArguments};
use crate::error::{CliError, CommandResult};
use mandate_core::clock::Clock;
use mandate_core::decision::Decision;
use mandate_core::display;
use mandate_core::moment::Moment;
use mandate_core::request::{Request, RequestLimits};
use mandate_pdp::{ChangeDecision, DecisionId, Generation, author_of, wall_clock};
use mandate_server::authzen::wire::request_error_message;

#[derive(Args)]
#[command(
    after_help = "Exit 0 if the change is committed, 2 if it is denied, 1 if it cannot be made.\n\nExample: mandate change --store entities.redb --principal DirectBillPartner::fabrikam --action requestConsent --resource Customer::relecloud --context delegatedAdministration=false"
)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    policies: PolicyArguments,
    /// Principal of the request, such as DirectBillPartner::fabrikam
    #[arg(long, value_name = "TYPE::ID")]
    principal: String,
    /// Action of the request, such as requestConsent
    #[arg(long, value_name = "NAME")]
    action: String,
    /// Resource of the request, such as Customer::contoso
    #[arg(long, value_name = "TYPE::ID")]
    resource: String,
    /// Set one context attribute, such as delegatedAdministration=false; the value is parsed as JSON, otherwise
    /// it is a string; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<String>,
    /// Decide as if it were this time, in RFC 3339, such as 2026-11-28T10:00:00Z; the schema's clock attributes
    /// have it [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Time zone of the days of the week that contexts have by `@clock("weekday")`, such as Europe/Berlin
    /// [default: UTC]
    #[arg(long, env = "MANDATE_TIME_ZONE", value_name = "ZONE")]
    time_zone: Option<NamedTimeZone>,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let suspension = suspension(&arguments.policies.folder()?);
    let time_zone = arguments.time_zone.or(arguments.policies.file()?.content.time_zone);
    let time_zone = time_zone.map_or(TimeZone::UTC, NamedTimeZone::into_zone);
    let limits = RequestLimits { time_zone, ..RequestLimits::default() };
    let clock = Clock::At(arguments.at.unwrap_or_else(wall_clock::now));
    let policies = arguments.policies.load()?;
    let editor = StoreEditor::open(&arguments.store, &policies)?;
    let snapshot = &editor.snapshot;
    let generation = Generation::new(snapshot.clone(), policies.routes, policies.changes);

    let named = (arguments.principal.as_str(), arguments.action.as_str(), arguments.resource.as_str());
    let request = with_question(named, &arguments.context, |question| {
        let request = Request::from_question(question, snapshot.schema(), &limits, clock);
        request.map_err(|error| CliError::message(request_error_message(&error)))
    })?;
    if let Some(suspension) = suspension {
        return denied(&Decision::suspended(suspension));
    }
    let make_id = &mut || DecisionId::generate().to_string();
    let (decision, edits) = match generation.decide_change(&request, make_id).map_err(CliError::message)? {
        ChangeDecision::Denied(decision) => return denied(&decision),
        ChangeDecision::Permitted(decision, edits) => (decision, edits),
    };
    let committed = editor.commit(author_of(&request, &decision, snapshot.schema()), edits.changes, || {})?;
    let mut text = format!("{committed}\n");
    for created in edits.created {
        let _ = writeln!(text, "  created {}", display::uid(created.as_uid_ref(), snapshot.schema()));
    }
    report::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn denied(decision: &Decision) -> CommandResult {
    report::print(&decision_text(decision))?;
    Ok(ExitCode::from(2))
}
