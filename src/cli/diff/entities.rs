//! `mandate diff --entities`: who gains and who loses what between two versions of the entities, as text, JSON
//! or Markdown. The comparison is in mandate-query.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;
use smol_str::SmolStr;

use super::arguments::{Arguments, FailOn, Format, VersionArgument};
use crate::cli::report::{self, counted, escape_markdown};
use crate::error::{CliError, CommandResult};
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::snapshot::RequestConfig;
use mandate_core::value::Record;
use mandate_pdp::wall_clock;
use mandate_query::access::{AccessChange, AccessComparison, ActionContexts, ChangeDirection, ContextError};
use mandate_sources::loader::{FolderState, load_entity_folder};

pub fn run(arguments: Arguments) -> CommandResult {
    if arguments.fail_on == Some(FailOn::Claims) {
        let message = "`--fail-on claims` is for policies: with `--entities`, choose wider, narrower or any";
        return Err(CliError::message(message));
    }
    let folder = arguments.policies.entity_folder()?;
    let (old, new) = match (arguments.against, arguments.old, arguments.new) {
        (Some(revision), ..) => {
            (VersionArgument::Revision(revision), VersionArgument::Folder(folder.clone()))
        }
        (None, Some(old), Some(new)) => (VersionArgument::of(old), VersionArgument::of(new)),
        (None, ..) => {
            let message = "`--entities` compares two versions, and NEW is missing: write `mandate diff --entities OLD NEW`, or `mandate diff --entities --against REV`";
            return Err(CliError::message(message));
        }
    };
    let policies = arguments.policies.load()?.policies;
    let empty = Snapshot::new(policies, &RequestConfig::default()).map_err(CliError::Diagnostics)?;
    let [before, after] = load(&empty, &old.version(&folder), &new.version(&folder))?;
    let comparison = AccessComparison::new(&before, &after).at(wall_clock::now());
    let contexts = contexts(&comparison, arguments.context.as_deref(), before.schema())?;
    let mut report = AccessReport::new(&comparison, before.schema(), arguments.limit);
    if report.entities > 0 {
        report.untried = untried(&contexts, before.schema());
    }
    comparison.for_each_change(&contexts, |change| report.add(change)).map_err(CliError::message)?;
    report::print(&match arguments.format {
        Format::Text => report.as_text(),
        Format::Markdown => report.as_markdown(),
        Format::Json => report.as_json()?,
    })?;
    Ok(ExitCode::from(u8::from(arguments.fail_on.is_some_and(|on| report.has_change(on)))))
}

/// Loads both versions; if both are wrong, shows what is wrong with either.
fn load(empty: &Snapshot, old: &FolderState<'_>, new: &FolderState<'_>) -> Result<[Snapshot; 2], CliError> {
    let before = load_entity_folder(old, empty);
    let after = load_entity_folder(new, before.as_ref().unwrap_or(empty));
    match (before, after) {
        (Ok(before), Ok(after)) => Ok([before, after]),
        (before, after) => {
            let mut diagnostics = Diagnostics::default();
            for (state, found) in [(old, before.err()), (new, after.err())] {
                if let Some(found) = found {
                    diagnostics.push(Diagnostic::error(format!("the entities of `{state}` do not load")));
                    diagnostics.extend(found);
                }
            }
            Err(CliError::Diagnostics(diagnostics))
        }
    }
}

fn contexts(
    comparison: &AccessComparison<'_>,
    given: Option<&str>,
    schema: &Schema,
) -> Result<Vec<ActionContexts>, CliError> {
    let given = given.map(|text| Json::parse(text.as_bytes())).transpose();
    let given =
        given.map_err(|error| CliError::message(format!("`--context` is not valid JSON: {error}")))?;
    let object = given.as_ref().map(|given| {
        given.as_object().ok_or_else(|| CliError::message("`--context` has to be a JSON object"))
    });
    let contexts = ActionContexts::all(&comparison.permitted_actions(), object.transpose()?, schema);
    contexts.map_err(|errors| CliError::all(&errors.iter().map(context_error).collect::<Vec<_>>()))
}

/// What the contexts leave out.
fn untried(contexts: &[ActionContexts], schema: &Schema) -> Vec<(String, SmolStr)> {
    let of_action = |it: &ActionContexts| {
        let action = display::action(it.action, schema);
        it.untried.iter().map(move |name| (action.clone(), name.clone())).collect::<Vec<_>>()
    };
    contexts.iter().flat_map(of_action).collect()
}

fn context_error(error: &ContextError) -> String {
    match error {
        ContextError::Open { attribute, .. } => {
            format!("{error}: give one with `--context '{{\"{attribute}\": …}}'`")
        }
        ContextError::TooMany { .. } => format!("{error}: give some of them with `--context`"),
        ContextError::Mismatch { .. } | ContextError::Unknown(_) => error.to_string(),
    }
}

/// What is gained and lost: all of it is counted, the first of it is shown.
struct AccessReport<'a> {
    schema: &'a Schema,
    /// How many entities differ.
    entities: usize,
    limit: usize,
    shown: BTreeSet<AccessChange>,
    gains: usize,
    losses: usize,
    /// Attributes of contexts that were only compared as absent: the action, and the attribute.
    untried: Vec<(String, SmolStr)>,
}

impl<'a> AccessReport<'a> {
    fn new(comparison: &AccessComparison<'_>, schema: &'a Schema, limit: usize) -> Self {
        let entities = comparison.differences().len();
        let (shown, untried) = (BTreeSet::new(), Vec::new());
        Self { schema, entities, limit, shown, gains: 0, losses: 0, untried }
    }

