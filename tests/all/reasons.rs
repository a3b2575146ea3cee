//! What a caller is told that was denied: the reason of the clause that failed, where the schema has one.

use serde_json::{Value, json};

use crate::support::{Content, Sidecar, question, register};

const SCHEMA: &str = r#"
type Owner = { @reason("The owner left.") present: Bool };
@reason("You are not in the group.")
entity User in [Group] = {
  @reason("You are suspended.") active: Bool,
  @reason("You have no badge.") badge?: Long,
  trusted: Bool,
};
entity Group;
entity Photo = { owner: Owner };
action view, edit, share, print, list appliesTo {
  principal: User,
  resource: Photo,
  context: { @reason("Not at night.") night: Bool },
};
"#;

const POLICIES: &str = r#"
@id("view") @reason("Viewing has conditions.")
permit (principal, action == Action::"view", resource)
when { principal.active && principal in Group::"staff" && principal.trusted }
unless { context.night };

@id("edit") @reason("Editing has conditions.")
permit (principal, action == Action::"edit", resource)
when { (principal.active && context.night) || resource.owner.present };

@id("share-by-badge") @reason("Sharing has conditions.")
permit (principal, action == Action::"share", resource)
when { principal has badge && principal.badge > 7 };

@id("share-with-owner") @reason("Sharing has conditions.")
permit (principal, action == Action::"share", resource)
when { if principal.trusted then resource.owner.present else principal.active };

@id("print-a") @reason("Printing is for those with both.")
permit (principal, action == Action::"print", resource)
when { principal.active };

@id("print-b")
permit (principal, action == Action::"print", resource)
when { !(!principal.active || context.night) };

@id("no-lists") @reason("Lists are closed.")
forbid (principal, action == Action::"list", resource) when { principal.active == false };
"#;

/// A user that is in the group of the staff, with these attributes; and the same outside of it.
fn users(id: &str, attributes: Value) -> [Value; 2] {
    let user = |id: String, parents: Value| json!({ "uid": { "type": "User", "id": id }, "attrs": attributes, "parents": parents });
    [
        user(id.to_owned(), json!([{ "type": "Group", "id": "staff" }])),
        user(format!("{id}-outside"), json!([])),
    ]
}

/// Whoever holds the sidecar holds the content, too.
fn photos() -> (Content, Sidecar) {
    photos_with(POLICIES)
}

fn photos_with(policies: &str) -> (Content, Sidecar) {
    let mut entities = vec![
        json!({ "uid": { "type": "Group", "id": "staff" }, "attrs": {}, "parents": [] }),
        json!({ "uid": { "type": "Photo", "id": "p" }, "attrs": { "owner": { "present": false } }, "parents": [] }),
    ];
    entities.extend(users("ok", json!({ "active": true, "trusted": true })));
    entities.extend(users("distrusted", json!({ "active": true, "trusted": false, "badge": 3 })));
    entities.extend(users("suspended", json!({ "active": false, "trusted": false })));
    let entities = Value::Array(entities).to_string();
    let files = [
        ("policies/schema.cedarschema", SCHEMA),
        ("policies/photos.cedar", policies),
        ("entities/all.json", &entities),
    ];
    let content = Content::of(&files);
    let sidecar = content.serve();
    (content, sidecar)
}

#[track_caller]
fn check(sidecar: &Sidecar, user: &str, action: &str, night: bool, reason: &str) {
    let question = question(("User", user), action, ("Photo", "p"), json!({ "night": night }));
    assert_eq!(
        sidecar.evaluate(&question)["context"]["reason_user"]["en"],
        reason,
        "{user} {action} {night}"
    );
}

#[test]
fn the_first_clause_that_fails_gives_the_reason() {
    let (_content, sidecar) = photos();
    check(&sidecar, "suspended-outside", "view", true, "You are suspended.");
    check(&sidecar, "ok-outside", "view", true, "You are not in the group.");
    check(&sidecar, "ok", "view", true, "Not at night.");
    // The schema says nothing of `trusted`.
    check(&sidecar, "distrusted", "view", true, "Viewing has conditions.");
}

#[test]
fn alternatives_give_their_reason_only_if_it_is_the_same() {
    let (_content, sidecar) = photos();
    check(&sidecar, "suspended", "edit", true, "Editing has conditions.");
    check(&sidecar, "ok", "edit", false, "Editing has conditions.");
    // By the first policy there is no badge, or a low one. By the second, it depends on who asks.
    check(&sidecar, "ok", "share", false, "You have no badge. The owner left.");
    check(&sidecar, "suspended", "share", false, "You have no badge. You are suspended.");
}

#[test]
fn a_reason_of_several_policies_is_said_once_and_a_forbid_keeps_its_own() {
    let (_content, sidecar) = photos();
    check(&sidecar, "suspended", "print", false, "You are suspended.");
    check(&sidecar, "suspended", "list", false, "Lists are closed.");
    check(&sidecar, "ok", "list", false, "No policy permits this.");
}

#[test]
fn a_suspended_partner_is_told_so_and_one_without_a_consent_is_told_that() {
    let sidecar = Sidecar::of_pack(&[]);
    let reason = |partner: &str, customer: &str| {
        let answer =
            sidecar.evaluate(&register(("DirectBillPartner", partner), customer, "partner-center-api"));
        answer["context"]["reason_user"]["en"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("lucerne", "margies-travel"), "The partner's enrolment is suspended.");
    assert_eq!(reason("lucerne", "relecloud"), "The partner's enrolment is suspended.");
    assert_eq!(
        reason("fabrikam", "relecloud"),
        "The customer has accepted no consent that covers this partner."
    );
}

/// Chains are evaluated on a thread that answers requests, which has a small stack.
#[test]
fn long_chains_of_clauses_are_decided_like_short_ones() {
    let chain = |length, clause: &str, operator: &str| vec![clause; length].join(operator);
    let policies = format!(
        "@id(\"all\") @reason(\"All.\") permit (principal, action == Action::\"view\", resource) when {{ {} }};\n\
         @id(\"any\") @reason(\"Any.\") permit (principal, action == Action::\"edit\", resource) when {{ {} }};",
        chain(1_900, "principal.active", " && "),
        chain(1_900, "context.night", " || "),
    );
    let (_content, sidecar) = photos_with(&policies);
    let permits = |user: &str, action: &str, night: bool| {
        sidecar.permits(&question(("User", user), action, ("Photo", "p"), json!({ "night": night })))
    };
    assert!(permits("ok", "view", false) && permits("ok", "edit", true));
    check(&sidecar, "suspended", "view", false, "You are suspended.");
    check(&sidecar, "ok", "edit", false, "Not at night.");
}

#[test]
fn an_unknown_annotation_of_an_attribute_is_an_error_with_its_place() {
    let content = Content::of_pack();
    content.edit("policies/schema.cedarschema", "@reason(\"The partner's", "@reson(\"The partner's");
    content.edit("policies/schema.cedarschema", "A `@reason`", "A `@reson`");
    let output = content.mandate("check", &[]);
    let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert_eq!(shown.matches("unknown annotation `@reson` on `active`").count(), 1, "{shown}");
    assert!(shown.contains("schema.cedarschema:18:5"), "{shown}");
}
