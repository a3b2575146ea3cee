//! Reads the body of an access request. What it asks for, and whether a denial proves it, is found in `submit`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::issuer::MAX_ITEMS;
use crate::authzen::json_body::parse_json;
use crate::changes::problem::{BODY, Problem};
use hyper::StatusCode;

/// The longest body, in bytes: all of it is kept.
const MAX_BYTES: usize = 64 * 1024;

/// An access request, as it was submitted.
#[derive(Debug)]
pub struct Submission {
    pub subject: Value,
    /// Whether it was submitted as a list of items.
    pub bundled: bool,
    pub items: Vec<SubmittedItem>,
    pub context: Map<String, Value>,
    pub client: Option<Value>,
    pub callback: Option<SubmittedCallback>,
}

#[derive(Debug)]
pub struct SubmittedItem {
    pub resource: Value,
    pub action: Value,
    pub requested_access: Map<String, Value>,
    pub denial: SubmittedDenial,
}

/// What is said of a denial. Its reason and its time are in its token.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmittedDenial {
    pub evaluation_id: Option<String>,
    pub expires_at: Option<String>,
    pub binding_token: Option<String>,
    #[serde(rename = "evaluated_at")]
    _evaluated_at: Option<String>,
    #[serde(rename = "reason")]
    _reason: Option<String>,
    #[serde(rename = "template")]
    _template: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmittedCallback {
    pub endpoint: String,
    pub state: Option<Value>,
    #[serde(default)]
    pub events: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    subject: Value,
    resource: Option<Value>,
    action: Option<Value>,
    items: Option<Vec<BodyItem>>,
    #[serde(default)]
    context: Map<String, Value>,
    denial: Option<SubmittedDenial>,
    #[serde(default)]
    requested_access: Map<String, Value>,
    callback: Option<SubmittedCallback>,
    client: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyItem {
    resource: Value,
    action: Value,
    #[serde(default)]
    requested_access: Map<String, Value>,
    denial: Option<SubmittedDenial>,
}

impl Submission {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no access request.
    pub fn read(body: &[u8], max_json_depth: usize, caller: &str) -> Result<Self, Problem> {
        if body.len() > MAX_BYTES {
            let detail = format!("{BODY}: is longer than {MAX_BYTES} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        // Keys are unique.
        parse_json(body, max_json_depth)?;
        let body: Body =
            serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("{BODY}: {error}")))?;
        check_client(body.client.as_ref(), caller)?;
        let bundled = body.items.is_some();
        let items = match body.items {
            Some(items) => bundle(
                items,
                &body.requested_access,
                body.denial.as_ref(),
                body.resource.or(body.action).is_some(),
            )?,
            None => vec![SubmittedItem {
                resource: body.resource.ok_or_else(|| missing("resource"))?,
                action: body.action.ok_or_else(|| missing("action"))?,
                requested_access: body.requested_access,
                denial: body.denial.unwrap_or_default(),
            }],
        };
        for item in &items {
            check_emergency(&item.requested_access)?;
        }
        Ok(Self {
            subject: body.subject,
            bundled,
            items,
            context: body.context,
            client: body.client.map(Value::Object),
            callback: body.callback,
        })
    }
}

fn bundle(
    items: Vec<BodyItem>,
    requested_access: &Map<String, Value>,
    denial: Option<&SubmittedDenial>,
    has_more: bool,
) -> Result<Vec<SubmittedItem>, Problem> {
    if has_more {
        return Err(Problem::bad_request("items: leave out `resource` and `action`: each item has its own"));
    }
    if items.is_empty() || items.len() > MAX_ITEMS {
        let detail = format!("items: there have to be 1 to {MAX_ITEMS}, found {}", items.len());
        return Err(Problem::bad_request(detail));
    }
    let is_single = items.len() == 1;
    let merged = |item: BodyItem| {
        let mut requested = requested_access.clone();
        requested.extend(item.requested_access);
        // The denial of a bundle has to cover all items, and each denial here is of one question.
        let denial = item.denial.or_else(|| denial.filter(|_| is_single).cloned());
        SubmittedItem {
            resource: item.resource,
            action: item.action,
            requested_access: requested,
            denial: denial.unwrap_or_default(),
        }
    };
    Ok(items.into_iter().map(merged).collect())
}

/// What a caller says of itself is kept for audits. Who acts for whom counts, so it has to be true, and all that is known
/// here is the caller itself.
fn check_client(client: Option<&Map<String, Value>>, caller: &str) -> Result<(), Problem> {
    let Some(client) = client else { return Ok(()) };
    let Some(actor) = client.get("actor") else { return Ok(()) };
    let id = actor.get("id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Problem::bad_request("client.actor.id: missing: it has to be a string"))?;
    if id == caller && actor.get("act").is_none() {
        return Ok(());
    }
    let detail =
        "client.actor: it cannot be verified that the caller acts for it: leave it out, or name the caller";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// There is no faster way, so nobody may think that it was taken.
fn check_emergency(requested_access: &Map<String, Value>) -> Result<(), Problem> {
    match requested_access.get("emergency") {
        None | Some(Value::Bool(false)) => Ok(()),
        Some(Value::Bool(true)) => {
            Err(Problem::bad_request("requested_access.emergency: there is no emergency access here"))
        }
        Some(_) => Err(Problem::bad_request("requested_access.emergency: has to be a boolean")),
    }
}

fn missing(member: &str) -> Problem {
    Problem::bad_request(format!("{member}: missing: it has to be an object"))
}
