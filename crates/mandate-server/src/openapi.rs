//! The `OpenAPI` 3.1 document. It is made from the table of endpoints, the types of the answers, and the
//! shapes of the requests in `schemas`. It is served by `service`, at `/openapi.json`.

pub mod access_requests;
pub mod schemas;

use hyper::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::endpoints::{Contract, ENDPOINTS, Endpoint, EndpointPath, Methods, Parameter};
use crate::gateway::check::DECISION_HEADERS;

const DESCRIPTION: &str = "Errors of the AuthZEN API are one sentence in plain text, as AuthZEN 1.0 wants it. \
     Treat every answer as a denial that is not a 200 with `\"decision\": true`, or for gateways a 200. \
     `context.decision_id` and the header `x-mandate-decision-id` identify the decision.";

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.transforms.push(Box::new(RecursiveTransform(remove_null)));
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        paths.insert(endpoint.path.template(), path_item(endpoint, &mut generator));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mandate",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An authorization sidecar: Cedar policies, live entities, AuthZEN answers that are never stale",
            "description": DESCRIPTION,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "paths": paths,
        "security": [{}, { "bearer": [] }, { "certificate": [] }],
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
        },
    })
}

fn capitalized(id: &str) -> String {
    let (first, rest) = id.split_at(id.len().min(1));
    format!("{}{rest}", first.to_uppercase())
}

/// An entity as a body.
fn entity_body() -> Value {
    let schema = json!({ "type": "object", "description": "An entity in Cedar's JSON format: `uid`, `attrs`, `parents`" });
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

/// The operations of an endpoint, by method. Ids of operations are unique in the document, so the second
/// method of an endpoint has an id with a suffix.
fn path_item(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let operation = operation(endpoint, generator);
    let methods: &[&str] = match (endpoint.methods, endpoint.path) {
        (Methods::Post, _) => &["post"],
        (Methods::GetOrHead | Methods::Get, _) | (Methods::Any, EndpointPath::Exact(_)) => &["get"],
        (Methods::Any, EndpointPath::Prefix(_) | EndpointPath::Between(..)) | (Methods::GetOrPost, _) => {
            &["get", "post"]
        }
        (Methods::Resource, _) => &["get", "put", "delete"],
        (Methods::PostOrDelete, _) => &["post", "delete"],
    };
    let mut item = Map::new();
    for (index, method) in methods.iter().enumerate() {
        let mut operation = operation.clone();
        let id = match (endpoint.methods, index) {
            (Methods::Resource | Methods::GetOrPost, _) => {
                format!("{method}{}", capitalized(endpoint.operation_id))
            }
            (Methods::PostOrDelete, 1) => format!("{}ByDelete", endpoint.operation_id),
            (_, 0) => endpoint.operation_id.to_owned(),
            (_, _) => format!("{}WithBody", endpoint.operation_id),
        };
        operation.insert("operationId".to_owned(), id.into());
        if *method == "get" {
            operation.remove("requestBody");
        }
        if *method == "put" {
            operation.insert("requestBody".to_owned(), entity_body());
        }
        item.insert((*method).to_owned(), operation.into());
    }
    item.into()
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut operation = Map::from_iter([("summary".to_owned(), endpoint.summary.into())]);
    let responses = match &endpoint.contract {
        Contract::Json { request, response } => {
            let content = json!({ "application/json": { "schema": request(generator) } });
            operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
            let mut responses = document_responses(&response(generator));
            responses.extend(text_responses(&ERRORS_OF_BODIES));
            responses
        }
        Contract::Change { request, response, description } => {
            let content = json!({ "application/json": { "schema": request(generator) } });
            operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
            operation.insert("description".to_owned(), (*description).into());
            operation.insert("parameters".to_owned(), json!([idempotency_key()]));
            change_responses(&response(generator))
        }
        Contract::Task { request, statuses } => {
            let content = json!({ "application/json": { "schema": request(generator) } });
            let is_required = endpoint.methods == Methods::Post;
            let body = json!({ "required": is_required, "content": content });
            operation.insert("requestBody".to_owned(), body);
            let description = "For the callers of `--request-callers`.";
            operation.insert("description".to_owned(), description.into());
            operation.insert("parameters".to_owned(), json!([idempotency_key()]));
            access_requests::responses(statuses, generator)
        }
        Contract::Entity { parameters, response, description } => {
            operation.insert("description".to_owned(), (*description).into());
            let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
            operation.insert("parameters".to_owned(), parameters.into());
            change_responses(&response(generator))
        }
        Contract::Document { response } => document_responses(&response(generator)),
        Contract::GatewayDecision { parameters, description } => {
            operation.insert("description".to_owned(), (*description).into());
            let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
            operation.insert("parameters".to_owned(), parameters.into());
            gateway_responses()
        }
    };
    operation.insert("responses".to_owned(), responses.into());
    operation
}

const UNAUTHENTICATED: (StatusCode, &str) =
    (StatusCode::UNAUTHORIZED, "The caller is not authenticated, and the listener requires it");
const UNDECIDED: (StatusCode, &str) =
    (StatusCode::INTERNAL_SERVER_ERROR, "The request could not be decided; treat it as a denial");
const OVERLOADED: (StatusCode, &str) =
    (StatusCode::SERVICE_UNAVAILABLE, "Too many concurrent requests, or a timeout; treat it as a denial");

/// Errors of endpoints that read a JSON body.
const ERRORS_OF_BODIES: [(StatusCode, &str); 3] = [
    (
        StatusCode::BAD_REQUEST,
        "The request is invalid. The body is one sentence in plain text: what to fix, and where",
    ),
    (StatusCode::REQUEST_TIMEOUT, "The request body took too long to arrive"),
    UNDECIDED,
];

/// Why a change is not made.
const CHANGE_ERRORS: [(StatusCode, &str); 7] = [
    (StatusCode::BAD_REQUEST, "The request is invalid"),
    (StatusCode::FORBIDDEN, "The policies deny it, or the operator did not name the caller"),
    (StatusCode::NOT_FOUND, "The entity does not exist, or there is no store"),
    (
        StatusCode::CONFLICT,
        "The rules of the schema refuse it, or the action cannot be performed on the entities as they are",
    ),
    (StatusCode::PRECONDITION_FAILED, "The entity is not as `If-Match` or `If-None-Match` expects it"),
    (StatusCode::UNPROCESSABLE_ENTITY, "The `Idempotency-Key` was used for another request"),
    (StatusCode::SERVICE_UNAVAILABLE, "Nothing was changed, or it is not known; the detail says which"),
];

fn document_responses(schema: &Schema) -> Map<String, Value> {
    let request_id =
        json!({ "description": "The request's own `X-Request-ID`", "schema": { "type": "string" } });
    let found = json!({
        "description": "The answer",
        "headers": { "X-Request-ID": request_id },
        "content": { "application/json": { "schema": schema } },
    });
    let mut responses = Map::from_iter([("200".to_owned(), found)]);
    responses.extend(text_responses(&[UNAUTHENTICATED, OVERLOADED]));
    responses
}

/// The answers to a request for a change.
fn change_responses(schema: &Schema) -> Map<String, Value> {
    let position = json!({ "description": "Where the change counts", "schema": { "type": "string" } });
    let done = json!({
        "description": "Done",
        "headers": { "Mandate-At": position },
        "content": { "application/json": { "schema": schema } },
    });
    let problem = access_requests::problem();
    let errors = CHANGE_ERRORS.iter().map(|(status, description)| {
        let content = json!({ "application/problem+json": { "schema": problem } });
        (status.as_str().to_owned(), json!({ "description": description, "content": content }))
    });
    [("200".to_owned(), done)].into_iter().chain(errors).chain(text_responses(&[UNAUTHENTICATED])).collect()
}

fn gateway_responses() -> Map<String, Value> {
    let headers: Map<String, Value> = DECISION_HEADERS
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "schema": { "type": "string" }, "required": true })))
        .collect();
    let text = |description: &str| json!({ "type": "string", "description": description });
    let problem = json!({
        "type": "object",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "enum": [401, 403] },
            "detail": text("The reason, to show to the client"),
            "decision_id": text("Identifies the decision; a version 7 UUID"),
        },
        "required": ["type", "title", "status", "detail", "decision_id"],
    });
    let content = json!({ "application/problem+json": { "schema": problem } });
    let unauthenticated = json!({
        "description": "The client has no known credentials, where the route takes the principal from them; or, in plain text, the gateway is not authenticated, and the listener requires it",
        "content": { "application/problem+json": { "schema": problem }, "text/plain": { "schema": { "type": "string" } } },
    });
    let mut responses = Map::from_iter([
        ("200".to_owned(), json!({ "description": "Permit", "headers": headers })),
        ("401".to_owned(), unauthenticated),
        ("403".to_owned(), json!({ "description": "Deny", "headers": headers, "content": content })),
    ]);
    responses.extend(text_responses(&[UNDECIDED, OVERLOADED]));
    responses
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, location, description } = parameter;
    json!({ "name": name, "in": location, "required": true, "description": description, "schema": { "type": "string" } })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A name of this request: sent again with it, it is not performed twice",
        "schema": { "type": "string", "maxLength": 255 },
    })
}

