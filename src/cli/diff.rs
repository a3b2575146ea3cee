//! `mandate diff`: compares two versions of the policies, for all requests and all entities, and shows the
//! differences as text, JSON or Markdown. The comparison is in mandate-analysis. `entities` compares entities.

mod arguments;
mod entities;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use smol_str::SmolStr;

use super::proof_text;
use super::report::{self, counted, escape_markdown};
use crate::error::{CliError, CommandResult};
pub use arguments::Arguments;
use arguments::{FailOn, Format, VersionArgument};
use mandate_analysis::claim_changes::claim_changes;
use mandate_analysis::claims::Guardrails;
use mandate_analysis::counterexample::WitnessReport;
use mandate_analysis::diff::{DiffResult, Difference, Example, PolicyPair};
use mandate_analysis::proof_report::DecisionReport;
use mandate_core::change_kind::ChangeKind;
use mandate_core::content_change::ContentChange;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::SourceText;
use mandate_core::display;
use mandate_core::policies::EnvironmentKey;
use mandate_core::schema::Schema;
use mandate_sources::loader::PolicyFolder;

pub fn run(arguments: Arguments) -> CommandResult {
    if arguments.entities { entities::run(arguments) } else { run_policies(arguments) }
}

fn run_policies(arguments: Arguments) -> CommandResult {
    let solver = arguments.policies.solver(arguments.solver)?;
    let limits = arguments.policies.limits()?;
    let folder = arguments.policies.folder()?;
    let old = arguments.against.map(VersionArgument::Revision).or(arguments.old.map(VersionArgument::of));
    let old = old.ok_or_else(|| CliError::message("say what to compare with: OLD or --against"))?;
    let new = arguments.new.map_or_else(|| VersionArgument::Folder(folder.clone()), VersionArgument::of);
    let (old, new, old_schema) =
        PolicyFolder::load_two_versions(&old.version(&folder), &new.version(&folder), limits)
            .map_err(CliError::Diagnostics)?;
    let claims = claim_changes(
        &guardrails(&old.guardrails, &old_schema)?,
        &guardrails(&new.guardrails, new.policies.schema())?,
    );
    let routes = new.routes.changes_since(&old.routes);
    let schema = new.policies.schema();
    let changes = new.changes.changes_since(schema, &old.changes, old.policies.schema());
    let pair = PolicyPair { old: old.policies, new: new.policies, old_schema };
    let mut solver = solver.start()?;
    let differences = pair.compare(&mut solver).map_err(|error| CliError::message(error.to_string()))?;
    let result = DiffReport {
        schema: pair.new.schema(),
        gone: pair.removed_environments(),
        differences: &differences,
        claims: &claims,
        routes: &routes,
        changes: &changes,
    };
    let text = match arguments.format {
        Format::Text => result.as_text(),
        Format::Markdown => result.as_markdown(),
        Format::Json => result.as_json()?,
    };
    report::print(&text)?;
    let unknown = differences.iter().any(Difference::is_unknown);
    let failed = unknown || arguments.fail_on.is_some_and(|on| result.has_change(on));
    Ok(ExitCode::from(u8::from(failed)))
}

fn guardrails(files: &[Arc<SourceText>], schema: &Arc<Schema>) -> Result<Guardrails, CliError> {
    Guardrails::parse(files, schema).map_err(CliError::Diagnostics)
}

/// The result of a comparison, as it is shown.
struct DiffReport<'a> {
    schema: &'a Arc<Schema>,
    gone: Vec<String>,
    differences: &'a [Difference],
    claims: &'a [(SmolStr, ChangeKind)],
    routes: &'a [ContentChange],
    /// Rules of `changes.toml`.
    changes: &'a [ContentChange],
}

#[derive(Serialize)]
struct DiffJson<'a> {
    environments: Vec<EnvironmentReport<'a>>,
    /// Request environments that the newer schema no longer has.
    gone: &'a [String],
    claims: Vec<ClaimJson<'a>>,
    routes: Vec<serde_json::Value>,
    /// Rules of `changes.toml`.
    changes: Vec<serde_json::Value>,
}

#[derive(Serialize)]
struct ClaimJson<'a> {
    claim: &'a str,
    change: &'static str,
}

#[derive(Serialize)]
struct EnvironmentReport<'a> {
    principal: String,
    action: String,
    resource: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wider: Option<ExampleReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    narrower: Option<ExampleReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<&'a str>,
}

