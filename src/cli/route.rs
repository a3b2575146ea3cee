//! `mandate route`: which route takes an HTTP request, and the question that comes out.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::report;
use crate::config::PolicyArguments;
use crate::error::{CliError, CommandResult};
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Request, RequestLimits};
use mandate_core::schema::Schema;
use mandate_routes::{HttpRequest, RequestBody, Route, RouteError, RouteMatch, Routes};
use mandate_server::authzen::wire::request_error_message;
use mandate_sources::loader::PolicyFolder;

/// The longest body that is read, in bytes.
const LONGEST_BODY: u64 = 16 * 1024 * 1024;

#[derive(Args)]
#[command(after_help = "Without a method and a path, all routes are listed, the narrower before the wider.")]
pub struct Arguments {
    #[command(flatten)]
    policies: PolicyArguments,
    /// The request's method, such as POST
    #[arg(requires = "target")]
    method: Option<String>,
    /// The request's path, as it would come: percent-encoded, with a query or without
    #[arg(value_name = "PATH")]
    target: Option<String>,
    /// A header; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The request's body; `-` is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A context extension of Envoy's; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    extension: Vec<String>,
    /// Envoy's dynamic metadata, a JSON object by filter
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// The client's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The name that the gateway made of the client's certificate
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The question as AuthZEN clients ask it; `mandate decide` reads it
    Json,
}

pub fn run(arguments: Arguments) -> CommandResult {
    let Arguments { policies, method, target, format, .. } = arguments;
    let folder = PolicyFolder::load(&policies.folder()?).map_err(CliError::Diagnostics)?;
    let (Some(method), Some(target)) = (&method, &target) else {
        report::print(&list(&folder.routes))?;
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
        text.push_str("there are no routes: write them into `routes.toml`, in the folder of the policies\n");
    }
    text
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
            let heading = match unrouted {
                RouteError::MissingValue { route, .. } => heading(route) + "\n",
                _ => String::new(),
            };
            report::print(&format!("{heading}deny: {unrouted}\n"))?;
            return Ok(ExitCode::from(2));
        }
    };
    match Request::from_question(&routed.question(), schema, &RequestLimits::default()) {
        Ok(request) if format == Format::Json => report::print(&format!("{}\n", question(&request, schema)))?,
        Ok(request) => {
            let (principal, resource) = (request.principal.as_uid_ref(), request.resource.as_uid_ref());
            report::print(&format!(
                "{}\n  principal  {}\n  action     {}\n  resource   {}\n  context    {}\n",
                heading(routed.route),
                display::uid(principal, schema),
                display::action(request.action, schema),
                display::uid(resource, schema),
                display::record(&request.context, schema),
            ))?;
        }
        Err(error) => {
            report::print(&format!("{}\ndeny: {}\n", heading(routed.route), request_error_message(&error)))?;
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A request as AuthZEN clients ask it.
fn question(request: &Request, schema: &Schema) -> serde_json::Value {
    let entity =
        |entity_type, id: &str| json!({ "type": display::entity_type(entity_type, schema), "id": id });
    json!({
        "subject": entity(request.principal.entity_type, &request.principal.id),
        "action": { "name": display::action(request.action, schema) },
        "resource": entity(request.resource.entity_type, &request.resource.id),
        "context": display::request_json(&request.context, schema),
    })
}
