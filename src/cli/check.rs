//! `mandate check`: everything that `serve` would refuse, before it is asked to.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::config::{ContentArguments, colour, on_github};
use super::report::{self, counted};
use super::{Failure, Outcome};
use crate::assurance::guardrails::Guardrails;
use crate::authz::Snapshot;
use crate::authz::fault::{Faults, Severity};
use crate::pdp::Report;
use crate::source::loader::{Loader, Locations};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    content: ContentArguments,
    /// Form of what is found [default: text; annotations as well where GITHUB_ACTIONS is `true`]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: with the source, in colour on a terminal
    Text,
    /// One JSON object
    Json,
    /// GitHub annotations
    Github,
}

pub fn run(arguments: Arguments) -> Outcome {
    let locations = arguments.content.locations()?;
    let (faults, snapshot) = match load(&locations) {
        Ok((snapshot, warnings)) => (warnings, Some(snapshot)),
        Err(faults) => (faults, None),
    };
    let text = match arguments.format {
        Some(Format::Json) => as_json(&faults, snapshot.as_ref())?,
        Some(Format::Github) => report::for_github(&faults),
        None if on_github() => as_text(&faults, snapshot.as_ref()) + &report::for_github(&faults),
        Some(Format::Text) | None => as_text(&faults, snapshot.as_ref()),
    };
    report::print(&text)?;
    Ok(ExitCode::from(u8::from(snapshot.is_none())))
}

/// Loads everything, and reads the guardrails as well.
fn load(locations: &Locations) -> Result<(Snapshot, Faults), Faults> {
    let mut loader = Loader::new(locations);
    let (snapshot, mut warnings) = loader.load()?;
    match Guardrails::parse(loader.guardrails(), snapshot.policies().schema()) {
        Ok(_) => Ok((snapshot, warnings)),
        Err(faults) => {
            warnings.extend(faults);
            Err(warnings)
        }
    }
}

fn as_text(faults: &Faults, snapshot: Option<&Snapshot>) -> String {
    let mut text = String::new();
    if !faults.is_empty() {
        text += &report::for_people(faults, colour(&std::io::stdout()));
    }
    if let Some(snapshot) = snapshot {
        let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
        let counts = format!("{}, {}", counted(policies, "policy"), counted(entities, "entity"));
        let _ = writeln!(text, "ok: {counts}, revision {}", snapshot.revision());
    }
    text
}

fn as_json(faults: &Faults, snapshot: Option<&Snapshot>) -> Result<String, Failure> {
    let of = |severity| -> Vec<Report> {
        faults.iter().filter(|fault| fault.severity == severity).map(Report::from).collect()
    };
    let body = json!({
        "ok": snapshot.is_some(),
        "revision": snapshot.map(|snapshot| snapshot.revision().as_str()),
        "policies": snapshot.map(|snapshot| snapshot.policies().len()),
        "entities": snapshot.map(|snapshot| snapshot.entities().len()),
        "error_count": faults.error_count(),
        "errors": of(Severity::Error),
        "warnings": of(Severity::Warning),
    });
    serde_json::to_string_pretty(&body)
        .map(|text| text + "\n")
        .map_err(|error| Failure::message(error.to_string()))
}
