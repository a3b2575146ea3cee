//! What an edit changes about routes: in `/status`, in the log and in `mandate diff`.

use serde_json::{Value, json};

use crate::support::{Content, has_solver, repository_path, until};

const ROUTES: &str = "policies/routes.toml";

/// Changes `create-batch`, removes `read-policy` and adds `ping`.
fn edit(content: &Content) {
    let text = content.read(ROUTES);
    let text = text.replacen("channel = \"partner-center-api\"", "channel = \"partner-center-ui\"", 1);
    let text = text.replace("id = \"read-policy\"", "id = \"ping\"");
    content.replace_file(ROUTES, &text);
}

#[test]
fn status_and_log_show_what_changed_about_the_routes() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    let before = sidecar.status()["routes"].clone();
    assert_eq!((&before["count"], &before["last_change"]), (&json!(14), &Value::Null));
    edit(&content);
    until("the routes are in use", || sidecar.status()["routes"]["last_change"].is_object());
    let after = sidecar.status()["routes"].clone();
    assert_ne!(after["digest"], before["digest"]);
    let changes = after["last_change"]["changes"].as_array().unwrap();
    let kinds: Vec<_> = changes.iter().map(|it| json!([it["id"], it["change"]])).collect();
    let expected =
        [json!(["create-batch", "changed"]), json!(["ping", "added"]), json!(["read-policy", "removed"])];
    assert_eq!(kinds, expected);
    let part = json!({ "part": "context.channel", "before": "`partner-center-api`", "after": "`partner-center-ui`" });
    assert_eq!(changes[0]["parts"], json!([part]));
    let log = content.read("log");
    let digest = &after["digest"].as_str().unwrap()[..16];
    assert!(log.contains(&format!("routes=\"{digest}\"")), "{log}");
    assert!(
        log.contains("route changed: context.channel: `partner-center-api`, now `partner-center-ui`"),
        "{log}"
    );
    // A change of entities changes no route.
    let customers = content.read("entities/customers.json");
    let revision = sidecar.revision();
    content.replace_file(
        "entities/customers.json",
        &customers.replacen("contoso--fabrikam", "contoso--trey", 1),
    );
    until("a reload", || {
        sidecar.revision() != revision || sidecar.status()["entities"]["last_reload"]["outcome"] == "refused"
    });
    assert_eq!(sidecar.status()["routes"], after);
}

#[test]
fn diff_shows_what_changes_about_the_routes() {
    if !has_solver() {
        return;
    }
    let content = Content::of_pack();
    edit(&content);
    let old = repository_path("policies");
    let diff = |args: &[&str]| {
        let output = content.mandate("diff", &[&[old.to_str().unwrap()], args].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = diff(&[]);
    let shown = "route     create-batch changed\n    context.channel: `partner-center-api`, now `partner-center-ui`\n";
    assert!(code == Some(0) && text.contains(shown) && text.ends_with("3 routes changed\n"), "{text}");
    let (code, text) = diff(&["--format", "json", "--fail-on", "wider"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["routes"][0]["id"]), (Some(1), &json!("create-batch")));
    let (_, text) = diff(&["--format", "markdown"]);
    let row = "| create-batch | **changed** | context.channel | &#96;partner-center-api&#96; | &#96;partner-center-ui&#96; |";
    assert!(text.contains("**No decision changes**") && text.contains(row), "{text}");
}
