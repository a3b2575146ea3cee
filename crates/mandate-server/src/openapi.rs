//! The document that describes the API, in the form of `OpenAPI` 3.1: made of the types that the API
//! writes, and of shapes of what it reads.

mod schemas;

use hyper::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::wire::EvaluationResponse;
use super::{metadata, search};
use crate::gateway::check::DECISION_HEADERS;

/// Where the document is.
pub const PATH: &str = "/openapi.json";

/// A path of the API, and what goes in and out.
struct Endpoint {
    path: &'static str,
    method: Method,
    summary: &'static str,
    request_schema: fn(&mut SchemaGenerator) -> Option<Value>,
    response_schema: fn(&mut SchemaGenerator) -> Value,
}

/// AuthZEN's endpoints: JSON in, JSON out.
fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            path: "/access/v1/evaluation",
            method: Method::POST,
            summary: "Answer one question",
            request_schema: body_schema_of::<schemas::EvaluationRequest>,
            response_schema: schema_of::<EvaluationResponse<'_>>,
        },
        Endpoint {
            path: "/access/v1/evaluations",
            method: Method::POST,
            summary: "Answer several questions by one revision",
            request_schema: body_schema_of::<schemas::EvaluationsRequest>,
            response_schema: schema_of::<schemas::EvaluationsResponse<'_>>,
        },
        Endpoint {
            path: "/access/v1/search/subject",
            method: Method::POST,
            summary: "Who of a type may do something to a resource, page by page",
            request_schema: body_schema_of::<schemas::SubjectSearchRequest>,
            response_schema: schema_of::<search::SearchResponse<'_>>,
        },
        Endpoint {
            path: "/access/v1/search/resource",
            method: Method::POST,
            summary: "What of a type a subject may do something to, page by page",
            request_schema: body_schema_of::<schemas::ResourceSearchRequest>,
            response_schema: schema_of::<search::SearchResponse<'_>>,
        },
        Endpoint {
            path: "/access/v1/search/action",
            method: Method::POST,
            summary: "What a subject may do to a resource, page by page",
            request_schema: body_schema_of::<schemas::ActionSearchRequest>,
            response_schema: schema_of::<search::SearchResponse<'_>>,
        },
        Endpoint {
            path: metadata::PATH,
            method: Method::GET,
            summary: "Where the endpoints are",
            request_schema: |_| None,
            response_schema: schema_of::<metadata::Metadata>,
        },
        Endpoint {
            path: PATH,
            method: Method::GET,
            summary: "This document",
            request_schema: |_| None,
            response_schema: |_| json!({ "type": "object" }),
        },
    ]
}

/// What is optional is left out: null is read and written nowhere.
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

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[expect(clippy::unnecessary_wraps, reason = "other endpoints take no body")]
fn body_schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Option<Value> {
    Some(schema_of::<T>(generator))
}

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.transforms.push(Box::new(RecursiveTransform(remove_null)));
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in endpoints() {
        let operation = endpoint.operation(&mut generator);
        paths.insert(
            endpoint.path.to_owned(),
            json!({ endpoint.method.as_str().to_ascii_lowercase(): operation }),
        );
    }
    paths.extend(gateway_paths());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mandate",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An authorization sidecar: Cedar policies, live entities, AuthZEN answers that are never stale",
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

impl Endpoint {
    fn operation(&self, generator: &mut SchemaGenerator) -> Value {
        let mut responses = Map::new();
        let answer = (self.response_schema)(generator);
        responses.insert(
            "200".to_owned(),
            json!({
                "description": "The answer",
                "headers": { "X-Request-ID": { "description": "As it was sent", "schema": { "type": "string" } } },
                "content": { "application/json": { "schema": answer } },
            }),
        );
        let mut operation = json!({ "summary": self.summary });
        if let (Some(request_schema), Some(fields)) =
            ((self.request_schema)(generator), operation.as_object_mut())
        {
            let content = json!({ "application/json": { "schema": request_schema } });
            fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
            for (status, why) in [
                (StatusCode::BAD_REQUEST, "What to fix, and where"),
                (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"),
                (StatusCode::INTERNAL_SERVER_ERROR, "The request could not be decided; take it for a denial"),
            ] {
                responses.insert(status.as_str().to_owned(), text_response(why));
            }
        }
        for (status, why) in [
            (StatusCode::UNAUTHORIZED, "The caller is not authenticated, where the listener wants that"),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests at a time, or too late; take it for a denial",
            ),
        ] {
            responses.insert(status.as_str().to_owned(), text_response(why));
        }
        if let Some(fields) = operation.as_object_mut() {
            fields.insert("responses".to_owned(), responses.into());
        }
        operation
    }
}

/// An answer that is one sentence.
fn text_response(description: &str) -> Value {
    json!({ "description": description, "content": { "text/plain": { "schema": { "type": "string" } } } })
}

/// What gateways ask, which is no JSON: headers, or the request itself.
fn gateway_paths() -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let header = |name: &str, why: &str| json!({ "name": name, "in": "header", "required": true, "description": why, "schema": text });
    let headers: Map<String, Value> = DECISION_HEADERS
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "schema": text, "required": true })))
        .collect();
    let problem = json!({ "application/problem+json": { "schema": { "type": "object" } } });
    let responses = json!({
        "200": { "description": "Permit", "headers": headers },
        "403": { "description": "Deny", "headers": headers, "content": problem },
        "500": text_response("The request could not be decided; take it for a denial"),
        "503": text_response("Too many requests at a time, or too late; take it for a denial"),
    });
    let forward = json!({
        "summary": "Decide on a request that headers describe (nginx, Caddy, Traefik)",
        "description": "Other headers are those that the routes read. The method does not matter.",
        "parameters": [
            header("X-Forwarded-Method", "The request's method"),
            header("X-Forwarded-Uri", "The request's path and query, as they came"),
        ],
        "responses": responses,
    });
    let envoy = json!({
        "summary": "Decide on the request itself, with this path before its own (Envoy)",
        "description": "The method is the request's own; any is answered.",
        "parameters": [{ "name": "path", "in": "path", "required": true, "schema": text }],
        "responses": responses,
    });
    Map::from_iter([
        (crate::gateway::http::FORWARD_AUTH_PATH.to_owned(), json!({ "get": forward })),
        (
            format!("{}/{{path}}", crate::gateway::http::EXT_AUTHZ_PREFIX),
            json!({ "get": envoy, "post": envoy }),
        ),
    ])
}
