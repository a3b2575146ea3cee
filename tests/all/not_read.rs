//! What is in the folders and would be overlooked: files that look like policies and are not read, annotations that
//! nothing reads, and an entity folder that has lost its files.

use std::fs;

use crate::support::{Content, pack, question, until};

const DENY_ALL: &str = "@id(\"deny-all\") @reason(\"Stop.\") forbid (principal, action, resource);";

fn check(content: &Content) -> String {
    let output = content.mandate("check", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn check_names_files_that_look_like_policies_and_are_not_read() {
    let content = Content::of_pack();
    let files =
        ["deny-all.CEDAR", "x.cedar.json", "consent.cedar~", ".cedar~", "deny.ceder", "guardrails/g.Cedar"];
    for file in files {
        content.write(&format!("policies/{file}"), DENY_ALL);
    }
    content.write("policies/notes.md", "");
    content.write("policies/.consent.cedar.swp", "");
    // Lines of the output may be wrapped.
    let shown = check(&content).split_whitespace().collect::<String>();
    for file in files {
        let path = content.policies().join(file);
        let says = format!("`{}`lookslikeafileofthepolicyfolder,andisnotread", path.display());
        assert!(shown.replace('│', "").contains(&says), "no {says} in {shown}");
    }
    let summary = format!("0errors,6warningsok:{}policies,", pack::policies());
    assert!(shown.contains(&summary), "{shown}");
}

#[test]
fn a_running_sidecar_names_a_new_file_that_it_does_not_read() {
    let content = Content::of_pack();
    let sidecar = content.serve();
    let revision = sidecar.revision();
    content.write("policies/deny-all.CEDAR", DENY_ALL);
    until("the status names the file", || {
        sidecar.status()["policies"]["last_reload"]["warnings"].to_string().contains("deny-all.CEDAR")
    });
    until("the log names the file", || sidecar.log().contains("deny-all.CEDAR` looks like a file"));
    assert_eq!(sidecar.revision(), revision);
    fs::rename(content.path("policies/deny-all.CEDAR"), content.path("policies/deny-all.cedar")).unwrap();
    until("the policy is in use", || sidecar.revision() != revision);
    assert_eq!(sidecar.status()["policies"]["last_reload"]["warnings"], serde_json::json!([]));
}

#[test]
fn check_warns_of_annotations_that_nothing_reads() {
    let content = Content::of_pack();
    content.write(
        "policies/more.cedar",
        "@id(\"x\")\n@reson(\"Stop.\") @owner(\"me\")\nforbid (principal, action, resource);",
    );
    content.edit("policies/guardrails/consent.cedar", "@claim(", "@reason(\"r\") @claim(");
    let shown = check(&content);
    assert!(shown.contains("nothing reads the annotation `@reson` of `x`"), "{shown}");
    assert!(shown.contains("more.cedar:2:1"), "{shown}");
    assert!(shown.contains("did you mean `@reason`?"), "{shown}");
    assert!(shown.contains("nothing reads the annotation `@owner` of `x`"), "{shown}");
    assert!(
        shown.contains("nothing reads the annotation `@reason` of `suspended-partners-do-nothing`"),
        "{shown}"
    );
}

#[test]
fn an_emptied_entity_folder_is_refused() {
    let schema =
        "entity Team; entity User in [Team]; action view appliesTo { principal: User, resource: Team };";
    let policy =
        "@id(\"own\") @reason(\"r\") permit (principal, action, resource) when { principal in resource };";
    let entities = r#"[{ "uid": { "type": "Team", "id": "a" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "User", "id": "eve" }, "attrs": {}, "parents": [{ "type": "Team", "id": "a" }] }]"#;
    let content = Content::of(&[
        ("policies/s.cedarschema", schema),
        ("policies/a.cedar", policy),
        ("entities/staff.json", entities),
    ]);
    let sidecar = content.serve();
    let view = question(("User", "eve"), "view", ("Team", "a"), serde_json::json!({}));
    let outcome = || sidecar.status()["entities"]["last_reload"].clone();
    fs::remove_file(content.path("entities/staff.json")).unwrap();
    until("the empty folder is refused", || outcome()["outcome"] == "refused");
    assert!(outcome()["errors"].to_string().contains("has no entity files now"), "{}", outcome());
    assert!(sidecar.permits(&view));
    content.replace_file("entities/staff.json", "[]");
    until("a file without entities is accepted", || !sidecar.permits(&view));
    fs::remove_file(content.path("entities/staff.json")).unwrap();
    until("the folder may be empty now", || outcome()["outcome"] == "accepted");
}
