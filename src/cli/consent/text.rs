//! Requests as text for people.

use std::fmt::Write as _;

use serde_json::Value;

use mandate_core::json::escape_and_truncate;

/// A request, with its link and the e-mail that brings it.
pub fn one(document: &Value) -> String {
    let request = &document["request"];
    let mut text = line(request);
    let _ = writeln!(text, "  link {}", word(&request["link"]));
    if let Some(review) = document["links"]["review"].as_str() {
        let _ = writeln!(text, "  review {review}");
    }
    if let Some(created) = name(&request["created"]) {
        let _ = writeln!(text, "  on {created}");
    }
    if let Some(by) = name(&request["ended_by"]) {
        let _ = writeln!(text, "  {} by {by}, {}", word(&request["status"]), word(&request["ended_at"]));
    }
    if let Some(position) = document["position"].as_str() {
        let _ = writeln!(text, "  position {position}");
    }
    if request["status"] == "pending"
        && let (Some(subject), Some(body)) =
            (document["email"]["subject"].as_str(), document["email"]["body"].as_str())
    {
        let _ = writeln!(text, "\n{subject}\n\n{}", body.trim());
    }
    text
}

/// Some requests, two lines each.
pub fn list(document: &Value) -> String {
    let requests = document["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    for request in requests {
        let _ = writeln!(text, "{}  link {}", line(request), word(&request["link"]));
    }
    if requests.is_empty() { "no requests\n".to_owned() } else { text }
}

/// A change that was made.
pub fn changed(document: &Value) -> String {
    format!("committed: {}\n", word(&document["context"]["position"]))
}

/// `pending: csp-consent by DirectBillPartner::fabrikam for Customer::contoso, until 2026-12-29T17:50:49Z`.
fn line(request: &Value) -> String {
    let (status, rule) = (word(&request["status"]), word(&request["rule"]));
    let by = name(&request["requester"]).unwrap_or_default();
    let resource = match name(&request["resource"]) {
        Some(resource) => resource,
        None if request["standing"] == true => "everybody, always".to_owned(),
        None => "whoever accepts first".to_owned(),
    };
    let until = match request["expires_at"].as_str() {
        Some(until) if request["status"] == "pending" => format!(", until {until}"),
        _ => String::new(),
    };
    format!("{status}: {rule} by {by} for {resource}{until}\n")
}

fn word(value: &Value) -> String {
    escape_and_truncate(value.as_str().unwrap_or_default(), 200)
}

/// The name of an entity, without the namespace of its type.
fn name(value: &Value) -> Option<String> {
    let (entity_type, id) = (value["type"].as_str()?, value["id"].as_str()?);
    let entity_type = entity_type.rsplit("::").next().unwrap_or(entity_type);
    Some(escape_and_truncate(&format!("{entity_type}::{id}"), 200))
}
