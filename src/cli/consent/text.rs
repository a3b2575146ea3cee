//! Requests as text for people.

use std::fmt::Write as _;

use serde_json::Value;

use mandate_core::json::escape_and_truncate;

/// A request, with its link and the e-mail that brings it.
pub fn one(document: &Value) -> String {
    let request = at(document, "/request");
    let mut text = line(request);
    let _ = writeln!(text, "  link {}", word(at(request, "/link")));
    if let Some(review) = at(document, "/links/review").as_str() {
        let _ = writeln!(text, "  review {review}");
    }
    if let Some(created) = name(at(request, "/created")) {
        let _ = writeln!(text, "  on {created}");
    }
    if let Some(by) = name(at(request, "/ended_by")) {
        let _ =
            writeln!(text, "  {} by {by}, {}", word(at(request, "/status")), word(at(request, "/ended_at")));
    }
    if let Some(position) = at(document, "/position").as_str() {
        let _ = writeln!(text, "  position {position}");
    }
    if *at(request, "/status") == "pending"
        && let (Some(subject), Some(body)) =
            (at(document, "/email/subject").as_str(), at(document, "/email/body").as_str())
    {
        let _ = writeln!(text, "\n{subject}\n\n{}", body.trim());
    }
    text
}

/// Some requests, two lines each.
pub fn list(document: &Value) -> String {
    let requests = at(document, "/requests").as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    for request in requests {
        let _ = writeln!(text, "{}  link {}", line(request), word(at(request, "/link")));
    }
    if requests.is_empty() { "no requests\n".to_owned() } else { text }
}

/// A change that was made.
pub fn changed(document: &Value) -> String {
    format!("committed: {}\n", word(at(document, "/context/position")))
}

/// `pending: csp-consent by DirectBillPartner::fabrikam for Customer::contoso, until 2026-12-29T17:50:49Z`.
fn line(request: &Value) -> String {
    let (status, rule) = (word(at(request, "/status")), word(at(request, "/rule")));
    let by = name(at(request, "/requester")).unwrap_or_default();
    let resource = match name(at(request, "/resource")) {
        Some(resource) => resource,
        None if *at(request, "/standing") == true => "everybody, always".to_owned(),
        None => "whoever accepts first".to_owned(),
    };
    let until = match at(request, "/expires_at").as_str() {
        Some(until) if *at(request, "/status") == "pending" => format!(", until {until}"),
        _ => String::new(),
    };
    format!("{status}: {rule} by {by} for {resource}{until}\n")
}

/// A member, or null.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn word(value: &Value) -> String {
    escape_and_truncate(value.as_str().unwrap_or_default(), 200)
}

/// The name of an entity, without the namespace of its type.
fn name(value: &Value) -> Option<String> {
    let (entity_type, id) = (at(value, "/type").as_str()?, at(value, "/id").as_str()?);
    let entity_type = entity_type.rsplit("::").next().unwrap_or(entity_type);
    Some(escape_and_truncate(&format!("{entity_type}::{id}"), 200))
}
