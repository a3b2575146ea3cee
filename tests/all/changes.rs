//! `changes.toml`: which action makes which edits. Errors of the real program with their places, reloads, the changes
//! of the pack, and properties of the edits of all of them.

mod edits;
mod pack;

use std::process::Output;

use mandate_changes::{ChangeError, Edits};
use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::json::Json;
use mandate_core::request::{Question, QuestionEntity, Request};
use mandate_core::snapshot::RequestConfig;
use mandate_sources::loader::{ContentPaths, LoadedContent, Loader};
use mandate_sources::policy_limits::PolicyLimits;

use crate::support::{self, Content, has_solver, repository_path, until};

/// The pack and its sample entities.
fn pack() -> LoadedContent {
    let paths = ContentPaths {
        policies: repository_path("policies"),
        entities: repository_path("entities"),
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    };
    Loader::new(&paths).load().unwrap()
}

/// A request of the pack, from texts such as `Oem::trey`.
fn request(snapshot: &Snapshot, [principal, action, resource, context]: [&str; 4]) -> Request {
    let [principal, resource] = [principal, resource].map(|text| {
        let (entity_type, id) = text.split_once("::").unwrap();
        QuestionEntity { entity_type, id, properties: None }
    });
    let context = Json::parse(context.as_bytes()).unwrap();
    let context = context.as_object();
    let question = Question { principal, action, action_properties: None, resource, context };
    snapshot.request_from_question(&question, Clock::InQuestion).unwrap()
}

/// The edits of a request of the pack, whether or not it is permitted; `None` if no rule is for it.
fn edits(pack: &LoadedContent, snapshot: &Snapshot, request: &Request) -> Option<Result<Edits, ChangeError>> {
    let (action, principal, resource) = request.environment();
    let change = pack.changes.changes_for(action, principal, resource)?;
    let mut made = snapshot.entities().iter().filter(|entity| entity.uid().id.starts_with("made-")).count();
    let mut make_id = || {
        made += 1;
        format!("made-{made}")
    };
    Some(change.edits(request, snapshot, &mut make_id))
}

/// All that a command printed, with its lines joined.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_reports_all_errors_with_their_places() {
    let content = Content::of_pack();
    content.edit("policies/changes.toml", "action = \"acceptConsent\"", "action = \"acceptConsents\"");
    content.edit("policies/changes.toml", "delegatedAdministration = false", "delegatedAdministration = 0");
    content.edit("policies/changes.toml", "type = \"OemConsent\"", "typ = \"OemConsent\"");
    content.write(
        "policies/more.changes.toml",
        "[[change]]\naction = \"deregisterDevice\"\nprincipal = [\"Oem\"]\n",
    );
    let output = content.mandate("check", &[]);
    let text = words(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = |text| content.line_of("policies/changes.toml", text);
    let place = |line: usize, column: usize| format!("changes.toml:{line}:{column}]");
    for error in [
        "the schema has no action `acceptConsents`: expected one of",
        &place(line("action = \"acceptConsents\""), 10),
        "`delegatedAdministration` of `CspConsent` has type `Bool`, and `0` has type `Long`",
        &place(line("attributes = { delegatedAdministration = 0 }"), 42),
        "unknown key `typ`: did you mean `type`?",
        &place(line("typ = "), 1),
        "`type` is missing",
        &place(line("[[change.create]]\ntyp = "), 1),
        "the change makes no edit: add at least one of `create`, `set`, `remove`, `join`, `leave`, `delete`",
        "more.changes.toml:1:1]",
        "this change is for `deregisterDevice` by `Oem` on `Device`, as has the one at",
        "6 errors, 0 warnings",
    ] {
        assert!(text.contains(error), "`{error}` is not in: {text}");
    }
}