    fn add(&mut self, change: AccessChange) {
        match change.direction {
            ChangeDirection::Gain => self.gains += 1,
            ChangeDirection::Loss => self.losses += 1,
        }
        self.shown.insert(change);
        if self.shown.len() > self.limit {
            self.shown.pop_last();
        }
    }

    fn omitted(&self) -> usize {
        self.gains + self.losses - self.shown.len()
    }

    fn has_change(&self, change: FailOn) -> bool {
        match change {
            FailOn::Wider => self.gains > 0,
            FailOn::Narrower => self.losses > 0,
            FailOn::Claims => false,
            FailOn::Any => self.gains + self.losses > 0,
        }
    }

    /// Principal, change, action, resource and contexts, as people write them.
    fn cells(&self, change: &AccessChange) -> [String; 5] {
        let verb = match change.direction {
            ChangeDirection::Gain => "gains",
            ChangeDirection::Loss => "loses",
        };
        let [principal, resource] =
            [&change.principal, &change.resource].map(|uid| self.schema.uid_string(uid.as_uid_ref()));
        let action = display::action(change.action, self.schema);
        let has_context = self.schema.action(change.action).context_type.iter().next().is_some();
        let contexts = if has_context { contexts_text(&change.contexts, self.schema) } else { String::new() };
        [principal, verb.to_owned(), action, resource, contexts]
    }

    fn differing(&self) -> String {
        format!(
            "{} {}",
            counted(self.entities, "entity"),
            if self.entities == 1 { "differs" } else { "differ" }
        )
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for change in &self.shown {
            let [principal, verb, action, resource, contexts] = self.cells(change);
            let with = if contexts.is_empty() { contexts } else { format!(" with {contexts}") };
            let _ = writeln!(text, "{principal} {verb} {action} on {resource}{with}");
        }
        if self.omitted() > 0 {
            let _ = writeln!(text, "… and {} more, which a greater --limit shows", self.omitted());
        }
        text += &self.untried_text();
        let _ = writeln!(text, "{}: {} gained, {} lost", self.differing(), self.gains, self.losses);
        text
    }

    /// A line for each attribute that was not tried, because it has too many values.
    fn untried_text(&self) -> String {
        let mut text = String::new();
        for (action, name) in &self.untried {
            let _ = writeln!(
                text,
                "not compared: `{action}` with `{name}`: give a value with `--context '{{\"{name}\": …}}'`"
            );
        }
        text
    }

    fn as_markdown(&self) -> String {
        if self.gains + self.losses == 0 {
            let nobody = format!("**Nobody gains or loses anything.** {}.\n", self.differing());
            return nobody + &self.untried_as_markdown();
        }
        let mut text = format!("**{} gained, {} lost.** {}.\n\n", self.gains, self.losses, self.differing());
        text += "| principal | change | action | resource | context |\n|---|---|---|---|---|\n";
        for change in &self.shown {
            let [principal, verb, action, resource, contexts] =
                self.cells(change).map(|cell| escape_markdown(&cell));
            let _ = writeln!(text, "| {principal} | **{verb}** | {action} | {resource} | {contexts} |");
        }
        if self.omitted() > 0 {
            let _ = writeln!(text, "\n… and {} more, which are not shown.", self.omitted());
        }
        text + &self.untried_as_markdown()
    }

    fn untried_as_markdown(&self) -> String {
        let items =
            self.untried.iter().map(|(action, name)| format!("\nNot compared: `{action}` with `{name}`.\n"));
        items.collect()
    }

    fn as_json(&self) -> Result<String, CliError> {
        let entity = |uid: &EntityUid| json!({ "type": display::entity_type(uid.entity_type, self.schema), "id": uid.id });
        let change = |change: &AccessChange| {
            let contexts = change.contexts.iter().map(|context| display::request_json(context, self.schema));
            json!({
                "principal": entity(&change.principal),
                "change": match change.direction {
                    ChangeDirection::Gain => "gain",
                    ChangeDirection::Loss => "loss",
                },
                "action": display::action(change.action, self.schema),
                "resource": entity(&change.resource),
                "contexts": contexts.collect::<Vec<_>>(),
            })
        };
        let body = json!({
            "entities": self.entities,
            "gains": self.gains,
            "losses": self.losses,
            "omitted": self.omitted(),
            "not_compared": self.untried.iter().map(|(action, name)| json!({ "action": action, "attribute": name })).collect::<Vec<_>>(),
            "changes": self.shown.iter().map(change).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&body)? + "\n")
    }
}

/// Contexts as people write them: usually there is one attribute, with several values.
fn contexts_text(contexts: &[Record], schema: &Schema) -> String {
    let name = contexts.first().and_then(|context| context.iter().next()).map(|(name, _)| name);
    let only_name = name.filter(|_| contexts.iter().all(|context| context.iter().map(|it| it.0).eq(name)));
    if let Some(name) = only_name {
        let values = contexts.iter().flat_map(Record::iter).map(|(_, value)| display::value(value, schema));
        return format!("{name}: {}", values.collect::<Vec<_>>().join(", "));
    }
    let texts = contexts.iter().map(|context| display::record(context, schema));
    let texts = texts.map(|text| if text.is_empty() { "no attributes".to_owned() } else { text });
    texts.collect::<Vec<_>>().join("; ")
}
