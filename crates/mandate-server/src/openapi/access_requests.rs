//! The schemas of access requests in the `OpenAPI` document. They only describe, as those in `schemas`.

#![allow(dead_code, reason = "the types only give schemas; no value is made")]

use std::collections::BTreeMap;

use hyper::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::schemas::{Action, Entity};

type Properties = BTreeMap<String, Value>;

/// Why an access request is not taken, or a task is not shown.
const ERRORS: [(StatusCode, &str); 8] = [
    (StatusCode::BAD_REQUEST, "`invalid_denial_binding`, `not_requestable`, or the request is invalid"),
    (StatusCode::FORBIDDEN, "The operator did not name the caller, or its actor cannot be verified"),
    (StatusCode::NOT_FOUND, "`unknown_task`, or access requests are not taken here"),
    (StatusCode::CONFLICT, "`duplicate_request` or `invalid_task_state`"),
    (StatusCode::GONE, "`expired_denial` or `task_expired`"),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
    (StatusCode::TOO_MANY_REQUESTS, "The requester has too many requests that wait"),
    (StatusCode::SERVICE_UNAVAILABLE, "Nothing was done, or it is not known; the detail says which"),
];

/// The answers to a submission, or for a task.
pub fn responses(statuses: &[StatusCode], generator: &mut SchemaGenerator) -> Map<String, Value> {
    let schema = generator.subschema_for::<AccessRequestResponse>();
    let done = json!({
        "description": "The task, and its result once it is approved",
        "headers": {
            "Location": { "description": "Where the task is", "schema": { "type": "string" } },
            "Retry-After": { "description": "While it waits", "schema": { "type": "integer" } },
        },
        "content": { "application/json": { "schema": schema } },
    });
    let errors = ERRORS.iter().map(|(status, description)| {
        let content = json!({ "application/problem+json": { "schema": problem() } });
        (status.as_str().to_owned(), json!({ "description": description, "content": content }))
    });
    statuses.iter().map(|status| (status.as_str().to_owned(), done.clone())).chain(errors).collect()
}

/// Problem details.
pub fn problem() -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What is wrong, and what to do" },
            "index": { "type": "integer", "description": "The item of the request that it is about" },
        },
        "required": ["type", "title", "status", "detail"],
    })
}

/// An access request of AuthZEN, made because of a denial. It has `resource` and `action`, or `items`.
#[derive(JsonSchema)]
pub struct AccessRequestSubmission {
    /// As in the denied evaluation, and so are the others.
    subject: Entity,
    resource: Option<Entity>,
    action: Option<Action>,
    items: Option<Vec<AccessRequestItem>>,
    /// The context of the denied evaluation, and more members.
    context: Option<Properties>,
    denial: Option<DenialReference>,
    requested_access: Option<Properties>,
    callback: Option<CallbackRequest>,
    /// What the caller says of itself, for audits.
    client: Option<Properties>,
}

#[derive(JsonSchema)]
pub struct AccessRequestItem {
    resource: Entity,
    action: Action,
    requested_access: Option<Properties>,
    denial: Option<DenialReference>,
}

/// What the denied evaluation said.
#[derive(JsonSchema)]
pub struct DenialReference {
    evaluation_id: Option<String>,
    evaluated_at: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
    reason: Option<String>,
    binding_token: String,
    template: Option<String>,
}

#[derive(JsonSchema)]
pub struct CallbackRequest {
    /// A URL of a host that the operator allows.
    endpoint: String,
    /// Sent back as it is.
    state: Option<Value>,
    /// The statuses to be told of.
    events: Option<Vec<String>>,
}

/// Why a task is cancelled.
#[derive(JsonSchema)]
pub struct CancelRequest {
    reason: Option<String>,
    comment: Option<String>,
}

/// What became of an access request.
#[derive(JsonSchema)]
pub struct AccessRequestResponse {
    task: Task,
    result: Option<TaskResult>,
}

#[derive(JsonSchema)]
pub struct Task {
    /// Opaque.
    id: String,
    /// `pending`, `approved`, `denied`, `expired`, `cancelled`, `failed` or `partial`.
    status: String,
    status_endpoint: String,
    /// Until when it can be asked for.
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
    display: Option<Properties>,
    /// `review` is only for those who may accept; `cancel` is only for the caller.
    links: Option<BTreeMap<String, String>>,
    items: Option<Vec<AccessTaskItem>>,
}

#[derive(JsonSchema)]
pub struct AccessTaskItem {
    resource: Entity,
    action: Action,
    status: String,
    result: Option<TaskResult>,
}

/// Ask for a decision again, with `approval` in the context.
#[derive(JsonSchema)]
pub struct TaskResult {
    /// Always `reevaluate`.
    mode: String,
    approval: Approval,
}

#[derive(JsonSchema)]
pub struct Approval {
    id: String,
    #[schemars(extend("format" = "date-time"))]
    approved_at: String,
    #[schemars(extend("format" = "date-time"))]
    approved_until: String,
    /// Opaque.
    state: String,
}
