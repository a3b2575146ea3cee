//! Shapes of what the API reads. Requests are read by hand, because what is wrong with one is said with its
//! place; these only describe them, and the tests hold both to each other.

#![expect(dead_code, reason = "they are described, and never built")]
#![allow(clippy::struct_field_names, reason = "the names are AuthZEN's")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::super::wire::EvaluationResponse;

type Properties = BTreeMap<String, Value>;

/// Who asks, or on what.
#[derive(JsonSchema)]
pub struct Entity {
    /// The entity type, with its namespace or without.
    r#type: String,
    id: String,
    /// Counts only for types that the operator declared as described by callers.
    properties: Option<Properties>,
}

#[derive(JsonSchema)]
pub struct Action {
    name: String,
    /// They join the context.
    properties: Option<Properties>,
}

/// One question.
#[derive(JsonSchema)]
pub struct EvaluationRequest {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Option<Properties>,
    options: Option<Options>,
}

/// Questions; what stands beside them counts where one does not say it itself.
#[derive(JsonSchema)]
pub struct EvaluationsRequest {
    evaluations: Option<Vec<EvaluationItem>>,
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Properties>,
    options: Option<BatchOptions>,
}

/// A question whose missing parts stand beside it.
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
    /// Whether to say why, and what is missing.
    explain: Option<bool>,
}

#[derive(JsonSchema)]
pub struct BatchOptions {
    /// Whether to say why, and what is missing.
    explain: Option<bool>,
    evaluations_semantic: Option<EvaluationsSemantic>,
}

/// How a batch goes on after an answer.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum EvaluationsSemantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// What is looked for: an id and properties would not count.
#[derive(JsonSchema)]
pub struct SearchedType {
    r#type: String,
}

#[derive(JsonSchema)]
pub struct Page {
    /// Results on this page, at most.
    #[schemars(range(min = 1))]
    limit: Option<usize>,
    /// Where the page before ended. The question has to be the same.
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

/// The answers, in the order of the questions. A request without questions is answered as a single one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum EvaluationsResponse<'d> {
    Batch { evaluations: Vec<EvaluationResponse<'d>> },
    Single(EvaluationResponse<'d>),
}
