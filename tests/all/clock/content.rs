//! Policies that read the time, and decisions at a time.

use std::process::Output;

use crate::support::Content;

const SCHEMA: &str = r#"entity Weekday enum ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
entity User = { pausedUntil?: datetime };
type Time = {
        @clock("15m") now: datetime,
        @clock("weekday") day: Weekday,
};
action quarter, weekend, "before-1970" appliesTo { principal: User, resource: User, context: Time };
action today appliesTo { principal: User, resource: User, context: { @clock("1d") now: datetime } };
action soon appliesTo { principal: User, resource: User, context: { @clock("1s") now: datetime, note?: String } };
action timeless appliesTo { principal: User, resource: User, context: { now?: String } };
"#;

const POLICIES: &str = r#"
@id("quarter") @reason("It is open for a quarter of an hour.")
permit (principal, action == Action::"quarter", resource) when { context.now == datetime("2030-01-01T12:00:00Z") };
@id("weekend") @reason("It is open on weekends.")
permit (principal, action == Action::"weekend", resource)
when { [Weekday::"saturday", Weekday::"sunday"].contains(context.day) };
@id("before") @reason("It is open before 1970.")
permit (principal, action == Action::"before-1970", resource) when { context.now < datetime("1970-01-01") };
@id("today") @reason("It is open from today on.")
permit (principal, action == Action::"today", resource) when { context.now > datetime("2026-01-01") };
@id("soon") @reason("It is open unless the user is paused.")
permit (principal, action == Action::"soon", resource)
unless { principal has pausedUntil && context.now < principal.pausedUntil };
@id("timeless") @reason("It is always open.")
permit (principal, action == Action::"timeless", resource);
"#;

/// The entity file of a user.
pub fn user(attributes: &str) -> String {
    format!(r#"[{{ "uid": {{ "type": "User", "id": "eve" }}, "attrs": {{ {attributes} }}, "parents": [] }}]"#)
}

pub fn content() -> Content {
    Content::of(&[
        ("policies/s.cedarschema", SCHEMA),
        ("policies/p.cedar", POLICIES),
        ("entities/users.json", &user("")),
    ])
}

/// Decides at a time, from the command line.
pub fn at(content: &Content, action: &str, time: &str, args: &[&str]) -> Output {
    let question = ["--principal", "User::eve", "--action", action, "--resource", "User::eve"];
    let at = format!("--at={time}");
    content.command("decide").args(question).arg(at).args(args).output().unwrap()
}

/// Whether a request is permitted at a time.
#[track_caller]
pub fn decide(content: &Content, action: &str, time: &str, args: &[&str]) -> bool {
    let output = at(content, action, time, args);
    match output.status.code() {
        Some(0) => true,
        Some(2) => false,
        _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}