/// Answers whose body is one sentence.
fn text_responses(errors: &[(StatusCode, &str)]) -> impl Iterator<Item = (String, Value)> {
    errors.iter().map(|(status, description)| {
        let schema = json!({ "type": "string", "description": "One sentence" });
        let content = json!({ "text/plain": { "schema": schema } });
        (status.as_str().to_owned(), json!({ "description": description, "content": content }))
    })
}

/// Removes `null` from the schema of an optional field: it is left out instead, in requests and answers.
fn remove_null(schema: &mut Schema) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| *name != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&null));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_is_described_under_its_own_id() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), ENDPOINTS.len());
        for endpoint in ENDPOINTS {
            let operations = paths[&endpoint.path.template()].as_object().unwrap().values();
            let ids: Vec<&str> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
            let id = endpoint.operation_id;
            assert!(ids.contains(&id) || ids.contains(&&*format!("get{}", capitalized(id))), "{ids:?}");
        }
        let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
        let ids: Vec<&str> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn errors_of_the_authzen_api_are_plain_text() {
        let document = document();
        for endpoint in ENDPOINTS.iter().filter(|it| matches!(it.contract, Contract::Json { .. })) {
            let refused = &document["paths"][&endpoint.path.template()]["post"]["responses"]["400"];
            assert_eq!(refused["content"]["text/plain"]["schema"]["type"], "string", "{endpoint:?}");
        }
        let context = &document["components"]["schemas"]["ResponseContext"]["properties"];
        assert_eq!(context["decision_id"]["format"], "uuid", "{context:#}");
    }
}
