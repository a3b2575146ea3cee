//! Requests as callers see them, with their links and the e-mails that bring them.

use mandate_changes::fill;
use mandate_core::moment::Moment;
use mandate_pdp::access_request::AccessRequest;
use mandate_pdp::proposal::Committed;
use mandate_pdp::{View, wall_clock};
use mandate_store::EntityName;
use serde_json::{Value, json};

use super::problem::name_json;

/// A request as it is shown, with its link and the e-mail that brings it.
pub fn shown(
    (view, pages_url): (&View<'_>, Option<&str>),
    asked: &AccessRequest,
    committed: Option<&Committed>,
) -> Value {
    let mut body = json!({ "request": request_json(asked, wall_clock::now()) });
    let Some(members) = body.as_object_mut() else { return body };
    if let Some(committed) = committed {
        members.insert("position".into(), committed.position.to_string().into());
    }
    if let Some(links) = links_json(asked, pages_url) {
        members.insert("links".into(), links);
    }
    if let Some(email) = email_json(asked, view, pages_url) {
        members.insert("email".into(), email);
    }
    body
}

/// Where a request is reviewed.
pub fn links_json(asked: &AccessRequest, pages_url: Option<&str>) -> Option<Value> {
    Some(json!({ "review": review_url(asked, pages_url?) }))
}

/// The link to the review of a request.
pub fn review_url(asked: &AccessRequest, pages_url: &str) -> String {
    format!("{pages_url}/links/{}", asked.link)
}

/// The e-mail that brings the link, in the language that the requester chose.
fn email_json(asked: &AccessRequest, view: &View<'_>, pages_url: Option<&str>) -> Option<Value> {
    let rule = view.changes().request(&asked.rule)?;
    let texts = rule.texts(asked.language.as_deref().unwrap_or("en"));
    let link = review_url(asked, pages_url?);
    let until = asked.expires_at.map(until_text).unwrap_or_default();
    let values = [
        ("requester", display_name(view, &asked.requester)),
        ("resource", asked.resource.as_ref().map(|it| display_name(view, it)).unwrap_or_default()),
        ("link", link),
        ("until", until),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Some(json!({
        "subject": fill(&texts.email_subject, &values),
        "body": fill(&texts.email_body, &values),
    }))
}

/// The end of a link in an e-mail: `2026-12-29 18:21 UTC`.
fn until_text(end: i64) -> String {
    let text = Moment::from_unix_seconds(end).to_string();
    let minutes = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{minutes} UTC")
}

/// What an entity is called: its attribute `displayName`, or else its id.
fn display_name(view: &View<'_>, name: &EntityName) -> String {
    mandate_pdp::display_name(view.snapshot(), name)
}

/// A request as callers see it.
pub fn request_json(asked: &AccessRequest, now: Moment) -> Value {
    let time = |seconds: i64| Moment::from_unix_seconds(seconds).to_string();
    let mut body = json!({
        "id": asked.id,
        "link": asked.link,
        "rule": asked.rule,
        "requester": name_json(&asked.requester),
        "action": asked.action,
        "context": asked.context,
        "standing": asked.standing,
        "status": asked.status_at(now).as_str(),
        "asked_at": time(asked.asked_at),
    });
    if let Some(members) = body.as_object_mut() {
        let optional = [
            ("resource", asked.resource.as_ref().map(name_json)),
            ("created", asked.created.as_ref().map(name_json)),
            ("expires_at", asked.expires_at.map(|end| time(end).into())),
            ("ended_at", asked.ended.as_ref().map(|ended| time(ended.at).into())),
            ("ended_by", asked.ended.as_ref().map(|ended| name_json(&ended.by))),
        ];
        members
            .extend(optional.into_iter().filter_map(|(name, value)| value.map(|it| (name.to_owned(), it))));
    }
    body
}