#[test]
fn check_counts_changes_and_content_without_them_keeps_its_revision() {
    let content = Content::of_pack();
    let of = |content: &Content| words(&content.mandate("check", &[]));
    let with = of(&content);
    assert!(
        with.contains(&format!("39 entities, {} changes, revision ", support::pack::changes())),
        "{with}"
    );
    content.remove_changes();
    content.write("policies/changes.toml", "# None.\n");
    let none = of(&content);
    assert!(none.contains("39 entities, revision "), "{none}");
    std::fs::remove_file(content.path("policies/changes.toml")).unwrap();
    assert_eq!(of(&content), none);
    let revision = |text: &str| text.rsplit(' ').next().unwrap().to_owned();
    assert_ne!(revision(&with), revision(&none));
}

#[test]
fn changes_reload_with_the_policies_or_not_at_all() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    let before = sidecar.revision();
    let text = content.read("policies/changes.toml");
    content.edit(
        "policies/changes.toml",
        "delegatedAdministration = false",
        "delegatedAdministration = true",
    );
    until("the new changes are in use", || sidecar.revision() != before);
    until("the log says so", || sidecar.log().contains("rule of changes.toml changed"));
    let edited = sidecar.revision();
    // A change that does not fit refuses the policies beside it, too.
    content
        .replace_file("policies/changes.toml", &text.replacen("resource.customer", "resource.customers", 1));
    content.edit("policies/consent.cedar", "partner-requests-consent", "partner-asks");
    until("the invalid changes are refused", || {
        sidecar.status()["policies"].to_string().contains("resource.customers")
    });
    assert_eq!(sidecar.revision(), edited);
    content.edit("policies/consent.cedar", "partner-asks", "partner-requests-consent");
    content.replace_file("policies/changes.toml", &text);
    until("the first changes are in use again", || sidecar.revision() == before);
}

#[test]
fn a_saved_copy_has_the_changes() {
    let (content, state) = (Content::of_pack(), tempfile::tempdir().unwrap());
    let folder = state.path().display().to_string();
    let sidecar = content.serve_with(&["--state", &folder]);
    let revision = sidecar.revision();
    until("the copy is saved", || {
        let files = walk(state.path());
        let confirmed = files.iter().filter(|path| path.ends_with("confirmed")).count();
        confirmed == 2 && files.iter().any(|path| path.ends_with("changes.toml"))
    });
    drop(sidecar);
    content.write("policies/broken.cedar", "permit (");
    assert_eq!(content.serve_with(&["--state", &folder]).revision(), revision);
}

/// The files in a folder and its subfolders.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn diff_shows_what_changed_about_rules() {
    if !has_solver() {
        return;
    }
    let (old, new) = (Content::of_pack(), Content::of_pack());
    new.edit("policies/changes.toml", "delegatedAdministration = false", "delegatedAdministration = true");
    new.edit(
        "policies/changes.toml",
        "[[change]]\naction = \"revokeConsent\"\n",
        "[[change]]\naction = \"viewCustomer\"\n",
    );
    new.edit(
        "policies/changes.toml",
        "[[change.leave]]\nentity = \"resource.customer\"\nparents = [\"resource\"]\n",
        "[[change.delete]]\nentity = \"resource\"\n",
    );
    let folders = [old.policies(), new.policies()];
    let diff =
        |args: &[&str]| crate::support::mandate().arg("diff").args(&folders).args(args).output().unwrap();
    let text = String::from_utf8(diff(&[]).stdout).unwrap();
    for line in [
        "rule      removeDelegatedAdministration changed\n    set resource.delegatedAdministration: `false`, now `true`\n",
        "rule      revokeConsent removed\n    edits: leave resource.customer, now none\n    leave resource.customer: parents: `resource`, now none\n",
        "rule      viewCustomer added\n    edits: none, now delete resource\n",
        "3 rules of `changes.toml` changed\n",
    ] {
        assert!(text.contains(line), "`{line}` is not in: {text}");
    }
    assert_eq!(diff(&["--fail-on", "wider"]).status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&diff(&["--format", "json"]).stdout).unwrap();
    assert_eq!(json["changes"][0]["id"], "removeDelegatedAdministration", "{json}");
    let markdown = String::from_utf8(diff(&["--format", "markdown"]).stdout).unwrap();
    assert!(
        markdown.contains("| revokeConsent | **removed** | edits | leave resource.customer |  |"),
        "{markdown}"
    );
}
