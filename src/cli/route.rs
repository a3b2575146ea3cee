//! `mandate route`: shows the route that matches an HTTP request, and the authorization request that it
//! makes. Routing is in mandate-routes.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::format::FormatArgument;
use super::report;
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_core::clock::Clock;
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Request, RequestLimits};
use mandate_core::schema::Schema;
use mandate_pdp::wall_clock;
use mandate_routes::{HttpRequest, RequestBody, Route, RouteError, RouteMatch, Routes};
use mandate_server::authzen::wire::request_error_message;

/// Maximum length of a body or certificate file, in bytes; the rest is not read.
const LONGEST_BODY: u64 = 16 * 1024 * 1024;

#[derive(Args)]
#[command(
    after_help = "Without a method and a path, all routes are listed, the more specific ones first.\n\nExample: mandate route POST /v1/customers/contoso/deviceBatches -H 'X-Partner-Type: DirectBillPartner' -H 'X-Partner-Id: fabrikam'"
)]
pub struct Arguments {
    #[command(flatten)]
    policies: PolicyArguments,
    /// Method of the HTTP request, such as POST
    #[arg(requires = "target")]
    method: Option<String>,
    /// Path of the HTTP request, percent-encoded as a client sends it; may have a query
    #[arg(value_name = "PATH")]
    target: Option<String>,
    /// Header of the HTTP request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Read the body of the HTTP request from this file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Context extension, as Envoy sends them; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    extension: Vec<String>,
    /// Dynamic metadata, as Envoy sends it: a JSON object with a member for each filter
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Read the client's certificate from this file (PEM)
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Identity of the client, as Envoy takes it from the client's certificate (`source.principal`)
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// An AuthZEN request, which `mandate decide` can read; without a path, all routes
    Json,
}

impl Arguments {
    /// `None` if people read the output.
    pub fn format(&self) -> Option<FormatArgument> {
        match self.format {
            Format::Text => None,
            Format::Json => Some(FormatArgument::JSON),
        }
    }
}

pub fn run(arguments: Arguments) -> CommandResult {
    let Arguments { policies, method, target, format, .. } = arguments;
    let folder = policies.load()?;
    let (Some(method), Some(target)) = (&method, &target) else {
        match format {
            Format::Text => report::print(&list(&folder.routes))?,
            Format::Json => report::print_json(&list_json(&folder.routes))?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let body = arguments.body.as_ref().map(read).transpose()?;
    let metadata = arguments.metadata.as_deref().unwrap_or("{}");
    let metadata = Json::parse(metadata.as_bytes()).ok().and_then(|json| json.as_object().cloned());
    let certificate = arguments.certificate.as_ref().map(read).transpose()?;
    let certificate = certificate.map(|pem| String::from_utf8_lossy(&pem).into_owned());
    let names = arguments.header.iter().map(|header| split(header, ':')).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = names.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let extensions = arguments.extension.iter().map(|extension| split(extension, '='));
    let request = HttpRequest {
        method,
        target,
        headers: names.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
        body: body.as_deref().map_or(RequestBody::None, RequestBody::Complete),
        depth: Json::MAX_DEPTH,
        extensions: extensions.collect::<Result<_, _>>()?,
        metadata: metadata.ok_or_else(|| CliError::message("`--metadata` has to be a JSON object"))?,
        peer: arguments.peer.as_deref(),
        certificate: certificate.as_deref(),
    };
    show(&folder.routes.route(&request), folder.policies.schema(), format)
}

fn read(path: &PathBuf) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let done = if path.as_os_str() == "-" {
        std::io::stdin().take(LONGEST_BODY).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST_BODY).read_to_end(&mut bytes))
    };
    done.map_err(|error| CliError::file("read", path, error))?;
    Ok(bytes)
}

fn split(pair: &str, at: char) -> Result<(&str, &str), CliError> {
    let wrong =
        || CliError::message(format!("`{pair}` has to be a name and a value with `{at}` between them"));
    pair.split_once(at).map(|(name, value)| (name.trim(), value.trim())).ok_or_else(wrong)
}

fn list(routes: &Routes) -> String {
    let mut text = String::new();
    for route in routes.iter() {
        let _ = writeln!(text, "{}\n  action     {}", heading(route), route.action());
    }
    if text.is_empty() {
        text.push_str("there are no routes: add them to `routes.toml` in the policy folder\n");
    }
    text
}

fn list_json(routes: &Routes) -> serde_json::Value {
    let routes = routes.iter().map(|route| {
        json!({
            "id": route.id,
            "methods": route.methods,
            "path": route.path,
            "action": route.action(),
            "file": route.span.source.path,
            "line": route.line(),
        })
    });
    json!({ "routes": routes.collect::<Vec<_>>() })
}

fn heading(route: &Route) -> String {
    let methods = route.methods.join(", ");
    format!(
        "{} ({}:{})\n  takes      {methods} {}",
        route.id,
        route.span.source.path,
        route.line(),
        route.path
    )
}

fn show(routed: &Result<RouteMatch<'_>, RouteError<'_>>, schema: &Schema, format: Format) -> CommandResult {
    let routed = match routed {
        Ok(routed) => routed,
        Err(unrouted) => {
            let route = match unrouted {
                RouteError::MissingValue { route, .. } => Some(*route),
                RouteError::Path(_) | RouteError::NoRoute => None,
            };
            return denied(route, &unrouted.to_string(), format);
        }
    };
    match Request::from_question(
        &routed.question(),
        schema,
        &RequestLimits::default(),
        Clock::At(wall_clock::now()),
    ) {
        Ok(request) if format == Format::Json => report::print(&format!("{}\n", question(&request, schema)))?,
        Ok(request) => {
            let (principal, resource) = (request.principal.as_uid_ref(), request.resource.as_uid_ref());
            report::print(&format!(
                "{}\n  principal  {}\n  action     {}\n  resource   {}\n  context    {}\n",
                heading(routed.route),
                display::uid(principal, schema),
                display::action(request.action, schema),
                display::uid(resource, schema),
                display::record(&request.context_of_caller(schema), schema),
            ))?;
        }
        Err(error) => return denied(Some(routed.route), &request_error_message(&error), format),
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows why the request would be denied before the policies are asked.
fn denied(route: Option<&Route>, reason: &str, format: Format) -> CommandResult {
    report::print(&match format {
        Format::Json => {
            format!(
                "{}\n",
                json!({ "decision": false, "route": route.map(|route| &route.id), "reason": reason })
            )
        }
        Format::Text => {
            let heading = route.map_or_else(String::new, |route| heading(route) + "\n");
            format!("{heading}deny: {reason}\n")
        }
    })?;
    Ok(ExitCode::from(2))
}

/// The request as AuthZEN JSON.
fn question(request: &Request, schema: &Schema) -> serde_json::Value {
    let entity =
        |entity_type, id: &str| json!({ "type": display::entity_type(entity_type, schema), "id": id });
    json!({
        "subject": entity(request.principal.entity_type, &request.principal.id),
        "action": { "name": display::action(request.action, schema) },
        "resource": entity(request.resource.entity_type, &request.resource.id),
        "context": display::request_json(&request.context_of_caller(schema), schema),
    })
}
