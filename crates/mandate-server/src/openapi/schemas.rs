//! The schemas of requests in the `OpenAPI` document, and of the answer to a batch. They only describe: the
//! requests are read by `authzen::wire`, whose errors name the field. `tests/all/openapi.rs` compares the
//! two.

#![expect(dead_code, reason = "the types only give schemas; no value is made")]
#![allow(clippy::struct_field_names, reason = "the names are AuthZEN's")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use crate::authzen::wire::EvaluationResponse;

type Properties = BTreeMap<String, Value>;

/// A subject or a resource.
#[derive(JsonSchema)]
pub struct Entity {
    /// The entity type, with or without its namespace.
    r#type: String,
    id: String,
    /// Ignored, unless the operator lists the type in `described-by-callers`.
    properties: Option<Properties>,
}

#[derive(JsonSchema)]
pub struct Action {
    name: String,
    /// They are added to the context.
    properties: Option<Properties>,
}

/// One request.
#[derive(JsonSchema)]
pub struct EvaluationRequest {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Option<Properties>,
    options: Option<Options>,
}

/// Several requests. `subject`, `action`, `resource` and `context` at the top level are defaults for each of
/// them.
#[derive(JsonSchema)]
pub struct EvaluationsRequest {
    evaluations: Option<Vec<EvaluationItem>>,
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Properties>,
    options: Option<BatchOptions>,
}

/// One item of `evaluations`. An absent field has the default of the batch.
#[derive(JsonSchema)]
pub struct EvaluationItem {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Properties>,
    options: Option<Options>,
}

#[derive(JsonSchema)]
pub struct Options {
    /// Whether to explain the decision, and what is missing for a permit.
    explain: Option<bool>,
}

#[derive(JsonSchema)]
pub struct BatchOptions {
    /// Whether to explain the decision, and what is missing for a permit.
    explain: Option<bool>,
    evaluations_semantic: Option<EvaluationsSemantic>,
}

/// When a batch ends: after all items, at the first denial, or at the first permit.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum EvaluationsSemantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// The type of the entities that are searched for. An id and properties are ignored.
#[derive(JsonSchema)]
pub struct SearchedType {
    r#type: String,
}

#[derive(JsonSchema)]
pub struct Page {
    /// The most results on this page.
    #[schemars(range(min = 1))]
    limit: Option<usize>,
    /// `next_token` of the last page. The other fields have to be the same as in its request.
    token: Option<String>,
}

#[derive(JsonSchema)]
pub struct SubjectSearchRequest {
    subject: SearchedType,
    action: Action,
    resource: Entity,
    context: Option<Properties>,
    page: Option<Page>,
}

#[derive(JsonSchema)]
pub struct ResourceSearchRequest {
    subject: Entity,
    action: Action,
    resource: SearchedType,
    context: Option<Properties>,
    page: Option<Page>,
}

#[derive(JsonSchema)]
pub struct ActionSearchRequest {
    subject: Entity,
    resource: Entity,
    context: Option<Properties>,
    page: Option<Page>,
}

/// The answers, in the order of `evaluations`. A request without `evaluations` has a single answer.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum EvaluationsResponse<'d> {
    Batch { evaluations: Vec<EvaluationResponse<'d>> },
    Single(Box<EvaluationResponse<'d>>),
}

/// An action that changes entities.
#[derive(JsonSchema)]
pub struct ActionRequest {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Option<Properties>,
}

/// Several actions. `subject`, `action`, `resource` and `context` at the top level are defaults for each of them.
#[derive(JsonSchema)]
pub struct ActionsRequest {
    #[schemars(length(min = 1))]
    changes: Vec<ActionItem>,
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Properties>,
}

/// One item of `changes`. An absent field has the default of the request.
#[derive(JsonSchema)]
pub struct ActionItem {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Properties>,
}

/// The name of an entity.
#[derive(JsonSchema)]
pub struct EntityName {
    /// With its namespace.
    r#type: String,
    id: String,
}

/// The answer to an action that was performed.
#[derive(JsonSchema)]
pub struct ChangeResponse {
    decision: bool,
    context: ChangeContext,
}

#[derive(JsonSchema)]
pub struct ChangeContext {
    /// Where the change counts, for `Mandate-At-Least`.
    position: String,
    created: Vec<EntityName>,
    /// Where a request is reviewed, if the action made one and there are pages.
    links: Option<Links>,
    /// Not there if the request was performed before.
    #[schemars(extend("format" = "uuid"))]
    decision_id: Option<String>,
    revision: String,
}

/// The answer to several actions that were performed.
#[derive(JsonSchema)]
pub struct ChangesResponse {
    decision: bool,
    context: WriteResponse,
    /// In the order of the request.
    changes: Vec<PerformedAction>,
}

#[derive(JsonSchema)]
pub struct PerformedAction {
    decision: bool,
    context: CreatedEntities,
}

#[derive(JsonSchema)]
pub struct CreatedEntities {
    created: Vec<EntityName>,
}

/// Where entities were written.
#[derive(JsonSchema)]
pub struct WriteResponse {
    /// Where the change counts, for `Mandate-At-Least`.
    position: String,
    revision: String,
}

/// Several edits of entities, in one transaction.
#[derive(JsonSchema)]
pub struct BulkRequest {
    edits: Vec<BulkEdit>,
}

/// An edit has `put` or `delete`.
#[derive(JsonSchema)]
pub struct BulkEdit {
    /// An entity in Cedar's JSON format.
    put: Option<Value>,
    delete: Option<EntityName>,
    /// The version that the entity has to have: the number in its `ETag`.
    if_match: Option<u64>,
}

/// A request to make.
#[derive(JsonSchema)]
pub struct LinkRequest {
    /// Who asks.
    subject: EntityName,
    /// What is asked for; without it, the reviewer brings it.
    resource: Option<EntityName>,
    context: Option<Properties>,
    /// The rule of requests to follow, if several are for the subject.
    rule: Option<String>,
    /// How long the link is valid, such as `7d`.
    valid_for: Option<String>,
    /// The language of the e-mail: two letters.
    language: Option<String>,
}

/// Who reviews a request, or takes it back.
#[derive(JsonSchema)]
pub struct ReviewRequest {
    subject: EntityName,
}

/// A request as it is now.
#[derive(JsonSchema)]
pub struct LinkResponse {
    /// Where it counts.
    position: Option<String>,
    request: ShownRequest,
    /// Where it is reviewed, if there are pages.
    links: Option<Links>,
    /// The e-mail that brings the link.
    email: Option<Email>,
}

#[derive(JsonSchema)]
pub struct Links {
    review: String,
}

#[derive(JsonSchema)]
pub struct Email {
    subject: String,
    body: String,
}

#[derive(JsonSchema)]
pub struct ShownRequest {
    id: String,
    /// The secret of the link.
    link: String,
    rule: String,
    requester: EntityName,
    action: String,
    resource: Option<EntityName>,
    context: Properties,
    /// Whether it stays open after it was accepted.
    standing: bool,
    /// What is reviewed, once it is there.
    created: Option<EntityName>,
    /// `pending`, `approved`, `denied`, `expired` or `cancelled`.
    status: String,
    #[schemars(extend("format" = "date-time"))]
    asked_at: String,
    #[schemars(extend("format" = "date-time"))]
    expires_at: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    ended_by: Option<EntityName>,
}