#[derive(Serialize)]
struct ExampleReport {
    #[serde(flatten)]
    witness: WitnessReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<DecisionReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<DecisionReport>,
}

impl DiffReport<'_> {
    fn names(&self, (action, principal, resource): EnvironmentKey) -> [String; 3] {
        let entity_type = |entity_type| display::entity_type(entity_type, self.schema).to_owned();
        [entity_type(principal), display::action(action, self.schema), entity_type(resource)]
    }

    fn has_change(&self, change: FailOn) -> bool {
        let any = |of: fn(&Difference) -> &DiffResult| {
            self.differences.iter().any(|difference| matches!(of(difference), DiffResult::Example(_)))
        };
        let other_than = |kind| self.routes.iter().chain(self.changes).any(|it| it.kind != kind);
        let wider = any(|it| &it.wider) || other_than(ChangeKind::Removed);
        let narrower = any(|it| &it.narrower) || !self.gone.is_empty() || other_than(ChangeKind::Added);
        let claims = self.claims.iter().any(|(_, change)| *change != ChangeKind::Added);
        match change {
            FailOn::Wider => wider,
            FailOn::Narrower => narrower,
            FailOn::Claims => claims,
            FailOn::Any => wider || narrower || claims,
        }
    }

    fn changed(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| !difference.is_none())
    }

    /// Both directions of each difference, with their words, if there is a result.
    fn found(&self) -> impl Iterator<Item = (&Difference, &'static str, &DiffResult)> {
        self.changed().flat_map(|difference| {
            let found = [("wider", &difference.wider), ("narrower", &difference.narrower)];
            let found = found.into_iter().filter(|(_, found)| !matches!(found, DiffResult::None));
            found.map(move |(what, found)| (difference, what, found))
        })
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for (difference, what, found) in self.found() {
            let title = self.names(difference.environment).join(" ");
            match found {
                DiffResult::None => {}
                DiffResult::Unknown(why) => {
                    let _ = writeln!(text, "unknown   {title}\n    not known whether it is {what}: {why}");
                }
                DiffResult::Example(found) => {
                    let _ = write!(text, "{what:8}  {title}\n{}", example(found, self.schema));
                }
            }
        }
        for gone in &self.gone {
            let _ = writeln!(text, "gone      {gone}");
        }
        for (id, change) in self.claims {
            let _ = writeln!(text, "claim     {id} {}", change.as_str());
        }
        for (what, changed) in [("route", self.routes), ("rule", self.changes)] {
            for it in changed {
                let _ = writeln!(text, "{what:8}  {} {}", it.id, it.kind.as_str());
                for part in &it.parts {
                    let _ = writeln!(text, "    {part}");
                }
            }
        }
        let (all, changed) = (self.differences.len(), self.changed().count());
        let gone = if self.gone.is_empty() { String::new() } else { format!("; {} gone", self.gone.len()) };
        let _ = writeln!(
            text,
            "{} compared: {} the same, {changed} not{gone}",
            counted(all, "environment"),
            all - changed
        );
        if !self.routes.is_empty() {
            let _ = writeln!(text, "{} changed", counted(self.routes.len(), "route"));
        }
        if !self.changes.is_empty() {
            let _ = writeln!(text, "{} of `changes.toml` changed", counted(self.changes.len(), "rule"));
        }
        text
    }

    fn as_markdown(&self) -> String {
        let beside = [("route", self.routes), ("rule of changes.toml", self.changes)];
        let beside = beside.map(|(what, changes)| as_markdown(what, changes));
        self.decisions_as_markdown() + &self.claims_as_markdown() + &beside.concat()
    }

    fn claims_as_markdown(&self) -> String {
        let mut text = String::new();
        if !self.claims.is_empty() {
            text += "\n| claim | change |\n|---|---|\n";
        }
        for (id, change) in self.claims {
            let _ = writeln!(text, "| {} | **{}** |", escape_markdown(id), change.as_str());
        }
        text
    }

    fn decisions_as_markdown(&self) -> String {
        if self.changed().next().is_none() && self.gone.is_empty() {
            return format!(
                "**No decision changes**, in any of {}, for any entities.\n",
                counted(self.differences.len(), "request environment")
            );
        }
        let mut text = String::from("| principal | action | resource | change |\n|---|---|---|---|\n");
        for difference in self.changed() {
            let names = self.names(difference.environment).map(|name| escape_markdown(&name)).join(" | ");
            let _ = writeln!(text, "| {names} | **{}** |", difference.change_label());
        }
        for gone in &self.gone {
            let names: Vec<String> = gone.splitn(3, ' ').map(escape_markdown).collect();
            let _ = writeln!(text, "| {} | **gone** |", names.join(" | "));
        }
        let same = self.differences.len() - self.changed().count();
        let stay = if same == 1 { "stays" } else { "stay" };
        let _ = writeln!(
            text,
            "\n{} {stay} the same, for all requests and all entities.",
            counted(same, "request environment")
        );
        for (difference, what, found) in self.found() {
            let title = self.names(difference.environment).map(|name| escape_markdown(&name)).join(" ");
            let body = match found {
                DiffResult::None => continue,
                DiffResult::Unknown(why) => format!("Not known: {}\n", escape_markdown(why)),
                DiffResult::Example(example) => {
                    let sentences =
                        sentences(example).into_iter().map(|text| format!("- {}\n", escape_markdown(&text)));
                    let witness = proof_text::witness(&example.witness, self.schema);
                    format!("{}\n```text\n{witness}```\n", sentences.collect::<String>())
                }
            };
            let _ = write!(text, "\n<details><summary>{what}: {title}</summary>\n\n{body}\n</details>\n");
        }
        text
    }

    fn as_json(&self) -> Result<String, CliError> {
        let environments = self.differences.iter().map(|difference| {
            let [principal, action, resource] = self.names(difference.environment);
            EnvironmentReport {
                principal,
                action,
                resource,
                change: difference.change_label(),
                wider: self.example(&difference.wider),
                narrower: self.example(&difference.narrower),
                unknown: [&difference.wider, &difference.narrower].into_iter().filter_map(unknown).collect(),
            }
        });
        let claims = self.claims.iter();
        let claims = claims.map(|(id, change)| ClaimJson { claim: id, change: change.as_str() }).collect();
        let [routes, changes] = [self.routes, self.changes].map(|it| it.iter().map(ContentChange::to_json));
        let report = DiffJson {
            environments: environments.collect(),
            gone: &self.gone,
            claims,
            routes: routes.collect(),
            changes: changes.collect(),
        };
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    fn example(&self, found: &DiffResult) -> Option<ExampleReport> {
        let DiffResult::Example(example) = found else { return None };
        let (before, after) = example
            .decisions
            .as_ref()
            .map(|(old, new)| (DecisionReport::of(old), DecisionReport::of(new)))
            .unzip();
        Some(ExampleReport { witness: example.witness.report(self.schema), before, after })
    }
}

