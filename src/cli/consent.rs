//! `mandate consent`: requests that are reviewed by link, from both sides. It works on the file of a store, or asks a
//! sidecar; `target` hides the difference.

mod target;
mod text;

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::entities::read::{self, Log};
use super::question::context_json;
use super::report;
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_changes::RequestRule;
use mandate_core::display;
use mandate_server::changes::link_body::{AskBody, ManageBody, ReviewBody};
use mandate_sources::loader::PolicyFolder;
use mandate_store::EntityName;
use target::{Target, TargetArgument};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Ask for consent: print the link to send, which a reviewer opens and accepts
    Request(RequestArguments),
    /// List the requests of a requester, the newest first
    List(ListArguments),
    /// Show a request
    Show(ShowArguments),
    /// Accept a request, in the name of a reviewer
    Accept(ReviewArguments),
    /// Decline a request, in the name of a reviewer
    Decline(ReviewArguments),
    /// Take a request back, in the name of its requester
    Withdraw(ReviewArguments),
    /// End what was accepted
    End(ManageArguments),
    /// Take delegated administration away; what was accepted stays
    RemoveAdministration(ManageArguments),
    /// Show the transactions that made, reviewed or ended requests
    Log(LogArguments),
}

#[derive(Args)]
struct RequestArguments {
    /// Who asks, such as DirectBillPartner::fabrikam
    #[arg(long, value_name = "TYPE::ID")]
    requester: String,
    /// Who is asked, such as Customer::contoso; without it, the link is for whoever accepts it first, or always open
    /// if the rule says so
    #[arg(long, value_name = "TYPE::ID")]
    resource: Option<String>,
    /// A value of the context, such as delegatedAdministration=false; repeat it for several
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<String>,
    /// How long the link is valid, such as 7d [default: as the rule of requests says]
    #[arg(long, value_name = "TIME")]
    valid_for: Option<String>,
    /// The language of the e-mail: two letters [default: en]
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// The rule of requests to follow, if several are for the requester
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    #[command(flatten)]
    target: TargetArgument,
}

#[derive(Args)]
struct ListArguments {
    /// Whose requests, such as DirectBillPartner::fabrikam
    #[arg(long, value_name = "TYPE::ID")]
    requester: String,
    #[command(flatten)]
    target: TargetArgument,
}

#[derive(Args)]
struct ShowArguments {
    /// The secret of the link: what comes after /links/
    #[arg(value_name = "LINK")]
    link: String,
    #[command(flatten)]
    target: TargetArgument,
}

#[derive(Args)]
struct ReviewArguments {
    /// The secret of the link: what comes after /links/
    #[arg(value_name = "LINK")]
    link: String,
    /// In whose name, such as TenantUser::admin@contoso
    #[arg(long, value_name = "TYPE::ID")]
    by: String,
    #[command(flatten)]
    target: TargetArgument,
}

#[derive(Args)]
struct ManageArguments {
    /// What was accepted, such as CspConsent::contoso--fabrikam
    #[arg(value_name = "TYPE::ID")]
    resource: String,
    /// In whose name, such as TenantUser::admin@contoso
    #[arg(long, value_name = "TYPE::ID")]
    by: String,
    #[command(flatten)]
    target: TargetArgument,
}

#[derive(Args)]
struct LogArguments {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    policies: PolicyArguments,
}

pub fn run(arguments: Arguments) -> CommandResult {
    match arguments.verb {
        Verb::Request(arguments) => request(arguments),
        Verb::List(ListArguments { requester, target }) => {
            let listed = target.open()?.list(&requester)?;
            print(&target, &listed, || text::list(&listed))
        }
        Verb::Show(ShowArguments { link, target }) => {
            let shown = target.open()?.show(&link)?;
            print(&target, &shown, || text::one(&shown))
        }
        Verb::Accept(arguments) => review(&arguments, "accept"),
        Verb::Decline(arguments) => review(&arguments, "decline"),
        Verb::Withdraw(arguments) => review(&arguments, "withdraw"),
        Verb::End(arguments) => manage(&arguments, "end"),
        Verb::RemoveAdministration(arguments) => manage(&arguments, "remove-administration"),
        Verb::Log(LogArguments { log, policies }) => {
            let policies = policies.load()?;
            read::log_of_actions(&log, &actions_of_requests(&policies))
        }
    }
}

/// The actions of all rules of requests.
fn actions_of_requests(policies: &PolicyFolder) -> BTreeSet<String> {
    let of_rule = |rule: &RequestRule| {
        let optional = [rule.offer, rule.decline, rule.withdraw].into_iter().flatten();
        let manage = rule.manage.iter().map(|(_, action)| *action);
        [rule.ask, rule.accept].into_iter().chain(optional).chain(manage).collect::<Vec<_>>()
    };
    let actions = policies.changes.requests().iter().flat_map(of_rule);
    actions.map(|action| display::action(action, policies.policies.schema())).collect()
}

fn request(arguments: RequestArguments) -> CommandResult {
    let RequestArguments { requester, resource, context, valid_for, language, rule, target } = arguments;
    let body = AskBody {
        subject: named(&requester)?,
        resource: resource.as_deref().map(named).transpose()?,
        context: serde_json::from_str(&context_json(&context)?)?,
        rule,
        valid_for,
        language,
    };
    perform(&target, |it| it.ask(body), text::one)
}

fn review(arguments: &ReviewArguments, verb: &str) -> CommandResult {
    let ReviewArguments { link, by, target } = arguments;
    let body = ReviewBody { subject: named(by)? };
    perform(target, |it| it.review(link, verb, body), text::one)
}

fn manage(arguments: &ManageArguments, name: &str) -> CommandResult {
    let ManageArguments { resource, by, target } = arguments;
    let body = ManageBody { subject: named(by)?, resource: named(resource)?, name: name.to_owned() };
    perform(target, |it| it.manage(body), text::changed)
}

/// Performs an operation, and prints what became of it; a denial exits with 2.
fn perform(
    target: &TargetArgument,
    operation: impl FnOnce(&Target) -> Result<Value, CliError>,
    as_text: impl FnOnce(&Value) -> String,
) -> CommandResult {
    match operation(&target.open()?) {
        Ok(done) => print(target, &done, || as_text(&done)),
        Err(error) if error.is_denial() => {
            report::print_error(&error);
            Ok(ExitCode::from(2))
        }
        Err(error) => Err(error),
    }
}

fn print(target: &TargetArgument, value: &Value, as_text: impl FnOnce() -> String) -> CommandResult {
    if target.json {
        report::print_json(value)?;
    } else {
        report::print(&as_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A name such as `Customer::contoso`.
fn named(text: &str) -> Result<EntityName, CliError> {
    let (entity_type, id) = display::parse_type_and_id(text).map_err(CliError::message)?;
    Ok(EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() })
}