/// Routes or rules of `changes.toml` that changed, as a table.
fn as_markdown(what: &str, changes: &[ContentChange]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut text = format!("\n| {what} | change | part | before | now |\n|---|---|---|---|---|\n");
    for change in changes {
        for part in &change.parts {
            let cells = [part.before.as_deref(), part.after.as_deref()];
            let cells = cells.map(|cell| cell.map(escape_markdown).unwrap_or_default()).join(" | ");
            let (id, kind) = (escape_markdown(&change.id), change.kind.as_str());
            let _ = writeln!(text, "| {id} | **{kind}** | {} | {cells} |", escape_markdown(&part.part));
        }
    }
    text
}

/// An example as text: both decisions, the request and its entities.
pub fn example(example: &Example, schema: &Schema) -> String {
    let sentences = sentences(example).into_iter().map(|sentence| format!("    {sentence}\n"));
    sentences.collect::<String>() + &proof_text::witness(&example.witness, schema)
}

fn unknown(found: &DiffResult) -> Option<&str> {
    match found {
        DiffResult::Unknown(why) => Some(why),
        DiffResult::None | DiffResult::Example(_) => None,
    }
}

/// The decisions on an example, before and now.
fn sentences(example: &Example) -> Vec<String> {
    match &example.decisions {
        None => vec!["found by the solver; these entities may violate the loading rules (`@member_of_one`, `@only_member`, `@member_requires`)".to_owned()],
        Some((old, new)) => vec![format!("before: {}", decided(old)), format!("now: {}", decided(new))],
    }
}

fn decided(decision: &Decision) -> String {
    let policies: Vec<&str> =
        decision.determining_policies().iter().map(|policy| policy.id.as_str()).collect();
    match (decision.is_permit(), policies.is_empty()) {
        (true, _) => format!("permitted by {}", policies.join(", ")),
        (false, false) => format!("forbidden by {}", policies.join(", ")),
        (false, true) => "no policy permits it".to_owned(),
    }
}
